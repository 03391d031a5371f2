"""The images of a data directory: each is opened once, and recognised by its content wherever it lies."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ofa_mi.data.images import IMAGE_ERRORS, image_problem, open_image
from ofa_mi.data.instance import Instance
from ofa_mi.data.sidecar import ordered_map
from ofa_mi.data.store import path_inside
from ofa_mi.data_prep.check.findings import TRAINING_SPLIT
from ofa_mi.data_prep.check.scan import DataFile, Scan, path_hash
from ofa_mi.instructions.registry import Registry
from ofa_mi.progress import progress_bar

PROBE = 1 << 14  # bytes read at the start, the middle and the end of a file to recognise it
BATCH = 128  # images opened by one worker at a time
EXAMPLES = 5  # shared images that are named
TRAINING_TASKS = 3  # training tasks that are named beside an evaluation task

_INFO = np.dtype([("content", "<u8"), ("width", "<i4"), ("height", "<i4")])


@dataclass(slots=True)
class Images:
    """The images that the instances use.

    Attributes:
        paths: Hashes of their paths as in :data:`USE`, sorted, uint64 ``(images,)``.
        contents: Hashes that are equal for images with the same content, uint64 ``(images,)``; an image that cannot be
            read has that of its path.
        unreadable: Number of images that cannot be read.
    """

    paths: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    contents: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    unreadable: int = 0

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
            found = inspect_image(scan.files[use["file"]].directory, scan.instance(use).image_path)
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
    return Images(paths, info["content"], len(problems))


def inspect_image(directory: Path, image_path: str) -> tuple[int, int, int] | str:
    """Content hash, width and height of an image, or what is wrong with it.

    Images count as the same if their files have the same size and the same bytes at the start, in the middle and at
    the end; whole files are not read unless they are small.
    """
    path = path_inside(str(directory), image_path)
    if path is None:
        return f"image {image_path!r} lies outside the data directory; copy it there, or link the whole directory"
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest = hashlib.blake2b(size.to_bytes(8, "little"), digest_size=8)
            starts = (0, size // 2, size - PROBE) if size > 3 * PROBE else range(0, size, PROBE)
            for start in starts:
                digest.update(os.pread(file.fileno(), PROBE, start))
            with open_image(file) as image:
                return int.from_bytes(digest.digest(), "little"), image.width, image.height
    except IMAGE_ERRORS as error:
        return f"image {image_path} {image_problem(error)}"


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
            claimed = f"{size['width']}x{size['height']}, but image_size says {use['width']}x{use['height']}"

            def message(at=at, claimed=claimed) -> str:
                image = scan.instance(uses[at]).image_path
                return _named(scan, at, f"image {image} is {claimed}; regions would be wrong")

            scan.findings.add("image", int(use["file"]), int(use["line"]), message)


def _named(scan: Scan, at: int, message: str) -> str:
    return f"instance {scan.instance(scan.uses[at]).unique_id!r}: {message}"


# -- who uses which


def sharing(scan: Scan, images: Images, registry: Registry) -> dict[str, Any]:
    """Numbers of images, and those that splits, or evaluation and training tasks, have in common, as JSON values.

    An image is the same wherever its content is; ``same_path`` counts those that have the same path, too.
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
