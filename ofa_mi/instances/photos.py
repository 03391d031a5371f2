"""Which photo an image shows: one photo may have several names, and another size under each.

About half of Visual Genome's photos are MSCOCO's, too, under another number and in another resolution; GQA, VAW,
Visual7W and a part of TDIUC annotate Visual Genome's. A photo is therefore known by its number in MSCOCO where it has
one, else by that in Visual Genome: it must not be trained on under one name and evaluated on under the other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

COCO_ID = "coco_id"  # in an instance's meta data: the photo's number in MSCOCO, where the path does not say it
MOST = 10**12  # MSCOCO's file names have twelve digits
GENOME_OFFSET = 90_000_000  # TDIUC and TallyQA number Visual Genome's photos from here,
LEAST_OF_GENOME = 80_000_000  # and their own readers know them by being at least this
_COCO = re.compile(r"(?:^|/)(?:coco/|COCO_(?:train|val|test)20\d\d_)(\d{12})\.jpg$")
_VISUAL_GENOME = re.compile(
    r"(?:^|/)(?:visual_genome/|VG_100K/|VG_100K_2/|gqa/images/|GQA/images/|v7w_)(\d{1,12})\.jpg$"
)


class Names(NamedTuple):
    """The numbers by which a photo is known; 0 for none.

    Attributes:
        coco: In MSCOCO.
        visual_genome: In Visual Genome.
    """

    coco: int
    visual_genome: int


def coco_path(number: int) -> str:
    """Path of a photo of MSCOCO below ``images/``."""
    return f"coco/{number:012d}.jpg"


def known_coco_id(value: Any) -> int | None:
    """A number in MSCOCO as annotations give it; None for what means none: -1, 0, null."""
    return value if type(value) is int and 0 < value < MOST else None


def of_mixed_number(number: int) -> Names:
    """The photo with a number as TDIUC gives it: MSCOCO's, or Visual Genome's plus :data:`GENOME_OFFSET`."""
    if number < LEAST_OF_GENOME:
        return Names(max(number, 0), 0)
    return Names(0, max(number - GENOME_OFFSET, 0))


def names_of(image_path: str, meta_data: Mapping[str, Any] | None = None) -> Names:
    """The numbers of the photo at a path, from the path and from :data:`COCO_ID` in the meta data."""
    coco, genome = _COCO.search(image_path), _VISUAL_GENOME.search(image_path)
    names = of_mixed_number(int(coco[1])) if coco else Names(0, int(genome[1]) if genome else 0)
    return names._replace(coco=known_coco_id((meta_data or {}).get(COCO_ID)) or names.coco)
