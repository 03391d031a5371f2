"""Plots of the tables."""

from collections.abc import Iterable
from pathlib import Path

from ofa_mi.document.blocks import DotChart, Dots, Figure
from ofa_mi.document.figures import standalone
from ofa_mi.utils.files import atomic_write

from .run import WRONG
from .table import Table


def plot(table: Table, settings: tuple[str, ...]) -> list[Path]:
    """Write one figure per pass beside the table: times the speed of plain PyTorch, by setting and contender.

    Returns:
        The files.
    """
    contenders = list(dict.fromkeys(row["contender"] for row in table.rows))
    here, paths = table.environment, []
    versions = f"PyTorch {here['torch']}, Triton {here['triton']}; {here['date']}"
    for name in dict.fromkeys(row["pass"] for row in table.rows):
        settled: dict[str, dict[str, dict[str, str]]] = {}
        for row in table.rows:
            if row["pass"] == name:
                settled.setdefault(", ".join(row[s] for s in settings), {})[row["contender"]] = row
        groups = tuple((label, tuple(_dots(rows, contenders)), 1.0) for label, rows in settled.items())
        notes = (f"groups: {', '.join(settings)}", here["device"], versions)
        chart = DotChart(groups, f"{name}: speed, {contenders[0]} = 1", None, notes)
        paths.append(table.path.with_name(f"{table.path.stem}-{name.replace(' ', '-')}.svg"))
        atomic_write(paths[-1], standalone(Figure(paths[-1].stem, f"{table.path.stem}, {name}", chart)).encode())
    return paths


def _dots(rows: dict[str, dict[str, str]], contenders: list[str]) -> Iterable[Dots]:
    """Speed of every contender at one setting; what refuses, or gives other numbers, has none."""
    reference = rows.get(contenders[0], {}).get("ms")
    for colour, contender in enumerate(contenders):
        if (row := rows.get(contender)) is None:
            continue
        if row["ms"] and reference:
            yield Dots(contender, (), float(reference) / float(row["ms"]), colour)
        elif not row["ms"]:
            yield Dots(contender, (), None, colour, "wrong" if row["note"] == WRONG else "refuses")
