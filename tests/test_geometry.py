"""Boxes: overlap by hand and by counting pixels, and matching that takes the best of all pairings."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_mi.geometry import closest, count_matches, iou

coordinate = st.integers(-20, 120)
boxes = st.tuples(coordinate, coordinate, coordinate, coordinate)


def test_iou_by_hand():
    # 10 x 10 boxes shifted by 5: overlap 50, union 150.
    assert iou((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert iou((0, 0, 10, 10), (0, 0, 10, 5)) == 0.5


@given(boxes, boxes)
@settings(max_examples=200, deadline=None)
def test_iou_is_symmetric_bounded_and_agrees_with_counting_pixels(first, second):
    def pixels(box):
        return {(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])}

    one, two = pixels(first), pixels(second)
    expected = len(one & two) / len(one | two) if one and two else 0.0
    assert iou(first, second) == iou(second, first) == pytest.approx(expected)
    assert closest(first, [second]) == (0 if expected else None)


def test_boxes_are_matched_so_that_most_have_a_partner():
    left, both = (0, 0, 10, 10), (2, 0, 12, 10)
    # `both` overlaps left (IoU 2/3) and `left` overlaps only itself: taking the best pair first still gives 2.
    assert count_matches([both, left], [left, (3, 0, 13, 10)], 0.5) == 2
