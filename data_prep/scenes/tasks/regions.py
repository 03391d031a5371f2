"""Geometry of regions. The regions are windows around things; only their coordinates matter.

Overlaps are clear, as :mod:`ofa_mi.data_prep.options.overlaps` defines it. Wherever they are compared, the answer
is the same by shared area and by intersection over union (IoU), and it wins by half or more in both.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from ofa_mi.data_prep.draft import Draft, choice, choice_of, coin, text, yes_no
from ofa_mi.data_prep.options.overlaps import apart, exceeds, overlaps
from ofa_mi.data_prep.scenes.tasks.builder import builds
from ofa_mi.data_prep.scenes.world import PixelBox, Scene
from ofa_mi.geometry import area, intersection, iou

OPTIONS = 4
TRIES = 40


@builds()
def most_overlapping_region_selection(scene: Scene, rng: random.Random) -> Draft | None:
    """A region, regions → the one that overlaps most with it."""
    return _select(scene, rng, lambda region, options: _winner(region, options, most=True))


@builds()
def least_overlapping_region_selection(scene: Scene, rng: random.Random) -> Draft | None:
    """A region, regions that all overlap with it → the one that overlaps least."""
    return _select(scene, rng, lambda region, options: _winner(region, options, most=False))


@builds()
def overlapping_region_selection(scene: Scene, rng: random.Random) -> Draft | None:
    """A region, regions → the only one that overlaps with it."""
    return _only(scene, rng, overlaps, apart)


@builds()
def non_overlapping_region_selection(scene: Scene, rng: random.Random) -> Draft | None:
    """A region, regions → the only one that does not overlap with it."""
    return _only(scene, rng, apart, overlaps)


@builds()
def region_overlap_detection(scene: Scene, rng: random.Random) -> Draft | None:
    """Two regions → whether they overlap."""
    overlapping = coin(rng)
    test = overlaps if overlapping else apart
    for _ in range(TRIES):
        regions = (window(scene, rng), window(scene, rng))
        if test(*regions):
            return yes_no(overlapping, rng, regions=regions)
    return None


@builds()
def region_area(scene: Scene, rng: random.Random) -> Draft | None:
    """A region → its area in square pixels of the original image."""
    region = window(scene, rng)
    return Draft(regions=(region,), target=text(area(region)))


def window(scene: Scene, rng: random.Random) -> PixelBox:
    """A random box of 20 to 60 percent of the image's sides, around a random thing."""
    middle_x, middle_y = rng.choice(scene.things).center
    x0, x1 = _span(middle_x, scene.width, rng)
    y0, y1 = _span(middle_y, scene.height, rng)
    return x0, y0, x1, y1


def _span(middle: float, side: int, rng: random.Random) -> tuple[int, int]:
    length = rng.uniform(0.2, 0.6) * side
    start = min(max(middle + rng.uniform(-0.2, 0.2) * side - length / 2, 0), side - length)
    return int(start), int(start + length)


def _select(
    scene: Scene, rng: random.Random, find: Callable[[PixelBox, list[PixelBox]], PixelBox | None]
) -> Draft | None:
    """Draw a region and options until ``find`` names an answer among them."""
    for _ in range(TRIES):
        region, *options = (window(scene, rng) for _ in range(OPTIONS + 1))
        answer = find(region, options)
        if answer is not None:
            return choice((answer,), [(option,) for option in options], regions=(region,))
    return None


def _winner(region: PixelBox, options: list[PixelBox], *, most: bool) -> PixelBox | None:
    """The option that overlaps most (or least, if all do) by a clear margin, by area and by IoU; else None."""
    if most:
        best, *others = sorted(options, key=lambda option: -iou(region, option))
        return best if overlaps(region, best) and all(exceeds(region, best, other) for other in others) else None
    best, *others = sorted(options, key=lambda option: iou(region, option))
    if intersection(region, best) == 0 or not all(overlaps(region, other) for other in others):
        return None
    return best if all(exceeds(region, other, best) for other in others) else None


def _only(
    scene: Scene,
    rng: random.Random,
    right: Callable[[PixelBox, PixelBox], bool],
    wrong: Callable[[PixelBox, PixelBox], bool],
) -> Draft | None:
    """A region and options of which ``right`` is clear of one and ``wrong`` of all others; both test two boxes."""
    region = window(scene, rng)
    answers: list[PixelBox] = []
    others: list[PixelBox] = []
    for _ in range(TRIES):
        option = window(scene, rng)
        if not answers and right(region, option):
            answers.append(option)
        elif len(others) < OPTIONS - 1 and wrong(region, option):
            others.append(option)
        if answers and len(others) == OPTIONS - 1:
            return choice_of((answers[0],), [(other,) for other in others], rng, regions=(region,))
    return None
