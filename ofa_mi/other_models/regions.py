"""Boxes as models without location tokens read and write them.

Three forms, each with one pattern that finds its boxes in an answer:

- ``pixels``: ``[x0, y0, x1, y1]`` in pixels of the image that is shown;
- ``thousandths``: the same, in thousandths of its width and height;
- ``drawn``: boxes are drawn on the image with a number, and ``[1]`` stands for one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from ofa_mi.document.drawing import draw_boxes
from ofa_mi.geometry import DECIMALS, Box

if TYPE_CHECKING:
    from PIL import Image

THOUSAND = 1000

_NUMBER = r"(-?[0-9]{1,7}(?:\.[0-9]{1,9})?)"
COORDINATES = re.compile(r"[\[(]\s*" + r"\s*,\s*".join([_NUMBER] * 4) + r"\s*[\])]")
NUMBERED = re.compile(r"\[([0-9]{1,4})\]|\b(?:region|box)\s+([0-9]{1,4})\b|\A\W*([0-9]{1,4})\W*\Z", re.IGNORECASE)

Size = tuple[int, int]


class Form(Protocol):
    """How the boxes of one question are written and read.

    Attributes:
        note: What the model is told about it.
    """

    note: str

    def write(self, box: Box) -> str:
        """A box, in pixels of the instance's own image, as text."""
        ...

    def read(self, text: str) -> tuple[str, tuple[Box, ...]]:
        """What is left of an answer without its boxes, and these, in pixels of the instance's own image."""
        ...

    def shown(self, image: Image.Image | None) -> Image.Image | None:
        """The image as the model sees it."""
        ...


def form_of(name: str, boxes: Sequence[Box], image_size: Size, shown_size: Size) -> Form:
    """The form for one question.

    Args:
        name: One of :data:`~ofa_mi.other_models.REGION_FORMS`.
        boxes: All boxes that the question mentions.
        image_size: (width, height) in pixels that boxes refer to.
        shown_size: The same of the image that the model sees, which may be that of another instance: a box keeps its
            place relative to the image's sides, as OFA's location tokens do.
    """
    if name == "drawn":
        return Drawn(boxes, image_size)
    return Coordinates(image_size, shown_size) if name == "pixels" else Coordinates(image_size, (THOUSAND, THOUSAND))


class Coordinates:
    """Boxes as four numbers.

    Args:
        image_size: (width, height) in pixels that boxes refer to.
        range_size: What its right and lower edge are written as.
    """

    def __init__(self, image_size: Size, range_size: Size) -> None:
        self.image_size, self.range_size = image_size, range_size
        width, height = range_size
        unit = (
            "thousandths of the image's width and height"
            if range_size == (THOUSAND, THOUSAND)
            else f"pixels of the image, which is {width} wide and {height} high"
        )
        self.note = f"Regions are boxes, written as [left, top, right, bottom] in {unit}."

    def write(self, box: Box) -> str:
        """As in :class:`Form`, rounded to whole numbers."""
        scaled = (c / own * whole for c, own, whole in zip(box, self.image_size * 2, self.range_size * 2, strict=True))
        return "[" + ", ".join(f"{c:.0f}" for c in scaled) + "]"

    def read(self, text: str) -> tuple[str, tuple[Box, ...]]:
        """As in :class:`Form`; what lies outside the image is cut off, and reversed boxes stay reversed."""
        found = tuple(self._box(match.groups()) for match in COORDINATES.finditer(text))
        return COORDINATES.sub(" ", text), found

    def shown(self, image: Image.Image | None) -> Image.Image | None:
        """As in :class:`Form`: as it is."""
        return image

    def _box(self, numbers: Sequence[str]) -> Box:
        x0, y0, x1, y1 = (
            round(min(max(float(number) / whole * own, 0.0), float(own)), DECIMALS)
            for number, whole, own in zip(numbers, self.range_size * 2, self.image_size * 2, strict=True)
        )
        return x0, y0, x1, y1


class Drawn:
    """Boxes as numbers that are drawn on the image, from 1.

    Args:
        boxes: In the order of their numbers; one that comes again keeps its number.
        image_size: (width, height) in pixels that they refer to.
    """

    def __init__(self, boxes: Sequence[Box], image_size: Size) -> None:
        self.boxes, self.image_size = list(dict.fromkeys(boxes)), image_size
        last = len(self.boxes)
        numbers = "[1]" if last == 1 else f"from [1] to [{last}]"
        self.note = f"Regions are boxes, drawn on the image and written as their number in brackets, {numbers}."

    def write(self, box: Box) -> str:
        """As in :class:`Form`."""
        return f"[{self.boxes.index(box) + 1}]"

    def read(self, text: str) -> tuple[str, tuple[Box, ...]]:
        """As in :class:`Form`; numbers that no box has stay text."""
        found: list[Box] = []

        def take(match: re.Match[str]) -> str:
            number = int(next(filter(None, match.groups())))
            if not 1 <= number <= len(self.boxes):
                return match[0]
            found.append(self.boxes[number - 1])
            return " "

        return NUMBERED.sub(take, text), tuple(found)

    def shown(self, image: Image.Image | None) -> Image.Image | None:
        """As in :class:`Form`: with the boxes on it."""
        if image is None:
            return None
        scale = tuple(side / own for side, own in zip(image.size, self.image_size, strict=True)) * 2
        placed = [tuple(c * s for c, s in zip(box, scale, strict=True)) for box in self.boxes]
        return draw_boxes(image, {str(number): [box] for number, box in enumerate(placed, start=1)})
