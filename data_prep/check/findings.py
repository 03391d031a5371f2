"""What can be wrong with an instance, and the list of what is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ofa_mi.errors import DataError, shown
from ofa_mi.instances.answers import normalise
from ofa_mi.instances.instance import Instance, Text, is_blank
from ofa_mi.instructions.prompt import OPTION_SEPARATOR, OPTIONS_MARKER
from ofa_mi.instructions.rendering import render, render_target, render_task_name
from ofa_mi.instructions.spec import TaskSpec

# Kinds of findings in the order in which they are reported, and what each one means.
KINDS = {
    "manifest": "the manifest says something else than the files",
    "line": "not a line of JSON in UTF-8, or not one of OFA's TSV files",
    "schema": "not an instance",
    "box": "a box that is not inside its image, less than a pixel wide or high, or not in pixels",
    "task": "a task that nobody knows",
    "split": "an evaluation task among the training instances",
    "inputs": "an input of the task or its image is missing, or there are too many or too few",
    "target": "an answer that the task cannot have",
    "answers": "right answers that cannot be what they say",
    "options": "options that cannot be told apart, or are none",
    "text": "text that breaks the prompt",
    "id": "an id that another instance has",
    "image": "an image that is missing, outside the directory, unreadable or of another size",
}
TRAINING_SPLIT = "train"

# Tabs and line breaks are white space to the encoder; any other control character is debris of a bad conversion.
_BREAKS_PROMPT = re.compile(
    r"(?P<control>[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f])"
    rf"|(?P<marker>{re.escape(OPTION_SEPARATOR)}|{re.escape(OPTIONS_MARKER)})",
    re.IGNORECASE,  # prompts are lower-cased
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: One of :data:`KINDS`.
        file: Number of the file among those that are checked.
        line: Line of the file, from 1; 0 for the file as a whole.
        message: What is wrong, with the name of the instance.
    """

    kind: str
    file: int
    line: int
    message: str


class Findings:
    """All findings by kind: how many, and the first ones of each kind.

    Args:
        keep: Findings of a kind that are kept; of the others only the number is.

    Attributes:
        counts: Number of findings by kind.
    """

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.counts: Counter[str] = Counter()
        self._kept: dict[str, list[Finding]] = {}

    def __len__(self) -> int:
        return sum(self.counts.values())

    def __iter__(self) -> Iterator[Finding]:
        """Those that are kept, by kind."""
        return (finding for kind in self.kinds() for finding in self.of(kind))

    def kinds(self) -> list[str]:
        """Kinds of which there are any, in the order of :data:`KINDS`."""
        return [kind for kind in KINDS if self.counts[kind]]

    def of(self, kind: str) -> list[Finding]:
        """Those of one kind that are kept."""
        return self._kept.get(kind, [])

    def add(self, kind: str, file: int, line: int, message: str | Callable[[], str]) -> None:
        """Add one; a message that must be put together first is a function, called if the finding is kept."""
        self.counts[kind] += 1
        kept = self._kept.setdefault(kind, [])
        if len(kept) < self.keep:
            kept.append(Finding(kind, file, line, message if isinstance(message, str) else message()))

    def extend(self, later: Findings, lines: int) -> None:
        """Add the findings of a later part of a file, which begins after ``lines`` lines."""
        self.counts.update(later.counts)
        for kind, findings in later._kept.items():
            kept = self._kept.setdefault(kind, [])
            room = self.keep - len(kept)
            kept += [replace(finding, line=finding.line + lines) for finding in findings[:room]]


def parse(read: Callable[[bytes, str, int], Instance], line: bytes, offset: int) -> Instance | tuple[str, str]:
    """The instance on a line, or what kind of finding the line is, and its message.

    Args:
        read: Makes an instance of a line, where it is (not said here), and its place in the file in bytes.
        line: The line.
        offset: Its place.
    """
    try:
        return read(line, "", offset)
    except DataError as error:
        return error.kind or "schema", str(error).removeprefix(": ")


def check_instance(instance: Instance, spec: TaskSpec | None, split: str) -> Iterator[tuple[str, str]]:
    """What is wrong with an instance that could be parsed, as pairs of kind and message.

    Its id and its image are not looked at: they take the whole directory.

    Args:
        instance: The instance.
        spec: Its task; None if nobody knows it.
        split: Name of the split it is in.
    """
    if spec is None:
        yield (
            "task",
            f"{instance.name}: unknown task {shown(instance.task_name)}; --instruction-dir adds tasks of your own",
        )
    else:
        if spec.split == "eval" and split == TRAINING_SPLIT:
            yield "split", f"{instance.name}: {spec.name} is an evaluation task, which must not be trained on"
        yield from _attempt("inputs", lambda: _check_inputs(spec, instance))
        if instance.image_path is None and not spec.text_only:
            yield (
                "inputs",
                f"{instance.name}: has no image, which {spec.name} asks about; give image_path and image_size",
            )
        yield from _attempt("target", lambda: render_target(spec, instance))
        if spec.output in ("option", "options"):
            yield from _check_options(instance, spec)
    for box in instance.boxes():
        if max(box) <= 1:  # smaller ones are refused
            yield (
                "box",
                f"{instance.name}: box {list(box)} is the first pixel; boxes are in pixels, not in shares of the image",
            )
    yield from _check_text(instance)


def _attempt(kind: str, check: Callable[[], object]) -> Iterator[tuple[str, str]]:
    try:
        check()
    except DataError as error:
        yield kind, str(error)


def _check_inputs(spec: TaskSpec, instance: Instance) -> None:
    """Raise DataError unless the instance has every input of its task, and no region that the task does not take."""
    if spec.instructions:
        render(spec, spec.instructions[0], instance)
    else:
        render_task_name(spec, instance)
    if instance.regions and not any(name.startswith("region") for name in spec.inputs):
        raise DataError(f"{instance.name}: {spec.name} takes no region, region has {len(instance.regions)}")


def _check_options(instance: Instance, spec: TaskSpec) -> Iterator[tuple[str, str]]:
    options = instance.options or ()
    if spec.output == "option" and len(options) == 1:
        yield "options", f"{instance.name}: has one option, so there is nothing to choose"
    first: dict[tuple, int] = {}
    for number, option in enumerate(options, 1):
        if is_blank(option):
            yield "options", f"{instance.name}: option {number} is empty"
        earlier = first.setdefault(option_key(option), number)
        if earlier != number:
            yield "options", f"{instance.name}: options {earlier} and {number} are the same to a metric"


def option_key(option: Text) -> tuple:
    """Equal for options that a metric takes for the same: their boxes, and their text as accuracy compares it."""
    return tuple(normalise(piece) if isinstance(piece, str) else piece for piece in option)


def _check_text(instance: Instance) -> Iterator[tuple[str, str]]:
    texts = [instance.question, instance.text, instance.target]
    texts += [*instance.context, *(instance.options or ()), *(instance.target_set or ())]
    pieces = [piece for text in texts for piece in text if isinstance(piece, str)]
    found = _BREAKS_PROMPT.search("\n".join((*pieces, *instance.references)))
    if found is None:
        pass
    elif found["marker"]:
        yield "text", f"{instance.name}: a text holds {shown(found['marker'])}, which marks options in a prompt"
    else:
        yield "text", f"{instance.name}: a text holds the control character {shown(found['control'])}"
    for name in ("question", "text"):
        value = getattr(instance, name)
        if value and is_blank(value):
            yield "text", f"{instance.name}: {name} is nothing but white space"
