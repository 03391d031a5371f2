"""The photos of Visual Genome, which GQA, VAW and Visual7W annotate too.

``image_data.json`` lists them with their sizes; about half of them are photos of MSCOCO, too, in another resolution.
Its fields are ``image_id`` (``id`` in version 1.0), ``width``, ``height``, ``url``, ``coco_id`` (null or -1 for none)
and ``flickr_id``.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from ofa_mi.data_prep.formats.reading import read_json
from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.source import ImageFile
from ofa_mi.errors import DataError
from ofa_mi.instances.photos import coco_path, known_coco_id

PAGE = "https://homes.cs.washington.edu/~ranjay/visualgenome/api.html"
LICENCE = "CC BY 4.0 (annotations); the photos' own licences on Flickr"

IMAGES = (
    RawFile(
        path="visual_genome/VG_100K/",
        page=PAGE,
        url="https://cs.stanford.edu/people/rak248/VG_100K_2/images.zip",
        unpack="visual_genome",
        size=9_731_705_982,
        sha256="51c682d2721f880150720bb416e0346a4c787e4c55d7f80dfd1bd3f73ba81646",
    ),
    RawFile(
        path="visual_genome/VG_100K_2/",
        page=PAGE,
        url="https://cs.stanford.edu/people/rak248/VG_100K_2/images2.zip",
        unpack="visual_genome",
        size=5_471_658_058,
        sha256="99da1a0ddf87011319ff3b05cf9176ffee2731cc3c52951162d9ef0d68e3cfb5",
    ),
)
IMAGE_DATA = RawFile(
    path="visual_genome/image_data.json",
    page=PAGE,
    url="https://homes.cs.washington.edu/~ranjay/visualgenome/data/dataset/image_data.json.zip",
    unpack="visual_genome",
    size=1_780_854,
    sha256="b87a94918cb2ff4d952cf1dfeca0b9cf6cd6fd204c2f8704645653be1163681a",
)


class Photo(msgspec.Struct, kw_only=True):
    """An entry of ``image_data.json``."""

    image_id: int | None = None
    id: int | None = None
    width: int
    height: int
    coco_id: int | None = None

    def __post_init__(self) -> None:
        self.coco_id = known_coco_id(self.coco_id)

    @property
    def number(self) -> int | None:
        """Its id in any version."""
        return self.id if self.image_id is None else self.image_id

    @property
    def size(self) -> tuple[int, int]:
        """``(width, height)`` in pixels."""
        return self.width, self.height


def vg_photos(path: Path) -> dict[int, Photo]:
    """Id → photo, of all of Visual Genome.

    Args:
        path: ``image_data.json``.

    Raises:
        DataError: It is not in the official format.
    """
    photos = {photo.number: photo for photo in read_json(path, list[Photo])}
    if None in photos:
        raise DataError(f"{path}: an image has neither image_id nor id; download it again")
    return photos


def coco_ids(path: Path) -> dict[int, int]:
    """Id in Visual Genome → id in MSCOCO, of the photos that are in both; as :func:`vg_photos`."""
    return {number: photo.coco_id for number, photo in vg_photos(path).items() if photo.coco_id is not None}


def vg_image(image_id: int | str, size: tuple[int, int] | None = None, *, coco_id: int | None = None) -> ImageFile:
    """The photo with this id, in either folder of Visual Genome or in that of GQA.

    Args:
        image_id: Its number in Visual Genome.
        size: ``(width, height)`` in pixels, if the annotations have it.
        coco_id: Its number in MSCOCO; None if it is not there.
    """
    name = f"{image_id}.jpg"
    same_as = None if coco_id is None else coco_path(coco_id)
    folders = ("visual_genome/VG_100K", "visual_genome/VG_100K_2", "gqa/images")
    return ImageFile(f"visual_genome/{name}", tuple(f"{folder}/{name}" for folder in folders), size, same_as)
