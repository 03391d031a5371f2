"""Time, memory and exactness of one function."""

import gc
import time
from collections.abc import Callable, Sequence
from statistics import median

import torch
from torch import Tensor

CPU_SECONDS, CPU_REPEATS = 0.3, 5  # of one measurement, at least
GPU_MILLISECONDS = 300


def milliseconds(function: Callable[[], object], device: torch.device) -> float:
    """Median time of a call, after warming up."""
    if device.type == "cuda":
        from triton.testing import do_bench

        return do_bench(function, warmup=50, rep=GPU_MILLISECONDS, return_mode="median")
    function()
    times = []
    while len(times) < CPU_REPEATS or sum(times) < CPU_SECONDS:
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return median(times) * 1e3


def peak_mib(function: Callable[[], object], device: torch.device) -> float | None:
    """MiB that a call takes beyond what was allocated before it; not counted on a CPU."""
    if device.type != "cuda":
        return None
    gc.collect()
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    function()
    torch.cuda.synchronize(device)
    return (torch.cuda.max_memory_allocated(device) - before) / 2**20


def errors(values: Sequence[Tensor], exact: Sequence[Tensor]) -> list[float]:
    """Root mean square of the error of each tensor, over that of the tensor itself."""
    return [_relative_error(value, true) for value, true in zip(values, exact, strict=True)]


def _relative_error(value: Tensor, true: Tensor) -> float:
    size = true.double().square().mean().sqrt().item()
    error = (value.double() - true.double()).square().mean().sqrt().item()
    return error / size if size else error


def ceilings(device: torch.device) -> dict[str, float]:
    """What this device reaches: ``tflops`` of a product of large matrices, ``gbps`` of a copy, read and written."""
    gpu = device.type == "cuda"
    size, dtype = (8192, torch.bfloat16) if gpu else (1024, torch.float32)
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    tflops = 2 * size**3 / milliseconds(lambda: a @ b, device) / 1e9
    source = torch.empty(2**30 if gpu else 2**26, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return {"tflops": tflops, "gbps": 2 * source.nbytes / milliseconds(lambda: target.copy_(source), device) / 1e6}
