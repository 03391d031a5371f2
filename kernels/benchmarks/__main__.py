"""Command line of the benchmarks."""

import argparse
import re
import sys
from pathlib import Path

import torch

from ofa_mi.errors import ConfigError, OfaMiError

from . import __doc__ as description
from . import attention, plots, run, stem, step
from .measure import ceilings
from .table import Table, environment

BENCHMARKS = {"attention": attention, "stem": stem, "step": step}


def main(arguments: list[str] | None = None) -> int:
    """Run benchmarks; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m ofa_mi.kernels.benchmarks",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="BENCHMARK", help="attention, stem or step (default: all of them)")
    parser.add_argument("--out", type=Path, default=Path("docs/results/kernels"), help="folder (default: %(default)s)")
    parser.add_argument("--contenders", default="", help="comma-separated; eager is always there (default: all)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="default: %(default)s")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in BENCHMARKS:
            parser.error(f"{name}: there is no such benchmark; take {', '.join(BENCHMARKS)}")
    only = tuple(filter(None, options.contenders.split(",")))
    try:
        _check_contenders(only)
        for name in options.names or BENCHMARKS:
            _run(name, options.out, _device(options.device), only)
    except OfaMiError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _check_contenders(names: tuple[str, ...]) -> None:
    known = list(dict.fromkeys(c for benchmark in BENCHMARKS.values() for c in benchmark.CONTENDERS))
    for name in names:
        if name not in known:
            raise ConfigError(f"--contenders {name}: there are {', '.join(known)}")


def _device(name: str) -> torch.device:
    if name.partition(":")[0] not in ("cpu", "cuda"):
        raise ConfigError(f"--device {name}: take cpu or cuda")
    if name != "cpu" and not torch.cuda.is_available():
        raise ConfigError(f"--device {name}: PyTorch finds no GPU; take cpu")
    return torch.device(name)


def _run(name: str, out: Path, device: torch.device, only: tuple[str, ...]) -> None:
    benchmark, here = BENCHMARKS[name], environment(device)
    if device.type == "cpu":
        print(f"{here['device']}: small sizes, and figures of a CPU: Triton's kernels need a GPU", file=sys.stderr)
    reached = ceilings(device)
    print(f"ceilings: {reached['tflops']:.4g} TFLOP/s, {reached['gbps']:.4g} GB/s", file=sys.stderr)
    slug = re.sub(r"[^a-z0-9]+", "-", "cpu" if device.type == "cpu" else here["device"].lower()).strip("-")
    table = Table(out / f"{name}-{slug}.csv", benchmark.KEYS, here)
    run.run(benchmark.cases(device), table, reached, device, only)
    written = ", ".join(path.name for path in plots.plot(table, benchmark.PLOT))
    print(f"{table.path} and its plots {written} are written", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
