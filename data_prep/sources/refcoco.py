"""RefCOCO, RefCOCO+ (Yu et al., 2016) and RefCOCOg (Mao et al., 2016): expressions that tell one object of a photo of
MSCOCO from the others.

Official files: those of the ``refer`` repository, a folder for each data set below ``refcoco/``:

- ``instances.json``: all objects of its photos, in MSCOCO's format (:mod:`ofa_mi.data_prep.formats.coco_objects`).
- ``refs(unc).p``, for RefCOCOg ``refs(umd).p``: a pickle of Python 2 with a list of the objects that are referred to,
  each a dictionary with ``ref_id``, ``ann_id``, ``image_id``, ``category_id``, ``split`` and ``sentences`` (each with
  ``sent_id``, ``tokens``, ``raw``: as typed, ``sent``: cleaned). It holds plain data only, and is read as such
  (:mod:`ofa_mi.data_prep.formats.plain_pickle`).

All photos are from the training set of MSCOCO 2014, those of the validation and test splits too. Used are the
objects of the split ``train``, as far as no object of their image is in another split; the others are counted. (The
splits of the three data sets differ: who wants to evaluate on one of them must keep its photos out of all others.)
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ofa_mi.data_prep.draft import Draft, choice, text
from ofa_mi.data_prep.formats.coco_objects import SAME_PLACE, ImageInfo, LeftOut, ObjectTable, Thing
from ofa_mi.data_prep.formats.plain_pickle import read_plain_pickle
from ofa_mi.data_prep.formats.reading import tidy
from ofa_mi.data_prep.images.coco_images import LICENCE, TRAIN_IMAGES, coco_image
from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.source import Candidate, Source
from ofa_mi.errors import DataError
from ofa_mi.geometry import Box, area, iou

PAGE = "https://github.com/lichengunc/refer"
ARCHIVE = "https://web.archive.org/web/{}id_/https://bvisionweb1.cs.unc.edu/licheng/referit/data/{}.zip"
TASKS = ("referring_expression_grounding", "referring_expression_generation", "referring_expression_selection")
GROUNDING, GENERATION, SELECTION = TASKS
TRAIN = "train"
HELD_OUT = "the object is in the validation or test splits"
BESIDE_HELD_OUT = "the image has an object in the validation or test splits"
UNUSABLE = "the expression is empty, repeated, or has control characters"
MOST_OPTIONS = 4
MOST_SIZE_RATIO = 2  # of the right object and others that nothing refers to


class Sentence(msgspec.Struct, gc=False):
    """One expression."""

    sent_id: int
    sent: str


class Reference(msgspec.Struct, gc=False):
    """An object with the expressions for it."""

    ref_id: int
    ann_id: int
    image_id: int
    split: str
    sentences: list[Sentence]


@dataclass(frozen=True, slots=True)
class Referent:
    """An object of the training split and its different expressions."""

    ref_id: int
    thing_id: int
    expressions: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class ReferredImage:
    """An image with the objects that are referred to."""

    info: ImageInfo
    referents: tuple[Referent, ...]


def _files(folder: str, refs: str, date: str) -> tuple[RawFile, ...]:
    """The two files of a data set and the photos; ``date`` is that of the copy in the Internet Archive."""
    note = "the authors' server is often down; this is its copy in the Internet Archive"
    address = ARCHIVE.format(date, folder)
    files = (f"refcoco/{folder}/{name}" for name in (refs, "instances.json"))
    return (*(RawFile(path=path, page=PAGE, url=address, unpack="refcoco", note=note) for path in files), TRAIN_IMAGES)


class _RefCoco(Source):
    """What the three data sets have in common."""

    page = PAGE
    licence = f"not stated for the expressions; {LICENCE}"
    tasks = TASKS

    def load(self) -> Sequence[ReferredImage | LeftOut]:
        """One unit per training image."""
        path = self.raw.find(self.files[0])
        self.table = ObjectTable(self.raw.find(self.files[1]))
        references = _read(path)
        held_out = {reference.image_id for reference in references if reference.split != TRAIN}
        images: dict[int, list[Referent]] = {}
        left: Counter[str] = Counter()
        for reference in references:
            if reference.image_id not in self.table.images:
                raise DataError(
                    f"{path}: object {reference.ref_id} is in image {reference.image_id}, which instances.json does "
                    "not have; take both from one archive"
                )
            if reference.image_id in held_out:
                left[HELD_OUT if reference.split != TRAIN else BESIDE_HELD_OUT] += len(reference.sentences)
                continue
            expressions = _different(reference.sentences)
            left[UNUSABLE] += len(reference.sentences) - len(expressions)
            referent = Referent(reference.ref_id, reference.ann_id, expressions)
            images.setdefault(reference.image_id, []).append(referent)
        units = [ReferredImage(self.table.images[number], tuple(images[number])) for number in sorted(images)]
        lost = [LeftOut(task, reason, left[reason]) for task in self.wanted for reason in sorted(left) if left[reason]]
        return [*units, *lost]

    def convert(self, unit: ReferredImage | LeftOut) -> Iterator[Candidate]:
        """The expressions of one image; those that are said of two of its objects are left out."""
        if isinstance(unit, LeftOut):
            self.drop(unit.task, unit.reason, unit.number)
            return
        things = {thing.id: thing for thing in self.table.of(unit.info.id)}
        said = Counter(words for referent in unit.referents for words in {w.lower() for _, w in referent.expressions})
        for referent in unit.referents:
            for number, words in referent.expressions:
                thing = things.get(referent.thing_id)
                if thing is None or thing.box is None:
                    self._drop_all("an object that has no box in instances.json")
                elif said[words.lower()] > 1:
                    self._drop_all("an expression for two objects of one image")
                else:
                    yield from self._instances(unit, referent, (number, words), things)

    def _drop_all(self, reason: str) -> None:
        for task in self.wanted:
            self.drop(task, reason)

    def _instances(
        self, unit: ReferredImage, referent: Referent, expression: tuple[int, str], things: dict[int, Thing]
    ) -> Iterator[Candidate]:
        number, words = expression
        thing = things[referent.thing_id]
        image = coco_image(unit.info.id, unit.info.size)
        if self.wants(GROUNDING):
            yield Candidate(GROUNDING, str(number), Draft(text=text(words), target=(thing.box,)), image)
        if self.wants(GENERATION):
            others = tuple(other for _, other in referent.expressions if other != words)
            draft = Draft(regions=(thing.box,), target=text(words), references=others)
            yield Candidate(GENERATION, str(number), draft, image)
        if self.wants(SELECTION):
            rng = self.rng(SELECTION, number)
            referred_to = {other.thing_id for other in unit.referents}
            boxes = [thing.box, *_other_boxes(thing, things.values(), referred_to, rng)][:MOST_OPTIONS]
            if len(boxes) == 1:
                self.drop(SELECTION, "no other object to choose from")
                return
            options = rng.sample([(box,) for box in boxes], len(boxes))
            yield Candidate(SELECTION, str(number), choice((thing.box,), options, text=text(words)), image)


class RefCoco(_RefCoco):
    """Training split → three tasks about referring expressions; expressions from a game, 3.6 words long."""

    name = "refcoco"
    title = "RefCOCO"
    size = "below 0.1 GB, images 13.5 GB"
    files = _files("refcoco", "refs(unc).p", "20220413011718")


class RefCocoPlus(_RefCoco):
    """Training split → the same; from a game without words for places, 3.5 words long."""

    name = "refcoco_plus"
    title = "RefCOCO+"
    size = "below 0.1 GB, images 13.5 GB"
    files = _files("refcoco+", "refs(unc).p", "20220413011656")


class RefCocoG(_RefCoco):
    """Training split of UMD → the same; expressions written without a partner, 8.4 words long."""

    name = "refcocog"
    title = "RefCOCOg"
    size = "below 0.1 GB, images 13.5 GB"
    files = _files("refcocog", "refs(umd).p", "20220413012904")


def _read(path: Path) -> list[Reference]:
    try:
        return msgspec.convert(read_plain_pickle(path), list[Reference])
    except msgspec.ValidationError as error:
        raise DataError(f"{path}: not in the official format ({error}); download it again") from None


def _different(sentences: Sequence[Sentence]) -> tuple[tuple[int, str], ...]:
    """Number and text of the usable expressions, the first of those that are alike."""
    found: dict[str, tuple[int, str]] = {}
    for sentence in sentences:
        if words := tidy(sentence.sent):
            found.setdefault(words.lower(), (sentence.sent_id, words))
    return tuple(found.values())


def _other_boxes(thing: Thing, things: Iterable[Thing], referred_to: set[int], rng: random.Random) -> list[Box]:
    """Boxes for the options beside that of ``thing``, the best first, in random order where equally good.

    First come objects that other expressions are for: their boxes are as likely to be right. If there are not enough,
    then others with at most twice or half the area. Of either kind those of the same category come first. Crowds are
    no options, nor are objects in the place of ``thing`` or of a better option.
    """
    usable = [other for other in things if not other.crowd and other.box is not None and other.id != thing.id]
    rng.shuffle(usable)
    usable.sort(key=lambda other: (other.id not in referred_to, other.category != thing.category))
    boxes: list[Box] = []
    for other in usable:
        alike = 1 / MOST_SIZE_RATIO <= area(other.box) / area(thing.box) <= MOST_SIZE_RATIO
        free = all(iou(other.box, box) <= SAME_PLACE for box in (thing.box, *boxes))
        if free and (other.id in referred_to or alike):
            boxes.append(other.box)
    return boxes
