"""The images of a data directory: each is opened once, and recognised wherever it lies.

It is recognised by its content, and as a photo of MSCOCO or Visual Genome by its number there
(:mod:`ofa_mi.instances.photos`): the two hold copies of many photos in different sizes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ofa_mi.data_prep.check.findings import TRAINING_SPLIT
from ofa_mi.data_prep.check.scan import DataFile, Scan, path_hash
from ofa_mi.errors import DataError, shown
from ofa_mi.instances.images import UnusableImageError, decoding, exif_orientation, open_image, wrong_size
from ofa_mi.instances.instance import Instance
from ofa_mi.instructions.registry import Registry
from ofa_mi.utils.parallel import ordered_map
from ofa_mi.utils.progress import progress_bar

PROBE = 1 << 14  # bytes read at the start, the middle and the end of a file to recognise it
BATCH = 128  # images opened by one worker at a time
EXAMPLES = 5  # shared images that are named
TRAINING_TASKS = 3  # training tasks that are named beside an evaluation task

_INFO = np.dtype([("content", "<u8"), ("width", "<i4"), ("height", "<i4"), ("orientation", "u1")])


@dataclass(slots=True)
class Images:
    """The images that the instances use.

    Attributes:
        paths: Hashes of their paths as in :data:`USE`, sorted, uint64 ``(images,)``.
        contents: Hashes that are equal for images with the same content or of the same photo, uint64 ``(images,)``; an
            image that cannot be read, and is of no known photo, has that of its path.
        unreadable: Number of images that cannot be read.
        turned: The first use (a place in ``scan.uses``) of every image whose EXIF orientation turns it, int64, in the
            order of the files.
    """

    paths: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    contents: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    unreadable: int = 0
    turned: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    def content(self, paths: np.ndarray) -> np.ndarray:
        """Content hashes of images by their path hashes."""
        return self.contents[np.searchsorted(self.paths, paths)]

    def content_of(self, file: DataFile, instance: Instance) -> int:
        """Content hash of the image of an instance of a file."""
        return int(self.content(np.array([path_hash(file.directory, instance.image_path)], np.uint64))[0])


def check_images(scan: Scan, *, workers: int = 1) -> Images:
    """Open the header of every image once, and add what is wrong to ``scan.findings``.

    Args:
        scan: What :func:`ofa_mi.data_prep.check.scan.scan` returned.
        workers: Processes; the result does not depend on it.
    """
    paths, first, which = np.unique(scan.uses["path"], return_index=True, return_inverse=True)
    order = np.argsort(first)  # as the files name them: neighbours in a file are mostly neighbours on the disk
    batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]

    def inspect(batch: np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
        info, problems = np.zeros(len(batch), _INFO), {}
        for place, index in enumerate(batch):
            use = scan.uses[first[index]]
            found = inspect_image(scan.files[use["file"]], scan.instance(use))
            if isinstance(found, str):
                problems[int(index)] = found
            else:
                info[place] = found
        return info, problems

    info, problems = np.zeros(len(paths), _INFO), {}
    results = ordered_map(inspect, batches, workers)
    with progress_bar(desc="check images", total=len(paths), unit="images", leave=False) as bar:
        for batch, (part, bad) in zip(batches, results, strict=True):
            info[batch] = part
            problems.update(bad)
            bar.update(len(batch))
    _report(scan, first, which, info, problems)
    bad = np.array(sorted(problems), np.int64)
    info["content"][bad] = paths[bad]
    turned = np.sort(first[info["orientation"] > 1])
    return Images(paths, _by_photo(info["content"], scan.uses, which), len(problems), turned)


def inspect_image(file: DataFile, instance: Instance) -> tuple[int, int, int, int] | str:
    """Content hash, width, height and EXIF orientation of an instance's image, or what is wrong with it.

    Images count as the same if their files have the same size and the same bytes at the start, in the middle and at
    the end; whole files are not read unless they are small.
    """
    image_path = instance.image_path
    try:
        found = file.image_file(instance)
        with decoding(), found.open("rb") if isinstance(found, Path) else found as stream:
            content = _content_hash(stream)
            with open_image(stream) as image:
                return content, image.width, image.height, exif_orientation(image)
    except DataError as error:
        return str(error)
    except UnusableImageError as error:
        return f"image {shown(Path(image_path))} {error}"


def _content_hash(stream: BinaryIO) -> int:
    """A hash of an open file's size and of parts of it; the file is left at its start."""
    size = stream.seek(0, os.SEEK_END)
    digest = hashlib.blake2b(size.to_bytes(8, "little"), digest_size=8)
    for start in (0, size // 2, size - PROBE) if size > 3 * PROBE else range(0, size, PROBE):
        stream.seek(start)
        digest.update(stream.read(PROBE))
    stream.seek(0)
    return int.from_bytes(digest.digest(), "little")


def _by_photo(contents: np.ndarray, uses: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Content hashes of images, made equal where they are of one photo.

    Args:
        contents: Content hashes, uint64 ``(images,)``.
        uses: Uses of images, :data:`USE` ``(uses,)``.
        which: The image of each use, int ``(uses,)``.

    Returns:
        The least hash of all that are connected by equal contents or by a number in common, uint64 ``(images,)``.
    """
    different, content_of = np.unique(contents, return_inverse=True)
    number, edges = len(different), [np.empty((0, 2), np.int64)]
    for name in ("coco", "visual_genome"):
        known = np.flatnonzero(uses[name] > 0)
        photos, photo_of = np.unique(uses[name][known], return_inverse=True)
        edges.append(np.stack([content_of[which[known]], number + photo_of], axis=1))
        number += len(photos)
    starts, ends = np.concatenate(edges).T
    graph = coo_array((np.ones(len(starts), np.int8), (starts, ends)), shape=(number, number))
    _, group_of = connected_components(graph, directed=False)
    least = np.full(number, np.iinfo(np.uint64).max)
    np.minimum.at(least, group_of[: len(different)], different)
    return least[group_of[: len(different)]][content_of]


def _report(scan: Scan, first: np.ndarray, which: np.ndarray, info: np.ndarray, problems: Mapping[int, str]) -> None:
    """Add a finding for every image that is bad, and for every wrong size that is given for one."""
    uses = scan.uses
    for index in sorted(problems, key=lambda index: first[index]):
        use = uses[first[index]]

        def message(index=index) -> str:
            return _named(scan, first[index], problems[index])

        scan.findings.add("image", int(use["file"]), int(use["line"]), message)
    readable = np.ones(len(info), bool)
    readable[list(problems)] = False
    given = [(uses["width"], info["width"]), (uses["height"], info["height"])]
    wrong = readable[which] & np.any([claimed != actual[which] for claimed, actual in given], axis=0)
    said = set()
    for at in np.flatnonzero(wrong):
        use, size = uses[at], info[which[at]]
        key = (int(use["path"]), int(use["width"]), int(use["height"]))
        if key not in said:
            said.add(key)
            claimed = wrong_size(
                int(size["orientation"]), (size["width"], size["height"]), (use["width"], use["height"])
            )

            def message(at=at, claimed=claimed) -> str:
                return _named(scan, at, f"image {shown(Path(scan.instance(uses[at]).image_path))} {claimed}")

            scan.findings.add("image", int(use["file"]), int(use["line"]), message)


def _named(scan: Scan, at: int, message: str) -> str:
    return f"instance {shown(scan.instance(scan.uses[at]).unique_id)}: {message}"


# -- who uses which


def sharing(scan: Scan, images: Images, registry: Registry) -> dict[str, Any]:
    """Numbers of images, and those that splits, or evaluation and training tasks, have in common, as JSON values.

    An image is the same wherever its content is, or where it is known to be of the same photo; ``same_path`` counts
    those that have the same path, too. ``turned`` counts images with an EXIF orientation and names the first ones.
    """
    uses, content = scan.uses, images.content(scan.uses["path"])
    splits = list(dict.fromkeys(file.split for file in scan.files))
    split_of = np.array([splits.index(file.split) for file in scan.files])[uses["file"]]
    is_eval = np.array([_split(registry, task) == "eval" for task in scan.tasks], bool)[uses["task"]]
    used_by_split = {split: split_of == number for number, split in enumerate(splits)}
    training = used_by_split.get(TRAINING_SPLIT, np.zeros(len(uses), bool))
    evaluation = []
    for number, task in enumerate(scan.tasks):
        of_task = (uses["task"] == number) & is_eval & ~training
        if of_task.any():
            evaluation.append({"task": task, **_shared(scan, content, of_task, training)})
    pairs = [(a, b) for i, a in enumerate(splits) for b in splits[i + 1 :]]
    return {
        "paths": len(images.paths),
        "different": len(np.unique(images.contents)),
        "unreadable": images.unreadable,
        "turned": {
            "images": len(images.turned),
            "examples": [_example(scan, at) for at in images.turned[:EXAMPLES].tolist()],
        },
        "by_split": {split: len(np.unique(content[used])) for split, used in used_by_split.items()},
        "by_task": {task: len(np.unique(content[uses["task"] == number])) for number, task in enumerate(scan.tasks)},
        "splits": [
            {"first": a, "second": b, **_shared(scan, content, used_by_split[a], used_by_split[b])} for a, b in pairs
        ],
        "training_and_evaluation": _shared(scan, content, is_eval & ~training, training),
        "evaluation_tasks": evaluation,
    }


def _shared(scan: Scan, content: np.ndarray, first: np.ndarray, second: np.ndarray) -> dict[str, Any]:
    """What the uses ``first`` and the uses ``second`` (masks) have in common."""
    uses = scan.uses
    mine = np.unique(content[first])
    common = np.intersect1d(mine, content[second])
    in_common = np.isin(content, common)
    theirs = second & in_common
    by_task = {
        scan.tasks[number]: len(np.unique(content[theirs & (uses["task"] == number)]))
        for number in np.unique(uses["task"][theirs])
    }
    commonest = sorted(by_task.items(), key=lambda item: (-item[1], item[0]))
    chosen = dict.fromkeys(int(c) for c in content[first & in_common])  # in the order of the files
    return {
        "images": len(mine),
        "shared": len(common),
        "same_path": len(np.intersect1d(uses["path"][first], uses["path"][second])),
        "tasks": dict(commonest[:TRAINING_TASKS]),
        "examples": [
            [_example(scan, _first(first & (content == c))), _example(scan, _first(second & (content == c)))]
            for c in list(chosen)[:EXAMPLES]
        ],
    }


def _example(scan: Scan, at: int) -> dict[str, str]:
    """One use of an image: where, by which task, under which path."""
    use = scan.uses[at]
    file: DataFile = scan.files[use["file"]]
    return {
        "line": f"{file.name}:{use['line']}",
        "task": scan.tasks[use["task"]],
        "image": scan.instance(use).image_path,
    }


def _first(mask: Iterable[bool]) -> int:
    return int(np.argmax(mask))


def _split(registry: Registry, task: str) -> str | None:
    spec = registry.get(task)
    return spec.split if spec else None
