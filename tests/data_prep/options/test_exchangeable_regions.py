"""Questions about overlaps: one option is right, and every option could have been."""

import random
from collections import Counter

import pytest

from ofa_mi.data_prep.options.exchangeable_regions import RULES, choices
from ofa_mi.data_prep.options.overlaps import Overlaps, apart, exceeds, overlaps
from ofa_mi.geometry import area, intersection
from tests.data_prep.sources.region_examples import random_boxes

IMAGES = 150


def is_right(task, region, option, others):
    """The definition, box by box."""
    if task == "most_overlapping_region_selection":
        return overlaps(region, option) and all(exceeds(region, option, other) for other in others)
    if task == "least_overlapping_region_selection":
        return intersection(region, option) > 0 and all(
            overlaps(region, other) and exceeds(region, other, option) for other in others
        )
    if task == "overlapping_region_selection":
        return overlaps(region, option) and all(apart(region, other) for other in others)
    return apart(region, option) and all(overlaps(region, other) for other in others)


@pytest.fixture(scope="module", params=RULES)
def found(request):
    """Task, and boxes and question of many images."""
    task, pairs = request.param, []
    for number in range(IMAGES):
        boxes = [box for box, _ in random_boxes(random.Random(number))]
        question = next(choices(RULES[task], Overlaps(boxes), random.Random(f"{task} {number}")), None)
        if question is not None:
            pairs.append((boxes, question))
    return task, pairs


def test_one_option_is_right(found):
    task, pairs = found
    assert len(pairs) > IMAGES / 4
    for boxes, question in pairs:
        options = [question.answer, *question.others]
        assert len(set(options)) == len(options) == RULES[task].number and question.region not in options
        right = [
            option
            for option in options
            if is_right(task, boxes[question.region], boxes[option], [boxes[o] for o in options if o != option])
        ]
        assert right == [question.answer]


def test_every_option_is_right_for_some_region(found):
    task, pairs = found
    for boxes, question in pairs:
        options = [question.answer, *question.others]
        for option in options:
            others = [boxes[other] for other in options if other != option]
            assert any(is_right(task, region, boxes[option], others) for region in boxes)


def test_size_does_not_tell_the_answer(found):
    task, pairs = found
    ranks = Counter(
        sum(area(boxes[other]) > area(boxes[question.answer]) for other in question.others) for boxes, question in pairs
    )
    expected = len(pairs) / RULES[task].number
    tolerance = 4 * expected**0.5
    assert all(abs(ranks[rank] - expected) < tolerance for rank in range(RULES[task].number)), ranks


def test_few_boxes_make_no_question():
    for rule in RULES.values():
        for boxes in ([], [(0, 0, 9, 9)] * rule.number, [(0, 0, 9, 9)] * 9):
            assert not list(choices(rule, Overlaps(boxes), random.Random(0)))
