"""Sidecars: what was computed once from a data file, memory-mapped from then on.

A sidecar is one ``.npy`` array with a JSON object behind it, so that both are replaced in one step.
numpy reads the array as it would any other and ignores the rest. It lies in ``.ofa_mi/`` beside the
data file or, where that cannot be written, in the user's cache (``OFA_MI_CACHE``, else
``~/.cache/ofa_mi``), and counts only as long as the data file is the one it was made from.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from ofa_mi.data.files import lock, open_atomic
from ofa_mi.errors import DataError, WorkerError

FOLDER = ".ofa_mi"
PROBE = 1 << 16  # bytes read at the start, the middle and the end of a data file to recognise it
LARGE_FILE = 1 << 26  # bytes from which worker processes and a progress bar pay where lines are read

Content = dict[str, Any]  # a JSON object
Item, Result = TypeVar("Item"), TypeVar("Result")
_function: Callable[[Any], Any]  # what a worker process does


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
        key: JSON value that must be equal for a stored sidecar to count, besides the state of the file.
    """

    def __init__(self, data_file: Path, suffix: str, key: Any = None) -> None:
        self.data_file = data_file
        self.key = [signature(data_file), key]
        name = f"{data_file.name}.{suffix}.npy"
        cache = Path(os.environ.get("OFA_MI_CACHE") or Path.home() / ".cache" / "ofa_mi")
        digest = hashlib.sha256(os.path.realpath(data_file).encode()).hexdigest()[:16]
        self.places = [data_file.parent / FOLDER / name, cache / digest / name]

    def read(self, is_current: Callable[[Content], bool] = lambda content: True) -> tuple[np.ndarray, Content] | None:
        """The memory-mapped array and the JSON object, or None if there is none that counts.

        Args:
            is_current: Whether a stored JSON object still counts.
        """
        for place in self.places:
            with contextlib.suppress(OSError, ValueError, KeyError):
                with place.open("rb") as file:
                    array = _map_array(file)
                    record = json.loads(file.read())
                if record["key"] == self.key and is_current(record["content"]):
                    return array, record["content"]
        return None

    def read_or_make(
        self,
        make: Callable[[], tuple[np.ndarray, Content]],
        is_current: Callable[[Content], bool] = lambda content: True,
    ) -> tuple[np.ndarray, Content]:
        """What is stored or, if there is nothing that counts, what ``make`` returns, stored.

        One process at a time makes it, so that the processes of a run do not all do the same work.

        Args:
            make: Computes the array and a JSON object.
            is_current: Whether a stored JSON object still counts.

        Raises:
            DataError: Neither place can be written.
        """
        if (stored := self.read(is_current)) is not None:
            return stored
        place = self._writable()
        with place.with_suffix(".lock").open("w") as guard:
            lock(guard, wait=True)  # on a file system without locks the work is done several times
            if (stored := self.read(is_current)) is None:
                self._write(place, *make())
                stored = self.read(is_current)
        return stored

    def _write(self, place: Path, array: np.ndarray, content: Content) -> None:
        with open_atomic(place) as file:
            np.save(file, array, allow_pickle=False)
            file.write(json.dumps({"key": self.key, "content": content}).encode())

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


def _map_array(file: BinaryIO) -> np.ndarray:
    """Memory-map the ``.npy`` array that ``file`` starts with, and leave the file behind it."""
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("not an array that was written here")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.hasobject:
        raise ValueError("holds Python objects")
    if 0 in shape:  # nothing to map
        return np.empty(shape, dtype)
    array = np.memmap(file, dtype, mode="r", offset=file.tell(), shape=shape)
    file.seek(array.offset + array.nbytes)
    return array


def choose_workers(workers: int, *, pays: bool) -> int:
    """Processes to use: ``workers``, or if that is 0 as many as there are cores where it pays, else 1."""
    if multiprocessing.current_process().daemon:  # such a process, as a data loader's, cannot have its own
        return 1
    return workers or (len(os.sched_getaffinity(0)) if pays else 1)


def ordered_map(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """``map`` over worker processes, results in order; ``function`` itself is inherited, never pickled.

    Raises:
        WorkerError: A worker process was killed.
    """
    if workers == 1:
        yield from map(function, items)
        return
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(function,)) as pool:
        try:
            yield from pool.map(_call, items)
        except BrokenProcessPool:
            raise WorkerError("a worker process was killed, perhaps for want of memory; try fewer workers") from None
        finally:
            pool.shutdown(cancel_futures=True)


def _start_worker(function: Callable) -> None:
    global _function
    _function = function
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the one that made it is no more: a pool would wait for its next item for ever."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _call(item: Any) -> Any:
    return _function(item)
