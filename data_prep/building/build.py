"""From raw data sets to one data directory.

1. *Convert*: every source is loaded, and its units are converted in worker processes, chunk by chunk, into shards
   of candidates below ``OUT/.build``. A shard that is complete is never made again.
2. *Select*: from an index of a few dozen bytes per candidate, the build keeps at most so many instances per task,
   with balanced answers where the source asks for it. The choice depends on hashes of (seed, id) only.
3. *Images*: every image of the kept instances is linked (or copied) once into ``OUT/images`` and opened once.
4. *Write*: the kept instances are checked against the schema, their task and their image, and written.

The output is byte for byte the same for the same seed, whatever the number of workers and interruptions.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ofa_mi.data_prep.building.output import SPLITS, Finished, OutputDirectory, instance_line
from ofa_mi.data_prep.building.selection import select
from ofa_mi.data_prep.building.shards import Shards, join
from ofa_mi.data_prep.raw import RawFolder
from ofa_mi.data_prep.source import NO_IMAGE, Source
from ofa_mi.data_prep.sources import all_sources
from ofa_mi.errors import ConfigError, DataError, shown
from ofa_mi.instances.images import UnusableImageError, exif_orientation, open_image, turned
from ofa_mi.instances.instance import Instance
from ofa_mi.instructions.registry import Registry, default_registry
from ofa_mi.instructions.rendering import render, render_target
from ofa_mi.utils.files import atomic_write, copy_atomic
from ofa_mi.utils.json_files import Count
from ofa_mi.utils.parallel import ordered_map
from ofa_mi.utils.progress import progress_bar

logger = logging.getLogger(__name__)

VERSION = 1
IMAGE_CHUNK = 64  # images per job of a worker
WORK = ".build"  # folder of the shards in the output
LEFT_OUT = "left_out.txt"  # lists what --skip-bad left out


class Details(Finished):
    """What the manifest of a finished build holds."""

    dropped: dict[str, dict[str, Count]]  # source → "task: reason" → number
    repaired: dict[str, dict[str, Count]]  # the same of what was put right
    left_out: Count
    excluded_eval_images: Count


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """What is built.

    Attributes:
        tasks: Tasks, groups, ``train``, ``eval`` or ``all``.
        exclude_tasks: The same, to leave out.
        sources: Names of sources; None for all that make one of the tasks.
        max_train: At most this many training instances of each task; 0 for all.
        max_eval: The same for validation and test instances.
        seed: Seed of everything that is drawn.
        workers: Processes; the output does not depend on it.
        copy_images: Copy images even where a hard link would do.
        skip_missing: Leave out sources whose raw files are missing, instead of stopping.
        skip_bad: Leave out instances whose image is missing, corrupt or of another size than annotated, or which do
            not fit their task, instead of stopping.
        exclude_eval_images: Leave out training and validation instances whose image is also that of a test instance.
    """

    tasks: Sequence[str] = ("all",)
    exclude_tasks: Sequence[str] = ()
    sources: Sequence[str] | None = None
    max_train: int = 0
    max_eval: int = 0
    seed: int = 0
    workers: int = 1
    copy_images: bool = False
    skip_missing: bool = False
    skip_bad: bool = False
    exclude_eval_images: bool = False


def build(
    raw_dir: str | Path, out_dir: str | Path, options: BuildOptions, registry: Registry | None = None
) -> dict[str, Any]:
    """Build a data directory.

    Args:
        raw_dir: Folder of the raw data sets.
        out_dir: Data directory to write; a finished one is left as it is, an interrupted one is continued.
        options: What to build.
        registry: The tasks; the packaged ones by default.

    Returns:
        The manifest: ``counts`` (split → task → instances), ``dropped`` and ``repaired`` (source →
        "task: what" → number), ``left_out`` and ``excluded_eval_images`` (instances).

    Raises:
        ConfigError: An option names something unknown, or nothing is left.
        DataError: A raw file is missing or bad, or ``out_dir`` holds other data.
    """
    registry = registry or default_registry()
    _check_numbers(options)
    tasks = registry.select(options.tasks, options.exclude_tasks)
    sources = _present(_choose_sources(options, tasks, RawFolder(raw_dir)), options.skip_missing)
    output = OutputDirectory(
        out_dir, converter="build", version=VERSION, settings=_settings(options, sources), details=Details
    )
    return convert(sources, output, options, registry)


def convert(
    sources: Sequence[Source], output: OutputDirectory, options: BuildOptions, registry: Registry
) -> dict[str, Any]:
    """Fill a data directory from sources whose raw files are there; :func:`build` without the choice of sources."""
    if output.finished:
        shutil.rmtree(output.path / WORK, ignore_errors=True)  # a run may have been killed just before this
        return output.finished
    shards = [Shards(source, output.path / WORK, registry, options.workers) for source in sources]
    kept, excluded = _select(shards, len(registry), options)
    chosen = _chosen(shards, kept)
    images = _place_images(chosen, output.path, options)
    writer = _Writer(chosen, registry, images, output.path, options.skip_bad)
    counts = {split: writer.write(output, split, options.workers) for split in SPLITS}
    manifest = output.finish(
        counts,
        dropped={part.source.name: part.dropped for part in shards},
        repaired={part.source.name: part.repaired for part in shards},
        left_out=writer.report_failures(output.path),
        excluded_eval_images=excluded,
    )
    shutil.rmtree(output.path / WORK)
    return manifest


def _check_numbers(options: BuildOptions) -> None:
    for name, least in (("max_train", 0), ("max_eval", 0), ("workers", 1)):
        if (value := getattr(options, name)) < least:
            raise ConfigError(f"--{name.replace('_', '-')} {value}: must be at least {least}")


def _choose_sources(options: BuildOptions, tasks: Sequence[str], raw: RawFolder) -> list[Source]:
    """The sources that make any of the tasks, of those that were named."""
    known = all_sources()
    for name in options.sources or ():
        if name not in known:
            raise ConfigError(f"--sources {name}: unknown; `ofa-mi data download --list` lists {', '.join(known)}")
    chosen = [known[name](raw, tasks, options.seed) for name in known if name in (options.sources or known)]
    sources = [source for source in chosen if source.wanted]
    if not sources:
        raise ConfigError("no source makes any of the chosen tasks; see --tasks and --sources")
    return sources


def _present(sources: list[Source], skip_missing: bool) -> list[Source]:
    """The sources whose raw files are there; the others are an error, or left out with a line each."""
    missing = {source.name: [file for file in source.needed() if not source.raw.has(file)] for source in sources}
    lines = [
        f"{source.name}: {files[0].path} is missing below the raw folder{source.raw.in_vain(files[0])}; "
        f"get it from {files[0].how_to_get}" + (f", and {len(files) - 1} more" if len(files) > 1 else "")
        for source in sources
        if (files := missing[source.name])
    ]
    present = [source for source in sources if not missing[source.name]]
    if lines and (not skip_missing or not present):
        hint = "" if skip_missing else "; choose --sources, or give --skip-missing to leave out what is not there"
        raise DataError("\n  ".join([f"raw files are missing{hint}", *lines]))
    for line in lines:
        logger.warning("left out %s", line)
    return present


def _settings(options: BuildOptions, sources: list[Source]) -> dict[str, Any]:
    return {
        "sources": {source.name: {"version": source.version, "tasks": list(source.wanted)} for source in sources},
        "max_train": options.max_train,
        "max_eval": options.max_eval,
        "seed": options.seed,
        "exclude_eval_images": options.exclude_eval_images,
        "skip_bad": options.skip_bad,
    }


def _select(shards: list[Shards], tasks: int, options: BuildOptions) -> tuple[np.ndarray, int]:
    """What is kept of all candidates in order, bool ``(N,)``, and how many were left out for sharing a test image."""
    rows = join([part.rows for part in shards])
    _refuse_repeated_ids(shards, rows)
    for part in shards:
        _warn_of_lost_images(part)
    caps = np.tile([options.max_train, options.max_eval, options.max_eval], tasks)
    kept = select(rows, caps)
    if not options.exclude_eval_images:
        return kept, 0
    test = rows["group"] % len(SPLITS) == SPLITS.index("test")
    shared = ~test & (rows["image"] != 0) & np.isin(rows["image"], rows["image"][kept & test])
    usable = np.flatnonzero(~shared)
    kept = np.zeros_like(kept)
    kept[usable] = select(rows[usable], caps)
    return kept, int(shared.sum())


def _warn_of_lost_images(part: Shards) -> None:
    """Log the tasks of a source that lose half of what they could have, or more, because images are missing."""
    made = Counter(np.concatenate([np.empty(0, int), *(rows["group"] // len(SPLITS) for rows in part.rows)]).tolist())
    for task in part.source.wanted:
        lost, there = part.dropped.get(f"{task}: {NO_IMAGE}", 0), made[part.tasks[task]]
        if lost and lost >= there:
            logger.warning(
                "%s: %d of %d candidates of %s are left out because they have no image; are all images, under their "
                "official names, below %s?",
                *(part.source.name, lost, lost + there, task, part.source.raw.root),
            )


def _refuse_repeated_ids(shards: list[Shards], rows: np.ndarray) -> None:
    """Stop if two candidates have the same id: a raw file repeats itself, or a converter's keys are too short."""
    hashes = np.sort(rows["priority"])
    if not (hashes[1:] == hashes[:-1]).any():
        return
    order = np.lexsort((rows["priority"], rows["group"] // len(SPLITS)))
    task, priority = (rows["group"] // len(SPLITS))[order], rows["priority"][order]
    repeated = np.flatnonzero((task[1:] == task[:-1]) & (priority[1:] == priority[:-1]))
    if len(repeated):
        mask = np.zeros(len(rows), dtype=bool)
        mask[order[repeated[0]]] = True
        ((record, _),) = (line for part in _chosen(shards, mask) for line in part.lines())
        raise DataError(
            f"{record['unique_id']}: {len(repeated)} candidates have the id of another one; a raw file of this source "
            "holds the same annotation twice"
        )


@dataclass(frozen=True)
class _Part:
    """What is kept of one shard.

    Attributes:
        shards: The shards of its source.
        shard: Its number.
        places: Places of the kept candidates in its rows, int ``(n,)``.
    """

    shards: Shards
    shard: int
    places: np.ndarray

    def lines(self) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
        return self.shards.read(self.shard, self.places)

    def of_split(self, split: str) -> _Part:
        groups = self.shards.rows[self.shard]["group"][self.places]
        return _Part(self.shards, self.shard, self.places[groups % len(SPLITS) == SPLITS.index(split)])


def _chosen(shards: list[Shards], kept: np.ndarray) -> list[_Part]:
    """The kept candidates, shard by shard."""
    parts, start = [], 0
    for source in shards:
        for shard, rows in enumerate(source.rows):
            places = np.flatnonzero(kept[start : start + len(rows)])
            start += len(rows)
            if len(places):
                parts.append(_Part(source, shard, places))
    return parts


# -- images

Size = tuple[int, int]
Placed = dict[str, Size | str]  # image path → size in pixels, or what is wrong with it


def _place_images(chosen: list[_Part], out_dir: Path, options: BuildOptions) -> Placed:
    """Link or copy every image of the chosen candidates, once; opens each to learn its size."""
    todo = {
        record["image_path"]: (part.shards.source.raw, files)
        for part in chosen
        for record, files in part.lines()
        if files
    }

    paths = list(todo)

    def place(start: int) -> Placed:
        return {
            path: _place_image(*todo[path], out_dir / path, options.copy_images)
            for path in paths[start : start + IMAGE_CHUNK]
        }

    placed: Placed = {}
    with progress_bar(desc="images", total=len(paths), unit="images") as bar:
        for result in ordered_map(place, range(0, len(paths), IMAGE_CHUNK), options.workers):
            placed |= result
            bar.update(len(result))
            problem = next((value for value in result.values() if isinstance(value, str)), None)
            if problem and not options.skip_bad:
                raise DataError(f"{problem}; --skip-bad leaves out and counts the instances of such images")
    if any(isinstance(found, str) for found in placed.values()):
        _warn_of_bad_images(chosen, placed)
    return placed


def _warn_of_bad_images(chosen: list[_Part], placed: Placed) -> None:
    """Log the sources of which half of the images or more cannot be used, with what is wrong with the first."""
    images: dict[str, dict[str, str | None]] = {}  # of each source: path → what is wrong with it, None if nothing
    for part in chosen:
        of_source = images.setdefault(part.shards.source.name, {})
        for record, files in part.lines():
            if files:
                found = placed[record["image_path"]]
                of_source[record["image_path"]] = found if isinstance(found, str) else None
    for name, of_source in images.items():
        problems = [problem for problem in of_source.values() if problem]
        if problems and 2 * len(problems) >= len(of_source):
            logger.warning(
                "%s: %d of %d images cannot be used, the first: %s", name, len(problems), len(of_source), problems[0]
            )


def _place_image(raw: RawFolder, files: Iterable[str], target: Path, copy: bool) -> Size | str:
    """Bring one image into the data directory; its size, or what is wrong with it."""
    found = raw.first(files)
    if found is None:
        return f"{raw.root / next(iter(files))}: image is missing"
    origin = Path(os.path.realpath(raw.root / found))
    try:
        with open_image(origin) as image:
            size = image.size
    except UnusableImageError as error:
        return f"{shown(origin)}: {error}"
    if not target.exists():
        copy_atomic(origin, target, link=not copy)
    return size


# -- instances


class _Writer:
    """Checks what was chosen against schema, task and image, and writes it."""

    def __init__(self, chosen: list[_Part], registry: Registry, images: Placed, root: Path, skip_bad: bool) -> None:
        self.chosen, self.registry, self.images, self.root, self.skip_bad = chosen, registry, images, root, skip_bad
        self.failures: list[str] = []

    def write(self, output: OutputDirectory, split: str, workers: int) -> dict[str, int]:
        """Write one split; the number of instances of each task."""
        counts: Counter[str] = Counter()
        parts = [part for whole in self.chosen if len((part := whole.of_split(split)).places)]

        def finish(number: int) -> _Finished:
            return self._finish(parts[number])

        shown = progress_bar(desc=f"{split}.jsonl", unit="instances", unit_scale=True)
        with output.open_split(split) as file, shown as bar:
            for finished in ordered_map(finish, range(len(parts)), workers):
                if finished.failures and not self.skip_bad:
                    raise DataError(f"{finished.failures[0]}; --skip-bad leaves such instances out and counts them")
                self.failures += finished.failures
                file.write(finished.lines)
                counts.update(finished.counts)
                bar.update(sum(finished.counts.values()))
        return dict(sorted(counts.items()))

    def report_failures(self, out_dir: Path) -> int:
        """List what was left out in a file and log how much; its number."""
        if self.failures:
            atomic_write(out_dir / LEFT_OUT, "".join(f"{failure}\n" for failure in self.failures).encode())
            logger.warning("left out %d instances, listed in %s", len(self.failures), out_dir / LEFT_OUT)
        return len(self.failures)

    def _finish(self, part: _Part) -> _Finished:
        """Lines of one part; runs in a worker process."""
        finished, lines = _Finished(), []
        for record, _ in part.lines():
            try:
                instance = self._checked(record)
            except DataError as error:
                finished.failures.append(str(error))
                continue
            lines.append(instance_line(instance) + "\n")
            finished.counts[instance.task_name] += 1
        finished.lines = "".join(lines).encode()
        return finished

    def _checked(self, record: dict[str, Any]) -> Instance:
        """The instance, complete with its image's size, once it is known to fit its task."""
        image_path = record.get("image_path")
        if image_path is not None:
            size = self.images[image_path]
            if isinstance(size, str):
                raise DataError(f"{record['unique_id']}: {size}")
            said = record.setdefault("image_size", list(size))
            if said != list(size):
                with open_image(self.root / image_path) as image:
                    why = turned(exif_orientation(image), size, said)
                raise DataError(
                    f"{record['unique_id']}: {image_path} is {size[0]}x{size[1]}, but its annotations say "
                    f"{said[0]}x{said[1]}{why}"
                )
        instance = Instance.from_record(record, record["unique_id"])
        spec = self.registry[instance.task_name]
        render(spec, spec.instructions[0], instance)
        render_target(spec, instance)
        return instance


@dataclass
class _Finished:
    """One part, ready to be written."""

    lines: bytes = b""
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
