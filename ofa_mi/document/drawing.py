"""Boxes on images, for people: predicted, true and given regions that can be told apart.

Colours are of the palette by Okabe and Ito (2008), which people with any kind of colour blindness can tell apart; true
boxes are dashed besides, so that a print without colours shows them, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from ofa_mi.geometry import Box, area


@dataclass(frozen=True)
class Style:
    """How the boxes of one kind look.

    Attributes:
        color: ``#rrggbb``.
        dashed: Dashed instead of solid lines.
    """

    color: str
    dashed: bool = False


STYLES = {
    "predicted": Style("#D55E00"),  # vermilion
    "true": Style("#009E73", dashed=True),  # bluish green
    "region": Style("#56B4E9"),  # sky blue: a region that the question mentions
}
OTHER_STYLES = (Style("#F0E442"), Style("#CC79A7"), Style("#0072B2", dashed=True), Style("#E69F00", dashed=True))
MIN_SIDE = 480  # pixels; smaller images are enlarged to this, so that lines and labels are legible
DASH = 3  # length of a dash, in line widths


def draw_boxes(image: Image.Image, boxes: Mapping[str, Sequence[Box]], *, min_side: int = MIN_SIDE) -> Image.Image:
    """Draw labelled boxes on a copy of ``image``.

    Args:
        image: Any size and mode.
        boxes: Boxes (x0, y0, x1, y1), in pixels of ``image``, by label. The labels ``predicted``, ``true`` and
            ``region`` have fixed styles. Corners may be in any order and lie outside the image.
        min_side: The longer side of the result has at least so many pixels.

    Returns:
        RGB image; the larger of two boxes is drawn first.
    """
    scale = max(1.0, min_side / max(image.size))
    size = tuple(max(1, round(side * scale)) for side in image.size)
    # Nearest neighbour keeps the pixels of tiny images recognisable as what the model saw.
    canvas = image.convert("RGB").resize(size, Image.Resampling.NEAREST if scale > 4 else Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(canvas)
    width = max(2, round(max(size) / 200))
    font = ImageFont.load_default(max(12, round(max(size) / 36)))

    others = iter(OTHER_STYLES * len(boxes))
    styles = {label: STYLES[label] if label in STYLES else next(others) for label in boxes}
    placed = [(label, _on_canvas(box, scale, size)) for label, group in boxes.items() for box in group]
    placed.sort(key=lambda item: -area(item[1]))
    for label, box in placed:
        _outline(pen, box, styles[label], width)
    taken: list[Box] = []
    for label, box in placed:
        taken.append(_label(pen, label, box, styles[label].color, font, size, taken))
    return canvas


def _on_canvas(box: Box, scale: float, size: tuple[int, int]) -> Box:
    """``box`` in pixels of the canvas, its corners in order and inside."""
    xs, ys = (sorted(min(max(c * scale, 0), side - 1) for c in box[i::2]) for i, side in enumerate(size))
    return xs[0], ys[0], xs[1], ys[1]


def _outline(pen: ImageDraw.ImageDraw, box: Box, style: Style, width: int) -> None:
    """The frame of a box, on a dark edge so that it shows on any background."""
    for color, extra in (("#000000", 2), (style.color, 0)):
        if not style.dashed:
            pen.rectangle(box, outline=color, width=width + extra)
            continue
        x0, y0, x1, y1 = box
        for start, end in (((x0, y0), (x1, y0)), ((x1, y0), (x1, y1)), ((x1, y1), (x0, y1)), ((x0, y1), (x0, y0))):
            _dashed(pen, start, end, color, width + extra, DASH * width)


def _dashed(pen, start: tuple[float, float], end: tuple[float, float], color: str, width: int, dash: float) -> None:
    length = max(abs(end[0] - start[0]), abs(end[1] - start[1]))
    step = [(b - a) / max(length, 1) for a, b in zip(start, end, strict=True)]
    for at in range(0, int(length) + 1, int(2 * dash)):
        to = min(at + dash, length)
        points = [(start[0] + step[0] * t, start[1] + step[1] * t) for t in (at, to)]
        pen.line(points, fill=color, width=width)


def _label(pen, text: str, box: Box, color: str, font, size: tuple[int, int], taken: Sequence[Box]) -> Box:
    """Write ``text`` above ``box`` if there is room, otherwise inside or below, clear of other labels."""
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    width, height = right - left + 6, bottom - top + 4
    x = min(max(box[0], 0), max(size[0] - width, 0))
    candidates = [box[1] - height, box[1] + 2, box[3] + 2, box[3] - height, *(other[3] + 1 for other in taken)]
    inside = [y for y in candidates if 0 <= y <= size[1] - height] or [0.0]
    clear = [y for y in inside if not any(_overlap((x, y, x + width, y + height), other) for other in taken)]
    y = (clear or inside)[0]
    place = (x, y, x + width, y + height)
    pen.rectangle(place, fill=color)
    pen.text((x + 3 - left, y + 2 - top), text, fill=_ink(color), font=font)
    return place


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _ink(color: str) -> str:
    """Black on light colours, white on dark ones (relative luminance, ITU-R BT.709)."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return "#000000" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 110 else "#FFFFFF"
