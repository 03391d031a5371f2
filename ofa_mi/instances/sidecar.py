"""Sidecars: what was computed once from a data file, memory-mapped from then on.

A sidecar is one ``.npy`` array with a JSON object and a checksum behind it, so that all are replaced in one step.
numpy reads the array as it would any other and ignores the rest. It lies in ``.ofa_mi/`` beside the
data file or, where that cannot be written, in the user's cache (``OFA_MI_CACHE``, else
``~/.cache/ofa_mi``), and counts only as long as the data file is the one it was made from.
A sidecar that is damaged, be it by a single bit, counts for nothing and is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np

from ofa_mi.errors import DataError
from ofa_mi.utils.files import lock, open_atomic

FOLDER = ".ofa_mi"
PROBE = 1 << 16  # bytes read at the start, the middle and the end of a data file to recognise it
CHECKSUM = 8  # hexadecimal digits of the checksum
LARGEST_RECORD = 1 << 28  # bytes of the JSON object

Content = dict[str, Any]  # a JSON object


def signature(path: Path) -> list[int | str]:
    """What tells a data file from an edited one: size, time of change and a digest of parts of it.

    Raises:
        DataError: The file cannot be read.
    """
    try:
        status = path.stat()
        digest = hashlib.sha256()
        with path.open("rb") as file:
            for start in (0, status.st_size // 2, max(0, status.st_size - PROBE)):
                file.seek(start)
                digest.update(file.read(PROBE))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    return [status.st_size, status.st_mtime_ns, digest.hexdigest()]


class Sidecar:
    """The sidecar of one data file for one purpose.

    Args:
        data_file: The file that it is computed from.
        suffix: What tells it from the file's other sidecars.
        dtype: Of the array; a stored one of another type does not count.
        content: Type of the JSON object, likewise.
        key: JSON value that must be equal for a stored sidecar to count, besides the state of the file.
    """

    def __init__(self, data_file: Path, suffix: str, *, dtype: np.dtype, content: type, key: Any = None) -> None:
        self.data_file, self.dtype, self.content = data_file, np.dtype(dtype), content
        self.key = [signature(data_file), key]
        name = f"{data_file.name}.{suffix}.npy"
        cache = Path(os.environ.get("OFA_MI_CACHE") or Path.home() / ".cache" / "ofa_mi")
        digest = hashlib.sha256(os.path.realpath(data_file).encode()).hexdigest()[:16]
        self.places = [data_file.parent / FOLDER / name, cache / digest / name]

    def read(self, counts: Callable[[np.ndarray, Content], bool]) -> tuple[np.ndarray, Content] | None:
        """The memory-mapped array and the JSON object, or None if there is none that counts.

        Args:
            counts: Whether a stored array and JSON object, which are of their types, count still.
        """
        for place in self.places:
            stored = self._stored(place)
            if stored is not None and counts(*stored):
                return stored
        return None

    def _stored(self, place: Path) -> tuple[np.ndarray, Content] | None:
        """What lies in a place, if it was made there from this data file and is not damaged."""
        try:
            with place.open("rb") as file:
                array = map_array(file, self.dtype)
                rest = file.read(LARGEST_RECORD)
            record, mark = rest[:-CHECKSUM], rest[-CHECKSUM:]
            if mark != checksum(array, record):
                return None
            stored = json.loads(record)
            content = msgspec.convert(stored["content"], self.content)
            return (array, content) if stored["key"] == self.key else None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def read_or_make(
        self,
        make: Callable[[], tuple[np.ndarray, Content]],
        counts: Callable[[np.ndarray, Content], bool],
    ) -> tuple[np.ndarray, Content]:
        """What is stored or, if there is nothing that counts, what ``make`` returns, stored.

        One process at a time makes it, so that the processes of a run do not all do the same work.

        Args:
            make: Computes the array and a JSON object.
            counts: As in :meth:`read`.

        Raises:
            DataError: Neither place can be written.
        """
        if (stored := self.read(counts)) is not None:
            return stored
        place = self._writable()
        with place.with_suffix(".lock").open("w") as guard:
            lock(guard, wait=True)  # on a file system without locks the work is done several times
            if (stored := self.read(counts)) is None:
                made = make()
                self._write(place, *made)
                stored = self.read(counts) or made
        return stored

    def _write(self, place: Path, array: np.ndarray, content: Content) -> None:
        with open_atomic(place) as file:
            np.save(file, array, allow_pickle=False)
            record = json.dumps({"key": self.key, "content": content}).encode()
            file.write(record + checksum(array, record))

    def _writable(self) -> Path:
        """The first place whose folder can be written."""
        for place in self.places:
            with contextlib.suppress(OSError):
                place.parent.mkdir(parents=True, exist_ok=True)
                if os.access(place.parent, os.W_OK):
                    return place
        raise DataError(
            f"{self.data_file}: its index can be written neither to {self.places[0].parent} nor to "
            f"{self.places[1].parent}; set OFA_MI_CACHE to a folder that can be written"
        )


def map_array(file: BinaryIO, dtype: np.dtype) -> np.ndarray:
    """Memory-map the ``.npy`` array that ``file`` starts with, and leave the file behind it.

    The header is compared with the one that numpy writes for this type, not parsed as the Python that it is.

    Raises:
        ValueError: It is no such array, or longer than the file.
    """
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("not an array that was written here")
    header = file.read(int.from_bytes(file.read(2), "little")).decode("latin-1")
    start = f"{{'descr': {np.lib.format.dtype_to_descr(dtype)!r}, 'fortran_order': False, 'shape': ("
    shape = re.fullmatch(r"(\d{1,18}(?:, \d{1,18})?),?\), \} *\n", header.removeprefix(start))
    if not header.startswith(start) or shape is None:
        raise ValueError("not an array that was written here")
    sides = tuple(map(int, shape[1].split(", ")))
    begin, size = file.tell(), math.prod(sides) * dtype.itemsize
    if begin + size > os.fstat(file.fileno()).st_size:
        raise ValueError("longer than the file")
    array = np.memmap(file, dtype, mode="r", offset=begin, shape=sides) if size else np.empty(sides, dtype)
    file.seek(begin + size)
    return array


def checksum(array: np.ndarray, record: bytes) -> bytes:
    """CRC-32 of an array and a record, as :data:`CHECKSUM` hexadecimal digits."""
    return b"%08x" % zlib.crc32(record, zlib.crc32(np.ascontiguousarray(array)))
