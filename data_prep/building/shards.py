"""The candidates of one source on disk, in shards that are made once and in any order."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ofa_mi.data_prep.building.output import SPLITS
from ofa_mi.data_prep.building.selection import CANDIDATE
from ofa_mi.data_prep.source import Candidate, Source, held_out
from ofa_mi.errors import DataError
from ofa_mi.instances.photos import COCO_ID, names_of
from ofa_mi.instances.sidecar import CHECKSUM, checksum, map_array, signature
from ofa_mi.instructions.registry import Registry
from ofa_mi.utils.files import atomic_write, open_atomic
from ofa_mi.utils.hashing import hash64
from ofa_mi.utils.json_files import LARGEST, AnyObject, Count, decode, read_json
from ofa_mi.utils.parallel import ordered_map
from ofa_mi.utils.progress import progress_bar

CHUNK = 256  # units per shard
# A candidate in a shard: where its line lies, the hash of its photo (0 for none), and what select() reads; `group` is
# the number of its task times three plus the number of its split.
ROW = np.dtype([("offset", "<i8"), ("length", "<i4"), ("image", "<u8"), *CANDIDATE.descr])

Line = tuple[dict[str, Any], tuple[str, ...]]  # an instance's record, and where its image may lie below the raw folder


class _Notes(msgspec.Struct):
    """What lies behind the rows of a shard: "task: reason" → number of what was left out, and put right."""

    dropped: dict[str, Count]
    repaired: dict[str, Count]


_NOTES, _UNITS = msgspec.json.Decoder(_Notes), msgspec.json.Decoder(Count)
_LINE = msgspec.json.Decoder(tuple[AnyObject, list[str]])


class Shards:
    """The shards of one source; they are made when this is constructed, as far as they are not there.

    Args:
        source: The source.
        folder: Where to keep shards.
        registry: The tasks; the number of a task is its place there.
        workers: Processes.

    Attributes:
        source: The source.
        rows: Per shard its candidates, ``(N,)`` of :data:`ROW`, in order.
        dropped: What the source left out, "task: reason" → number.
        repaired: What it put right, likewise.
    """

    def __init__(self, source: Source, folder: Path, registry: Registry, workers: int) -> None:
        self.source = source
        self.folder = folder / f"{source.name}-{_digest(source)}"
        self.tasks = {task: number for number, task in enumerate(registry)}
        self.evaluation = {name for name, spec in registry.items() if spec.split == "eval"}
        self._units: Sequence[Any] | None = None
        number = self._number_of_shards()
        indexes = [self._read_index(shard) for shard in range(number)]
        if lacking := [shard for shard, index in enumerate(indexes) if index is None]:
            self._make(lacking, workers)
            for shard in lacking:
                indexes[shard] = self._read_index(shard)
        self._units = None  # the annotations can be gigabytes
        self.rows: list[np.ndarray] = [rows for rows, _ in indexes]
        notes = {"dropped": Counter(), "repaired": Counter()}
        for _, found in indexes:
            notes["dropped"].update(found.dropped)
            notes["repaired"].update(found.repaired)
        join([self.rows])
        self.dropped, self.repaired = (dict(sorted(numbers.items())) for numbers in notes.values())

    def read(self, shard: int, chosen: np.ndarray) -> Iterator[Line]:
        """Lines of a shard.

        Args:
            shard: Its number.
            chosen: Places of the candidates in its rows, int ``(n,)``.
        """
        path = self._lines(shard)
        with path.open("rb") as file:
            for offset, length in self.rows[shard][["offset", "length"]][chosen].tolist():
                file.seek(offset)
                damaged = f"{path}: byte {offset}: damaged; delete {self.folder} and run the command again"
                record, files = decode(file.read(length), _LINE, damaged)
                if not isinstance(record.get("unique_id"), str):
                    raise DataError(damaged)
                yield record, tuple(files)

    def _lines(self, shard: int) -> Path:
        return self.folder / f"{shard:06d}.jsonl"

    def _index(self, shard: int) -> Path:
        return self.folder / f"{shard:06d}.npy"

    def _number_of_shards(self) -> int:
        """Number of shards, remembered so that a source whose shards are all there is not loaded again."""
        path = self.folder / "units.json"
        with contextlib.suppress(DataError):
            return -(-read_json(path, _UNITS, "damaged") // CHUNK)
        atomic_write(path, json.dumps(len(self._loaded())).encode())
        return -(-len(self._loaded()) // CHUNK)

    def _read_index(self, shard: int) -> tuple[np.ndarray, _Notes] | None:
        """Rows and notes of a shard; None where it has not been made yet, or is damaged and must be made again."""
        try:
            with self._index(shard).open("rb") as file:
                rows = np.array(map_array(file, ROW))  # a copy: every map keeps its file open
                rest = file.read(LARGEST)
            if rest[-CHECKSUM:] != checksum(rows, rest[:-CHECKSUM]):
                return None
            notes = decode(rest[:-CHECKSUM], _NOTES, "damaged")
            size = self._lines(shard).stat().st_size
        except (OSError, ValueError, DataError):
            return None
        ends = rows["offset"] + rows["length"]
        if rows.ndim != 1 or not np.array_equal(np.append(0, ends), np.append(rows["offset"], size)):
            return None  # the lines follow one another and fill their file
        groups = len(self.tasks) * len(SPLITS)
        return (rows, notes) if np.all((rows["group"] >= 0) & (rows["group"] < groups)) else None

    def _loaded(self) -> Sequence[Any]:
        if self._units is None:
            self._units = self.source.load()
        return self._units

    def _make(self, shards: list[int], workers: int) -> None:
        if not shards:
            return
        self._loaded()  # before worker processes start, so that they inherit it
        made = ordered_map(self._convert, shards, min(workers, len(shards)))
        with progress_bar(desc=self.source.title, unit="candidates", unit_scale=True) as bar:
            for number in made:
                bar.update(number)

    def _convert(self, shard: int) -> int:
        """Convert one chunk of units and write its shard; the number of candidates. Runs in a worker process."""
        self.source.dropped.clear()
        self.source.repaired.clear()
        rows: list[tuple] = []
        offset = 0
        with open_atomic(self._lines(shard)) as file:
            for unit in self._units[shard * CHUNK : (shard + 1) * CHUNK]:
                for candidate in self.source.convert(unit):
                    line = self._line(candidate)
                    file.write(line)
                    rows.append((offset, len(line), *self._choice(candidate)))
                    offset += len(line)
        table = np.array(rows, dtype=ROW)
        with open_atomic(self._index(shard)) as file:  # last: it says that the shard is complete
            np.save(file, table, allow_pickle=False)
            notes = json.dumps({"dropped": self.source.dropped, "repaired": self.source.repaired}).encode()
            file.write(notes + checksum(table, notes))
        return len(rows)

    def _line(self, candidate: Candidate) -> bytes:
        image = candidate.image
        instance = candidate.draft.instance(
            unique_id=self._id(candidate),
            task_name=candidate.task,
            image_path=image and f"images/{image.path}",
            image_size=image and image.size,
            meta_data=_meta_data(candidate),
        )
        return msgspec.json.encode((instance.to_record(), image.files if image else ())) + b"\n"

    def _choice(self, candidate: Candidate) -> tuple[int, int, int, int, int, int]:
        """The columns of a row that are about its choice."""
        balance = candidate.draft.balance
        group = self.tasks[candidate.task] * len(SPLITS) + SPLITS.index(self._split(candidate))
        image = hash64(candidate.image.photo) if candidate.image else 0
        priority = hash64(self.source.seed, self._id(candidate))
        if balance is None:
            return image, group, 0, 0, 0, priority
        label = balance.labels.index(balance.label)
        return image, group, len(balance.labels), label, hash64("stratum", self.source.name, balance.stratum), priority

    def _id(self, candidate: Candidate) -> str:
        return f"{self.source.name}/{candidate.task}/{candidate.key}"

    def _split(self, candidate: Candidate) -> str:
        if candidate.split is not None:
            return candidate.split
        if candidate.task in self.evaluation:
            return "test"
        return "valid" if held_out(candidate.image.photo if candidate.image else candidate.key) else "train"


def _meta_data(candidate: Candidate) -> dict[str, Any]:
    """What is kept of a candidate, with its photo's number in MSCOCO where the path of the image does not say it."""
    known_as = candidate.image and candidate.image.same_as
    number = names_of(known_as).coco if known_as else 0
    return {**candidate.meta_data, COCO_ID: number} if number else candidate.meta_data


def join(lists: Sequence[list[np.ndarray]]) -> np.ndarray:
    """The tables of all lists as one, ``(N,)`` of :data:`ROW`; the lists hold parts of it from then on, not copies."""
    joined = np.concatenate([np.empty(0, ROW), *(table for tables in lists for table in tables)])
    start = 0
    for tables in lists:
        for number, table in enumerate(tables):
            tables[number] = joined[start : start + len(table)]
            start += len(table)
    return joined


def _digest(source: Source) -> str:
    """Changes with everything that the candidates depend on: the source, the seed, its tasks, its annotation files."""
    paths = [source.raw.find(file) for file in source.needed() if source.raw.has(file)]
    files = [[str(path), signature(path)] for path in paths if path.is_file()]
    made_from = [source.name, source.version, source.wanted, source.seed, files]
    return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:16]
