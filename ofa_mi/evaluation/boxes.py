"""Overlap of boxes, and which box belongs to which; what the region metrics are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ofa_mi.data.instance import Box


def box_iou(first: Box, second: Box) -> float:
    """Intersection over union of two boxes ``(x0, y0, x1, y1)``, in [0, 1].

    A generated box may be empty or reversed (its second corner before its first); it overlaps nothing.
    """
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0 or _area(first) <= 0 or _area(second) <= 0:
        return 0.0
    overlap = width * height
    return overlap / (_area(first) + _area(second) - overlap)


def pairwise_iou(first: Sequence[Box], second: Sequence[Box]) -> np.ndarray:
    """IoU of every box of ``first`` with every box of ``second``, float64 ``(len(first), len(second))``."""
    return np.array([[box_iou(a, b) for b in second] for a in first], dtype=np.float64).reshape(len(first), len(second))


def count_matches(first: Sequence[Box], second: Sequence[Box], threshold: float) -> int:
    """Largest number of one-to-one pairs of boxes that overlap with IoU ``threshold`` or more."""
    from scipy.optimize import linear_sum_assignment  # here, because SciPy takes long to import

    close = pairwise_iou(first, second) >= threshold
    rows, columns = linear_sum_assignment(close, maximize=True)
    return int(close[rows, columns].sum())


def closest(box: Box, candidates: Sequence[Box]) -> int | None:
    """Index of the candidate with the highest IoU with ``box``, the first of equals; None if none overlaps it."""
    overlaps = [box_iou(box, candidate) for candidate in candidates]
    best = max(overlaps, default=0.0)
    return overlaps.index(best) if best > 0 else None


def _area(box: Box) -> float:
    return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)
