"""MSCOCO captions (Chen et al., 2015): five captions for each photo.

Official files: ``coco/annotations/captions_train2014.json`` with ``images`` (``id, width, height, …``) and
``annotations`` (``id, image_id, caption``), and, to know which captions are wrong for an image, the instances of the
same photos (:mod:`ofa_mi.data_prep.formats.coco_objects`). Only the training photos of 2014 are used.

A caption counts as wrong for an image if its own image has no object category in common with it (of MSCOCO's 80: those
of all annotated objects, crowds too, and those that any of the image's captions names) and fewer than half of its
content words are in any caption of the image.
Captions are put into groups that are wrong for each other's images, and of as many words: pairs for
image_text_matching, groups of four for image_text_selection. Every caption of a group is asked about, or offered,
with every image of it, so that each is right as often as the others: text alone gives nothing away.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ofa_mi.data_prep.draft import Draft, choice, text, yes_no
from ofa_mi.data_prep.formats.coco_objects import ImageInfo, LeftOut, ObjectTable, disjoint_groups
from ofa_mi.data_prep.formats.reading import read_json, tidy
from ofa_mi.data_prep.images.coco_images import (
    ANNOTATIONS_LICENCE,
    LICENCE,
    PAGE,
    TRAIN_IMAGES,
    annotation_file,
    coco_image,
)
from ofa_mi.data_prep.options.coco_words import CategoryWords
from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.source import Candidate, ImageFile, Source, held_out
from ofa_mi.errors import DataError
from ofa_mi.utils.hashing import hash64

GROUP_SIZES = {"image_text_matching": 2, "image_text_selection": 4}
MOST_COMMON_WORDS = 0.5  # of a wrong caption's content words, in captions of the image
ROUNDS = 5  # of grouping; the n-th takes the n-th caption of every image
_FUNCTION_WORDS = (
    "about above across after all along also an and another any are area around as at back background behind being "
    "below beside between big both by can close couple down each few for from front full group has have her him his in "
    "inside into is it its large lot lots many middle more near next of off on one onto other out outside over photo "
    "picture piece several side small some something that the their them there these they this three through to top "
    "toward two under up very view image while who with you"
)
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())  # they say nothing about what an image shows
_WORD = re.compile(r"[a-z]{2,}")


class CaptionAnnotation(msgspec.Struct, gc=False):
    """An element of ``annotations``."""

    id: int
    image_id: int
    caption: str


class CaptionsFile(msgspec.Struct):
    """``captions_*.json``."""

    images: list[ImageInfo]
    annotations: list[CaptionAnnotation]


class Caption(msgspec.Struct, frozen=True, gc=False):
    """A caption in one line; ``id`` is its number among all."""

    id: int
    text: str


@dataclass(frozen=True, slots=True)
class CaptionedImage:
    """An image with its captions, in the order of the file."""

    info: ImageInfo
    captions: tuple[Caption, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Images with a caption each that is wrong for all others of them."""

    task: str
    members: tuple[tuple[ImageInfo, Caption], ...]


Unit = CaptionedImage | Group | LeftOut


class CocoCaptions(Source):
    """Training set of 2014 → ``image_captioning``, ``image_text_matching``, ``image_text_selection``."""

    name = "coco_captions"
    title = "MSCOCO captions"
    page = PAGE
    licence = f"{ANNOTATIONS_LICENCE}; {LICENCE}"
    size = "0.3 GB, images 13.5 GB"
    tasks = ("image_captioning", "image_text_matching", "image_text_selection")
    files = (annotation_file("captions_train2014.json"), annotation_file("instances_train2014.json"), TRAIN_IMAGES)

    def needed(self) -> tuple[RawFile, ...]:
        """The instances only for the tasks that need wrong captions."""
        captions, instances, images = self.files
        return (captions, instances, images) if self.wants(*GROUP_SIZES) else (captions, images)

    def load(self) -> Sequence[Unit]:
        """One unit per image, and one per group of images with exchanged captions."""
        images, unusable = _read(self.raw.find(self.files[0]))
        units: list[Unit] = list(images)
        units += [LeftOut(task, "the caption is empty or has control characters", unusable) for task in self.wanted]
        if self.wants(*GROUP_SIZES):
            units += self._groups(images, ObjectTable(self.raw.find(self.files[1])))
        return units

    def convert(self, unit: Unit) -> Iterator[Candidate]:
        """The captions of one image, or the right and wrong ones of one group."""
        if isinstance(unit, LeftOut):
            self.drop(unit.task, unit.reason, unit.number)
        elif isinstance(unit, CaptionedImage):
            yield from self._captioning(unit)
        elif unit.task == "image_text_matching":
            yield from self._matching(unit)
        else:
            yield from self._selection(unit)

    def _captioning(self, unit: CaptionedImage) -> Iterator[Candidate]:
        """Nothing → a caption; every caption is the target of one instance, the image's others are its references."""
        task = "image_captioning"
        if not self.wants(task):
            return
        said = list(dict.fromkeys(caption.text for caption in unit.captions))
        for caption in unit.captions:
            others = tuple(other for other in said if other != caption.text)
            yield Candidate(
                task, str(caption.id), Draft(target=text(caption.text), references=others), _image(unit.info)
            )

    def _matching(self, group: Group) -> Iterator[Candidate]:
        """A caption → whether it describes the image; balanced within each caption, which is right once, wrong once."""
        for image, own in group.members:
            for _, caption in group.members:
                key = f"{image.id}-{caption.id}"
                rng = self.rng(group.task, key)
                draft = yes_no(caption is own, rng, text=text(caption.text), stratum=caption.id)
                yield Candidate(group.task, key, draft, _image(image))

    def _selection(self, group: Group) -> Iterator[Candidate]:
        """Four captions → the one that describes the image; the same four for the four images of the group."""
        for image, own in group.members:
            rng = self.rng(group.task, own.id)
            options = rng.sample([text(caption.text) for _, caption in group.members], len(group.members))
            yield Candidate(group.task, str(own.id), choice(text(own.text), options), _image(image))

    # -- groups

    def _groups(self, images: Sequence[CaptionedImage], objects: ObjectTable) -> Iterator[Unit]:
        names = CategoryWords(objects.categories)
        contents = {image.info.id: _Content(image, objects.mask(image.info.id), names) for image in images}
        useful = [image for image in images if contents[image.info.id].mask]
        left = sum(len(image.captions) for image in images) - sum(len(image.captions[:ROUNDS]) for image in useful)
        for task in (task for task in GROUP_SIZES if self.wants(task)):
            yield LeftOut(task, f"nothing says what is in the image, or it has more than {ROUNDS} captions", left)
            for turn in range(ROUNDS):
                yield from self._round(task, turn, useful, contents)

    def _round(
        self, task: str, turn: int, images: Sequence[CaptionedImage], contents: dict[int, _Content]
    ) -> Iterator[Unit]:
        """Groups of the ``turn``-th captions of all images; apart by split and by number of words."""
        kinds: dict[tuple[bool, int], list[CaptionedImage]] = {}
        for image in images:
            if turn < len(image.captions):
                kind = held_out(_image(image.info).path), len(image.captions[turn].text.split())
                kinds.setdefault(kind, []).append(image)

        def mask(image: CaptionedImage) -> int:
            return contents[image.info.id].mask

        def wrong(member: CaptionedImage, image: CaptionedImage) -> bool:
            return contents[member.info.id].unlike(turn, contents[image.info.id])

        left = 0
        for _, found in sorted(kinds.items()):
            found.sort(key=lambda image: hash64(self.seed, task, turn, image.info.id))
            left += len(found)
            for group in disjoint_groups(found, GROUP_SIZES[task], mask, compatible=wrong):
                left -= len(group)
                yield Group(task, tuple((image.info, image.captions[turn]) for image in group))
        yield LeftOut(task, "no images without a common category to exchange captions with", left)


class _Content:
    """What is known of an image's content.

    Attributes:
        mask: Categories of what is annotated and of what captions name, a bit each.
        by_caption: Content words of each caption.
        words: Those of all captions.
    """

    __slots__ = ("by_caption", "mask", "words")

    def __init__(self, image: CaptionedImage, annotated: int, names: CategoryWords) -> None:
        self.mask = annotated
        for caption in image.captions:
            self.mask |= names.named(caption.text)
        self.by_caption = tuple(content_words(caption.text) for caption in image.captions)
        self.words = frozenset().union(*self.by_caption)

    def unlike(self, turn: int, other: _Content) -> bool:
        """Whether the ``turn``-th captions of both images are wrong for the other one, going by their words."""
        return _foreign(self.by_caption[turn], other.words) and _foreign(other.by_caption[turn], self.words)


def content_words(caption: str) -> frozenset[str]:
    """Lower-case words of a caption that say what it is about, without a plural's s."""
    found = (word for word in _WORD.findall(caption.lower()) if word not in FUNCTION_WORDS)
    return frozenset(word[:-1] if word.endswith("s") and not word.endswith("ss") else word for word in found)


def _foreign(words: frozenset[str], of_image: frozenset[str]) -> bool:
    """Whether fewer than half of a caption's words are those of an image; never of a caption without any."""
    return len(words & of_image) < MOST_COMMON_WORDS * len(words)


def _image(info: ImageInfo) -> ImageFile:
    return coco_image(info.id, info.size)


def _read(path: Path) -> tuple[list[CaptionedImage], int]:
    """The images with their captions, in the order of the file's images, and the number of unusable captions."""
    content = read_json(path, CaptionsFile)
    captions: dict[int, list[Caption]] = {image.id: [] for image in content.images}
    unusable = 0
    for annotation in content.annotations:
        if annotation.image_id not in captions:
            raise DataError(
                f"{path}: caption {annotation.id} is of image {annotation.image_id}, which is not in the file; "
                "download it again"
            )
        if said := tidy(annotation.caption):
            captions[annotation.image_id].append(Caption(annotation.id, said))
        else:
            unusable += 1
    return [CaptionedImage(image, tuple(captions[image.id])) for image in content.images], unusable
