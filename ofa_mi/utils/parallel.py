"""Work in several processes, with results in the order of the items."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from ofa_mi.errors import WorkerError

Item, Result = TypeVar("Item"), TypeVar("Result")
_function: Callable[[Any], Any]  # what a worker process does


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
