"""Reading the files of a data directory: every line once, in parts, over worker processes.

What is kept of a line is a few numbers in arrays (about 50 bytes), so that files of millions of lines fit into memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np

from ofa_mi.data.lengths import count_tokens
from ofa_mi.data.vocabulary import Vocabulary
from ofa_mi.data_prep.building.output import SPLITS
from ofa_mi.data_prep.check.counts import TaskCounts
from ofa_mi.data_prep.check.findings import Findings, check_instance, parse
from ofa_mi.errors import DataError, shown
from ofa_mi.instances.instance import Instance
from ofa_mi.instances.lines import content_end, read_line, seek_line
from ofa_mi.instances.photos import names_of
from ofa_mi.instances.tsv import TsvReader, find_tsv, tsv_splits
from ofa_mi.instructions.registry import Registry
from ofa_mi.utils.files import path_inside
from ofa_mi.utils.hashing import hash64
from ofa_mi.utils.parallel import ordered_map
from ofa_mi.utils.progress import progress_bar

CHUNK_BYTES = 1 << 22  # of a file, read by one worker at a time

# One instance: the hash of its id, where its line lies, the number of its task and of its file.
ROW = np.dtype([("id", "<u8"), ("offset", "<i8"), ("line", "<i4"), ("task", "<i4"), ("file", "<u2")])
# An image as the instances of one task in one part of a file use it: the hash of its path, the size they give, the
# numbers by which its photo is known (0 for none), and the first of them.
USE = np.dtype(
    [
        ("path", "<u8"),
        ("offset", "<i8"),
        ("line", "<i4"),
        ("task", "<i4"),
        ("file", "<u2"),
        ("width", "<i4"),
        ("height", "<i4"),
        ("coco", "<i8"),
        ("visual_genome", "<i8"),
    ]
)


@dataclass(frozen=True, slots=True)
class DataFile:
    """One split of one data directory.

    Attributes:
        path: The file.
        split: Name of the split.
        name: How the card names the file: without the path of the directory.
        reader: What its lines mean, if it is one of OFA's TSV files; None for JSON lines.
    """

    path: Path
    split: str
    name: str
    reader: TsvReader | None = None

    @property
    def directory(self) -> Path:
        return self.path.parent

    def parse(self, line: bytes, where: str, offset: int) -> Instance:
        """The instance on a line that begins at a byte of the file; DataError naming ``where`` if it is bad."""
        if self.reader is None:
            return Instance.from_json(line, where)
        return self.reader.instance(line, where, offset)

    def image_file(self, instance: Instance) -> Path | BytesIO:
        """The image of an instance of this file, not opened yet.

        Raises:
            DataError: It lies outside the data directory.
        """
        if self.reader is not None:
            line = self.line_at(int(instance.image_path.rpartition("@")[2]))
            return BytesIO(self.reader.image(line, instance.name))
        path = path_inside(str(self.directory), instance.image_path)
        if path is None:
            raise DataError(
                f"image {shown(instance.image_path)} lies outside the data directory; copy it there, or link the whole "
                "directory"
            )
        return path

    def line_at(self, offset: int) -> bytes:
        """The line that begins at a byte of the file."""
        with self.path.open("rb") as file:
            file.seek(offset)
            return read_line(file)

    def instance_at(self, offset: int, line: int = 0) -> Instance:
        """The instance on the line that begins at a byte of the file."""
        return self.parse(self.line_at(offset), f"{self.name}:{line}" if line else "", offset)


@dataclass(slots=True)
class Scan:
    """What was read.

    Attributes:
        files: The files.
        tasks: Names of the tasks, in order of appearance.
        rows: Every instance that could be parsed, :data:`ROW` ``(instances,)``.
        uses: Images as they are used, :data:`USE`.
        counts: Numbers by file and task.
        lines: Lines of each file.
        findings: What is wrong.
    """

    files: Sequence[DataFile]
    findings: Findings
    tasks: list[str] = field(default_factory=list)
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, ROW))
    uses: np.ndarray = field(default_factory=lambda: np.empty(0, USE))
    counts: dict[tuple[int, str], TaskCounts] = field(default_factory=dict)
    lines: list[int] = field(default_factory=list)

    def instance(self, row: np.void) -> Instance:
        """The instance of one row or use."""
        return self.files[row["file"]].instance_at(int(row["offset"]), int(row["line"]))


@dataclass(slots=True)
class _Part:
    """What a worker found in its part of a file; lines are counted from the start of the part."""

    lines: int
    rows: np.ndarray
    uses: np.ndarray
    counts: dict[str, TaskCounts]  # by task, in order of appearance
    findings: Findings


def data_files(directories: Sequence[Path]) -> list[DataFile]:
    """The instance files of some data directories: train, valid, test, and then the others by name.

    They are those that :func:`ofa_mi.instances.open.open_store` opens: JSON lines, or OFA's own TSV files.

    Raises:
        DataError: A directory does not exist, or holds none, or several files for one split.
    """
    files = []
    for directory in directories:
        if not directory.is_dir():
            raise DataError(f"{directory}: no such data directory")
        readers = {path.stem: (path, None) for path in directory.glob("*.jsonl") if path.is_file()}
        for split in tsv_splits(directory):
            if split not in readers:
                path, kind = find_tsv(directory, split)
                readers[split] = path, TsvReader(path, kind)
        if not readers:
            raise DataError(
                f"{directory}: holds no train.jsonl, valid.jsonl, test.jsonl or other .jsonl file, nor one of OFA's "
                "TSV files, such as vqa_train.tsv"
            )
        prefix = f"{directory_names(directories)[directory]}/" if len(directories) > 1 else ""
        for split in sorted(readers, key=_split_order):
            path, reader = readers[split]
            files.append(DataFile(path, split, f"{prefix}{path.name}", reader))
    return files


def directory_names(directories: Sequence[Path]) -> dict[Path, str]:
    """What the card calls each directory: its last name or, where two have the same, its path."""
    names = {directory: directory.resolve().name for directory in directories}
    alike = Counter(names.values())
    return {directory: name if alike[name] == 1 else str(directory) for directory, name in names.items()}


def scan(files: Sequence[DataFile], registry: Registry, *, keep: int, workers: int = 1) -> Scan:
    """Read and check every line.

    Args:
        files: The files.
        registry: The tasks that are known.
        keep: Findings of a kind that are kept.
        workers: Processes; the result does not depend on it.

    Raises:
        DataError: A file cannot be read.
    """
    vocabulary = Vocabulary.load()
    sizes = [_size(file.path) for file in files]
    parts = [
        (number, start, min(start + CHUNK_BYTES, size))
        for number, size in enumerate(sizes)
        for start in range(0, size, CHUNK_BYTES)
    ]
    results = ordered_map(lambda part: _read_part(files, registry, vocabulary, keep, *part), parts, workers)
    found = Scan(files, Findings(keep), lines=[0] * len(files))
    task_numbers: dict[str, int] = {}
    rows, uses = [found.rows], [found.uses]
    with progress_bar(desc="check lines", total=sum(sizes), unit="B", unit_scale=True, leave=False) as bar:
        for (number, start, end), part in zip(parts, results, strict=True):
            numbers = np.array([task_numbers.setdefault(task, len(task_numbers)) for task in part.counts], np.int32)
            for array in (part.rows, part.uses):
                array["line"] += found.lines[number]
                array["task"] = numbers[array["task"]]
                array["file"] = number
            rows.append(part.rows)
            uses.append(part.uses)
            for task, counts in part.counts.items():
                found.counts.setdefault((number, task), TaskCounts()).merge(counts)
            found.findings.extend(part.findings, found.lines[number])
            found.lines[number] += part.lines
            bar.update(end - start)
    found.tasks = list(task_numbers)
    found.rows, found.uses = np.concatenate(rows), np.concatenate(uses)
    _check_ids(found)
    return found


def path_hash(directory: Path, image_path: str) -> int:
    """The hash by which an image of a data directory is named in :data:`USE`."""
    return hash64(f"{directory}\n{image_path}")


def _split_order(split: str) -> tuple[int, str]:
    return (SPLITS.index(split) if split in SPLITS else len(SPLITS), split)


def _size(path: Path) -> int:
    try:
        return content_end(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def _read_part(
    files: Sequence[DataFile], registry: Registry, vocabulary: Vocabulary, keep: int, number: int, start: int, end: int
) -> _Part:
    """Check the lines that begin in a range of bytes; runs in a worker process."""
    file = files[number]
    findings, counts, tasks = Findings(keep), {}, {}
    rows: list[tuple] = []
    uses: dict[tuple, tuple] = {}
    lines = 0
    with file.path.open("rb") as stream:
        seek_line(stream, start, end)
        while (offset := stream.tell()) < end:
            line = read_line(stream)
            lines += 1
            instance = parse(file.parse, line, offset)
            if not isinstance(instance, Instance):
                findings.add(instance[0], number, lines, instance[1])
                continue
            spec = registry.get(instance.task_name)
            for kind, message in check_instance(instance, spec, file.split):
                findings.add(kind, number, lines, message)
            task = tasks.setdefault(instance.task_name, len(tasks))
            if instance.task_name not in counts:
                counts[instance.task_name] = TaskCounts()
            counts[instance.task_name].add(instance, spec, *count_tokens(instance, vocabulary))
            rows.append((hash64(instance.unique_id), offset, lines, task, 0))
            if instance.image_path is not None:
                names = names_of(instance.image_path, instance.meta_data)
                key = (instance.image_path, task, *instance.image_size, *names)
                if key not in uses:
                    path = path_hash(file.directory, instance.image_path)
                    uses[key] = (path, offset, lines, task, 0, *instance.image_size, *names)
    return _Part(lines, np.array(rows, ROW), np.array(list(uses.values()), USE), counts, findings)


def _check_ids(found: Scan) -> None:
    """Report every instance whose id an earlier one has.

    Ids are compared by their hashes; two of five million different ids have the same with a probability of 1e-6.
    """
    order = np.argsort(found.rows["id"], kind="stable")
    ids = found.rows["id"][order]
    later = np.flatnonzero(ids[1:] == ids[:-1]) + 1
    # The first of a run of equal ids: equal neighbours share it.
    starts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]])) if len(ids) else np.empty(0, np.int64)
    first = starts[np.searchsorted(starts, later, side="right") - 1]
    for at in np.argsort(order[later], kind="stable"):
        row, earlier = found.rows[order[later[at]]], found.rows[order[first[at]]]

        def message(row=row, earlier=earlier) -> str:
            place = f"{found.files[earlier['file']].name}:{earlier['line']}"
            return f"instance {shown(found.instance(row).unique_id)}: {place} has the same unique_id"

        found.findings.add("id", int(row["file"]), int(row["line"]), message)
