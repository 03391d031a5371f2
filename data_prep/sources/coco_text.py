"""COCO-Text (Veit et al., 2016): text in photos of MSCOCO.

Official file: ``cocotext.v2.json`` (version 2), or ``COCO_Text.json`` (version 1.4, that of the paper's release; other
splits and boxes, same fields). One JSON object with

- ``imgs``: number → ``id, set`` (``train``, ``val``; ``test`` without annotations), ``width, height, file_name``;
- ``anns``: number → ``id, image_id, bbox [x, y, width, height], class`` ("machine printed", "handwritten", "others"),
  ``legibility`` ("legible", "illegible"), and of what is legible ``utf8_string``; ``language`` and the outline
  (``mask``, in version 1 ``polygon``) are not used.

A box is around one word where it is legible, else around a stretch of text. Only the set ``train`` is used; all photos
are from MSCOCO's training set of 2014.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ofa_mi.data_prep.draft import choice, labelled, text, yes_no
from ofa_mi.data_prep.formats.coco_objects import LeftOut, apart
from ofa_mi.data_prep.formats.reading import read_json, tidy
from ofa_mi.data_prep.images.coco_images import LICENCE, TRAIN_IMAGES, coco_image
from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.source import Candidate, ImageFile, Source, held_out
from ofa_mi.errors import DataError
from ofa_mi.geometry import Box, box_of
from ofa_mi.utils.hashing import hash64

PAGE = "https://bgshih.github.io/cocotext/"
LEGIBILITY = ("legible", "illegible")
TYPES = ("machine printed", "handwritten", "others")
LOCALIZATION, MATCHING = "text_localization", "region_text_matching"
LEGIBLE, TYPE = "text_legibility", "text_type_classification"
MOST_OPTIONS = 4
LEAST_OPTIONS = 2


class Img(msgspec.Struct, gc=False):
    """An element of ``imgs``."""

    id: int
    set: str
    width: int
    height: int

    @property
    def image(self) -> ImageFile:
        return coco_image(self.id, (self.width, self.height))


class Ann(msgspec.Struct, gc=False):
    """An element of ``anns``."""

    id: int
    image_id: int
    bbox: tuple[float, float, float, float]
    legibility: str
    kind: str = msgspec.field(name="class")
    utf8_string: str | None = None


class CocoTextFile(msgspec.Struct):
    """``cocotext.v2.json``."""

    imgs: dict[str, Img]
    anns: dict[str, Ann]


@dataclass(frozen=True, slots=True)
class Word:
    """A legible word in an image.

    Attributes:
        id: Its number among all annotations.
        written: What is written.
        key: Its letters and digits in lower case: words with the same key are taken for the same.
        box: Where, in pixels.
    """

    id: int
    written: str
    key: str
    box: Box


@dataclass(frozen=True, slots=True)
class TextImage:
    """An image with its annotations."""

    info: Img
    anns: tuple[Ann, ...]


@dataclass(frozen=True, slots=True)
class WordPair:
    """Two different words, in one image or in two, for region_text_matching."""

    first: tuple[Img, Word]
    second: tuple[Img, Word]


Unit = TextImage | WordPair | LeftOut


class CocoText(Source):
    """Training set → four tasks about text in regions."""

    name = "coco_text"
    title = "COCO-Text"
    page = PAGE
    licence = f"CC BY 4.0; {LICENCE}"
    size = "below 0.1 GB, images 13.5 GB"
    tasks = (LOCALIZATION, MATCHING, LEGIBLE, TYPE)
    files = (
        RawFile(
            path="coco_text/cocotext.v2.json",
            page=PAGE,
            url="https://github.com/bgshih/cocotext/releases/download/dl/cocotext.v2.zip",
            unpack="coco_text",
            sha256="1444893ce7dbcd8419b2ec9be6beb0dba9cf8a43bf36cab4293d5ba6cecb7fb1",
            alternatives=("coco_text/COCO_Text.json",),
        ),
        TRAIN_IMAGES,
    )

    def load(self) -> Sequence[Unit]:
        """One unit per image with text, and one per two words."""
        images = _read(self.raw.find(self.files[0]))
        units: list[Unit] = list(images)
        if self.wants(MATCHING):
            units += self._pairs(images)
        return units

    def convert(self, unit: Unit) -> Iterator[Candidate]:
        """The candidates of one image, or of two words."""
        if isinstance(unit, LeftOut):
            self.drop(unit.task, unit.reason, unit.number)
        elif isinstance(unit, WordPair):
            yield from self._matching(unit)
        else:
            if self.wants(LOCALIZATION):
                yield from self._localization(unit)
            if self.wants(LEGIBLE, TYPE):
                yield from self._properties(unit)

    # -- text_localization

    def _localization(self, unit: TextImage) -> Iterator[Candidate]:
        """A word and two to four regions → the region in which it is written.

        The regions hold words of the image, each found there only once, of which none contains another, in boxes that
        are apart from each other. Each of them is asked for once, with the same regions, and they are neighbours in
        length, so that the form of a box tells little.
        """
        words = _words(unit)
        rng = self.rng(LOCALIZATION, unit.info.id)
        single = [word for word in words if sum(other.key == word.key for other in words) == 1]
        ordered = sorted(rng.sample(single, len(single)), key=lambda word: len(word.key))
        self.drop(LOCALIZATION, "a word that is in the image more than once", len(words) - len(single))
        for options in _groups(ordered):
            if len(options) < LEAST_OPTIONS:
                self.drop(LOCALIZATION, "no other word to choose from", len(options))
                continue
            for word in options:
                boxes = rng.sample([(option.box,) for option in options], len(options))
                draft = choice((word.box,), boxes, text=text(word.written))
                yield Candidate(LOCALIZATION, str(word.id), draft, unit.info.image)

    # -- region_text_matching

    def _pairs(self, images: Sequence[TextImage]) -> Iterator[Unit]:
        """Pairs of words of similar length: of one image as far as possible, the others of two in the same split."""
        rest: dict[bool, list[tuple[Img, Word]]] = {False: [], True: []}
        unusable = 0
        for unit in images:
            words = _words(unit)
            unusable += sum(ann.legibility == "legible" for ann in unit.anns) - len(words)
            ordered = sorted(words, key=lambda word: (len(word.key), hash64(self.seed, word.id)))
            pairs, single = _paired([(unit.info, word) for word in ordered])
            yield from pairs
            rest[held_out(unit.info.image.path)] += single
        left = 0
        for single in rest.values():
            single.sort(key=lambda item: (len(item[1].key), hash64(self.seed, item[1].id)))
            pairs, unpaired = _paired(single)
            yield from pairs
            left += len(unpaired)
        reasons = {"a legible text without usable letters or box": unusable, "no other word to pair it with": left}
        yield from (LeftOut(MATCHING, reason, number) for reason, number in reasons.items() if number)

    def _matching(self, pair: WordPair) -> Iterator[Candidate]:
        """A word and a region → whether it is what is written there.

        The two words are different, and neither contains the other. Both are asked about with both regions, so that
        every word and every region comes once with yes and once with no; balanced within these four.
        """
        stratum = f"{pair.first[1].id}-{pair.second[1].id}"
        for image, shown in (pair.first, pair.second):
            for _, asked in (pair.first, pair.second):
                key = f"{shown.id}-{asked.id}"
                rng = self.rng(MATCHING, key)
                fields = {"text": text(asked.written), "regions": (shown.box,), "stratum": stratum}
                yield Candidate(MATCHING, key, yes_no(asked is shown, rng, **fields), image.image)

    # -- text_legibility, text_type_classification

    def _properties(self, unit: TextImage) -> Iterator[Candidate]:
        """A region → whether its text is legible; the region of a legible text → how it was made.

        What is illegible, or not printed, has other sizes and forms, so answers are balanced within each class of box:
        height (a factor of two each) and ratio of the sides.
        """
        for ann in unit.anns:
            box = box_of(*ann.bbox, unit.info.image.size)
            for task, answer, labels in ((LEGIBLE, ann.legibility, LEGIBILITY), (TYPE, ann.kind, TYPES)):
                if not self.wants(task):
                    continue
                if box is None:
                    self.drop(task, "less than a pixel of the box is inside the image")
                elif answer not in labels:
                    self.drop(task, "no known answer")
                elif task == TYPE and ann.legibility != "legible":
                    self.drop(task, "an illegible text")
                else:
                    draft = labelled(answer, labels, self.rng(task, ann.id), stratum=_box_class(box), regions=(box,))
                    yield Candidate(task, str(ann.id), draft, unit.info.image)


def _read(path: Path) -> list[TextImage]:
    """The training images that have annotations, and these, in the order of their numbers."""
    content = read_json(path, CocoTextFile)
    images = {img.id: img for img in content.imgs.values()}
    anns: dict[int, list[Ann]] = defaultdict(list)
    for ann in content.anns.values():
        if ann.image_id not in images:
            raise DataError(
                f"{path}: annotation {ann.id} is of image {ann.image_id}, which is not in the file; download it again"
            )
        if images[ann.image_id].set == "train":
            anns[ann.image_id].append(ann)
    return [TextImage(images[number], tuple(sorted(anns[number], key=lambda ann: ann.id))) for number in sorted(anns)]


def _words(unit: TextImage) -> list[Word]:
    """The legible words with a letter or digit and a box."""
    words = []
    for ann in unit.anns:
        written, box = tidy(ann.utf8_string or ""), box_of(*ann.bbox, unit.info.image.size)
        key = "".join(character for character in written.casefold() if character.isalnum())
        if ann.legibility == "legible" and key and box is not None:
            words.append(Word(ann.id, written, key, box))
    return words


def _differ(p: Word, q: Word) -> bool:
    """Whether two words are different and neither contains the other."""
    return p.key not in q.key and q.key not in p.key


def _groups(words: Iterable[Word]) -> list[list[Word]]:
    """Words in order put into groups of at most :data:`MOST_OPTIONS`, each into the first that it fits into."""
    groups: list[list[Word]] = []
    for word in words:
        for group in groups:
            if len(group) < MOST_OPTIONS and all(_differ(word, q) and apart(word.box, q.box) for q in group):
                group.append(word)
                break
        else:
            groups.append([word])
    return groups


def _paired(items: Sequence[tuple[Img, Word]]) -> tuple[list[WordPair], list[tuple[Img, Word]]]:
    """Neighbours that differ in pairs, and what is left."""
    pairs, left = [], []
    waiting: tuple[Img, Word] | None = None
    for item in items:
        if waiting is None:
            waiting = item
        elif _differ(waiting[1], item[1]) and (waiting[0] is not item[0] or apart(waiting[1].box, item[1].box)):
            pairs.append(WordPair(waiting, item))
            waiting = None
        else:
            left.append(waiting)
            waiting = item
    return pairs, left + ([waiting] if waiting is not None else [])


def _box_class(box: Box) -> str:
    """Class of a box by its height and the ratio of its sides."""
    width, height = box[2] - box[0], box[3] - box[1]
    return f"{round(math.log2(height))}/{min(max(round(math.log2(width / height)), -1), 3)}"
