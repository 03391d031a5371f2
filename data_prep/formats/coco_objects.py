"""Objects of MSCOCO's format (``instances_*.json``): reading them, telling them apart, and grouping images without
a category in common.

An instances file holds ``images`` (``id, width, height, …``), ``categories`` (``id, name``) and ``annotations``
(``id, image_id, category_id, bbox [x, y, width, height], iscrowd, segmentation, …``). That of ``train2014`` has
450 MB, most of them outlines, which are skipped; what is kept are arrays of 30 MB.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from ofa_mi.data_prep.formats.reading import read_json
from ofa_mi.errors import DataError
from ofa_mi.geometry import Box, area, box_of, intersection, iou

MOST_SHARED = 0.1  # of the smaller box, of two regions that count as apart
SAME_PLACE = 0.5  # IoU above which two objects are in one place
LOOKBACK = 32  # open groups that an image may join

T = TypeVar("T")


class ImageInfo(msgspec.Struct, gc=False):
    """An element of ``images``."""

    id: int
    width: int
    height: int

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height


class Annotation(msgspec.Struct, gc=False):
    """An element of ``annotations``."""

    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0


class Category(msgspec.Struct, gc=False):
    """An element of ``categories``."""

    id: int
    name: str


class InstancesFile(msgspec.Struct):
    """``instances_*.json``."""

    images: list[ImageInfo]
    annotations: list[Annotation]
    categories: list[Category]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A unit that stands for what grouping left over, so that converting it counts that.

    Attributes:
        task: The task that it would have been for.
        reason: As in :meth:`ofa_mi.data_prep.source.Source.drop`.
        number: How much.
    """

    task: str
    reason: str
    number: int


@dataclass(frozen=True, slots=True)
class Thing:
    """An object in an image.

    Attributes:
        id: Its number among all annotations.
        category: Place of its category in :attr:`ObjectTable.categories`.
        box: Its box, cut to the image; None if next to nothing is left of it.
        crowd: Whether the box is around many objects.
    """

    id: int
    category: int
    box: Box | None
    crowd: bool


class ObjectTable:
    """All objects of an instances file, by image.

    Args:
        path: The file.

    Attributes:
        images: The images by number, in the order of the file.
        categories: Names of the categories, in the order of the file.

    Raises:
        DataError: It is not in the official format.
    """

    def __init__(self, path: Path) -> None:
        content = read_json(path, InstancesFile)
        self.images = {image.id: image for image in content.images}
        self.categories = tuple(category.name for category in content.categories)
        places = {category.id: place for place, category in enumerate(content.categories)}
        annotations = content.annotations
        _check(path, self.images, places, annotations)
        image_ids = np.fromiter((a.image_id for a in annotations), np.int64, len(annotations))
        order = np.argsort(image_ids, kind="stable")
        self._image_ids = image_ids[order]
        self._ids = np.fromiter((a.id for a in annotations), np.int64, len(annotations))[order]
        categories = np.fromiter((places[a.category_id] for a in annotations), np.uint8, len(annotations))
        self._categories = categories[order]
        self._crowd = np.fromiter((a.iscrowd != 0 for a in annotations), bool, len(annotations))[order]
        flat = np.fromiter((v for a in annotations for v in a.bbox), np.float64, 4 * len(annotations))
        self._boxes = flat.reshape(-1, 4)[order]
        self._masks = _masks_by_image(self._image_ids, self._categories)

    def __len__(self) -> int:
        return len(self._ids)

    def of(self, image_id: int) -> list[Thing]:
        """The objects in an image, in the order of the file, crowds among them."""
        start, stop = np.searchsorted(self._image_ids, [image_id, image_id + 1])
        size = self.images[image_id].size
        return [
            Thing(id_, category, box_of(*box, size), crowd)
            for id_, category, box, crowd in zip(
                self._ids[start:stop].tolist(),
                self._categories[start:stop].tolist(),
                self._boxes[start:stop].tolist(),
                self._crowd[start:stop].tolist(),
                strict=True,
            )
        ]

    def mask(self, image_id: int) -> int:
        """The categories of everything that is annotated in an image, crowds too, a bit each; 0 for none."""
        return self._masks.get(image_id, 0)


def _check(path: Path, images: dict[int, ImageInfo], places: dict[int, int], annotations: Sequence[Annotation]) -> None:
    for annotation in annotations:
        if annotation.image_id not in images or annotation.category_id not in places:
            raise DataError(
                f"{path}: annotation {annotation.id} is of image {annotation.image_id} and category "
                f"{annotation.category_id}, one of which is not in the file; download it again"
            )
    if len(places) > np.iinfo(np.uint8).max:
        raise DataError(f"{path}: has {len(places)} categories, MSCOCO has 80; download it again")


def _masks_by_image(image_ids: np.ndarray, categories: np.ndarray) -> dict[int, int]:
    masks: dict[int, int] = {}
    for image_id, category in zip(image_ids.tolist(), categories.tolist(), strict=True):
        masks[image_id] = masks.get(image_id, 0) | 1 << category
    return masks


# -- objects in one image


def apart(p: Box, q: Box) -> bool:
    """Whether neither of two regions shows much of the other: they share at most a tenth of the smaller one."""
    return intersection(p, q) <= MOST_SHARED * min(area(p), area(q))


def shows_none(box: Box, category: int, things: Iterable[Thing]) -> bool:
    """Whether a region is apart from all objects of a category, crowds too."""
    return all(thing.box is None or apart(box, thing.box) for thing in things if thing.category == category)


def recognizable(things: Sequence[Thing], least: float) -> list[Thing]:
    """The objects that a box points out: no crowds, not tiny, and no object of another category in the same place.

    Args:
        things: All that is in the image.
        least: Least width and height in pixels.
    """
    return [
        thing
        for thing in things
        if not thing.crowd
        and thing.box is not None
        and min(thing.box[2] - thing.box[0], thing.box[3] - thing.box[1]) >= least
        and not any(
            other.category != thing.category and other.box is not None and iou(thing.box, other.box) > SAME_PLACE
            for other in things
        )
    ]


# -- groups of images


@dataclass(slots=True, eq=False)
class _Group:
    mask: int
    members: list[Any]


def disjoint_groups(
    items: Iterable[T],
    size: int,
    mask: Callable[[T], int],
    compatible: Callable[[T, T], bool] = lambda member, item: True,
) -> Iterator[tuple[T, ...]]:
    """Put items into groups in which no two have a category in common.

    An item joins the oldest group that it fits into, of the :data:`LOOKBACK` groups that are open; otherwise it opens
    one, or stays out if so many are open. Groups that are not full in the end are given up.

    Args:
        items: In random order.
        size: Items in a group.
        mask: Categories of an item, a bit each.
        compatible: What else two items must fulfil to be in one group; symmetric.

    Yields:
        Full groups, their members in the order in which they came.
    """
    groups: deque[_Group] = deque()
    for item in items:
        bits = mask(item)
        fitting = (
            group
            for group in groups
            if not group.mask & bits and all(compatible(member, item) for member in group.members)
        )
        group = next(fitting, None)
        if group is None:
            if len(groups) < LOOKBACK:
                groups.append(_Group(bits, [item]))
            continue
        group.mask |= bits
        group.members.append(item)
        if len(group.members) == size:
            groups.remove(group)
            yield tuple(group.members)
