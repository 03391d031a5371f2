"""Evaluation tasks beside the paper's: skills that training tasks teach apart, asked for together.

No training task asks for the combination. What an instance gives besides the image says nothing about the answer, and
where boxes could (the size of a thing is that of its box), they are drawn so that they do not.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import combinations

from ofa_mi.data_prep.draft import Draft, choice_of, coin, labelled, text, yes_no
from ofa_mi.data_prep.scenes.language import ABOVE, BELOW, LEFT, RELATIONS, RIGHT, Phrase, Relation, name, plural
from ofa_mi.data_prep.scenes.shapes import SHAPES
from ofa_mi.data_prep.scenes.tasks.builder import builds
from ofa_mi.data_prep.scenes.tasks.matching import choose_box
from ofa_mi.data_prep.scenes.world import COLORS, GAP, SIZES, PixelBox, Scene, Thing
from ofa_mi.geometry import intersection

ATTRIBUTES = {"color": tuple(COLORS), "shape": SHAPES}
MOST_OF_TWO = 2  # things with two attributes; more large ones are rare
MOST_INSIDE = 3
ALIKE = 3  # things that agree, beside the odd one
NARROW = "diamond"  # the one form that is far from as wide as it is high: no odd one among forms
SLACK = 2  # pixels by which a region is larger than its thing, at most, on each side
WINDOW_TRIES = 100
COUNTED_AREA = (0.3, 0.6)  # of the image, of a region in which things are counted
COUNTED_ASPECT = (-0.5, 0.5)  # logarithm of its width by its height, relative to the image
AREA_STEP = 0.05  # regions whose areas differ by less are balanced together: a larger region holds more things
COMPARED_SIDE = (0.38, 0.55)  # of the image's sides, of the regions around things that are compared
NEAREST_MARGIN = 1.25  # how much farther the second nearest thing is at least


@builds(evaluation=True)
def two_attribute_counting(scene: Scene, rng: random.Random) -> Draft | None:
    """*How many large red objects are there?* → a number from 0 to 2; the colour (or form) alone gives another one."""
    part = rng.choice(tuple(ATTRIBUTES))
    phrases: dict[int, list[Phrase]] = {}
    for value in ATTRIBUTES[part]:
        number = len(Phrase(**{part: value}).find(scene.things))
        for size in SIZES:
            phrase = Phrase(**{"size": size, part: value})
            if (both := len(phrase.find(scene.things))) != number and both <= MOST_OF_TWO:
                phrases.setdefault(both, []).append(phrase)
    if not phrases:
        return None
    answer = _rare_first(phrases, rng)
    phrase = rng.choice(phrases[answer])
    question = f"how many {plural(str(phrase))} are there?"
    # A crowded scene has more small things than large ones, so either size is balanced by itself.
    labels = [str(number) for number in range(MOST_OF_TWO + 1)]
    return labelled(str(answer), labels, rng, question=text(question), stratum=f"{part} {phrase.size}")


@builds(evaluation=True)
def color_matching(scene: Scene, rng: random.Random) -> Draft | None:
    """Boxes of two things of different forms → whether they have the same colour."""
    truth = coin(rng)
    pairs = [
        (first, second)
        for first in scene.things
        for second in scene.things
        if first.shape != second.shape and (first.color == second.color) == truth
    ]
    if not pairs:
        return None
    first, second = rng.choice(pairs)
    return yes_no(truth, rng, regions=(first.box, second.box))


@builds(evaluation=True)
def region_relation_matching(scene: Scene, rng: random.Random) -> Draft | None:
    """The box of a thing, *left of the red star* → whether it is there, or clearly on the opposite side.

    The thing lies between others, one on either side, and either is named equally often: where the box lies does not
    tell the answer.
    """
    named = [thing for thing in scene.things if name(thing).find(scene.things) == [thing]]
    for thing in rng.sample(scene.things, len(scene.things)):
        for said, opposite in rng.sample(((LEFT, RIGHT), (RIGHT, LEFT), (ABOVE, BELOW), (BELOW, ABOVE)), 4):
            right = [anchor for anchor in named if said.clear(thing, anchor)]
            wrong = [anchor for anchor in named if opposite.clear(thing, anchor)]
            if right and wrong:
                truth = coin(rng)
                place = f"{said.text} the {name(rng.choice(right if truth else wrong))}"
                return yes_no(truth, rng, regions=(thing.box,), text=text(place), stratum=said.text)
    return None


@builds(evaluation=True)
def odd_region_selection(scene: Scene, rng: random.Random) -> Draft | None:
    """*color* or *shape*, regions of four things → the only one that differs in it from the others, which agree.

    The regions are squares of about the size of the things: boxes that fit would tell some forms from others. Every
    size is that of two of the things, or of all.
    """
    part = rng.choice(("color", "shape"))
    things = [thing for thing in scene.things if part == "color" or thing.shape != NARROW]
    for odd in rng.sample(things, len(things)):
        others = [thing for thing in things if getattr(thing, part) != getattr(odd, part)]
        trios = [trio for trio in combinations(others, ALIKE) if len({getattr(thing, part) for thing in trio}) == 1]
        for trio in rng.sample(trios, len(trios)):
            # No size that only one of them has: things that agree in form and colour cannot agree in size, too.
            if 1 not in Counter(thing.size for thing in (odd, *trio)).values():
                answer, *wrong = ((_square_around(thing, scene, rng),) for thing in (odd, *trio))
                return choice_of(answer, wrong, rng, number=ALIKE + 1, text=text(part))
    return None


@builds(evaluation=True)
def color_region_selection(scene: Scene, rng: random.Random) -> Draft | None:
    """A colour, the boxes of things → the only one of this colour."""
    thing = rng.choice(scene.things)
    boxes = [other.box for other in scene.things if other.color != thing.color]
    return choose_box(thing.box, [thing.box, *boxes], rng, text=text(thing.color))


@builds(evaluation=True)
def region_counting(scene: Scene, rng: random.Random) -> Draft | None:
    """A large region → how many things lie in it, from 1 to 3; none lies across its edge, and others lie outside."""
    share, aspect = rng.uniform(*COUNTED_AREA), math.exp(rng.uniform(*COUNTED_ASPECT))
    sides = (round(scene.width * math.sqrt(share * aspect)), round(scene.height * math.sqrt(share / aspect)))
    regions: dict[int, PixelBox] = {}
    for region in _windows(scene, sides, rng):
        number = len(_whole_inside(region, scene.things))
        if 1 <= number <= min(MOST_INSIDE, len(scene.things) - 1):
            regions.setdefault(number, region)
    if not regions:
        return None
    answer = _rare_first(regions, rng)
    labels = [str(number) for number in range(1, MOST_INSIDE + 1)]
    stratum = f"area {int(share / AREA_STEP)}"
    return labelled(str(answer), labels, rng, regions=(regions[answer],), stratum=stratum)


@builds(evaluation=True)
def larger_object_selection(scene: Scene, rng: random.Random) -> Draft | None:
    """Two equally large regions with one thing in each → the one with the larger thing.

    One is the reflection of the other in the middle of the image, so that their places do not tell.
    """
    sides = [round(rng.uniform(*COMPARED_SIDE) * side) for side in (scene.width, scene.height)]
    for region in _windows(scene, sides, rng):
        found = _whole_inside(region, scene.things)
        if len(found) == 1:
            for mirrored in rng.sample(_reflections(region, scene), 3):
                others = _whole_inside(mirrored, scene.things)
                if len(others) == 1 and found[0].size != others[0].size:
                    answer, wrong = (region, mirrored) if found[0].size == "large" else (mirrored, region)
                    return choice_of((answer,), [(wrong,)], rng, number=2)
    return None


@builds(evaluation=True)
def neighbor_color_identification(scene: Scene, rng: random.Random) -> Draft | None:
    """The box of a thing, a relation, four colours → the colour of the nearest of the several things on this side."""
    for given in rng.sample(scene.things, len(scene.things)):
        for relation in rng.sample(RELATIONS, len(RELATIONS)):
            nearest = _nearest(scene.things, relation, given)
            if nearest is not None:
                seen = {thing.color for thing in scene.things} - {nearest.color}
                wrong = rng.sample(sorted(seen), min(3, len(seen)))
                unseen = [color for color in COLORS if color not in (nearest.color, *seen)]
                wrong += rng.sample(unseen, 3 - len(wrong))
                fields = {"regions": (given.box,), "text": text(relation.text)}
                return choice_of(text(nearest.color), map(text, wrong), rng, **fields)
    return None


def _rare_first(numbers: Collection[int], rng: random.Random) -> int:
    """One of several numbers, high ones more often: few scenes have them, and answers are balanced in the end."""
    return rng.choices(list(numbers), [4**number for number in numbers])[0]


def _windows(scene: Scene, sides: Sequence[int], rng: random.Random) -> Iterator[PixelBox]:
    """Random regions with these sides, anywhere in the image."""
    width, height = sides
    for _ in range(WINDOW_TRIES):
        x, y = rng.randint(0, scene.width - width), rng.randint(0, scene.height - height)
        yield x, y, x + width, y + height


def _reflections(region: PixelBox, scene: Scene) -> list[PixelBox]:
    """A region reflected in the image's middle axes, and in its centre."""
    x0, y0, x1, y1 = region
    columns, rows = ((x0, x1), (scene.width - x1, scene.width - x0)), ((y0, y1), (scene.height - y1, scene.height - y0))
    return [(columns[i][0], rows[j][0], columns[i][1], rows[j][1]) for i, j in ((0, 1), (1, 0), (1, 1))]


def _whole_inside(region: PixelBox, things: Sequence[Thing]) -> list[Thing]:
    """The things in a region; none if one lies across its edge."""
    inside = [thing for thing in things if intersection(region, thing.box)]
    return inside if all(_within(thing.box, region) for thing in inside) else []


def _within(inner: PixelBox, outer: PixelBox) -> bool:
    return outer[0] <= inner[0] and outer[1] <= inner[1] and inner[2] <= outer[2] and inner[3] <= outer[3]


def _square_around(thing: Thing, scene: Scene, rng: random.Random) -> PixelBox:
    """A square around a thing with some pixels to spare, cut where it would reach another thing or leave the image."""
    x0, y0, x1, y1 = thing.box
    side = max(x1 - x0, y1 - y0) + rng.randint(0, 2 * SLACK)
    left, top = x0 - (side - (x1 - x0)) // 2, y0 - (side - (y1 - y0)) // 2
    return (
        max(left, x0 - GAP, 0),
        max(top, y0 - GAP, 0),
        min(left + side, x1 + GAP, scene.width),
        min(top + side, y1 + GAP, scene.height),
    )


def _nearest(things: Sequence[Thing], relation: Relation, given: Thing) -> Thing | None:
    """The thing nearest to ``given`` on a side that has several, if it is clearly there and clearly the nearest."""
    there = [thing for thing in things if thing is not given and relation.possible(thing, given)]
    if len(there) < 2:
        return None
    nearest, second = sorted(there, key=lambda thing: math.dist(thing.center, given.center))[:2]
    distances = [math.dist(thing.center, given.center) for thing in (nearest, second)]
    return nearest if relation.clear(nearest, given) and distances[1] >= NEAREST_MARGIN * distances[0] else None
