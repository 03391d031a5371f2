"""MSCOCO instances (Lin et al., 2014): boxes of objects of 80 categories.

Official file: ``coco/annotations/instances_train2014.json`` (format: :mod:`ofa_mi.data_prep.formats.coco_objects`).
Only the training photos of 2014 are used. Tasks in which an answer is chosen are made in pairs or groups that are
mirror images of each other, so that no name and no box is right more often than wrong. Drawn from the source's
generators: which objects of an image take part, and the order of options.
"""

from __future__ import annotations

import bisect
import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ofa_mi.data_prep.draft import Draft, choice, text, yes_no
from ofa_mi.data_prep.formats.coco_objects import (
    ImageInfo,
    LeftOut,
    ObjectTable,
    Thing,
    apart,
    disjoint_groups,
    recognizable,
    shows_none,
)
from ofa_mi.data_prep.images.coco_images import (
    ANNOTATIONS_LICENCE,
    LICENCE,
    PAGE,
    TRAIN_IMAGES,
    annotation_file,
    coco_image,
)
from ofa_mi.data_prep.source import Candidate, Source, held_out
from ofa_mi.geometry import Box, area

LEAST_SIDE = 16  # pixels, of a region whose object is asked for: smaller ones cannot be made out
MOST_BOXES = 8  # of an answer that lists all objects of a kind
MOST_OPTIONS = 4
LEAST_OPTIONS = 3
REGIONS = (3, 2)  # regions of missing_object_selection: three if possible
NONE = "none"
# Of so many regions and names, how many names are missing, equally often each of these; see _missing_objects.
MISSING = {3: (0, 1, 2), 2: (0, 1, 1)}
PAIRS = 4  # pairs of each kind per image, for object_matching
# Upper bounds of the classes of object_matching's strata; see _pair_class.
SIZE_RATIOS = (1.5, 3, 8)
SHAPE_RATIOS = (1.3, 2)
DISTANCES = (1, 2, 4)
HEIGHTS = (0.25, 1)


@dataclass(frozen=True, slots=True)
class Side:
    """One half of two instances of missing_object_selection that are mirror images of each other.

    Attributes:
        image: Its image.
        things: Objects of different categories, which are the regions.
    """

    image: ImageInfo
    things: tuple[Thing, ...]


@dataclass(frozen=True, slots=True)
class SidePair:
    """Two sides; no object of one is in the image (or near the regions) of the other."""

    first: Side
    second: Side


Unit = ImageInfo | SidePair | LeftOut


class CocoInstances(Source):
    """Training set of 2014 → six tasks about objects and regions."""

    name = "coco_instances"
    title = "MSCOCO instances"
    page = PAGE
    licence = f"{ANNOTATIONS_LICENCE}; {LICENCE}"
    size = "0.3 GB, images 13.5 GB"
    tasks = (
        "grounded_object_identification",
        "object_grounding",
        "object_region_matching",
        "object_region_selection",
        "object_matching",
        "missing_object_selection",
    )
    files = (annotation_file("instances_train2014.json"), TRAIN_IMAGES)

    def load(self) -> Sequence[Unit]:
        """One unit per image, and one per two sides of missing_object_selection."""
        self.table = ObjectTable(self.raw.find(self.files[0]))
        units: list[Unit] = list(self.table.images.values())
        if self.wants("missing_object_selection"):
            units += self._pairs_of_images()
        return units

    def convert(self, unit: Unit) -> Iterator[Candidate]:
        """The candidates of one image, or the two of two sides."""
        if isinstance(unit, LeftOut):
            self.drop(unit.task, unit.reason, unit.number)
        elif isinstance(unit, SidePair):
            yield from self._missing_objects(unit)
        else:
            yield from self._of_image(unit)

    def _of_image(self, image: ImageInfo) -> Iterator[Candidate]:
        things = self.table.of(image.id)
        makers = {
            "grounded_object_identification": self._identification,
            "object_grounding": self._grounding,
            "object_region_matching": self._region_matching,
            "object_region_selection": self._region_selection,
            "object_matching": self._object_matching,
        }
        clear = recognizable(things, LEAST_SIDE)
        for task, make in makers.items():
            if self.wants(task):
                for key, draft in make(image, things, clear):
                    yield Candidate(task, key, draft, coco_image(image.id, image.size))
        if self.wants("missing_object_selection"):
            yield from self._missing_objects_of_one(image, things, clear)

    def _name(self, thing: Thing) -> str:
        return self.table.categories[thing.category]

    # -- grounded_object_identification, object_grounding

    def _identification(self, image: ImageInfo, things: list[Thing], clear: list[Thing]) -> Iterator[tuple[str, Draft]]:
        """A region → the category of its object; one object drawn from each category in the image.

        Left out: crowds, objects with a side below :data:`LEAST_SIDE` pixels, and objects in the same place as one of
        another category.
        """
        self.drop(
            "grounded_object_identification", "a crowd, tiny, or in one place with another", len(things) - len(clear)
        )
        for thing in _one_of_each(clear, self.rng("grounded_object_identification", image.id)):
            yield str(thing.id), Draft(regions=(thing.box,), target=text(self._name(thing)))

    def _grounding(self, image: ImageInfo, things: list[Thing], clear: list[Thing]) -> Iterator[tuple[str, Draft]]:
        """A category → the boxes of all its objects in the image, from left to right (then from top to bottom).

        Left out: categories of which there is a crowd, an object with less than a pixel inside the image, or more than
        :data:`MOST_BOXES` objects.
        """
        for category, members in itertools.groupby(sorted(things, key=_category), key=_category):
            found = list(members)
            if any(thing.crowd or thing.box is None for thing in found):
                self.drop("object_grounding", "a category with a crowd or an object outside the image")
            elif len(found) > MOST_BOXES:
                self.drop("object_grounding", f"more than {MOST_BOXES} objects")
            else:
                boxes = sorted({thing.box for thing in found})
                yield f"{image.id}-{category}", Draft(text=text(self.table.categories[category]), target=tuple(boxes))

    # -- object_region_matching, object_region_selection

    def _region_matching(
        self, image: ImageInfo, things: list[Thing], clear: list[Thing]
    ) -> Iterator[tuple[str, Draft]]:
        """A category and a region → whether the region contains an object of it.

        Of two objects of different categories in one image, each region is asked about with either category. The two
        are close in size, and neither region shows (see :func:`shows_none`) any object of the other's category. Thus
        every name and every region comes once with yes and once with no, and what is asked for is always in the image.
        Balanced within these four.
        """
        task = "object_region_matching"
        rng = self.rng(task, image.id)
        pair = _closest_in_size(_one_of_each(clear, rng), things)
        if pair is None:
            self.drop(task, "an image without two objects of different categories apart from each other")
            return
        for named, shown in itertools.product(pair, repeat=2):
            draft = yes_no(named is shown, rng, text=text(self._name(named)), regions=(shown.box,), stratum=image.id)
            yield f"{named.id}-{shown.id}", draft

    def _region_selection(
        self, image: ImageInfo, things: list[Thing], clear: list[Thing]
    ) -> Iterator[tuple[str, Draft]]:
        """A category and three or four regions → the region that contains an object of it.

        The regions are those of objects of different categories, neighbours in size, none of which shows an object of
        another's category. Each of these categories is asked for once, with the same regions. What is left to guess
        from is that some kinds have boxes of some forms (a person is tall, a car is wide): on the 444 photos of the
        tests ``ofa-mi data check`` guesses 44% by name and box, where chance is 29%.
        """
        task = "object_region_selection"
        rng = self.rng(task, image.id)
        options = _separate(_one_of_each(clear, rng), things, rng)[:MOST_OPTIONS]
        if len(options) < LEAST_OPTIONS:
            self.drop(task, f"an image without {LEAST_OPTIONS} objects of different categories apart from each other")
            return
        for thing in options:
            boxes = rng.sample([(option.box,) for option in options], len(options))
            yield str(thing.id), choice((thing.box,), boxes, text=text(self._name(thing)))

    # -- object_matching

    def _object_matching(
        self, image: ImageInfo, things: list[Thing], clear: list[Thing]
    ) -> Iterator[tuple[str, Draft]]:
        """Two regions → whether their objects are of one category.

        Up to :data:`PAIRS` pairs of one category, each of another one as far as possible, and as many of two
        categories. Objects of one category are more alike in size and form, and closer to each other, so answers are
        balanced among pairs that are alike in this (see :func:`_pair_class`).
        """
        task = "object_matching"
        rng = self.rng(task, image.id)
        for truth, pairs in ((True, _pairs_of_one(clear, rng)), (False, _pairs_of_two(clear, rng))):
            if not pairs:
                self.drop(task, f"an image without two objects of {'one category' if truth else 'two categories'}")
            for pair in pairs:
                first, second = rng.sample(pair, 2)
                boxes = (first.box, second.box)
                yield f"{first.id}-{second.id}", yes_no(truth, rng, regions=boxes, stratum=_pair_class(*boxes))

    # -- missing_object_selection

    def _pairs_of_images(self) -> list[Unit]:
        """Sides of different images, two by two: both in training or both in validation, with as many regions."""
        task = "missing_object_selection"
        kinds: dict[tuple[bool, int], list[Side]] = {}
        for image in self.table.images.values():
            things = self.table.of(image.id)
            rng = self.rng(task, image.id)
            chosen = _one_of_each(recognizable(things, LEAST_SIDE), rng)
            if len(chosen) < min(REGIONS) or _two_sides(chosen, things) is not None:
                continue  # convert() counts the former and pairs the latter with themselves
            number = next(number for number in REGIONS if number <= len(chosen))
            split = held_out(coco_image(image.id).path)
            kinds.setdefault((split, number), []).append(Side(image, tuple(chosen[:number])))
        units: list[Unit] = []
        for kind, sides in sorted(kinds.items()):
            self.rng(task, kind).shuffle(sides)
            pairs = [SidePair(*pair) for pair in disjoint_groups(sides, 2, lambda side: self.table.mask(side.image.id))]
            left = len(sides) - 2 * len(pairs)
            units += [*pairs, LeftOut(task, "no image without a common category to pair it with", left)]
        return units

    def _missing_objects_of_one(self, image: ImageInfo, things: list[Thing], clear: list[Thing]) -> Iterator[Candidate]:
        """Both sides from one image, if it has four objects that are apart."""
        task = "missing_object_selection"
        chosen = _one_of_each(clear, self.rng(task, image.id))
        if len(chosen) < min(REGIONS):
            self.drop(task, f"an image without {min(REGIONS)} objects of different categories")
        elif (sides := _two_sides(chosen, things)) is not None:
            yield from self._missing_objects(SidePair(*(Side(image, side) for side in sides)))

    def _missing_objects(self, pair: SidePair) -> Iterator[Candidate]:
        """The regions of one side, names and *none* → the names of which no object is in the regions.

        There are as many names as regions: ``k`` of the other side, which are the answer, and the others of this side.
        *none* is the answer if ``k`` is 0. ``k`` is the same for the mirrored instance, so that every name is as
        often missing as any other; it is drawn from :data:`MISSING` so that neither *none* nor a name is the better
        guess. What is missing is elsewhere in the image, or (where an image has too few objects) in no part of it.
        """
        task = "missing_object_selection"
        number = len(pair.first.things)
        rng = self.rng(task, f"{pair.first.things[0].id}/{pair.second.things[0].id}")
        missing = rng.choice(MISSING[number])
        for own, other in ((pair.first, pair.second), (pair.second, pair.first)):
            absent = [self._name(thing) for thing in rng.sample(other.things, missing)]
            present = [self._name(thing) for thing in rng.sample(own.things, number - missing)]
            names = rng.sample([*absent, *present], number)
            draft = Draft(
                regions=tuple(thing.box for thing in own.things),
                options=tuple(text(name) for name in (*names, NONE)),
                target_set=tuple(text(name) for name in names if name in absent) or (text(NONE),),
            )
            key = "-".join(str(thing.id) for thing in own.things)
            yield Candidate(task, key, draft, coco_image(own.image.id, own.image.size))


def _category(thing: Thing) -> int:
    return thing.category


def _one_of_each(things: Sequence[Thing], rng: random.Random) -> list[Thing]:
    """One object of each category, drawn, in random order."""
    drawn = rng.sample(things, len(things))
    return list({thing.category: thing for thing in drawn}.values())


def _compatible(p: Thing, q: Thing, things: Sequence[Thing]) -> bool:
    """Whether neither region shows an object of the other's category."""
    return apart(p.box, q.box) and shows_none(p.box, q.category, things) and shows_none(q.box, p.category, things)


def _closest_in_size(chosen: Sequence[Thing], things: Sequence[Thing]) -> tuple[Thing, Thing] | None:
    """Of the compatible pairs the one whose areas differ by the smallest factor."""
    pairs = (pair for pair in itertools.combinations(chosen, 2) if _compatible(*pair, things))
    return min(pairs, key=lambda pair: _size_ratio(pair[0].box, pair[1].box), default=None)


def _separate(chosen: Sequence[Thing], things: Sequence[Thing], rng: random.Random) -> list[Thing]:
    """Compatible objects, from a random one on in the order of their areas, smaller ones in the end."""
    ordered = sorted(chosen, key=lambda thing: area(thing.box))
    start = rng.randint(0, max(len(ordered) - MOST_OPTIONS, 0))
    found: list[Thing] = []
    for thing in (*ordered[start:], *reversed(ordered[:start])):
        if all(_compatible(thing, other, things) for other in found):
            found.append(thing)
    return found


def _two_sides(chosen: Sequence[Thing], things: Sequence[Thing]) -> tuple[tuple[Thing, ...], tuple[Thing, ...]] | None:
    """Two times two of the objects, those of one side compatible with those of the other; None if there are none."""
    number = min(REGIONS)
    for four in itertools.combinations(chosen[:6], 2 * number):
        first, second = four[:number], four[number:]
        if all(_compatible(p, q, things) for p in first for q in second):
            return first, second
    return None


def _size_ratio(p: Box, q: Box) -> float:
    return max(area(p), area(q)) / min(area(p), area(q))


def _pairs_of_one(things: Sequence[Thing], rng: random.Random) -> list[tuple[Thing, Thing]]:
    """Drawn pairs of objects of one category; the categories in turn, so that a frequent one does not prevail."""
    members: dict[int, list[Thing]] = {}
    for thing in rng.sample(things, len(things)):
        members.setdefault(thing.category, []).append(thing)
    turns = itertools.zip_longest(*(zip(found[::2], found[1::2], strict=False) for found in members.values()))
    return [pair for turn in turns for pair in turn if pair is not None][:PAIRS]


def _pairs_of_two(things: Sequence[Thing], rng: random.Random) -> list[tuple[Thing, Thing]]:
    """Drawn pairs of objects of two categories, all combinations of categories equally often."""
    pairs = list(itertools.combinations(_one_of_each(things, rng), 2))
    return rng.sample(pairs, min(PAIRS, len(pairs)))


def _pair_class(p: Box, q: Box) -> str:
    """Class of two boxes by the ratios of their areas and forms and by how far their centres are from each other.

    The distance, and what of it is vertical, is in units of the mean side of the boxes.
    """
    (px, py), (qx, qy) = (((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for box in (p, q))
    side = (math.sqrt(area(p)) + math.sqrt(area(q))) / 2
    first, second = ((box[2] - box[0]) / (box[3] - box[1]) for box in (p, q))
    classes = (
        (_size_ratio(p, q), SIZE_RATIOS),
        (max(first / second, second / first), SHAPE_RATIOS),
        (math.hypot(px - qx, py - qy) / side, DISTANCES),
        (abs(py - qy) / side, HEIGHTS),
    )
    return "/".join(str(bisect.bisect(bounds, value)) for value, bounds in classes)
