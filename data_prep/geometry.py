"""Boxes of source data sets: from width and height to corners, and into the image.

A box is ``(x0, y0, x1, y1)`` in pixels.
"""

from __future__ import annotations

from ofa_mi.data.instance import LEAST_SIDE, Box

DECIMALS = 2  # of a pixel; annotations hold more digits than they know


def box_of(x: float, y: float, width: float, height: float, image_size: tuple[int, int]) -> Box | None:
    """A box given by corner, width and height, cut to the image; None as in :func:`clip`."""
    return clip((x, y, x + width, y + height), image_size)


def clip(box: Box, image_size: tuple[int, int]) -> Box | None:
    """The part of a box that lies in the image, rounded to hundredths of a pixel.

    Args:
        box: Corners in pixels.
        image_size: ``(width, height)`` in pixels.

    Returns:
        The box; None if less than a pixel of its width or height lies in the image, which no instance may have.
    """
    width, height = image_size
    x0, x1 = (_tidy(min(max(x, 0), width)) for x in (box[0], box[2]))
    y0, y1 = (_tidy(min(max(y, 0), height)) for y in (box[1], box[3]))
    return (x0, y0, x1, y1) if x1 - x0 >= LEAST_SIDE and y1 - y0 >= LEAST_SIDE else None


def area(box: Box) -> float:
    """Area in square pixels."""
    return (box[2] - box[0]) * (box[3] - box[1])


def intersection(p: Box, q: Box) -> float:
    """Shared area of two boxes in square pixels."""
    width = min(p[2], q[2]) - max(p[0], q[0])
    height = min(p[3], q[3]) - max(p[1], q[1])
    return max(width, 0) * max(height, 0)


def iou(p: Box, q: Box) -> float:
    """Intersection over union of two boxes with an area."""
    shared = intersection(p, q)
    return shared / (area(p) + area(q) - shared)


def _tidy(value: float) -> float | int:
    value = round(float(value), DECIMALS)
    return int(value) if value.is_integer() else value
