"""The public release of MultiInstruct: its ``train.jsonl`` and ``test.jsonl`` as a data directory.

A line holds the fields of one instance and a prompt in which regions are numbers. Only the fields are used: prompts
are rendered anew from this project's instructions, so that regions become location tokens and every instruction can
be chosen. On the way the release's defects are repaired, each counted in the summary:

- ids that several lines share are numbered;
- the step to be written is taken out of the context of ``wikihow_next_step``;
- the options of the disaster tasks, a union of three label sets, become the task's own;
- several right answers, joined to one string in any order, become a set of options;
- the options that only stood in the prompt (``previous`` and ``next``) become options;
- regions of people that a question names (``commonsense_VQA``) are put behind their names;
- absolute paths of the authors' machines, and all others, are looked up below the folders of images;
- regions that reach outside their image are cut to it.

The release holds no images and does not store their sizes: both come from the official data sets. Which of Visual
Genome's photos are MSCOCO's, too, stands in Visual Genome's ``image_data.json``, which is looked for in the folders of
images.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ofa_mi.data_prep.building.build import BuildOptions, Details, convert
from ofa_mi.data_prep.building.output import OutputDirectory
from ofa_mi.data_prep.formats.reading import decode
from ofa_mi.data_prep.images.vg_images import coco_ids, vg_image
from ofa_mi.data_prep.imports.release_lines import Line, LineImporter
from ofa_mi.data_prep.raw import RawFile, RawFolder
from ofa_mi.data_prep.source import Candidate, ImageFile, Source
from ofa_mi.errors import DataError, shown
from ofa_mi.instances.photos import coco_path, names_of
from ofa_mi.instructions.registry import Registry, default_registry
from ofa_mi.instructions.spec import TaskSpec
from ofa_mi.utils.hashing import hash64

logger = logging.getLogger(__name__)

VERSION = 2
IMAGE_DATA = ("image_data.json", "*/image_data.json", "*/*/image_data.json")  # where it may lie in a folder of images
PAGE = "https://github.com/VT-NLP/MultiInstruct"
# The tasks that the release calls open-domain_VQA, by how their ids begin.
OPEN_DOMAIN = {"VQAv2_": "open_domain_vqa", "GQA_": "compositional_vqa", "ok_vqa_": "outside_knowledge_vqa"}


def import_release(
    files: Sequence[str | Path],
    image_dirs: Sequence[str | Path],
    out_dir: str | Path,
    *,
    workers: int = 1,
    max_train: int = 0,
    max_eval: int = 0,
    seed: int = 0,
    skip_bad: bool = False,
) -> dict[str, Any]:
    """Write the lines of the release as a data directory.

    Lines of evaluation tasks become ``test.jsonl``; of the images of the others a fixed share becomes ``valid.jsonl``.

    Args:
        files: ``train.jsonl``, ``test.jsonl`` or both.
        image_dirs: Folders below which images are looked up by the ends of their paths: for
            ``./raw_datasets/MSCOCO2014/train2014/X.jpg`` the first of ``DIR/raw_datasets/MSCOCO2014/train2014/X.jpg``,
            ``DIR/MSCOCO2014/train2014/X.jpg``, ``DIR/train2014/X.jpg`` and ``DIR/X.jpg``. Visual Genome's
            ``image_data.json`` is ``DIR/image_data.json`` or lies one or two folders below.
        out_dir: Data directory to write.
        workers: Processes; the output does not depend on it.
        max_train: At most this many training instances of each task; 0 for all.
        max_eval: The same for validation and test instances.
        seed: Seed of their choice.
        skip_bad: Leave out and list instances whose image is missing, instead of stopping.

    Returns:
        The manifest, with the number of repairs of each kind in ``manifest["repaired"]["release"]``.

    Raises:
        DataError: A line or an image cannot be used; names it.
    """
    options = BuildOptions(max_train=max_train, max_eval=max_eval, seed=seed, workers=workers, skip_bad=skip_bad)
    registry = default_registry()
    source = Release([Path(file) for file in files], [Path(folder) for folder in image_dirs], registry, seed)
    settings = {
        "files": [Path(file).name for file in files],
        "max_train": max_train,
        "max_eval": max_eval,
        "seed": seed,
        "skip_bad": skip_bad,
        "image_data": source.image_data is not None,
    }
    output = OutputDirectory(out_dir, converter="import-release", version=VERSION, settings=settings, details=Details)
    return convert([source], output, options, registry)


class Release(Source):
    """Lines of the release; the tasks are all that have a name in it."""

    name = "release"
    title = "MultiInstruct release"
    page = PAGE
    licence = "Apache-2.0 (annotations as their sources)"
    size = "2 GB without images"
    version = VERSION

    def __init__(self, files: Sequence[Path], image_dirs: Sequence[Path], registry: Registry, seed: int) -> None:
        for folder in image_dirs:
            if not folder.is_dir():
                raise DataError(f"--images {folder}: no such directory")
        self.tasks = tuple(registry)
        self.files = tuple(RawFile(path=str(file.resolve()), page=PAGE) for file in files)
        super().__init__(RawFolder(os.sep), self.tasks, seed)  # images may lie in several folders
        self.paths = [self.raw.find(file) for file in self.files]
        self.image_dirs = [folder.resolve() for folder in image_dirs]
        found = (path for pattern in IMAGE_DATA for folder in self.image_dirs for path in sorted(folder.glob(pattern)))
        self.image_data = next(found, None)
        if self.image_data is not None:
            self.files += (RawFile(path=str(self.image_data), page=PAGE),)
        self.image_size = lru_cache(1 << 16)(self.raw.image_size)  # many lines are about one image
        self.registry = registry
        self.by_release_name: dict[str, list[TaskSpec]] = {}
        for spec in registry.values():
            if spec.release:
                self.by_release_name.setdefault(spec.release, []).append(spec)

    def load(self) -> Sequence[int]:
        """Find where the lines begin, and which ids are repeated; a unit is the number of a line over all files."""
        spans, ids, of_genome = [], [], 0
        for number, path in enumerate(self.paths):
            with path.open("rb") as file:
                offset = 0
                for line_number, line in enumerate(file, 1):
                    if line.strip():
                        found = decode(line, _Id, f"{path}:{line_number}")
                        spans.append((number, line_number, offset, len(line)))
                        ids.append(hash64(found.task_name, found.unique_id))
                        of_genome += names_of(found.image_path).visual_genome > 0
                    offset += len(line)
        self.coco_ids = {} if self.image_data is None else coco_ids(self.image_data)
        if of_genome and self.image_data is None:
            logger.warning(
                "%d lines are about photos of Visual Genome. Half of these are MSCOCO's, too, and may be held out "
                "under one name and trained on under the other: put Visual Genome's image_data.json into a folder of "
                "--images",
                of_genome,
            )
        self.spans = np.array(spans, dtype=np.int64).reshape(-1, 4)
        self.repeats = _occurrences(np.array(ids, dtype=np.uint64))
        return range(len(self.spans))

    def convert(self, unit: int) -> Iterator[Candidate]:
        """The instance of one line."""
        number, line_number, offset, length = self.spans[unit].tolist()
        path = self.paths[number]
        with path.open("rb") as file:
            file.seek(offset)
            line = decode(file.read(length), Line, f"{path}:{line_number}")
        where = f"{path}:{line_number}"
        spec = self.task_of(line, where)
        importer = LineImporter(self, line, where, spec, self.image_of(line, spec.name), self.image_size)
        if (candidate := importer.candidate(int(self.repeats[unit]))) is not None:
            yield candidate

    def task_of(self, line: Line, where: str) -> TaskSpec:
        """The task of a line; several share the name open-domain_VQA."""
        specs = self.by_release_name.get(line.task_name)
        if specs is None:
            raise DataError(
                f"{where}: task {shown(line.task_name)} is none of the release; `ofa-mi tasks` lists release names"
            )
        if len(specs) == 1:
            return specs[0]
        begins = next((task for prefix, task in OPEN_DOMAIN.items() if line.unique_id.startswith(prefix)), None)
        return self.registry[begins or "open_domain_vqa"]

    def image_of(self, line: Line, task: str) -> ImageFile:
        """The image of a line; if it is nowhere, the place where it is looked up first."""
        parts = Path(line.image_path).parts
        if os.path.isabs(line.image_path):
            self.repair(task, "absolute path of the authors")
        found = _find(tuple(self.image_dirs), parts)
        file = found or str(self.image_dirs[0] / Path(*_relative(parts)))
        return self._photo(line.image_path, (file.lstrip(os.sep),))

    def _photo(self, path: str, files: tuple[str, ...]) -> ImageFile:
        """An image below the path that its data set gives it, so that overlaps with other data are found."""
        relative = "/".join(_relative(Path(path).parts))
        names = names_of(relative)
        if names.coco:
            return ImageFile(coco_path(names.coco), files)
        below = relative.rpartition("raw_datasets/")[2]
        if not names.visual_genome:
            return ImageFile(f"release/{below}", files)
        photo = vg_image(names.visual_genome, coco_id=self.coco_ids.get(names.visual_genome))
        if Path(relative).name.startswith("v7w_"):  # a copy of Visual7W's own, to which the boxes belong
            return ImageFile(f"release/{below}", files, same_as=photo.photo)
        return replace(photo, files=files)


class _Id(msgspec.Struct):
    """What tells a line from others, and its image."""

    unique_id: str
    task_name: str
    image_path: str = ""


def _occurrences(ids: np.ndarray) -> np.ndarray:
    """For each id the number of equal ones before it, int64 ``(N,)``."""
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ids) else np.empty(0, dtype=np.int64)
    counts = np.empty(len(ids), dtype=np.int64)
    counts[order] = np.arange(len(ids)) - np.repeat(starts, np.diff(np.r_[starts, len(ids)]))
    return counts


def _relative(parts: tuple[str, ...]) -> tuple[str, ...]:
    """The parts of a path without root, ``.`` and ``..``."""
    return tuple(part for part in parts if part not in ("/", ".", ".."))


@lru_cache(1 << 16)
def _find(image_dirs: tuple[Path, ...], parts: tuple[str, ...]) -> str | None:
    """The image whose path ends most like ``parts`` below one of the folders."""
    relative = _relative(parts)
    for start in range(len(relative)):
        for folder in image_dirs:
            path = folder.joinpath(*relative[start:])
            if path.is_file():
                return str(path)
    return None
