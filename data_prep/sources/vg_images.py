"""The photos of Visual Genome, which GQA and VAW annotate too."""

from __future__ import annotations

from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.source import ImageFile

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


def vg_image(image_id: int | str, size: tuple[int, int] | None = None) -> ImageFile:
    """The photo with this id, in either folder of Visual Genome or in that of GQA.

    Args:
        image_id: Its number in Visual Genome.
        size: ``(width, height)`` in pixels, if the annotations have it.
    """
    name = f"{image_id}.jpg"
    folders = ("visual_genome/VG_100K", "visual_genome/VG_100K_2", "gqa/images")
    return ImageFile(f"visual_genome/{name}", tuple(f"{folder}/{name}" for folder in folders), size)
