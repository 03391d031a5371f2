"""Command line of the benchmark."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from pathlib import Path

import torch

from ofa_mi.benchmark import __doc__ as description
from ofa_mi.benchmark import evaluate, generate, rank, train
from ofa_mi.benchmark import setting as settings
from ofa_mi.benchmark.released import Released
from ofa_mi.benchmark.run import Runner, show
from ofa_mi.benchmark.setting import Setting
from ofa_mi.benchmark.table import environment, plot, write
from ofa_mi.errors import ConfigError, OfaMiError
from ofa_mi.models import SIZES
from ofa_mi.precision import PRECISIONS, check_precision

# A work is a module with `cases(setting)`, and `growth(setting)`: the same in other sizes.
WORKS = {"train": train, "generate": generate, "rank": rank, "evaluate": evaluate}
SIZED = {"ofa_base": {"batch": 2, "image_size": 384}}  # what is usual for it on a CPU


def main(arguments: list[str] | None = None) -> int:
    """Run works; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return run(options)
    except OfaMiError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ofa_mi.benchmark",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"{', '.join(WORKS)} or all (default: all)")
    parser.add_argument("--arch", choices=sorted(SIZES), default="ofa_tiny", help="default: %(default)s")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1 (default: %(default)s)")
    parser.add_argument("--precision", nargs="+", default=["fp32"], help="fp32 and others (default: fp32)")
    parser.add_argument("--released", type=Path, metavar="FOLDER", help="checkout of OFA-Sys/OFA, to be timed, too")
    parser.add_argument("--growth", action="store_true", help="in further sizes, too")
    parser.add_argument("--repeats", type=int, default=3, help="turns of every contender (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="on a CPU (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for CSV, JSON and a plot")
    for name in ("batch", "source", "image_size", "beam", "length", "options", "vocabulary"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help=f"default: {getattr(Setting(), name)}")
    return parser


def run(options: argparse.Namespace) -> int:
    """Build the contenders, run the works and write the results; the exit status."""
    names = [name for name in options.works if name != "all"] or list(WORKS)
    for name in names:
        if name not in WORKS:
            raise ConfigError(f"{name}: there is no such work; take {', '.join(WORKS)} or all")
    device = _device(options.device)
    for precision in options.precision:
        check_precision(precision, device, f"--precision {precision}")
    precisions = [p for p in PRECISIONS if p in {"fp32", *options.precision}]
    torch.set_num_threads(options.threads)
    setting, file = _setting(options), _file(names, options.arch, device)
    model, dictionary = settings.build(setting)
    with contextlib.ExitStack() as stack:
        released = None
        if options.released is not None:
            released = stack.enter_context(Released(options.released, model, setting, options.threads))
        runner = Runner(model, dictionary, precisions, released, options.repeats)
        rows = []
        for name in names:
            cases = WORKS[name].cases(setting) + (WORKS[name].growth(setting) if options.growth else [])
            for case in cases:
                rows += runner.run(case)
                show(rows[-len(precisions) - 1 - (released is not None) :])
                if options.out is not None:  # after every case: what was measured is kept
                    write(rows, options.out / file, environment(device))
    if options.out is not None:
        plot(rows, options.out / file, environment(device))
        print(f"written: {options.out / file}.csv, .json and .png")
    return 0


def _setting(options: argparse.Namespace) -> Setting:
    setting = Setting(options.arch, options.device).but(**SIZED.get(options.arch, {}))
    names = ("batch", "source", "image_size", "beam", "length", "options", "vocabulary")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    for name, value in given.items():
        if value < 1:
            raise ConfigError(f"--{name.replace('_', '-')} {value}: must be at least 1")
    return setting.but(**given)


def _device(name: str) -> torch.device:
    if name.partition(":")[0] not in ("cpu", "cuda"):
        raise ConfigError(f"--device {name}: take cpu or cuda")
    if name != "cpu" and not torch.cuda.is_available():
        raise ConfigError(f"--device {name}: PyTorch finds no GPU; take cpu")
    return torch.device(name)


def _file(names: list[str], arch: str, device: torch.device) -> str:
    """Such as ``all-ofa_tiny-cpu``."""
    where = "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device).lower()
    work = "all" if len(names) == len(WORKS) else "-".join(names)
    return f"{work}-{arch}-{re.sub(r'[^a-z0-9]+', '-', where).strip('-')}"


if __name__ == "__main__":
    sys.exit(main())
