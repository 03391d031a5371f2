"""Visual7W (Zhu et al., 2016): multiple-choice questions, answered with words (telling) or with a region (pointing).

Official files: ``dataset_v7w_telling.json`` and ``dataset_v7w_pointing.json``, objects with ``images``, each with
``image_id``, ``filename`` (``v7w_<image_id>.jpg``), ``split`` ("train", "val" or "test") and ``qa_pairs``: ``qa_id``,
``question``, ``type`` (the question word), ``answer`` and ``multiple_choices``, the three wrong answers, written or
chosen by people. In the pointing file answers are ids into ``boxes``: ``box_id``, ``x``, ``y``, ``width``, ``height``
(pixels; a few corners are -1) and ``name``. Neither file has image sizes.

The images are photos of Visual Genome, with its ids, but in copies of Visual7W's own, to which the boxes belong. So
they have paths of their own, and are known as Visual Genome's photos, or as MSCOCO's where ``image_data.json`` says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any

import msgspec
import numpy as np

from ofa_mi.data_prep.draft import Draft, text
from ofa_mi.data_prep.formats.reading import decode, read_json, tidy
from ofa_mi.data_prep.images.vg_images import IMAGE_DATA, coco_ids, vg_image
from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.source import Candidate, ImageFile, Source
from ofa_mi.errors import DataError
from ofa_mi.geometry import Box, box_of
from ofa_mi.instances.instance import Text

PAGE = "http://ai.stanford.edu/~yukez/visual7w/"
LICENCE = "none stated (questions); the photos' own licences on Flickr"
OPTIONS = 4
ENDS = ".,;:!? "  # two answers that differ only in these are scored as the same

IMAGES = RawFile(
    path="visual7w/images/",
    page=PAGE,
    url="http://vision.stanford.edu/yukezhu/visual7w_images.zip",
    unpack="visual7w",
    note="about 1.7 GB; the server speaks http only and no checksum is known",
)


class Photo(msgspec.Struct):
    """An image and its questions, which the worker decodes."""

    image_id: Annotated[int, msgspec.Meta(ge=0)]
    split: str
    qa_pairs: msgspec.Raw


class Telling(msgspec.Struct):
    """``dataset_v7w_telling.json``."""

    images: list[Photo]


class Rectangle(msgspec.Struct):
    """A row of ``boxes``."""

    box_id: int
    x: float
    y: float
    width: float
    height: float


class Pointing(msgspec.Struct):
    """``dataset_v7w_pointing.json``."""

    images: list[Photo]
    boxes: list[Rectangle]


class Question(msgspec.Struct):
    """What the questions of both files have."""

    qa_id: int
    question: str
    type: str


class TellingQuestion(Question):
    """A question that is answered with words."""

    answer: str
    multiple_choices: list[str]


class PointingQuestion(Question):
    """A question that is answered with a region; answers are ids of boxes."""

    answer: int
    multiple_choices: list[int]


class _Visual7W(Source):
    """What the two parts have in common: a source for each file."""

    page = PAGE
    licence = LICENCE
    version = 2
    split: str

    def read(self, kind: type) -> Any:
        """The annotation file, decoded; keeps its path for errors, and which photos are MSCOCO's."""
        self.path = self.raw.find(self.files[0])
        self.coco_ids = coco_ids(self.raw.find(IMAGE_DATA))
        return read_json(self.path, kind)

    def photos(self, images: Sequence[Photo]) -> list[Photo]:
        """The images of the split."""
        return [photo for photo in images if photo.split == self.split]

    def photo(self, photo: Photo) -> ImageFile:
        """Its image file, Visual7W's own copy."""
        name = f"v7w_{photo.image_id}.jpg"
        known_as = vg_image(photo.image_id, coco_id=self.coco_ids.get(photo.image_id)).photo
        return ImageFile(f"visual7w/{name}", (f"visual7w/images/{name}",), same_as=known_as)

    def questions(self, photo: Photo, kind: type) -> list[Any]:
        """The questions about an image."""
        return decode(photo.qa_pairs, list[kind], f"{self.path}: image {photo.image_id}")

    def candidate(self, entry: Question, answer: Text, wrong: Sequence[Text], image: ImageFile) -> Candidate | None:
        """The instance of a question, its options in random order; None, and counted, if they do not serve."""
        (task,) = self.tasks
        question = tidy(entry.question)
        options = [answer, *wrong]
        if not question:
            return self.drop(task, "the question is empty or has control characters")
        if len({_as_scored(option) for option in options}) < OPTIONS or len(options) != OPTIONS:
            return self.drop(task, f"the options are not {OPTIONS} different ones")
        self.rng(task, entry.qa_id).shuffle(options)
        draft = Draft(question=text(question), options=tuple(options), target=answer)
        return Candidate(task, str(entry.qa_id), draft, image, {"question_type": entry.type})


class Visual7WTelling(_Visual7W):
    """Training split of the telling questions → ``visual7w_vqa``.

    People wrote the wrong answers, so that the words alone may tell the right one more often than once in four times;
    ``ofa-mi data check`` measures it.
    """

    name = "visual7w_telling"
    title = "Visual7W telling"
    size = "1.7 GB"
    tasks = ("visual7w_vqa",)
    split = "train"
    files = (
        RawFile(
            path="visual7w/dataset_v7w_telling.json",
            page=PAGE,
            url="https://ai.stanford.edu/~yukez/papers/resources/dataset_v7w_telling.zip",
            unpack="visual7w",
        ),
        IMAGES,
        IMAGE_DATA,
    )

    def load(self) -> Sequence[Photo]:
        """One unit per image of the training split."""
        return self.photos(self.read(Telling).images)

    def convert(self, unit: Photo) -> Iterator[Candidate]:
        """The questions about one image."""
        for entry in self.questions(unit, TellingQuestion):
            answer, *wrong = map(tidy, (entry.answer, *entry.multiple_choices))
            if not all((answer, *wrong)):
                self.drop("visual7w_vqa", "an option is empty or has control characters")
            elif candidate := self.candidate(entry, text(answer), [text(option) for option in wrong], self.photo(unit)):
                yield candidate


class Visual7WPointing(_Visual7W):
    """Test split of the pointing questions → ``grounded_vqa``; boxes are cut to the image, whose header is read."""

    name = "visual7w_pointing"
    title = "Visual7W pointing"
    size = "1.7 GB, the same photos as Visual7W telling"
    tasks = ("grounded_vqa",)
    split = "test"
    files = (
        RawFile(
            path="visual7w/dataset_v7w_pointing.json",
            page=PAGE,
            url="https://ai.stanford.edu/~yukez/papers/resources/dataset_v7w_pointing.zip",
            unpack="visual7w",
        ),
        IMAGES,
        IMAGE_DATA,
    )

    def load(self) -> Sequence[Photo]:
        """One unit per image of the test split; boxes are kept as arrays, sorted by id."""
        content = self.read(Pointing)
        ids = np.array([box.box_id for box in content.boxes], dtype=np.int64)
        corners = np.array([(box.x, box.y, box.width, box.height) for box in content.boxes], dtype=np.float64)
        order = np.argsort(ids, kind="stable")
        self.box_ids, self.boxes = ids[order], corners.reshape(-1, 4)[order]  # (N,), (N, 4): x, y, width, height
        return self.photos(content.images)

    def convert(self, unit: Photo) -> Iterator[Candidate]:
        """The questions about one image."""
        image = self.photo(unit)
        size = self.raw.image_size(image.files)
        # An image that cannot be read is reported by the build with all others: until then, nothing is cut off.
        image, limits = replace(image, size=size), size or (float("inf"), float("inf"))
        for entry in self.questions(unit, PointingQuestion):
            boxes = [self.box(number, limits) for number in (entry.answer, *entry.multiple_choices)]
            if not all(boxes):
                self.drop("grounded_vqa", "a region lies outside the image or is less than a pixel wide or high")
            elif candidate := self.candidate(entry, (boxes[0],), [(box,) for box in boxes[1:]], image):
                yield candidate

    def box(self, number: int, image_size: tuple[float, float]) -> Box | None:
        """The box with this id, cut to the image; None if nothing is left."""
        place = int(np.searchsorted(self.box_ids, number))
        if place == len(self.box_ids) or self.box_ids[place] != number:
            raise DataError(f"{self.path}: an answer is box {number}, which the file does not have; download it again")
        return box_of(*self.boxes[place].tolist(), image_size)


def _as_scored(option: Text) -> object:
    return option[0].lower().rstrip(ENDS) if isinstance(option[0], str) else option
