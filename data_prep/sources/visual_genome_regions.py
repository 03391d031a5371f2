"""Visual Genome's region descriptions: captions of boxes, and what boxes have to do with each other.

``region_descriptions.json``: per image ``regions`` with ``region_id`` (``id`` in version 1.0), ``phrase``, ``x``,
``y``, ``width`` and ``height``. The files and their versions are described in
:mod:`ofa_mi.data_prep.images.visual_genome`.

An image has about 50 regions. Many are drawn again and again, lie in each other, or show things of one kind, so that a
caption of another region is not wrong for that reason alone. Captions are compared by their content words
(:mod:`ofa_mi.data_prep.options.content_words`):

- A caption *refers* to its region if no clearly other region (IoU below :data:`ONE_PLACE`) has a caption
  that says all that it says.
- Two regions *can be exchanged* in a question if they share at most :data:`SLIGHT` of the smaller one, neither caption
  has a word in common with any caption of a region that lies in the other one, and the larger one has at most
  :data:`LIKE_SIZE` times the area of the smaller one. Captions of details belong to small regions: without the last
  condition sizes would give answers away.

Captioning and grounding use every region that suits them; of any other task an image gives a few instances
(:data:`~ofa_mi.data_prep.images.visual_genome.PER_IMAGE`). Tasks about overlaps know nothing of captions; their
options are chosen in :mod:`ofa_mi.data_prep.options.exchangeable_regions`.
"""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
import numpy as np

from ofa_mi.data_prep.draft import Draft, choice_of, coin, text, yes_no
from ofa_mi.data_prep.formats.reading import tidy
from ofa_mi.data_prep.images.visual_genome import (
    IMAGE_DATA,
    IMAGES,
    Entry,
    Unit,
    VisualGenome,
    annotation_file,
    visible_box,
)
from ofa_mi.data_prep.options.content_words import content_words
from ofa_mi.data_prep.options.exchangeable_regions import RULES, SAME_REGION, choices
from ofa_mi.data_prep.options.overlaps import Overlaps
from ofa_mi.data_prep.source import Candidate
from ofa_mi.geometry import Box, area

ONE_PLACE = 0.5  # IoU from which on two regions may show the same thing
SLIGHT = 0.1  # share of the smaller region
LIKE_SIZE = 2.0  # ratio of areas
INSIDE = 0.3  # share of a region that lies in another one, from which on what it shows may be seen there, too
OPTIONS = 4
PAIRS, SETS = 60, 8  # draws of pairs of regions, and of sets of them
REGION_DESCRIPTIONS = annotation_file(
    "region_descriptions.json", 127_377_968, "038382219029c9cb0d7b0308b1d45f7537cf5a47b98f493f6d0e30c8947fb15d"
)

Found = Iterator[tuple[str, Draft]]  # keys within the image, and drafts


class Descriptions(Entry, kw_only=True):
    """An entry of ``region_descriptions.json``."""

    regions: msgspec.Raw


class Description(msgspec.Struct, kw_only=True):
    """One of ``regions``."""

    region_id: int | None = None
    id: int | None = None
    phrase: str | None
    x: float
    y: float
    width: float
    height: float


class Regions:
    """The usable regions of one image.

    Args:
        found: Id → box and caption.

    Attributes:
        ids: Their ids.
        boxes: Their boxes in pixels.
        captions: Their captions.
        words: Content words of each caption as bits of an integer.
        overlaps: Overlaps of all pairs.
    """

    def __init__(self, found: dict[int, tuple[Box, str]]) -> None:
        self.ids = list(found)
        self.boxes = [box for box, _ in found.values()]
        self.captions = [caption for _, caption in found.values()]
        self.overlaps = Overlaps(self.boxes)
        numbers: dict[str, int] = {}
        self.words = [
            functools.reduce(lambda bits, word: bits | 1 << numbers.setdefault(word, len(numbers)), words, 0)
            for words in map(content_words, self.captions)
        ]

    def __len__(self) -> int:
        return len(self.ids)

    @functools.cached_property
    def referring(self) -> list[int]:
        """Those whose captions refer to them."""
        elsewhere = self.overlaps.iou < ONE_PLACE
        return [
            place
            for place, words in enumerate(self.words)
            if words and not any(words & ~self.words[other] == 0 for other in np.flatnonzero(elsewhere[place]).tolist())
        ]

    @functools.cached_property
    def words_inside(self) -> list[int]:
        """For each region the content words of all captions of regions that lie in it."""
        inside = self.overlaps.shared >= INSIDE * self.overlaps.area  # row: the outer one
        return [
            functools.reduce(int.__or__, (self.words[part] for part in np.flatnonzero(row).tolist())) for row in inside
        ]

    def exchangeable(self, p: int, q: int) -> bool:
        """Whether two regions can be exchanged."""
        smaller, larger = sorted((self.overlaps.area[p], self.overlaps.area[q]))
        return bool(
            larger <= LIKE_SIZE * smaller
            and self.overlaps.shared[p, q] <= SLIGHT * smaller
            and not self.words[p] & self.words_inside[q]
            and not self.words[q] & self.words_inside[p]
        )

    def same(self, place: int) -> list[int]:
        """The other regions with about the same box."""
        return [other for other in np.flatnonzero(self.overlaps.iou[place] >= SAME_REGION).tolist() if other != place]

    @functools.cached_property
    def distinct(self) -> list[int]:
        """Those that do not have about the same box as an earlier one of them."""
        found: dict[int, None] = {}
        for place in range(len(self)):
            if not any(other in found for other in self.same(place)):
                found[place] = None
        return list(found)

    def spread(self, places: Iterable[int], rng: random.Random) -> Iterator[int]:
        """Some regions in random order, without those that are in one place with an earlier one."""
        taken: list[int] = []
        places = list(places)
        for place in rng.sample(places, len(places)):
            if all(self.overlaps.iou[place, other] < ONE_PLACE for other in taken):
                taken.append(place)
                yield place


class VisualGenomeRegions(VisualGenome):
    """Regions → captions and grounding, matching and selection, and overlaps."""

    name = "visual_genome_regions"
    title = "Visual Genome regions"
    size = "130 MB of regions, 15 GB of images"
    annotations = REGION_DESCRIPTIONS
    entry = Descriptions
    files = (REGION_DESCRIPTIONS, IMAGE_DATA, *IMAGES)
    tasks = (
        "grounded_captioning",
        "visual_grounding",
        "region_caption_matching",
        "grounded_caption_selection",
        "visual_grounding_selection",
        *RULES,
        "region_overlap_detection",
        "region_area",
    )

    def convert(self, unit: Unit) -> Iterator[Candidate]:
        """All instances of captioning and grounding, a few of every other task, drawn from all that the image gives."""
        regions = self._regions(unit)
        for task in self.wanted:
            if task in _OF_EVERY_REGION:
                make, others = _OF_EVERY_REGION[task]
                found = list(make(regions))
                self.drop(task, others, len(regions) - len(found))
            else:
                drawn = _DRAWN[task](regions, self.rng(task, unit.number))
                found = self.up_to(task, drawn, "an image without regions that suit the task")
            for key, draft in found:
                yield self.candidate(unit, task, key, draft)

    def _regions(self, unit: Unit) -> Regions:
        found: dict[int, tuple[Box, str]] = {}
        for entry in self.decode(unit.entry.regions, list[Description], unit.number):
            number = entry.id if entry.region_id is None else entry.region_id
            caption = tidy(entry.phrase or "")
            box = visible_box(entry.x, entry.y, entry.width, entry.height, unit.photo.size)
            if not caption:
                self.drop("all tasks", "a caption that is empty or has control characters")
            elif box is None:
                self.drop("all tasks", "a region that does not lie in the image")
            elif number is None or number in found:
                self.drop("all tasks", "a region without an id of its own")
            else:
                found[number] = box, caption
        return Regions(found)


def grounded_captioning(regions: Regions) -> Found:
    """Every region → its caption; captions of regions with about the same box are references, not instances."""
    for place in regions.distinct:
        caption = regions.captions[place]
        others = dict.fromkeys(regions.captions[other] for other in regions.same(place))
        others.pop(caption, None)
        yield str(regions.ids[place]), _of_box(regions, place, target=text(caption), references=tuple(others))


def visual_grounding(regions: Regions) -> Found:
    """Every caption that refers to its region → the region; once if it is given to the same thing again."""
    said = set()
    for place in regions.referring:
        caption = regions.captions[place]
        if caption.casefold() not in said:
            said.add(caption.casefold())
            yield str(regions.ids[place]), Draft(text=text(caption), target=(regions.boxes[place],))


def region_caption_matching(regions: Regions, rng: random.Random) -> Found:
    """A region and a caption, its own or that of an exchangeable region → whether the caption describes the region.

    Every exchangeable pair is drawn with the same probability, and so is either caption of it as the right one, so
    that the text alone says nothing.
    """
    seen = set()
    for _ in range(PAIRS if len(regions) > 1 else 0):
        shown, other = rng.sample(range(len(regions)), 2)
        if (
            regions.words[shown]
            and regions.words[other]
            and regions.exchangeable(shown, other)
            and not seen & {shown, other}
        ):
            seen |= {shown, other}
            truth = coin(rng)
            said = regions.captions[shown if truth else other]
            draft = yes_no(truth, rng, regions=(regions.boxes[shown],), text=text(said))
            yield f"{regions.ids[shown]}-{regions.ids[other]}", draft


def grounded_caption_selection(regions: Regions, rng: random.Random) -> Found:
    """A region, the captions of four exchangeable regions → its own."""
    pool = [place for place, words in enumerate(regions.words) if words]
    for answer, others in _exchangeable(regions, pool, rng):
        wrong = [text(regions.captions[other]) for other in others]
        yield (
            str(regions.ids[answer]),
            choice_of(text(regions.captions[answer]), wrong, rng, number=OPTIONS, regions=(regions.boxes[answer],)),
        )


def visual_grounding_selection(regions: Regions, rng: random.Random) -> Found:
    """A caption, four exchangeable regions → the one it refers to; all four have captions that refer to them."""
    for answer, others in _exchangeable(regions, regions.referring, rng):
        wrong = [(regions.boxes[other],) for other in others]
        said = text(regions.captions[answer])
        yield str(regions.ids[answer]), choice_of((regions.boxes[answer],), wrong, rng, number=OPTIONS, text=said)


def region_overlap_detection(regions: Regions, rng: random.Random) -> Found:
    """Two regions → whether they overlap; balanced among pairs of like size, as large regions overlap more often."""
    seen = set()
    for _ in range(PAIRS if len(regions) > 1 else 0):
        wanted = coin(rng)
        p, q = rng.sample(range(len(regions)), 2)
        overlap, apart = regions.overlaps.overlap[p, q], regions.overlaps.apart[p, q]
        if (overlap if wanted else apart) and regions.overlaps.iou[p, q] < SAME_REGION and (p, q) not in seen:
            seen |= {(p, q), (q, p)}
            boxes = regions.boxes[p], regions.boxes[q]
            octave = math.floor(math.log2(sum(map(area, boxes))))
            yield f"{regions.ids[p]}-{regions.ids[q]}", yes_no(wanted, rng, regions=boxes, stratum=octave)


def region_area(regions: Regions, rng: random.Random) -> Found:
    """A region → its area in square pixels of the original image."""
    for place in regions.spread(range(len(regions)), rng):
        yield str(regions.ids[place]), _of_box(regions, place, target=text(round(area(regions.boxes[place]))))


def overlap_selection(task: str, regions: Regions, rng: random.Random) -> Found:
    """A region, regions → the one that overlaps most, least, alone, or not at all; see :data:`RULES`."""
    for found in choices(RULES[task], regions.overlaps, rng):
        answer, *others = ((regions.boxes[place],) for place in (found.answer, *found.others))
        draft = choice_of(answer, others, rng, number=1 + len(others), regions=(regions.boxes[found.region],))
        key = "-".join(str(regions.ids[place]) for place in (found.region, found.answer, *found.others))
        yield key, draft


# How instances are made, and why a region is none.
_OF_EVERY_REGION: dict[str, tuple[Callable[[Regions], Found], str]] = {
    "grounded_captioning": (grounded_captioning, "a region with about the same box as another, where its caption is"),
    "visual_grounding": (visual_grounding, "a caption without content, for several regions, or given again"),
}
_DRAWN: dict[str, Callable[[Regions, random.Random], Found]] = {
    make.__name__: make
    for make in (
        region_caption_matching,
        grounded_caption_selection,
        visual_grounding_selection,
        region_overlap_detection,
        region_area,
    )
} | {task: functools.partial(overlap_selection, task) for task in RULES}


def _of_box(regions: Regions, place: int, **fields: Any) -> Draft:
    return Draft(regions=(regions.boxes[place],), **fields)


def _exchangeable(regions: Regions, pool: list[int], rng: random.Random) -> Iterator[tuple[int, list[int]]]:
    """Sets of :data:`OPTIONS` exchangeable regions, as an answer and the others; no region is in two of them.

    The answer is drawn from the set after it is complete, so that nothing about it stands out.
    """
    pool = list(pool)
    for _ in range(SETS):
        chosen: list[int] = []
        for place in rng.sample(pool, len(pool)):
            if len(chosen) < OPTIONS and all(regions.exchangeable(place, other) for other in chosen):
                chosen.append(place)
        if len(chosen) == OPTIONS:
            pool = [place for place in pool if place not in chosen]
            answer = chosen.pop(rng.randrange(OPTIONS))
            yield answer, chosen
