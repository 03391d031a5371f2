"""Time and memory of a call, and of its parts."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Sample:
    """One run.

    Attributes:
        values: What came out.
        process: Seconds of the processor.
        wall: Seconds on the clock.
        memory: Bytes at the highest point, beyond those before the call; 0 where nobody counts them.
    """

    values: Any
    process: float
    wall: float
    memory: int


def sample(function: Callable[[], Any], device: torch.device) -> Sample:
    """Run ``function`` once."""
    before = _start_of_memory(device)
    _wait(device)
    wall, process = time.perf_counter(), time.process_time()
    values = function()
    _wait(device)
    process, wall = time.process_time() - process, time.perf_counter() - wall
    return Sample(values, process, wall, max(0, _highest_memory(device) - before))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _start_of_memory(device: torch.device) -> int:
    """Bytes in use; the highest point is counted from here on."""
    gc.collect()
    trim()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    try:
        CLEAR.write_text("5")  # resets VmHWM
    except OSError:
        return 0
    return _status("VmRSS")


def trim() -> None:
    """Give freed memory back to the system, where glibc can: what is reused would not be seen as taken."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _highest_memory(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _status("VmHWM")


def _status(name: str) -> int:
    """Bytes, of a line of the process's status; 0 where the system has none."""
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)


class Parts:
    """Seconds of a model's parts while :meth:`watching`: of the processor on a CPU, on the clock on a GPU."""

    def __init__(self, model, device: torch.device) -> None:
        self.model, self.device = model, device
        self.seconds: dict[str, float] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within the block, every call of a part is timed; nothing of it stays."""
        encoder, decoder = self.model.encoder, self.model.decoder
        places = [(encoder, "forward", "encoder"), (encoder.embed_images, "forward", "image tower")]
        places += [(decoder, name, "decoder") for name in ("start", "step", "read_trees")]
        for module, method, part in places:
            setattr(module, method, self._timed(getattr(module, method), part))
        head = decoder.head
        decoder.head = lambda *ids: self._timed(head(*ids), "output layer")
        try:
            yield
        finally:
            for module, method, _ in places:
                delattr(module, method)
            del decoder.head

    def shares(self, whole: float) -> dict[str, float]:
        """Shares of a call that took ``whole`` seconds; the rest is the search."""
        seconds = dict(self.seconds)
        if "image tower" in seconds:
            seconds["encoder"] -= seconds["image tower"]
        shares = {part: value / whole for part, value in seconds.items()}
        return shares | {"search": max(0.0, 1 - sum(shares.values()))}

    def _timed(self, function: Callable, part: str) -> Callable:
        def timed(*args, **kwargs):
            start = self._now()
            result = function(*args, **kwargs)
            self.seconds[part] = self.seconds.get(part, 0.0) + self._now() - start
            return result

        return timed

    def _now(self) -> float:
        _wait(self.device)
        return time.perf_counter() if self.device.type == "cuda" else time.process_time()
