"""The photos of MSCOCO, which many data sets annotate.

The releases of 2014 and 2017 hold the same photos under other names and in other splits, so that either serves: the
training photos of 2014 are all among those of 2017, the validation photos of 2014 are in both sets of 2017.
"""

from __future__ import annotations

from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.source import ImageFile
from ofa_mi.instances.photos import coco_path

PAGE = "https://cocodataset.org/#download"
LICENCE = "each photo has its own licence on Flickr; COCO's terms of use apply"

ANNOTATIONS_LICENCE = "CC BY 4.0"

TRAIN_IMAGES = RawFile(
    path="coco/train2014/",
    page=PAGE,
    url="http://images.cocodataset.org/zips/train2014.zip",
    unpack="coco",
    size=13_510_573_713,
    sha256="ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775",
    alternatives=("coco/train2017/",),
)
VAL_IMAGES = RawFile(
    path="coco/val2014/",
    page=PAGE,
    url="http://images.cocodataset.org/zips/val2014.zip",
    unpack="coco",
    size=6_645_013_297,
    sha256="fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0",
    alternatives=(("coco/train2017/", "coco/val2017/"),),
)


def annotation_file(name: str) -> RawFile:
    """One of the files in MSCOCO's archive of annotations of 2014, e.g. ``captions_train2014.json``."""
    return RawFile(
        path=f"coco/annotations/{name}",
        page=PAGE,
        url="http://images.cocodataset.org/annotations/annotations_trainval2014.zip",
        unpack="coco",
        size=252_872_794,
        sha256="031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009",
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
    return ImageFile(coco_path(image_id), tuple(files), size)
