"""Visual Genome (Krishna et al., 2017): what its three sources (regions, relationships, questions) have in common.

Official files, each a list with one entry per image; the entry has the image's id as ``id`` or ``image_id``, by file
and version. All versions are read; the newest are:

- ``image_data.json``: ids and sizes of the 108,077 images;
- ``region_descriptions.json`` (1.2; 5.4 M regions), ``relationships.json`` (1.4; 2.3 M) and
  ``question_answers.json`` (1.2; 1.7 M).

Boxes are a corner, a width and a height in pixels. They are not always in the image: a few thousand begin at negative
coordinates, some lie hundreds of pixels away from the image. There is no official split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import msgspec

from ofa_mi.data_prep.draft import Draft
from ofa_mi.data_prep.formats.reading import decode, read_json
from ofa_mi.data_prep.images.vg_images import IMAGE_DATA, IMAGES, LICENCE, PAGE, Photo, vg_image, vg_photos
from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.source import Candidate, Source
from ofa_mi.errors import DataError
from ofa_mi.geometry import Box, area, box_of

# Most instances of a task that an image gives, for tasks that can make many from one image: there are 108,077 images.
PER_IMAGE = 2
LEAST_VISIBLE = 0.5  # share of an annotated box that must lie in the image


def annotation_file(name: str, size: int, sha256: str | None = None) -> RawFile:
    """One of the JSON files, from the archive that bears its name."""
    return RawFile(
        path=f"visual_genome/{name}",
        page=PAGE,
        url=f"https://homes.cs.washington.edu/~ranjay/visualgenome/data/dataset/{name}.zip",
        unpack="visual_genome",
        size=size,
        sha256=sha256,
    )


class Entry(msgspec.Struct, kw_only=True):
    """What the entries of all annotation files have; a sub-class adds the annotations as :class:`msgspec.Raw`."""

    image_id: int | None = None
    id: int | None = None

    @property
    def number(self) -> int | None:
        """Id of the image."""
        return self.id if self.image_id is None else self.image_id


class Unit(msgspec.Struct):
    """An image with its annotations, which the worker decodes.

    Attributes:
        number: Id of the image.
        photo: The image.
        entry: Its entry in the source's file.
    """

    number: int
    photo: Photo
    entry: Any


class VisualGenome(Source):
    """A source of Visual Genome with one annotation file.

    Class attributes:
        annotations: The file.
        entry: Type of its entries.
        tasks, files: As in every source.
    """

    page = PAGE
    licence = LICENCE
    version = 2
    annotations: ClassVar[RawFile]
    entry: ClassVar[type[Entry]]

    def load(self) -> Sequence[Unit]:
        """One unit per image, in the order of the annotation file."""
        photos = vg_photos(self.raw.find(IMAGE_DATA))
        entries = self.entries(self.annotations, self.entry)
        unknown = next((number for number in entries if number not in photos), None)
        if unknown is not None:
            raise DataError(
                f"{self.raw.find(self.annotations)}: image {unknown} is not in {self.raw.find(IMAGE_DATA)}; "
                "the files are of different versions, download both again"
            )
        return [Unit(number, photos[number], entry) for number, entry in entries.items()]

    def entries(self, file: RawFile, kind: type[Entry]) -> dict[int, Any]:
        """Id of an image → its entry in a file."""
        path = self.raw.find(file)
        listed = read_json(path, list[kind])
        entries = {entry.number: entry for entry in listed}
        if None in entries or len(entries) < len(listed):
            raise DataError(f"{path}: an image has no id or is listed twice; download it again")
        return entries

    def decode(self, content: msgspec.Raw, kind: type, number: int) -> Any:
        """Annotations of the image with this id."""
        return decode(content, kind, f"{self.raw.root / self.annotations.path}: image {number}")

    def candidate(self, unit: Unit, task: str, key: object, draft: Draft, **meta_data: Any) -> Candidate:
        """A candidate on the unit's image."""
        image = vg_image(unit.number, unit.photo.size, coco_id=unit.photo.coco_id)
        return Candidate(task, f"{unit.number}-{key}", draft, image, {"image_id": unit.number, **meta_data})

    def up_to(self, task: str, found: Iterator[Any], nothing: str) -> list[Any]:
        """The first :data:`PER_IMAGE` of what was found in an image; if there is nothing, this is counted."""
        chosen = [item for _, item in zip(range(PER_IMAGE), found, strict=False)]
        if not chosen:
            self.drop(task, nothing)
        return chosen


def visible_box(x: float, y: float, width: float, height: float, size: tuple[int, int]) -> Box | None:
    """A box in the image; None if it is degenerate or lies mostly outside."""
    box = box_of(x, y, width, height, size)
    return box if box is not None and area(box) >= LEAST_VISIBLE * width * height else None


__all__ = ["IMAGES", "IMAGE_DATA", "PER_IMAGE", "Entry", "Unit", "VisualGenome", "annotation_file", "visible_box"]
