"""The goals of the kernels on a GPU of the Hopper generation beside what was measured.

    python -m ofa_mi.kernels.benchmarks.goals FOLDER

reads the tables that the benchmarks wrote into a folder and prints, as Markdown, each goal with the worst case that
counts for it. A goal of a table that is not there yet is open.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Row = Mapping[str, str]


@dataclass(frozen=True)
class Goal:
    """What is to be reached in one pass of one benchmark.

    Attributes:
        text: The goal in words.
        benchmark: Which table, ``attention``, ``stem`` or ``step``.
        pass_name: The pass.
        least: What the measure must reach.
        against: The contender to be faster than; None for TFLOP/s.
        counts: Which rows count.
    """

    text: str
    benchmark: str
    pass_name: str
    least: float
    against: str | None = None
    counts: Callable[[Row], bool] = lambda row: True


def _large(row: Row) -> bool:
    return row["length"] == "1028" and int(row["batch"]) >= 16


BOTH = "forward and backward"
GOALS = (
    Goal("attention forward, TFLOP/s at B >= 16, L = 1028", "attention", "forward", 350, counts=_large),
    Goal("attention with gradients, times FlexAttention", "attention", BOTH, 1.5, "flex"),
    Goal("attention with gradients, times SDPA mem-efficient", "attention", BOTH, 2, "sdpa-efficient"),
    Goal("attention with gradients, times torch.compile", "attention", BOTH, 1.2, "compile"),
    Goal("stem for inference, times eager", "stem", "inference", 3, "eager"),
    Goal("stem for inference, times torch.compile", "stem", "inference", 1.3, "compile"),
    Goal("stem in training, times eager", "stem", "training", 3, "eager"),
    Goal("stem in training, times torch.compile", "stem", "training", 1.3, "compile"),
)
COLUMNS = ("goal", "least", "measured", "at", "reached")


def table(rows: Mapping[str, Sequence[Row]]) -> list[tuple[str, ...]]:
    """A line for each goal: the goal, its least value, the worst measured, where that was, and whether it is reached.

    Args:
        rows: Rows of each benchmark's table, by its name.
    """
    return [_line(goal, rows.get(goal.benchmark, ())) for goal in GOALS]


def _line(goal: Goal, rows: Sequence[Row]) -> tuple[str, ...]:
    found = list(_values(goal, rows))
    if not found:
        return goal.text, f"{goal.least:g}", "", "", "not measured"
    value, place = min(found)
    return goal.text, f"{goal.least:g}", f"{value:.3g}", place, "yes" if value >= goal.least else "no"


def _values(goal: Goal, rows: Sequence[Row]) -> Iterable[tuple[float, str]]:
    """The measure of every case that was timed, and the case."""
    timed = [row for row in rows if row["pass"] == goal.pass_name and row["ms"] and goal.counts(row)]
    for ours in timed:
        if ours["contender"] != "ofa_mi":
            continue
        if goal.against is None:
            yield float(ours["tflops"]), _case(ours)
        for other in timed:
            # Either memory format counts: eager-last is eager, too.
            same = other["contender"] == goal.against or other["contender"].startswith(f"{goal.against}-")
            if goal.against is not None and same and _case(other) == _case(ours):
                yield float(other["ms"]) / float(ours["ms"]), _case(ours)


def _case(row: Row) -> str:
    names = ("batch", "length", "heads", "pixels")
    return ", ".join(f"{name} {row[name]}" for name in names if name in row)


def read(folder: Path) -> dict[str, list[Row]]:
    """Rows of the tables in a folder, by benchmark; those of a CPU only if there are no others."""
    found: dict[str, list[Row]] = {}
    for benchmark in sorted({goal.benchmark for goal in GOALS}):
        paths = sorted(folder.glob(f"{benchmark}-*.csv"))
        chosen = [path for path in paths if path.stem != f"{benchmark}-cpu"] or paths
        for path in chosen:
            with path.open(newline="") as file:
                found.setdefault(benchmark, []).extend(csv.DictReader(file))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if len(words) != 1 or words[0].startswith("-"):
        print("usage: python -m ofa_mi.kernels.benchmarks.goals FOLDER", file=sys.stderr)
        return 2
    rows = read(Path(words[0]))
    devices = sorted({row["device"] for found in rows.values() for row in found})
    print(f"Measured on {', '.join(devices) or 'nothing yet'}; of several cases the worst.\n")
    for line in [COLUMNS, ("---",) * len(COLUMNS), *table(rows)]:
        print("| " + " | ".join(line) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
