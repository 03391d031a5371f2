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
    ),
    RawFile(
        path="visual_genome/VG_100K_2/",
        page=PAGE,
        url="https://cs.stanford.edu/people/rak248/VG_100K_2/images2.zip",
        unpack="visual_genome",
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
