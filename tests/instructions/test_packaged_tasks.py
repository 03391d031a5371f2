"""The packaged tasks are the paper's, and their instructions are fit to be read."""

import csv
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from ofa_mi.data.encoding import PromptEncoder
from ofa_mi.data.regions import RegionCodec
from ofa_mi.data.vocabulary import Vocabulary
from ofa_mi.instructions.lint import lint
from ofa_mi.instructions.prompt import OptionsSegment, RegionSegment, describe
from ofa_mi.instructions.registry import default_registry
from ofa_mi.instructions.rendering import render, render_target, render_task_name
from tests.instructions.examples import show

REGISTRY = default_registry()
TASKS = list(REGISTRY.values())
INSTRUCTIONS = [
    pytest.param(task, text, id=id_)
    for task in TASKS
    if not task.own_instruction
    for id_, text in zip(task.instruction_ids, task.instructions, strict=True)
]
EVALUATION = {
    "text_vqa", "grounded_vqa", "visual_text_extraction", "visual_dialogue", "disaster_type_classification",
    "commonsense_vqa", "visual_entailment", "visual_spatial_reasoning", "nlvr",
}  # fmt: skip
# name: (group, split, inputs, output, metrics, release name)
EXTRA = {
    "easy_vqa": ("extra", "train", ("question",), "text", ("accuracy",), None),
    "daquar_vqa": ("extra", "train", ("question",), "text", ("accuracy",), None),
    "sroie_text_localization": ("extra", "train", ("text", "options"), "option", ("region_accuracy",), None),
    "sroie_text_extraction": ("extra", "train", ("region",), "text", ("rouge_l", "accuracy"), None),
    "flickr8k_captioning": ("extra", "train", (), "text", ("rouge_l", "bleu"), None),
    "flickr8k_image_text_matching": ("extra", "train", ("text", "options"), "option", ("accuracy",), None),
    "activity_recognition": (
        "extra", "train", ("question", "options"), "option", ("accuracy",), "VQA_activity_recognition",
    ),
    "attribute_recognition": ("extra", "train", ("question", "options"), "option", ("accuracy",), "VQA_attribute"),
    "present_object_selection": (
        "extra", "train", ("regions", "options"), "options", ("set_f1",), "region_object_selection",
    ),
    "disaster_informativeness": ("extra", "eval", ("options",), "option", ("accuracy",), "medic_informative"),
    "damage_severity_classification": (
        "extra", "eval", ("options",), "option", ("accuracy",), "medic_damage_severity",
    ),
    "two_attribute_counting": ("combination", "eval", ("question", "options"), "option", ("accuracy",), None),
    "color_matching": ("combination", "eval", ("region_1", "region_2", "options"), "option", ("accuracy",), None),
    "region_relation_matching": ("combination", "eval", ("region", "text", "options"), "option", ("accuracy",), None),
    "odd_region_selection": ("combination", "eval", ("text", "options"), "option", ("region_accuracy",), None),
    "color_region_selection": ("combination", "eval", ("text", "options"), "option", ("region_accuracy",), None),
    "region_counting": ("combination", "eval", ("region", "options"), "option", ("accuracy",), None),
    "larger_object_selection": ("combination", "eval", ("options",), "option", ("region_accuracy",), None),
    "neighbor_color_identification": (
        "combination", "eval", ("region", "text", "options"), "option", ("accuracy",), None,
    ),
    "dense_detection": (
        "pretraining", "train", (), "labeled_regions", ("region_f1", "rouge_l", "accuracy"), None,
    ),
    "dense_captioning": ("pretraining", "train", ("regions",), "text", ("accuracy", "rouge_l"), None),
    "dense_grounding": ("pretraining", "train", ("text",), "regions", ("region_f1",), None),
    "dense_question_answering": ("pretraining", "train", ("question",), "text", ("rouge_l", "accuracy"), None),
    "dense_region_matching": ("pretraining", "train", ("regions", "text"), "text", ("rouge_l", "accuracy"), None),
    "dense_caption_matching": ("pretraining", "train", ("text",), "text", ("rouge_l", "accuracy"), None),
    "dense_object_matching": ("pretraining", "train", ("regions",), "text", ("rouge_l", "accuracy"), None),
    "dense_object_relationship": ("pretraining", "train", ("regions",), "text", ("rouge_l", "accuracy"), None),
    "dense_object_localization": (
        "pretraining", "train", ("regions", "text"), "labeled_regions", ("region_f1", "rouge_l", "accuracy"), None,
    ),
    "dense_referring_expression_grounding": ("pretraining", "train", ("text",), "regions", ("region_f1",), None),
    "dense_region_overlap": ("pretraining", "train", ("regions",), "text", ("rouge_l", "accuracy"), None),
    "dense_existence": (
        "pretraining", "train", ("text",), "labeled_regions", ("region_f1", "rouge_l", "accuracy"), None,
    ),
    "dense_counting": (
        "pretraining", "train", ("text",), "labeled_regions", ("region_f1", "rouge_l", "accuracy"), None,
    ),
    "explained_region_matching": ("pretraining", "train", ("regions", "text"), "text", ("rouge_l", "accuracy"), None),
    "explained_object_matching": ("pretraining", "train", ("regions",), "text", ("rouge_l", "accuracy"), None),
    "explained_caption_matching": ("pretraining", "train", ("text",), "text", ("rouge_l", "accuracy"), None),
    "explained_region_overlap": (
        "pretraining", "train", ("regions",), "labeled_regions", ("region_f1", "rouge_l", "accuracy"), None,
    ),
    "natural_instructions": ("natural_instructions", "train", ("context", "text"), "text", ("rouge_l",), None),
    "natural_instructions_test": ("natural_instructions", "eval", ("context", "text"), "text", ("rouge_l",), None),
}  # fmt: skip
GROUP_SIZES = {
    "vqa": 6, "grounded_generation": 7, "region_understanding": 6, "grounded_matching": 9, "image_understanding": 10,
    "visual_relationship": 6, "image_text_matching": 3, "miscellaneous": 7, "temporal_ordering": 4, "commonsense": 4,
}  # fmt: skip

# How the table of the paper's tasks writes inputs, outputs and metrics.
LETTERS = {
    "": (), "Q": ("question",), "Q O": ("question", "options"), "Q O(regions)": ("question", "options"),
    "Q H": ("context", "question"), "Q O S": ("question", "options"), "R": ("region",), "T": ("text",),
    "T O": ("text", "options"), "T O(regions)": ("text", "options"), "O": ("options",), "R O": ("region", "options"),
    "R O(regions)": ("region", "options"), "R R": ("region_1", "region_2"),
    "R R O": ("region_1", "region_2", "options"), "R T O": ("region", "text", "options"),
    "T R O": ("text", "region", "options"), "R.. O": ("regions", "options"), "R + relation": ("region", "text"),
    "C T O": ("context", "text", "options"), "C T": ("context", "text"),
}  # fmt: skip
OUTPUTS = {
    "text": "text", "number": "text", "option": "option", "region option": "option", "region": "region",
    "1..n regions": "regions", "option(s) or none": "options",
}  # fmt: skip
METRICS = {"IoU": "iou", "region F1": "region_f1", "set F1": "set_f1", "ROUGE-L": "rouge_l", "BLEU": "bleu"}


def paper_tasks():
    with open(Path(__file__).with_name("paper_tasks.csv"), newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("row", paper_tasks(), ids=lambda row: row["task"])
def test_a_task_of_the_paper_is_as_in_the_table(row):
    task = REGISTRY[row["task"]]
    assert task.benchmark
    assert (task.group, task.split, task.release) == (row["group"], row["split"], row["release"])
    assert set(task.inputs) == set(LETTERS[row["inputs"]])
    assert task.output == OUTPUTS[row["output"]]
    accuracy = "region_accuracy" if row["output"] == "region option" else "accuracy"
    expected = [METRICS.get(name, accuracy) for name in row["metrics"].split(", ")]
    assert list(task.metrics) == expected + ["mean_iou"] * (expected == ["iou"])


def test_there_are_62_tasks_53_to_train_and_9_to_evaluate():
    benchmark = [task for task in TASKS if task.benchmark]
    assert {task.name for task in benchmark} == {row["task"] for row in paper_tasks()}
    assert Counter(task.split for task in benchmark) == {"train": 53, "eval": 9}
    assert {task.name for task in benchmark if task.split == "eval"} == EVALUATION
    assert Counter(task.group for task in benchmark) == GROUP_SIZES


def test_project_tasks_are_apart_from_the_benchmark():
    extra = {task.name: task for task in TASKS if not task.benchmark}
    assert {
        name: (task.group, task.split, task.inputs, task.output, task.metrics, task.release)
        for name, task in extra.items()
    } == EXTRA
    assert {name for name, task in extra.items() if task.own_instruction} == {
        "natural_instructions", "natural_instructions_test",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["train", "test"])
def test_every_task_of_the_public_release_is_known(shared_data, name):
    known = {task.release for task in TASKS}
    lines = (shared_data / "release" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    assert lines and {json.loads(line)["task_name"] for line in lines} <= known


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_description_explains_every_input_but_the_obvious(task):
    for name in task.inputs:
        assert re.search(rf"\b{name}\b", task.description), name


def test_the_linter_finds_nothing():
    """Instructions are well formed, unlike each other, name no answer, and their versions rose with changes."""
    assert [str(finding) for finding in lint()] == []


@pytest.mark.parametrize(("task", "instruction"), INSTRUCTIONS)
def test_every_input_of_an_instance_reaches_the_prompt_and_the_target_does_not(task, instruction):
    instance = task.example
    prompt = render(task, instruction, instance)
    text = show(prompt)
    assert [segment.options for segment in prompt if isinstance(segment, OptionsSegment)] == (
        [instance.options] if "options" in task.inputs else []
    )
    boxes = [segment.box for segment in prompt if isinstance(segment, RegionSegment)]
    assert Counter(boxes) == Counter([*instance.regions, *(b for b in instance.question if not isinstance(b, str))])
    assert describe(prompt, str) == " ".join(text.split())
    for value in (instance.question, instance.text, *instance.context):
        assert all(piece in text for piece in value if isinstance(piece, str))
    assert "{" not in text and "}" not in text
    target = show(render_target(task, instance))
    without_options = text.split("[Options]:")[0]
    assert target and (task.output != "text" or target not in text)
    assert target in ("yes", "no", "not sure", "none") or target not in without_options


def test_encoded_prompts_have_no_lone_space_and_read_as_they_were_written():
    vocabulary = Vocabulary.load()
    encoder = PromptEncoder(vocabulary, RegionCodec(patch_image_size=256), text_case="keep")
    lone_space = vocabulary.encode(" ")
    for task in TASKS:
        instance = task.example
        prompts = [render(task, text, instance) for text in task.instructions]
        for prompt in [*prompts, render_task_name(task, instance)]:
            tokens = encoder.source(prompt, instance.image_size)
            assert not set(lone_space) & set(tokens), show(prompt)
            assert encoder.describe(prompt) == " ".join(show(prompt).split())
