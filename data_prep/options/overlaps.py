"""When boxes overlap clearly, when they are clearly apart, and which overlaps more: the geometry of the region tasks.

Two boxes *overlap* if they share at least :data:`CLEAR_OVERLAP` of the smaller one; they are *apart* if at least
:data:`CLEAR_GAP` pixels lie between them. Between the two nothing is said about a pair, so that no answer hangs on a
pixel. One of two boxes overlaps *more* with a third if it does so by the factor :data:`MARGIN` both in shared area and
in intersection over union (IoU).

:class:`Overlaps` applies the same definitions to all pairs of many boxes at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ofa_mi.geometry import Box, area, intersection, iou

CLEAR_OVERLAP = 0.15  # least share of the smaller box
CLEAR_GAP = 2  # pixels
MARGIN = 1.5  # ratio between an overlap and a smaller one


def overlaps(p: Box, q: Box) -> bool:
    """Whether two boxes overlap."""
    return intersection(p, q) >= CLEAR_OVERLAP * min(area(p), area(q))


def apart(p: Box, q: Box) -> bool:
    """Whether two boxes are apart."""
    return max(p[0] - q[2], q[0] - p[2], p[1] - q[3], q[1] - p[3]) >= CLEAR_GAP


def exceeds(region: Box, more: Box, less: Box) -> bool:
    """Whether ``more`` overlaps more with ``region`` than ``less`` does."""
    return intersection(region, more) >= MARGIN * intersection(region, less) and (
        iou(region, more) >= MARGIN * iou(region, less)
    )


class Overlaps:
    """Overlaps of all pairs of ``N`` boxes.

    Args:
        boxes: The boxes; each has an area.

    Attributes:
        area: Areas in square pixels, ``(N,)``.
        shared: Shared areas in square pixels, ``(N, N)``.
        iou: Intersections over union, ``(N, N)``.
        overlap: Which boxes overlap, bool ``(N, N)``.
        apart: Which boxes are apart, bool ``(N, N)``.
    """

    def __init__(self, boxes: Sequence[Box]) -> None:
        corners = np.array(boxes, dtype=np.float64).reshape(-1, 4)
        low, high = corners[:, :2], corners[:, 2:]  # N, 2
        sides = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)  # N, N, 2; negative: a gap
        self.area = (high - low).prod(axis=1)
        self.shared = sides.clip(min=0).prod(axis=2)
        self.iou = self.shared / (self.area[:, None] + self.area - self.shared)
        self.overlap = self.shared >= CLEAR_OVERLAP * np.minimum(self.area[:, None], self.area)
        self.apart = (-sides >= CLEAR_GAP).any(axis=2)

    def exceeds(self, more: np.ndarray, less: np.ndarray) -> np.ndarray:
        """For every box as the region: whether box ``more[t]`` overlaps more with it than ``less[t]``.

        Args:
            more: Numbers of boxes, int ``(T,)``.
            less: The same.

        Returns:
            bool ``(N, T)``.
        """
        by_area = self.shared[:, more] >= MARGIN * self.shared[:, less]
        return by_area & (self.iou[:, more] >= MARGIN * self.iou[:, less])
