"""How fast sources are converted and data directories built, and in how much memory.

    python -m ofa_mi.data_prep.benchmark --raw RAW --out sources.csv       # all sources whose files are in RAW
    python -m ofa_mi.data_prep.benchmark --coco 82783 --memory 1000000 --out synthetic.csv

``--coco`` and ``--memory`` need no data: the first writes annotations of so many images in the format and size of
MSCOCO's ``instances_train2014.json`` and measures its source, the second builds so many questions without images.

For every source: reading its annotations (``load``), then converting, encoding and writing its candidates in one
process, as the first step of a build does. Images are not opened there, but by the few converters whose annotations
have no image sizes. The units of small annotation files are converted again and again until there are ``--least``
candidates. For the build: all the sources, with 1 and with 2 worker processes; every image is opened once.

Every measurement has a process of its own. Seconds of sources are processor time, those of builds are passed time.
Memory is the most that the process ever had (without its workers) above what it started with, and counts the pages
of annotation files that are mapped.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import logging
import math
import multiprocessing
import os
import platform
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ofa_mi.data_prep.building.build import BuildOptions, build, convert
from ofa_mi.data_prep.building.output import OutputDirectory
from ofa_mi.data_prep.building.shards import Shards
from ofa_mi.data_prep.draft import Draft, text
from ofa_mi.data_prep.raw import RawFolder
from ofa_mi.data_prep.source import Candidate, Source
from ofa_mi.data_prep.sources import all_sources
from ofa_mi.data_prep.sources.coco_instances import CocoInstances
from ofa_mi.errors import ConfigError, OfaMiError
from ofa_mi.instructions.registry import default_registry

T = TypeVar("T")
WORKERS = (1, 2)
COCO_CATEGORIES = 80
COCO_OBJECTS = 7  # per image
MEBIBYTE = 2**20
QUESTION_TASKS = ("open_domain_vqa", "compositional_vqa", "outside_knowledge_vqa", "daquar_vqa")


@dataclass(frozen=True)
class Measurement:
    """One row of the table.

    Attributes:
        what: A source's name, ``build``, or ``memory``.
        workers: Processes.
        load: Seconds to read the annotations; None for builds.
        number: Candidates of a source, once; instances of a build.
        seconds: To convert ``number`` candidates, or to build.
        peak: MiB above what the process started with.
    """

    what: str
    workers: int
    load: float | None
    number: int
    seconds: float
    peak: float

    @property
    def rate(self) -> float:
        """Candidates or instances per second."""
        return self.number / self.seconds


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, and write it; returns the exit status."""
    args = _parser().parse_args(argv)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        measured = list(_measurements(args))
    except OfaMiError as error:
        print(f"benchmark: error: {error}", file=sys.stderr)
        return 2
    if args.out:
        write_csv(args.out, measured)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--raw",
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders of raw data sets; a source is read from the first that has its files",
    )
    parser.add_argument("--sources", nargs="+", metavar="NAME", help="sources (default: all whose files are there)")
    parser.add_argument("--least", type=int, default=20_000, metavar="N", help="convert at least N candidates")
    parser.add_argument(
        "--build", action=argparse.BooleanOptionalAction, default=True, help="measure whole builds, too"
    )
    parser.add_argument(
        "--memory", type=int, metavar="N", help="build N questions without images, for the memory alone"
    )
    parser.add_argument("--coco", type=int, metavar="N", help="measure MSCOCO's instances on N made-up images")
    parser.add_argument("--out", type=Path, metavar="CSV", help="file to write the table to")
    return parser


def _measurements(args: argparse.Namespace) -> Iterator[Measurement]:
    """All that is asked for, each printed when it is there."""
    if not (args.raw or args.coco or args.memory):
        raise ConfigError("give --raw, --coco or --memory")
    if args.build and len(args.raw) > 1:
        raise ConfigError("--raw: a build has one folder of raw data; give --no-build to measure sources of several")
    print(f"{'':28}{'workers':>8}{'load s':>9}{'number':>10}{'seconds':>10}{'per second':>12}{'peak MiB':>10}")
    for measure in _measures(args):
        found = in_child(measure)
        load = "" if found.load is None else f"{found.load:.2f}"
        numbers = f"{found.number:>10,}{found.seconds:>10.2f}{found.rate:>12,.0f}{found.peak:>10,.0f}"
        print(f"{found.what:28}{found.workers:>8}{load:>9}{numbers}", flush=True)
        yield found


def _measures(args: argparse.Namespace) -> Iterator[Callable[[], Measurement]]:
    if args.raw:
        found = _find([RawFolder(folder) for folder in args.raw], args.sources)
        for source in found:
            yield lambda source=source: measure_source(source, args.least)
        names = [source.name for source in found]
        for workers in WORKERS if args.build else ():
            yield lambda workers=workers: measure_build(args.raw[0], names, workers)
    if args.coco:
        yield lambda: measure_coco(args.coco)
    if args.memory:
        yield lambda: measure_memory(args.memory)


def _find(folders: Sequence[RawFolder], names: Sequence[str] | None) -> list[Source]:
    """The named sources, or all whose files are there, each with the first folder that has its files."""
    known, tasks = all_sources(), list(default_registry())
    if unknown := set(names or ()) - set(known):
        raise ConfigError(f"--sources {' '.join(sorted(unknown))}: unknown; there are {', '.join(known)}")
    sources = {}
    for name in names or known:
        there = (source for raw in folders if _is_complete(source := known[name](raw, tasks)))
        sources[name] = next(there, None)
    missing = [name for name, source in sources.items() if source is None]
    if missing and (names or len(missing) == len(sources)):
        raise ConfigError(f"--raw: no folder holds the files of {', '.join(missing)}")
    return [source for source in sources.values() if source is not None]


def _is_complete(source: Source) -> bool:
    return all(map(source.raw.has, source.needed()))


# -- what is measured


def measure_source(source: Source, least: int) -> Measurement:
    """Load a source, then make shards of at least so many candidates of it in this process."""
    start, base = time.process_time(), _peak()
    units = source.load()
    load = time.process_time() - start
    number = sum(1 for unit in units for _ in source.convert(unit))
    copies = max(1, math.ceil(least / max(number, 1)))
    source.load = lambda: _Repeated(units, copies)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        start = time.process_time()
        Shards(source, Path(folder), default_registry(), workers=1)
        seconds = time.process_time() - start
    return Measurement(source.name, 1, load, number, seconds / copies, _peak() - base)


def measure_build(raw: str, sources: Sequence[str], workers: int) -> Measurement:
    """Build everything into a folder that is deleted again."""
    base = _peak()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        start = time.perf_counter()
        manifest = build(raw, Path(folder) / "out", BuildOptions(sources=sources, workers=workers))
        seconds = time.perf_counter() - start
    return Measurement("build", workers, None, _instances(manifest), seconds, _peak() - base)


def measure_coco(images: int) -> Measurement:
    """Measure the source of MSCOCO's instances on an annotation file that is made up."""
    with tempfile.TemporaryDirectory() as folder:
        write_coco(Path(folder) / "coco" / "annotations" / "instances_train2014.json", images)
        return measure_source(CocoInstances(RawFolder(folder), CocoInstances.tasks), least=0)


def write_coco(path: Path, images: int) -> None:
    """Write annotations of about as many objects per image as MSCOCO's, with outlines of about the same length."""
    rng = random.Random(0)
    outlines = [[[round(rng.uniform(0, 640), 2) for _ in range(70)]] for _ in range(100)]
    about = {"license": 3, "coco_url": "http://images.cocodataset.org/train2014/x.jpg", "width": 640, "height": 480}
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        categories = [{"supercategory": "thing", "id": n, "name": f"thing {n}"} for n in range(1, COCO_CATEGORIES + 1)]
        numbered = [{**about, "id": n, "file_name": f"COCO_train2014_{n:012d}.jpg"} for n in range(images)]
        head = msgspec.json.encode({"info": {}, "licenses": [], "images": numbered, "categories": categories})
        file.write(head[:-1] + b',"annotations":[')
        for number in range(images * COCO_OBJECTS):
            width, height = round(rng.uniform(5, 300), 2), round(rng.uniform(5, 300), 2)
            annotation = {
                "segmentation": outlines[number % len(outlines)],
                "area": width * height / 2,
                "iscrowd": int(number % 70 == 0),
                "image_id": number // COCO_OBJECTS,
                "bbox": [round(rng.uniform(0, 640 - width), 2), round(rng.uniform(0, 480 - height), 2), width, height],
                "category_id": min(1 + int(rng.expovariate(0.1)), COCO_CATEGORIES),
                "id": number,
            }
            file.write((b"," if number else b"") + msgspec.json.encode(annotation))
        file.write(b"]}")


def measure_memory(number: int) -> Measurement:
    """Build from a source without annotations or images, so that what is left is the build's own memory."""
    base = _peak()
    registry = default_registry()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        source = Numbers(RawFolder(folder), QUESTION_TASKS)
        source.number = number
        output = OutputDirectory(Path(folder) / "out", converter="benchmark", version=1, settings={})
        start = time.perf_counter()
        manifest = convert([source], output, BuildOptions(), registry)
        seconds = time.perf_counter() - start
    return Measurement("memory", 1, None, _instances(manifest), seconds, _peak() - base)


class Numbers(Source):
    """As many questions as wanted, of several tasks and no image."""

    name, title, page, licence, size = "numbers", "Numbers", "", "", ""
    tasks = QUESTION_TASKS
    files = ()
    number = 0

    def load(self) -> Sequence[int]:
        return range(self.number)

    def convert(self, unit: int) -> Iterator[Candidate]:
        draft = Draft(question=text(f"Which number comes after {unit}?"), target=text(str(unit + 1)))
        yield Candidate(QUESTION_TASKS[unit % len(QUESTION_TASKS)], str(unit), draft, None)


class _Repeated(Sequence):
    """A sequence so many times over, without its copies."""

    def __init__(self, units: Sequence[Any], copies: int) -> None:
        self.units, self.copies = units, copies

    def __len__(self) -> int:
        return len(self.units) * self.copies

    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        return self.units[place % len(self.units)]


def in_child(function: Callable[[], T]) -> T:
    """Call a function in a process of its own, whose memory begins with what this one has."""
    _InChild.function = function
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        return pool.submit(_InChild.call).result()


class _InChild:
    """What the child, which inherits it, is to call."""

    function: Callable[[], Any]

    @classmethod
    def call(cls) -> Any:
        return cls.function()


def _peak() -> float:
    """Most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEBIBYTE


def _instances(manifest: dict[str, Any]) -> int:
    return sum(number for tasks in manifest["counts"].values() for number in tasks.values())


# -- the table


def write_csv(path: Path, measured: Sequence[Measurement]) -> None:
    """Write measurements with when and on what they were made."""
    about = {"date": date.today().isoformat(), "machine": machine(), "versions": versions()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        columns = [*(field.name for field in fields(Measurement)), "per_second", *about]
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for found in measured:
            rounded = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in asdict(found).items()}
            writer.writerow({**rounded, "per_second": round(found.rate), **about})


def machine() -> str:
    """Processor and number of usable cores."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{len(os.sched_getaffinity(0))} cores of {model}"


def versions() -> str:
    """Versions of what does the work."""
    packages = (f"{name} {version(name)}" for name in ("msgspec", "numpy", "pillow"))
    return ", ".join([f"Python {platform.python_version()}", *packages])


if __name__ == "__main__":
    sys.exit(main())
