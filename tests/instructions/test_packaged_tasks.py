"""The packaged tasks are the paper's, and their instructions are fit to be read."""

import csv
import difflib
import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from ofa_mi.data.encoding import PromptEncoder
from ofa_mi.data.regions import RegionCodec
from ofa_mi.data.vocabulary import Vocabulary
from ofa_mi.instructions.prompt import OptionsSegment, RegionSegment
from ofa_mi.instructions.registry import default_registry
from ofa_mi.instructions.rendering import render, render_target, render_task_name
from tests.instructions.examples import example, show

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


def words(instruction):
    return re.findall(r"[a-z]+", re.sub(r"\{\w+\}", " ", instruction.lower()))


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


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_siblings_differ_in_wording_and_structure(task):
    if task.own_instruction:
        assert task.instructions == ("{context} Input: {text} Output:",)
        return
    assert len(task.instructions) >= 5
    for first, second in combinations(map(words, task.instructions), 2):
        shared = len({*first} & {*second}) / len({*first} | {*second})
        assert shared < 0.4, (first, second)
        assert difflib.SequenceMatcher(None, first, second).ratio() < 0.45, (first, second)
        assert first[:3] != second[:3]
    assert len({text.startswith("{") or text.split()[0] for text in task.instructions}) >= 4


def test_no_two_tasks_share_an_instruction():
    counts = Counter(" ".join(words(text)) for task in TASKS if not task.own_instruction for text in task.instructions)
    assert counts.most_common(1)[0][1] == 1


@pytest.mark.parametrize(("task", "instruction"), INSTRUCTIONS)
def test_an_instruction_is_plain_well_formed_text(task, instruction):
    assert instruction.isascii()
    assert not re.search(r"\s{2}|\s[.,?!;:]|\.\.|\?\?|\n", instruction)
    assert instruction[0].isupper() or instruction.startswith("{")
    assert instruction.endswith((".", "?", ":", "}"))
    assert 4 <= len(words(instruction)) <= 40 or task.name == "easy_vqa"
    assert instruction.count('"') % 2 == 0
    assert '"{question}"?' not in instruction, "a question brings its own question mark"
    if "options" in task.inputs:
        assert instruction.endswith(" {options}")


@pytest.mark.parametrize(("task", "instruction"), INSTRUCTIONS)
def test_an_instruction_does_not_name_an_answer(task, instruction):
    """Words that are labels of these tasks; yes and no only say which form the answer takes."""
    labels = {
        "image_quality": "blur blurry dark bright rotated rotation obscured framing",
        "disaster_type_classification": "earthquake fire flood hurricane landslide",
        "text_type_classification": "handwritten printed",
        "text_legibility": "clear unclear legible illegible",
        "color_understanding": "red green blue yellow black white brown orange pink gray purple",
        "counting": "zero two three four five six seven eight nine ten",
        "sport_understanding": "surfing baseball soccer tennis skiing skateboarding",
        "sentiment_understanding": "happy sad angry scared",
        "disaster_informativeness": "informative",
        "damage_severity_classification": "severe mild little none damage",
        "easy_vqa": "circle triangle rectangle red green blue black gray teal brown yellow",
    }
    assert not set(words(instruction)) & set(labels.get(task.name, "").split())
    assert not set(words(instruction)) & {"benchmark", "dataset", "token", "tokens", "bins", "multiinstruct", "ofa"}


@pytest.mark.parametrize(("task", "instruction"), INSTRUCTIONS)
def test_every_input_of_an_instance_reaches_the_prompt_and_the_target_does_not(task, instruction):
    instance = example(task)
    prompt = render(task, instruction, instance)
    text = show(prompt)
    assert [segment.options for segment in prompt if isinstance(segment, OptionsSegment)] == (
        [instance.options] if "options" in task.inputs else []
    )
    boxes = [segment.box for segment in prompt if isinstance(segment, RegionSegment)]
    assert Counter(boxes) == Counter([*instance.regions, *(b for b in instance.question if not isinstance(b, str))])
    for value in (instance.question, instance.text, *instance.context):
        assert all(piece in text for piece in value if isinstance(piece, str))
    assert "{" not in text and "}" not in text
    assert ("heron" in text) == ("options" in task.inputs and "region_accuracy" not in task.metrics)
    assert render_target(task, instance)


def test_encoded_prompts_have_no_lone_space_and_read_as_they_were_written():
    vocabulary = Vocabulary.load()
    encoder = PromptEncoder(vocabulary, RegionCodec(patch_image_size=256), text_case="keep")
    lone_space = vocabulary.encode(" ")
    for task in TASKS:
        instance = example(task)
        prompts = [render(task, text, instance) for text in task.instructions]
        for prompt in [*prompts, render_task_name(task, instance)]:
            tokens = encoder.source(prompt, instance.image_size)
            assert not set(lone_space) & set(tokens), show(prompt)
            assert encoder.describe(prompt) == " ".join(show(prompt).split())
