"""Running a benchmark: values first, then times."""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from .measure import errors, milliseconds, peak_mib
from .table import Table

WORSE = 3.0  # times the error of plain PyTorch in the same format, from which on values count as wrong
ROUNDINGS = 32.0  # of fp32, in which everybody sums up; plain PyTorch on a CPU does so in fp64 here and there
UNCHECKED = 8.0  # roundings of the format that are allowed where plain PyTorch refuses
REFERENCE = "eager"
WRONG = "wrong values, not timed"
FORMATS = {torch.bfloat16: "bf16", torch.float32: "fp32"}  # of GPU and CPU, as the tables name them

Function = Callable[[], Sequence[Tensor]]


class Pass(NamedTuple):
    """Something to be timed, such as a forward pass.

    Attributes:
        exact: Its true values.
        tflop: Tera-operations of a call.
        gigabytes: What it must read and write at least.
    """

    exact: Sequence[Tensor]
    tflop: float
    gigabytes: float


class Case(Protocol):
    """One setting of a benchmark.

    Attributes:
        key: Column -> value, what tells it from other settings.
        dtype: Format of the inputs.
        pass_names: What is timed.
    """

    key: dict[str, object]
    dtype: torch.dtype
    pass_names: tuple[str, ...]

    def passes(self) -> dict[str, Pass]:
        """Each of ``pass_names``, with the true values, which this computes."""

    def contenders(self) -> dict[str, Callable[[], dict[str, Function]]]:
        """Name -> what makes its function for every pass; ``REFERENCE`` comes first."""


def run(
    cases: Iterator[Case], table: Table, ceilings: dict[str, float], device: torch.device, only: Sequence[str] = ()
) -> None:
    """Measure what ``table`` lacks.

    Args:
        cases: Settings.
        table: Takes the measurements.
        ceilings: Of the device, see :func:`~ofa_mi.kernels.benchmarks.measure.ceilings`.
        device: Where the cases' tensors are.
        only: Names of the contenders; all of them if empty, ``REFERENCE`` in any case.
    """
    for case in cases:
        contenders = case.contenders()
        chosen = [name for name in contenders if not only or name in (*only, REFERENCE)]
        if all(table.has(_key(case, name, of_pass)) for name in chosen for of_pass in case.pass_names):
            continue
        judge = _Judge(case.passes(), case.dtype)
        for name in chosen:
            _run_contender(case, name, contenders[name], judge, table, ceilings, device)


def _key(case: Case, contender: str, of_pass: str) -> dict[str, object]:
    return case.key | {"contender": contender, "pass": of_pass}


class _Judge:
    """Says whether values are right: as exact as those of plain PyTorch, which are judged first."""

    def __init__(self, passes: dict[str, Pass], dtype: torch.dtype) -> None:
        self.passes = passes
        self.rounding = ROUNDINGS * torch.finfo(torch.float32).eps
        self.unchecked = max(self.rounding, UNCHECKED * torch.finfo(dtype).eps)
        self.allowed: dict[str, list[float]] = {}

    def __call__(self, name: str, of_pass: str, values: Sequence[Tensor]) -> tuple[float, bool]:
        """The largest error, and whether all are small enough."""
        found = errors(values, self.passes[of_pass].exact)
        if name == REFERENCE:
            self.allowed[of_pass] = [max(WORSE * error, self.rounding) for error in found]
        limits = self.allowed.get(of_pass) or [self.unchecked] * len(found)
        return max(found), all(error <= limit for error, limit in zip(found, limits, strict=True))  # NaN is not


def _run_contender(
    case: Case, name: str, make: Callable[[], dict[str, Function]], judge: _Judge, table: Table, ceilings, device
) -> None:
    torch.compiler.reset()
    functions, refusal = _attempt(make)
    for of_pass in case.pass_names:
        key = _key(case, name, of_pass)
        if table.has(key):
            if name == REFERENCE and functions:
                _judged(judge, name, of_pass, functions[of_pass])
            continue
        results: dict[str, object] = {"note": refusal}
        if functions is not None:
            results = _measure(judge, name, of_pass, functions[of_pass], ceilings, device)
        table.add(key, results)
        _report(key, results)
    del functions
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _measure(judge: _Judge, name: str, of_pass: str, function: Function, ceilings, device) -> dict[str, object]:
    """The results' columns of one contender and pass, or why there are none."""
    (error, note), refusal = _judged(judge, name, of_pass, function)
    if refusal or note:
        return {"error": error, "note": refusal or note}
    ms, refusal = _attempt(lambda: milliseconds(function, device))
    if refusal is not None:
        return {"error": error, "note": refusal}
    work = judge.passes[of_pass]
    tflops, gbps = work.tflop / ms * 1e3, work.gigabytes / ms * 1e3
    fraction = max(tflops / ceilings["tflops"], gbps / ceilings["gbps"])
    memory = peak_mib(function, device)
    return {"ms": ms, "tflops": tflops, "gbps": gbps, "fraction": fraction, "peak_mib": memory, "error": error}


def _judged(judge: _Judge, name: str, of_pass: str, function: Function):
    """((error, note), refusal) of the values that the function gives."""
    values, refusal = _attempt(function)
    if refusal is not None:
        return (None, None), refusal
    error, right = judge(name, of_pass, values)
    return (error, None if right else WRONG), None


def _attempt(function: Callable[[], object]) -> tuple[object, str | None]:
    """The function's result, or in one line why there is none: what a contender cannot do is a result, too."""
    try:
        return function(), None
    except Exception as error:  # anything: compilers raise whatever they like
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return None, f"{type(error).__name__}: {lines[0] if lines else ''}"[:160].rstrip(": ")


def _report(key: dict[str, object], results: dict[str, object]) -> None:
    where = ", ".join(f"{name} {value}" for name, value in key.items())
    if results.get("ms") is None:
        line = results["note"]
    else:
        line = f"{results['ms']:.4g} ms, {results['tflops']:.4g} TFLOP/s, "
        line += f"{100 * results['fraction']:.0f}% of the ceiling"
        if results["peak_mib"] is not None:
            line += f", {results['peak_mib']:.0f} MiB"
    print(f"{where}: {line}", file=sys.stderr, flush=True)
