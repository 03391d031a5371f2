"""Boxes: their check, area, overlap and matching.

A box is ``(x0, y0, x1, y1)`` in pixels of the original image. One of an instance has ``0 <= x0 < x1 <= width`` and
``0 <= y0 < y1 <= height`` and is at least a pixel wide and high (:func:`check_box`); one that a model generated may
be empty or reversed, its second corner before its first, and then has no area and overlaps nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ofa_mi.errors import DataError

if TYPE_CHECKING:
    import numpy as np

Box = tuple[float, float, float, float]
LEAST_SIDE = 1.0  # pixels of a box
DECIMALS = 2  # of a pixel; annotations hold more digits than they know


def check_box(box: Box, image_size: tuple[int, int], name: str) -> None:
    """Raise :class:`DataError` naming ``name`` unless ``box`` is at least a pixel wide and high and inside the image.

    Args:
        box: ``(x0, y0, x1, y1)`` in pixels.
        image_size: ``(width, height)`` in pixels.
    """
    x0, y0, x1, y1 = box
    width, height = image_size
    if not all(map(math.isfinite, box)):
        wrong = "has a coordinate that is not finite"
    elif x1 <= x0 or y1 <= y0:
        wrong = "is empty or reversed; it must have x0 < x1 and y0 < y1"
    elif x0 < 0 or y0 < 0 or x1 > width or y1 > height:
        wrong = f"reaches outside the {width}x{height} image"
    elif x1 - x0 < LEAST_SIDE or y1 - y0 < LEAST_SIDE:
        wrong = "is less than a pixel wide or high"
        wrong += "; boxes are in pixels, not in shares of the image" if max(box) <= 1 else ""
    else:
        return
    raise DataError(f"{name}: box {list(box)} {wrong}", kind="box")


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
    """Area in square pixels; 0 if the box is empty or reversed."""
    return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)


def intersection(p: Box, q: Box) -> float:
    """Shared area of two boxes in square pixels."""
    width = min(p[2], q[2]) - max(p[0], q[0])
    height = min(p[3], q[3]) - max(p[1], q[1])
    return max(width, 0) * max(height, 0)


def iou(p: Box, q: Box) -> float:
    """Intersection over union of two boxes, in [0, 1]; 0 if one of them is empty or reversed."""
    first, second = area(p), area(q)
    if first <= 0 or second <= 0:
        return 0.0
    shared = intersection(p, q)
    return shared / (first + second - shared)


def pairwise_iou(first: Sequence[Box], second: Sequence[Box]) -> np.ndarray:
    """IoU of every box of ``first`` with every box of ``second``, float64 ``(len(first), len(second))``."""
    import numpy as np  # here, because what only reads boxes takes no numpy

    return np.array([[iou(a, b) for b in second] for a in first], dtype=np.float64).reshape(len(first), len(second))


def count_matches(first: Sequence[Box], second: Sequence[Box], threshold: float) -> int:
    """Largest number of one-to-one pairs of boxes that overlap with IoU ``threshold`` or more."""
    from scipy.optimize import linear_sum_assignment  # here, because SciPy takes long to import

    close = pairwise_iou(first, second) >= threshold
    rows, columns = linear_sum_assignment(close, maximize=True)
    return int(close[rows, columns].sum())


def closest(box: Box, candidates: Sequence[Box]) -> int | None:
    """Index of the candidate with the highest IoU with ``box``, the first of equals; None if none overlaps it."""
    overlaps = [iou(box, candidate) for candidate in candidates]
    best = max(overlaps, default=0.0)
    return overlaps.index(best) if best > 0 else None


def _tidy(value: float) -> float | int:
    value = round(float(value), DECIMALS)
    return int(value) if value.is_integer() else value
