"""Random access to the instances of a file, one per line, with everything checked in advance.

The first time a file is opened every line is read once: parsed, checked, and its position noted in
a memory-mapped index. From then on opening is immediate, memory use does not grow with the file, and
a bad line cannot turn up in the middle of a training run.
"""

from __future__ import annotations

import hashlib
import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from PIL import Image

from ofa_mi.errors import DataError, shown
from ofa_mi.instances.images import load_image
from ofa_mi.instances.instance import Instance, max_pixels
from ofa_mi.instances.lines import LARGE_FILE, content_end, read_line, seek_line
from ofa_mi.instances.sidecar import Sidecar
from ofa_mi.utils.files import path_inside, read_at_most
from ofa_mi.utils.hashing import hash64
from ofa_mi.utils.parallel import choose_workers, ordered_map
from ofa_mi.utils.progress import progress_bar

INDEX_VERSION = 3  # raised when the index changes, or when what counts as a good line does
CHUNK_BYTES = 1 << 24  # of the file, read by one worker at a time
MOST_IMAGE_BYTES = 1 << 28  # of an image's file, where it is read as a whole
MOST_SKIPPED = 100_000  # bad lines that can be left out; a file of more is no file of instances

# One instance: where its line lies, its number (from 1), its task (a number in task_names) and the
# size of its image in pixels, 0 for text only.
ROW = np.dtype(
    [("offset", "<i8"), ("length", "<i4"), ("line", "<i4"), ("task", "<i4"), ("width", "<i4"), ("height", "<i4")]
)


class _Content(TypedDict):
    """What is kept with the rows of an index."""

    task_names: list[str]
    skipped: list[str]  # ``file:line: reason`` of each line left out
    missing_images: list[str]  # for want of which lines are left out
    digest: str  # of what the lines say


class MissingImageError(DataError):
    """An instance's image does not exist.

    Attributes:
        image_path: The image, relative to the data directory.
    """

    def __init__(self, name: str, root: Path, image_path: str) -> None:
        super().__init__(f"{name}: image {shown(root / image_path)} does not exist")
        self.image_path = image_path


class LineStore(ABC):
    """A file of one instance per line; :class:`InstanceStore` and ``TsvStore`` say what a line looks like.

    It can be pickled, and used in several processes at once.

    Args:
        path: The file.
        skip_bad: Leave out bad lines and list them in :attr:`skipped`, instead of raising an error.
        workers: Processes that read a file for the first time; 0 for all cores where it pays.

    Attributes:
        path: The file.
        root: Its folder, which image paths are relative to.
        task_names: Names of the tasks that occur, in order of appearance.
        skipped: ``file:line: reason`` of each line left out.
        workers: As given.
        digest: What tells these instances, in this order, from any others, wherever the file lies.

    Raises:
        DataError: The file cannot be read, or a line is bad; names file and line.
    """

    def __init__(self, path: str | Path, *, skip_bad: bool = False, workers: int = 0) -> None:
        self.path = Path(path)
        self.root = self.path.parent
        self.workers = workers
        self._file: int | None = None
        key = [INDEX_VERSION, type(self).__name__, self._format(), max_pixels()]
        self._index = Sidecar(self.path, "index", dtype=ROW, content=_Content, key=key)
        self._open_index(skip_bad)

    # -- what a subclass provides

    def _format(self) -> str:
        """Whatever else the meaning of a line depends on."""
        return ""

    @abstractmethod
    def _parse(self, line: bytes, where: str, offset: int, image_size: tuple[int, int] | None = None) -> Instance:
        """The instance on the line at ``offset``; ``image_size`` is what the index says, None while it is built."""

    @abstractmethod
    def _check_image(self, instance: Instance) -> None:
        """Raise :class:`MissingImageError` or another DataError if the instance's image cannot be found."""

    @abstractmethod
    def load_image(self, instance: Instance) -> Image.Image:
        """The RGB image of an instance that has one.

        Raises:
            DataError: It is missing, corrupt, or of another size than the instance says.
        """

    @abstractmethod
    def image_bytes(self, instance: Instance) -> bytes:
        """An instance's image as it is stored.

        Raises:
            DataError: It cannot be read, or has more than :data:`MOST_IMAGE_BYTES`.
        """

    @abstractmethod
    def image_digest(self, instance: Instance) -> str:
        """SHA-256 of an instance's image as it is stored: equal for two copies of one file.

        Raises:
            DataError: It cannot be read.
        """

    # -- instances

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Instance:
        row = self._rows[index]
        size = (int(row["width"]), int(row["height"])) if row["width"] else None
        offset = int(row["offset"])
        return self._parse(self._read(offset, row["length"]), self._where(row["line"]), offset, size)

    def __iter__(self) -> Iterator[Instance]:
        return (self[i] for i in range(len(self)))

    @cached_property
    def task_ids(self) -> np.ndarray:
        """Number of each instance's task in :attr:`task_names`, int32 ``(len,)``."""
        return np.ascontiguousarray(self._rows["task"])

    @cached_property
    def has_image(self) -> np.ndarray:
        """True for instances with an image, bool ``(len,)``."""
        return self._rows["width"] > 0

    def sidecar(self, suffix: str, *, dtype: np.dtype, key: Any) -> Sidecar:
        """Where an array is kept that is computed once from these instances; it counts for just these and this key."""
        skipped = hashlib.sha256("\n".join(self.skipped).encode()).hexdigest()
        return Sidecar(self.path, suffix, dtype=dtype, content=dict, key=[self._index.key, key, skipped])

    # -- files

    def _read(self, offset: int, length: int) -> bytes:
        if self._file is None:
            self._file = os.open(self.path, os.O_RDONLY)
            weakref.finalize(self, os.close, self._file)
        # Reading at a position, not seeking, so that processes that share the open file cannot disturb each other.
        return os.pread(self._file, int(length), int(offset))

    def _where(self, line: int) -> str:
        return f"{self.path}:{line}"

    def __getstate__(self) -> dict:
        computed = ("_rows", "task_ids", "has_image")
        return {key: value for key, value in self.__dict__.items() if key not in computed} | {"_file": None}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        if (stored := self._index.read(self._fits)) is None:
            raise DataError(f"{self.path}: changed while it was in use; start again")
        self._rows = stored[0]

    # -- index

    def _open_index(self, skip_bad: bool) -> None:
        def counts(rows: np.ndarray, content: _Content) -> bool:
            """False if the index skips a line that is an error now, or whose image has appeared since."""
            appeared = any(os.path.exists(self.root / image) for image in content["missing_images"])
            return not appeared and (skip_bad or not content["skipped"]) and self._fits(rows, content)

        self._rows, content = self._index.read_or_make(lambda: self._build_index(skip_bad), counts)
        self.task_names, self.skipped = tuple(content["task_names"]), tuple(content["skipped"])
        self.digest: str = content["digest"]

    def _fits(self, rows: np.ndarray, content: _Content) -> bool:
        """Whether an index can be one of this file: lines in order and inside it, tasks that have a name."""
        if rows.ndim != 1:
            return False
        offsets, lengths, size = rows["offset"], rows["length"], self.path.stat().st_size
        lines = np.all(offsets[1:] > offsets[:-1]) and np.all(offsets >= 0) and np.all(offsets <= size - lengths)
        numbers = np.all(lengths > 0) and np.all(rows["line"] > 0) and np.all(rows["task"] >= 0)
        sizes = np.all(rows["width"] >= 0) and np.all((rows["width"] > 0) == (rows["height"] > 0))
        return bool(lines and numbers and sizes and np.all(rows["task"] < len(content["task_names"])))

    def _build_index(self, skip_bad: bool) -> tuple[np.ndarray, _Content]:
        """Read and check every line; the rows of the index, and what else is kept with them."""
        found = _Found(self, skip_bad)
        size = content_end(self.path)
        chunks = [(start, min(start + CHUNK_BYTES, size)) for start in range(0, size, CHUNK_BYTES)]
        results = ordered_map(self._scan, chunks, choose_workers(self.workers, pays=size >= LARGE_FILE))
        with progress_bar(
            desc=f"index {self.path}", total=size, unit="B", unit_scale=True, show=size >= LARGE_FILE
        ) as bar:
            for (start, end), chunk in zip(chunks, results, strict=True):
                found.add(chunk)
                bar.update(end - start)
        found.drop_duplicates()
        return found.rows(), {
            "task_names": list(found.tasks),
            "skipped": [found.skipped[line] for line in sorted(found.skipped)],
            "missing_images": found.missing_images,
            "digest": found.digest(),
        }

    def _scan(self, chunk: tuple[int, int]) -> _Chunk:
        """Parse the lines that begin in a range of bytes; runs in a worker process."""
        start, end = chunk
        result, digest = _Chunk(), hashlib.sha256()
        with self.path.open("rb") as file:
            seek_line(file, start, end)
            while (offset := file.tell()) < end and len(result.bad) <= MOST_SKIPPED:
                line = read_line(file)
                digest.update(line.rstrip() + b"\n")
                result.lines += 1
                try:
                    instance = self._checked(line, "", offset)
                except DataError:
                    result.bad.append((offset, len(line), result.lines))
                    continue
                task = result.tasks.setdefault(instance.task_name, len(result.tasks))
                size = instance.image_size if instance.image_path is not None else (0, 0)
                result.rows.append((offset, len(line), result.lines, task, *size))
                result.ids.append(hash64(instance.unique_id))
        result.rows, result.digest = np.array(result.rows, dtype=ROW), digest.digest()
        return result

    def _checked(self, line: bytes, where: str, offset: int) -> Instance:
        instance = self._parse(line, where, offset)
        if instance.image_path is not None:
            self._check_image(instance)
        return instance


class InstanceStore(LineStore):
    """JSON lines, as :meth:`Instance.from_json` reads them, with images as files beside them."""

    def _parse(self, line: bytes, where: str, offset: int, image_size: tuple[int, int] | None = None) -> Instance:
        return Instance.from_json(line, where)

    def _check_image(self, instance: Instance) -> None:
        if not os.path.isfile(self.image_file(instance)):  # which is False, too, for a name that no file can have
            raise MissingImageError(instance.name, self.root, instance.image_path)

    def image_file(self, instance: Instance) -> Path:
        """Where the image of an instance lies, all links resolved.

        Raises:
            DataError: It lies outside the data directory, be it by an absolute path, ``..`` or a link.
        """
        path = path_inside(str(self.root), instance.image_path)
        if path is None:
            raise DataError(
                f"{instance.name}: image {shown(instance.image_path)} lies outside the data directory {self.root}; "
                "copy it there, or link the whole directory"
            )
        return path

    def load_image(self, instance: Instance) -> Image.Image:
        return load_image(self.image_file(instance), name=instance.name, size=instance.image_size)

    def image_bytes(self, instance: Instance) -> bytes:
        try:
            return read_at_most(self.image_file(instance), MOST_IMAGE_BYTES)
        except OSError as error:
            raise DataError(f"{instance.name}: image {instance.image_path} cannot be read ({error.strerror})") from None

    def image_digest(self, instance: Instance) -> str:
        try:
            with self.image_file(instance).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataError(f"{instance.name}: image {instance.image_path} cannot be read ({error.strerror})") from None


@dataclass(slots=True)
class _Chunk:
    """What a worker found in its part of the file; lines are counted from the start of the part."""

    lines: int = 0
    rows: list | np.ndarray = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    tasks: dict[str, int] = field(default_factory=dict)
    bad: list[tuple[int, int, int]] = field(default_factory=list)  # offset, length, line
    digest: bytes = b""  # of all lines


class _Found:
    """Collects the chunks of a file, in order."""

    def __init__(self, store: LineStore, skip_bad: bool) -> None:
        self.store, self.skip_bad = store, skip_bad
        self.lines = 0
        self.content = hashlib.sha256(self.store._format().encode())
        self.parts: list[np.ndarray] = [np.empty(0, dtype=ROW)]
        self.ids: list[np.ndarray] = [np.empty(0, dtype=np.uint64)]
        self.tasks: dict[str, int] = {}
        self.skipped: dict[int, str] = {}
        self.missing_images: list[str] = []

    def rows(self) -> np.ndarray:
        return np.concatenate(self.parts)

    def digest(self) -> str:
        """Of the content of the file, and of which lines of it are used."""
        digest = self.content.copy()
        digest.update(self.rows()["line"].tobytes())
        return digest.hexdigest()

    def add(self, chunk: _Chunk) -> None:
        self.content.update(chunk.digest)
        for offset, length, line in chunk.bad:
            self._reject(offset, length, self.lines + line)
        numbers = np.array([self.tasks.setdefault(name, len(self.tasks)) for name in chunk.tasks], dtype=np.int32)
        if len(chunk.rows):
            chunk.rows["line"] += self.lines
            chunk.rows["task"] = numbers[chunk.rows["task"]]
            self.parts.append(chunk.rows)
            self.ids.append(np.array(chunk.ids, dtype=np.uint64))
        self.lines += chunk.lines

    def drop_duplicates(self) -> None:
        """Reject instances whose id an earlier line has."""
        rows, ids = self.rows(), np.concatenate(self.ids)
        order = np.argsort(ids, kind="stable")
        repeated = np.flatnonzero(ids[order][1:] == ids[order][:-1])
        keep = np.ones(len(rows), dtype=bool)
        first: dict[str, int] = {}  # line of each id that may be repeated
        for i in np.unique(np.concatenate([order[repeated], order[repeated + 1]])):  # in the order of the file
            offset, length, line = rows[i][["offset", "length", "line"]].item()
            instance = self.store._parse(self.store._read(offset, length), self.store._where(line), offset)
            earlier = first.setdefault(instance.unique_id, line)
            if earlier != line:
                self._skip(line, DataError(f"{instance.name}: line {earlier} has the same unique_id"))
                keep[i] = False
        self.parts = [rows[keep]]

    def _reject(self, offset: int, length: int, line: int) -> None:
        """Check a bad line again, now that its number is known, for the message."""
        try:
            self.store._checked(self.store._read(offset, length), self.store._where(line), offset)
        except MissingImageError as error:
            self._skip(line, error)
            self.missing_images.append(error.image_path)
        except DataError as error:
            self._skip(line, error)

    def _skip(self, line: int, error: DataError) -> None:
        if not self.skip_bad:
            raise error
        self.skipped[line] = str(error)
        if len(self.skipped) > MOST_SKIPPED:
            raise DataError(f"{self.store.path}: more than {MOST_SKIPPED:,} bad lines, the last of them {error}")
