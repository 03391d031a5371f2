"""From an instruction and an instance to a prompt, and from an instance to its target.

An instruction is split into literals and placeholders once; filling it puts the instance's own
text, boxes and options between the literals as segments. Instance text is never formatted or
searched, so braces, markers or anything else in it stay what they are.
"""

from __future__ import annotations

from ofa_mi.errors import DataError
from ofa_mi.instances.instance import Instance, Text
from ofa_mi.instructions.prompt import (
    OPTION_SEPARATOR,
    OptionsSegment,
    Prompt,
    RegionSegment,
    Segment,
    TextSegment,
    text_segments,
)
from ofa_mi.instructions.spec import PLACEHOLDERS, TaskSpec, split_template

EMPTY_SET = "none"  # the target of a task whose answer is a set of options, when no option is right


def render(spec: TaskSpec, instruction: str, instance: Instance, *, option_markers: bool = True) -> Prompt:
    """Fill ``instruction`` with the inputs of ``instance``.

    Args:
        spec: The task of the instance.
        instruction: A template with ``{placeholders}``, usually one of ``spec.instructions``.
        instance: Where the inputs come from; its own text may be cut if the source gets too long,
            the instruction's never.
        option_markers: Whether options are written ``[Options]: a||||b`` or ``a, b``.

    Raises:
        ConfigError: The template has an unknown placeholder or a stray brace.
        DataError: The instance lacks one of the inputs, or has the wrong number of regions.
    """
    segments: list[Segment] = []
    for place, part in enumerate(split_template(instruction)):
        if place % 2:
            segments += _input(part, spec, instance, option_markers)
        elif part:
            segments.append(TextSegment(part))
    return tuple(segments)


def render_task_name(spec: TaskSpec, instance: Instance, *, option_markers: bool = True) -> Prompt:
    """The paper's TaskName prompt, ``name ; inputs``: no instruction, the inputs in a fixed order.

    The order is context, question, text, regions, options. Arguments and errors as in :func:`render`.
    """
    return render(spec, task_name_template(spec), instance, option_markers=option_markers)


def task_name_template(spec: TaskSpec) -> str:
    """Template of the TaskName prompt."""
    return f"{task_name_text(spec)} {inputs_template(spec)}".rstrip()


def inputs_template(spec: TaskSpec) -> str:
    """Template of a task's inputs in a fixed order, without any instruction; empty if it has none."""
    return " ".join(f"{{{name}}}" for name in PLACEHOLDERS if name in spec.inputs)


def task_name_text(spec: TaskSpec) -> str:
    """What the TaskName prompt begins with: ``visual grounding ;``."""
    return spec.name.replace("_", " ") + " ;"


def render_target(spec: TaskSpec, instance: Instance) -> Prompt:
    """What the model should answer: text, one option, boxes, boxes with words, or a set of options.

    A set is written as its options joined by the option separator, or ``none`` if it is empty.

    Raises:
        DataError: The target is not what ``spec.output`` says, or is not among the options.
    """
    if spec.output == "options":
        return _set_target(instance)
    if not instance.target:
        raise DataError(f"{instance.name}: target_txt is missing, but the answers of {spec.name} are not sets")
    if spec.output == "option" and instance.target not in (instance.options or ()):
        raise DataError(f"{instance.name}: target_txt is not one of the options of this {spec.name} instance")
    boxes = [piece for piece in instance.target if not isinstance(piece, str)]
    if spec.output == "region" and (len(boxes) != 1 or len(instance.target) != 1):
        raise DataError(f"{instance.name}: target_txt must be one box, the answer of {spec.name}")
    if spec.output in ("regions", "labeled_regions") and not boxes:
        raise DataError(f"{instance.name}: target_txt has no box, but the answer of {spec.name} is regions")
    if spec.output == "labeled_regions" and len(boxes) == len(instance.target):
        raise DataError(f"{instance.name}: target_txt has no words, but the answer of {spec.name} is labeled regions")
    return text_segments(instance.target, truncatable=False)


def _set_target(instance: Instance) -> Prompt:
    if instance.target_set is None:
        raise DataError(f"{instance.name}: target_set is missing; the answer of its task is a set of options")
    segments: list[Segment] = []
    for option in instance.target_set:
        if option not in (instance.options or ()):
            raise DataError(f"{instance.name}: target_set holds something that is not one of the options")
        if segments:
            segments.append(TextSegment(OPTION_SEPARATOR))
        segments += text_segments(option, truncatable=False)
    return tuple(segments) or (TextSegment(EMPTY_SET),)


def _input(name: str, spec: TaskSpec, instance: Instance, option_markers: bool) -> Prompt:
    """Segments of the input called ``name``."""
    if name.startswith("region"):
        return _regions(name, spec, instance)
    value = getattr(instance, name)
    if not value:
        raise DataError(f"{instance.name}: {name} is missing, an input of {spec.name}")
    if name == "options":
        return (OptionsSegment(value, option_markers),)
    parts = value if name == "context" else (value,)
    segments: list[Segment] = []
    for part in parts:
        if segments:
            segments.append(TextSegment(" "))
        segments += text_segments(_strip(part), truncatable=True)
    return tuple(segments)


def _regions(name: str, spec: TaskSpec, instance: Instance) -> Prompt:
    """The one region, the first or second of two, or all regions with a space between them."""
    boxes = instance.regions
    expected = {"region": 1, "region_1": 2, "region_2": 2}.get(name)
    if not boxes or expected not in (None, len(boxes)):
        wanted = {None: "at least one region", 1: "exactly one region", 2: "exactly two regions"}[expected]
        raise DataError(f"{instance.name}: {spec.name} takes {wanted}, region has {len(boxes)}")
    if name in ("region_1", "region_2"):
        boxes = (boxes[int(name[-1]) - 1],)
    segments: list[Segment] = [RegionSegment(boxes[0])]
    for box in boxes[1:]:
        segments += [TextSegment(" "), RegionSegment(box)]
    return tuple(segments)


def _strip(text: Text) -> Text:
    """``text`` without white space at its two ends; the instruction has its own."""
    pieces = list(text)
    if isinstance(pieces[0], str):
        pieces[0] = pieces[0].lstrip()
    if isinstance(pieces[-1], str):
        pieces[-1] = pieces[-1].rstrip()
    return tuple(pieces)
