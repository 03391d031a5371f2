"""An example instance for every task, and prompts as people read them."""

from ofa_mi.instances.instance import Instance, plain
from ofa_mi.instructions.prompt import OPTION_SEPARATOR, OPTIONS_MARKER, OptionsSegment, Prompt, RegionSegment
from ofa_mi.instructions.spec import TaskSpec

BOXES = ((10, 20, 60, 90), (30, 5, 99, 50), (0, 0, 20, 20))


def example(spec: TaskSpec, **changes) -> Instance:
    """An instance with exactly the inputs that ``spec`` declares."""
    inputs = set(spec.inputs)
    options = tuple((box,) for box in BOXES) if "region_accuracy" in spec.metrics else (("heron",), ("none",))
    fields = {"unique_id": "example", "task_name": spec.name, "image_path": "a.png", "image_size": (100, 100)}
    if "question" in inputs:
        fields["question"] = ("What is next to ", BOXES[2], "?")
    if "text" in inputs:
        fields["text"] = ("tall grass",)
    if "context" in inputs:
        fields["context"] = (("A bird at a lake.",), ("Is it large? yes",))
    if "options" in inputs:
        fields["options"] = options
    for name, number in {"region": 1, "region_1": 2, "regions": 3}.items():
        if name in inputs:
            fields["regions"] = BOXES[:number]
    targets = {"text": ("a heron",), "option": options[0], "region": (BOXES[1],), "regions": BOXES[:2], "options": ()}
    targets["labeled_regions"] = (BOXES[0], " heron ", BOXES[1], " tall grass")
    fields["target"] = targets[spec.output]
    fields["target_set"] = (options[0],) if spec.output == "options" else None
    return Instance(**(fields | changes))


def show(prompt: Prompt) -> str:
    """``prompt`` as one string, boxes in pixels."""
    return "".join(map(_show_segment, prompt))


def _show_segment(segment) -> str:
    if isinstance(segment, RegionSegment):
        return plain((segment.box,))
    if isinstance(segment, OptionsSegment):
        options = [plain(option) for option in segment.options]
        return f"{OPTIONS_MARKER} {OPTION_SEPARATOR.join(options)}" if segment.markers else ", ".join(options)
    return segment.text
