"""Rendering: an instruction and an instance become segments; the instance's text is never interpreted."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_mi.errors import ConfigError, DataError
from ofa_mi.instructions.prompt import OptionsSegment, RegionSegment, TextSegment
from ofa_mi.instructions.registry import default_registry
from ofa_mi.instructions.rendering import render, render_target, render_task_name
from ofa_mi.instructions.spec import join_template, split_template
from tests.instructions.examples import BOXES, example, show

REGISTRY = default_registry()

SNAPSHOTS = {
    "image_captioning/2": "What does this picture show?",
    "grounded_captioning/2": "What can be seen in [10, 20, 60, 90]? Describe it in one phrase.",
    "grounded_vqa/1": "Answer the question by choosing one of the regions of the image. "
    "What is next to [0, 0, 20, 20]? [Options]: [10, 20, 60, 90]||||[30, 5, 99, 50]||||[0, 0, 20, 20]",
    "region_overlap_detection/1": "Do the regions [10, 20, 60, 90] and [30, 5, 99, 50] overlap? "
    "[Options]: heron||||none",
    "missing_object_selection/2": "Select every option that cannot be seen in "
    "[10, 20, 60, 90] [30, 5, 99, 50] [0, 0, 20, 20]. If nothing is absent, answer none. [Options]: heron||||none",
    "visual_dialogue/1": "Continue the dialogue about the image by answering the last question. Dialogue: "
    "A bird at a lake. Is it large? yes Question: What is next to [0, 0, 20, 20]?",
    "visual_subject_localization/2": 'The object is at [10, 20, 60, 90]; a subject stands in the relation "tall grass" '
    "to it. Where is the subject?",
    "visual_entailment/1": 'Does the image show that the statement "tall grass" is true? Answer yes, no or not sure. '
    "[Options]: heron||||none",
}


def prompt_of(instruction_id, **changes):
    name, number = instruction_id.split("/")
    task = REGISTRY[name]
    return render(task, task.instructions[int(number) - 1], example(task, **changes))


@pytest.mark.parametrize("instruction_id", SNAPSHOTS)
def test_prompt_snapshots(instruction_id):
    assert show(prompt_of(instruction_id)) == SNAPSHOTS[instruction_id]


def test_segments_keep_what_they_are():
    task = REGISTRY["region_caption_matching"]
    instance = example(task, options=(("yes",), ("no",)))
    assert render(task, 'In {region}: "{text}"? {options}', instance, option_markers=False) == (
        TextSegment("In "),
        RegionSegment(BOXES[0]),
        TextSegment(': "'),
        TextSegment("tall grass", truncatable=True),
        TextSegment('"? '),
        OptionsSegment((("yes",), ("no",)), markers=False),
    )


def test_only_the_text_of_the_instance_may_be_cut():
    for task in REGISTRY.values():
        instance = example(task)
        own = {*instance.question, *instance.text, *(piece for part in instance.context for piece in part)}
        for instruction in task.instructions:
            for segment in render(task, instruction, instance):
                if isinstance(segment, TextSegment) and segment.text.strip():
                    assert segment.truncatable == (segment.text in own)


@settings(max_examples=50, deadline=None)
@given(st.text(min_size=1).filter(str.strip))
def test_whatever_stands_in_a_text_is_inserted_as_it_is(text):
    prompt = prompt_of("visual_entailment/1", text=(text,))
    assert show(prompt).startswith(f'Does the image show that the statement "{text.strip()}" is true?')


def test_braces_and_markers_in_instance_text_are_harmless():
    text = "a {region} in {0} {options} [Options]: a||||b <bin_7> {"
    assert TextSegment(text, truncatable=True) in prompt_of("visual_entailment/2", text=(text,))


def test_white_space_around_instance_text_is_left_to_the_instruction():
    assert '"tall"' in show(prompt_of("visual_entailment/1", text=("  tall \n",)))
    assert '"in [10, 20, 60, 90]"' in show(prompt_of("visual_entailment/1", text=("in ", BOXES[0])))


def test_options_keep_their_order():
    options = tuple((word,) for word in ("c", "a", "b"))
    assert prompt_of("disaster_type_classification/1", options=options)[-1] == OptionsSegment(options, markers=True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("image_captioning", "image captioning ;"),
        ("grounded_captioning", "grounded captioning ; [10, 20, 60, 90]"),
        ("visual_dialogue", "visual dialogue ; A bird at a lake. Is it large? yes What is next to [0, 0, 20, 20]?"),
        ("object_matching", "object matching ; [10, 20, 60, 90] [30, 5, 99, 50] [Options]: heron||||none"),
        ("region_caption_matching", "region caption matching ; tall grass [10, 20, 60, 90] [Options]: heron||||none"),
    ],
)
def test_task_name_prompts_hold_the_inputs_in_a_fixed_order(name, expected):
    assert show(render_task_name(REGISTRY[name], example(REGISTRY[name]))) == expected


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("image_captioning", {}, (TextSegment("a heron"),)),
        ("visual_entailment", {}, (TextSegment("heron"),)),
        ("grounded_vqa", {}, (RegionSegment(BOXES[0]),)),
        ("visual_grounding", {}, (RegionSegment(BOXES[1]),)),
        ("object_grounding", {}, (RegionSegment(BOXES[0]), RegionSegment(BOXES[1]))),
        ("missing_object_selection", {}, (TextSegment("heron"),)),
        ("missing_object_selection", {"target_set": ()}, (TextSegment("none"),)),
    ],
)
def test_targets(name, changes, expected):
    assert render_target(REGISTRY[name], example(REGISTRY[name], **changes)) == expected


def test_a_set_of_options_is_joined_by_the_separator():
    options = (("cat",), ("a ", BOXES[0]), ("dog",))
    instance = example(REGISTRY["missing_object_selection"], options=options, target_set=options[1:])
    assert show(render_target(REGISTRY["missing_object_selection"], instance)) == "a [10, 20, 60, 90]||||dog"


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("open_domain_vqa", {"question": ()}, "question is missing, an input of open_domain_vqa"),
        ("visual_dialogue", {"context": ()}, "context is missing"),
        ("visual_entailment", {"options": None}, "options is missing"),
        ("visual_entailment", {"options": ()}, "options is missing"),
        ("grounded_captioning", {"regions": ()}, "takes exactly one region, region has 0"),
        ("grounded_captioning", {"regions": BOXES}, "takes exactly one region, region has 3"),
        ("object_matching", {"regions": BOXES[:1]}, "takes exactly two regions, region has 1"),
        ("missing_object_selection", {"regions": ()}, "takes at least one region"),
    ],
)
def test_a_missing_input_names_the_instance(name, changes, message):
    task = REGISTRY[name]
    instance = example(task, where="train.jsonl:7", **changes)
    with pytest.raises(DataError, match=message) as error:
        render(task, task.instructions[0], instance)
    assert str(error.value).startswith("train.jsonl:7: instance 'example': ")


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("visual_entailment", {"target": ("maybe",)}, "not one of the options"),
        ("visual_grounding", {"target": ("left",)}, "must be one box"),
        ("visual_grounding", {"target": BOXES[:2]}, "must be one box"),
        ("object_grounding", {"target": ("left",)}, "has no box"),
        ("dense_detection", {"target": ("red circle",)}, "has no box"),
        (
            "dense_detection",
            {"target": BOXES[:2]},
            "has no words, but the answer of dense_detection is labeled regions",
        ),
        ("image_captioning", {"target": (), "target_set": ()}, "target_txt is missing"),
        ("missing_object_selection", {"target_set": None, "target": ("heron",)}, "target_set is missing"),
        ("missing_object_selection", {"target_set": (("elk",),)}, "not one of the options"),
    ],
)
def test_a_target_that_does_not_suit_the_task_names_the_instance(name, changes, message):
    with pytest.raises(DataError, match=f"instance 'example': .*{message}"):
        render_target(REGISTRY[name], example(REGISTRY[name], **changes))


BRACES = {
    "Answer as {{x, y}}. {text}": ("Answer as {x, y}. ", "text", ""),
    "{{text}} is {text}": ("{text} is ", "text", ""),
    "{{{text}}}": ("{", "text", "}"),
    "}}{{": ("}{",),
    "{{{{": ("{{",),
    "{region}{text}}}": ("", "region", "", "text", "}"),
    "": ("",),
}


@pytest.mark.parametrize(("instruction", "parts"), BRACES.items(), ids=BRACES)
def test_braces_written_twice_are_text(instruction, parts):
    assert split_template(instruction) == parts
    assert join_template(parts) == instruction
    names = {name: f"<{name}>" for name in parts[1::2]}
    assert instruction.format(**names) == "".join(
        names[part] if place % 2 else part for place, part in enumerate(parts)
    )  # as in Python


def test_braces_reach_the_model():
    task = REGISTRY["visual_grounding"]
    prompt = render(task, 'Reply with JSON such as {{"box": []}} for: {text}', example(task))
    assert show(prompt) == 'Reply with JSON such as {"box": []} for: tall grass'


@given(st.lists(st.text(alphabet="ab {}", max_size=6), min_size=1, max_size=4))
def test_splitting_undoes_joining(literals):
    parts = [part for literal in literals for part in (literal, "text")][:-1]
    assert list(split_template(join_template(parts))) == parts


@pytest.mark.parametrize(
    "instruction",
    ["What is in {place}?", "A {stray brace", "{}", "{text!r}", "{text}}", "{{text}", "{{text}}}", "{ {text}", "{{}"],
)
def test_a_template_with_a_strange_brace_is_an_error(instruction):
    task = REGISTRY["visual_grounding"]
    with pytest.raises(ConfigError, match=r"brace|placeholder"):
        render(task, instruction, example(task))
