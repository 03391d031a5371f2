"""Clear overlaps: the definitions at their edges, and the same for many boxes at once."""

import itertools
import random

import numpy as np
import pytest

from ofa_mi.data_prep.options.overlaps import Overlaps, apart, exceeds, overlaps
from ofa_mi.geometry import area, intersection, iou

SQUARE = (100, 100, 200, 200)


@pytest.mark.parametrize(
    ("other", "overlapping", "clear"),
    [
        ((185, 100, 285, 200), True, False),  # 15 % of each
        ((186, 100, 286, 200), False, False),
        ((190, 190, 200, 200), True, False),  # all of the smaller one
        ((200, 100, 300, 200), False, False),  # they touch
        ((201, 100, 300, 200), False, False),
        ((202, 100, 300, 200), False, True),
        ((100, 50, 200, 98), False, True),
        ((202, 202, 300, 300), False, True),
    ],
)
def test_overlaps_and_gaps_are_clear(other, overlapping, clear):
    for pair in ((SQUARE, other), (other, SQUARE)):
        assert (overlaps(*pair), apart(*pair)) == (overlapping, clear)


def test_more_is_more_by_area_and_by_iou():
    half, third, large = (150, 100, 250, 200), (160, 100, 230, 200), (0, 100, 160, 400)
    assert not exceeds(SQUARE, half, third)  # 5000 and 4000 square pixels
    assert exceeds(SQUARE, half, (180, 100, 280, 200))
    assert intersection(SQUARE, large) >= 1.5 * intersection(SQUARE, third)
    assert iou(SQUARE, large) < iou(SQUARE, third)
    assert not exceeds(SQUARE, large, third) and not exceeds(SQUARE, third, large)


def test_many_boxes_at_once_are_judged_like_pairs():
    rng = random.Random(0)
    corners = [(rng.randrange(40), rng.randrange(40)) for _ in range(25)]
    boxes = [(x, y, x + rng.randint(1, 30), y + rng.randint(1, 30)) for x, y in corners]
    many = Overlaps(boxes)
    for (i, p), (j, q) in itertools.product(enumerate(boxes), repeat=2):
        assert many.overlap[i, j] == overlaps(p, q) and many.apart[i, j] == apart(p, q)
        assert many.shared[i, j] == intersection(p, q) and many.iou[i, j] == iou(p, q)
    assert many.area.tolist() == [area(box) for box in boxes]
    more, less = np.array([0, 3, 7]), np.array([1, 2, 20])
    assert many.exceeds(more, less).tolist() == [
        [exceeds(region, boxes[a], boxes[b]) for a, b in zip(more, less, strict=True)] for region in boxes
    ]
    assert 0 < many.overlap.mean() < 1 and many.apart.any() and many.exceeds(more, less).any()
