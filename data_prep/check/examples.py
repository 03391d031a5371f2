"""Examples for a data card: the prompt, the target, and the image with its boxes; drawn by a rule, not picked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ofa_mi.data_prep.check.scan import DataFile, Scan
from ofa_mi.document.drawing import draw_boxes
from ofa_mi.document.pictures import small_jpeg
from ofa_mi.errors import DataError
from ofa_mi.geometry import Box
from ofa_mi.instances.images import load_image
from ofa_mi.instances.instance import Instance, plain
from ofa_mi.instructions.prompt import OPTION_SEPARATOR, OPTIONS_MARKER, OptionsSegment, Prompt, RegionSegment
from ofa_mi.instructions.registry import Registry
from ofa_mi.instructions.rendering import render, render_target, render_task_name
from ofa_mi.instructions.spec import TaskSpec

MAX_SIDE = 400  # pixels of a picture
MAX_BYTES = 60_000  # of a picture
TRIED = 20  # instances of a task that are tried until there are enough good ones


@dataclass(frozen=True, slots=True)
class Example:
    """One instance as a model sees it.

    Attributes:
        task: Its task.
        line: Where it stands.
        unique_id: Its id.
        instruction: Id of the instruction, or the task's name if it has none.
        prompt: The prompt for people, boxes in pixels.
        target: The answer for people.
        references: Further right answers.
        picture: JPEG of the image with its boxes; None for text only.
        picture_name: File name of the picture.
    """

    task: str
    line: str
    unique_id: str
    instruction: str
    prompt: str
    target: str
    references: tuple[str, ...]
    picture: bytes | None
    picture_name: str | None

    def record(self) -> dict[str, Any]:
        """What can be written as JSON: everything but the picture itself."""
        names = ("task", "line", "unique_id", "instruction", "prompt", "target", "references", "picture_name")
        return {name: getattr(self, name) for name in names}


def choose_examples(scan: Scan, registry: Registry, *, count: int) -> list[Example]:
    """The ``count`` instances of each task whose ids have the smallest hashes, with different images if possible.

    Instances that cannot be rendered are passed over. One task shows its instructions one after the other.
    """
    examples = []
    for number, task in sorted(enumerate(scan.tasks), key=lambda item: item[1]):
        spec = registry.get(task)
        if spec is not None:
            rows = scan.rows[scan.rows["task"] == number]
            rows = rows[np.argsort(rows["id"], kind="stable")[:TRIED]]
            examples += _of_task(scan, spec, rows, count)
    return examples


def prompt_text(prompt: Prompt) -> str:
    """A prompt or target for people: boxes in pixels, options with their markers."""
    parts = []
    for segment in prompt:
        if isinstance(segment, OptionsSegment):
            parts.append(f"{OPTIONS_MARKER} {OPTION_SEPARATOR.join(map(plain, segment.options))}")
        elif isinstance(segment, RegionSegment):
            parts.append(plain((segment.box,)) if not parts or parts[-1][-1:] != "]" else f" {plain((segment.box,))}")
        else:
            parts.append(segment.text)
    return "".join(parts)


def _of_task(scan: Scan, spec: TaskSpec, rows: Iterable[np.void], count: int) -> list[Example]:
    chosen: list[Example] = []
    images: set[str | None] = set()
    spare: list[np.void] = []
    for row in rows:
        if scan.instance(row).image_path in images:
            spare.append(row)
        elif (example := _example(scan, spec, row, len(chosen))) is not None:
            images.add(scan.instance(row).image_path)
            images.discard(None)  # of instances without an image there may be several
            chosen.append(example)
        if len(chosen) == count:
            return chosen
    for row in spare:
        if len(chosen) < count and (example := _example(scan, spec, row, len(chosen))) is not None:
            chosen.append(example)
    return chosen


def _example(scan: Scan, spec: TaskSpec, row: np.void, number: int) -> Example | None:
    """One example; None if the instance cannot be rendered or its image cannot be read."""
    instance = scan.instance(row)
    try:
        if spec.instructions:
            place = number % len(spec.instructions)
            instruction, prompt = spec.instruction_ids[place], render(spec, spec.instructions[place], instance)
        else:
            instruction, prompt = spec.name, render_task_name(spec, instance)
        target = render_target(spec, instance)
        picture = None if instance.image_path is None else draw(instance, scan.files[row["file"]])
    except DataError:
        return None
    return Example(
        task=spec.name,
        line=instance.where,
        unique_id=instance.unique_id,
        instruction=instruction,
        prompt=prompt_text(prompt),
        target=prompt_text(target),
        references=instance.references,
        picture=picture,
        picture_name=f"{spec.name}-{number + 1}.jpg" if picture else None,
    )


def draw(instance: Instance, file: DataFile) -> bytes:
    """JPEG of the image of an instance of a file, with its boxes.

    Raises:
        DataError: The image is missing, corrupt, outside the directory, or of another size than the instance says.
    """
    image = load_image(file.image_file(instance), name=instance.name, size=instance.image_size)
    boxes = {label: group for label, group in _labelled(instance).items() if group}
    if boxes:
        image = draw_boxes(image, boxes)
    return small_jpeg(image, (MAX_SIDE, MAX_SIDE), MAX_BYTES)


def _labelled(instance: Instance) -> dict[str, list[Box]]:
    """Boxes of an instance by what they are, each once."""
    texts = [instance.question, instance.text, *instance.context]
    true = _boxes([instance.target, *(instance.target_set or ())])
    options = [box for box in _boxes(instance.options or ()) if box not in true]
    mentioned = [box for box in _boxes(texts) if box not in true]
    return {
        "region": list(dict.fromkeys(instance.regions)),
        "text": [box for box in mentioned if box not in options],
        "option": options,
        "true": true,
    }


def _boxes(texts: Iterable) -> list[Box]:
    return list(dict.fromkeys(piece for text in texts for piece in text if not isinstance(piece, str)))
