"""The photos of MSCOCO, which many data sets annotate.

The releases of 2014 and 2017 hold the same photos under other names and in other splits, so that either serves.
"""

from __future__ import annotations

from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.source import ImageFile

PAGE = "https://cocodataset.org/#download"
LICENCE = "each photo has its own licence on Flickr; COCO's terms of use apply"

TRAIN_IMAGES = RawFile(
    path="coco/train2014/",
    page=PAGE,
    url="http://images.cocodataset.org/zips/train2014.zip",
    unpack="coco",
    alternatives=("coco/train2017/",),
)
VAL_IMAGES = RawFile(
    path="coco/val2014/",
    page=PAGE,
    url="http://images.cocodataset.org/zips/val2014.zip",
    unpack="coco",
    alternatives=("coco/val2017/", "coco/train2017/"),
)


def coco_image(image_id: int, size: tuple[int, int] | None = None) -> ImageFile:
    """The photo with this id, wherever it lies.

    Args:
        image_id: Its number in MSCOCO.
        size: ``(width, height)`` in pixels, if the annotations have it.
    """
    name = f"{image_id:012d}.jpg"
    files = [f"coco/{split}2014/COCO_{split}2014_{name}" for split in ("train", "val")]
    files += [f"coco/{split}2017/{name}" for split in ("train", "val")]
    return ImageFile(f"coco/{name}", tuple(files), size)
