"""Options for questions about overlaps, so chosen that the options alone say nothing about the answer.

Among boxes drawn at random the one that overlaps most with another box is mostly the largest, and the one that overlaps
nothing is mostly small or at the border. Therefore boxes are used as options only if *every one* of them is the answer
for some other box of the image: the answer is then drawn from the options, each with the same probability, and one of
the boxes for which it is the answer becomes the given region. Whatever the options look like, each of them is
right equally often. Overlaps are clear, as :mod:`ofa_mi.data_prep.options.overlaps` defines it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ofa_mi.data_prep.options.overlaps import Overlaps

SAME_REGION = 0.9  # IoU from which on a box is taken as another one, drawn again
ROUNDS, SETS = 6, 128  # sets of options that are tried: so many rounds of so many
MOST_BOXES = 64  # of an image; more are thinned out, because time grows with their number


@dataclass(frozen=True, slots=True)
class Rule:
    """What makes an option the answer.

    Attributes:
        number: Options of a question.
        answers: ``(overlaps, option, others) ->`` whether box ``option[t]``, and not one of ``others[:][t]``, is the
            answer, for every box as the given region, bool ``(N, T)``.
        near: Whether options are drawn among those that overlap with one box; if not, from everywhere.
        far: Whether one of them is drawn among those that are apart from it.
    """

    number: int
    answers: Callable[[Overlaps, np.ndarray, list[np.ndarray]], np.ndarray]
    near: bool = False
    far: bool = False


def _most(overlaps: Overlaps, option: np.ndarray, others: list[np.ndarray]) -> np.ndarray:
    """It overlaps more than each of the others, at least one of which overlaps, too."""
    found = overlaps.overlap[:, option] & np.any([overlaps.overlap[:, other] for other in others], axis=0)
    return found & np.all([overlaps.exceeds(option, other) for other in others], axis=0)


def _least(overlaps: Overlaps, option: np.ndarray, others: list[np.ndarray]) -> np.ndarray:
    """It shares some area, and each of the others overlaps more."""
    found = overlaps.shared[:, option] > 0
    return found & np.all([overlaps.overlap[:, other] & overlaps.exceeds(other, option) for other in others], axis=0)


def _only(overlaps: Overlaps, option: np.ndarray, others: list[np.ndarray]) -> np.ndarray:
    """It overlaps, and the others are apart."""
    return overlaps.overlap[:, option] & np.all([overlaps.apart[:, other] for other in others], axis=0)


def _none(overlaps: Overlaps, option: np.ndarray, others: list[np.ndarray]) -> np.ndarray:
    """It is apart, and the others overlap."""
    return overlaps.apart[:, option] & np.all([overlaps.overlap[:, other] for other in others], axis=0)


# Four options where enough images have them; three where four boxes of which each can be right are too rare.
RULES = {
    "most_overlapping_region_selection": Rule(3, _most, near=True),
    "least_overlapping_region_selection": Rule(3, _least, near=True),
    "overlapping_region_selection": Rule(4, _only),
    "non_overlapping_region_selection": Rule(3, _none, near=True, far=True),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """A question about overlaps; numbers of boxes.

    Attributes:
        region: The given region.
        answer: The right option.
        others: The wrong options.
    """

    region: int
    answer: int
    others: tuple[int, ...]


def choices(rule: Rule, overlaps: Overlaps, rng: random.Random) -> Iterator[Choice]:
    """Questions with different options.

    Args:
        rule: What makes an option the answer.
        overlaps: The boxes of an image.
        rng: Source of the draw.
    """
    boxes = np.array(sorted(rng.sample(range(len(overlaps.area)), min(len(overlaps.area), MOST_BOXES))), dtype=np.intp)
    if len(boxes) <= rule.number:
        return
    numbers = np.random.default_rng(rng.getrandbits(64))
    seen = set()
    for _ in range(ROUNDS):
        options = _draw(rule, overlaps, boxes, numbers)
        right = _right(rule, overlaps, options)
        for which in np.flatnonzero(right.any(axis=1).all(axis=0)):
            chosen = options[which].tolist()
            if (key := frozenset(chosen)) not in seen:
                seen.add(key)
                place = rng.randrange(rule.number)
                region = rng.choice(np.flatnonzero(right[place, :, which]).tolist())
                yield Choice(region, chosen.pop(place), tuple(chosen))


def _draw(rule: Rule, overlaps: Overlaps, boxes: np.ndarray, numbers: np.random.Generator) -> np.ndarray:
    """Sets of options, int ``(SETS, rule.number)``; of one set all are different, or it answers nothing."""
    keys = numbers.random((SETS, len(boxes)))
    center = boxes[(numbers.random(SETS) * len(boxes)).astype(np.intp)]
    if rule.near:
        keys += ~overlaps.overlap[center][:, boxes]
    options = boxes[np.argsort(keys, axis=1)[:, : rule.number]]
    if rule.far:
        keys = numbers.random((SETS, len(boxes))) + ~overlaps.apart[center][:, boxes]
        options[:, -1] = boxes[np.argmin(keys, axis=1)]
    return options


def _right(rule: Rule, overlaps: Overlaps, options: np.ndarray) -> np.ndarray:
    """Whether each option is the answer for each box of the image, bool ``(options, N, SETS)``."""
    places = list(options.T)
    right = np.stack(
        [rule.answers(overlaps, place, [other for other in places if other is not place]) for place in places]
    )
    same = np.any([overlaps.iou[:, place] >= SAME_REGION for place in places], axis=0)
    return right & ~same
