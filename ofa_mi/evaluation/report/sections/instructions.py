"""Every instruction's score: dots of all strategies, and a heat map of each."""

from __future__ import annotations

from collections.abc import Sequence

from ofa_mi.document.blocks import Block, Cell, DotChart, Dots, Figure, Paragraph, Row, Side
from ofa_mi.document.blocks import Table as Grid
from ofa_mi.evaluation.report.cells import zero_shot
from ofa_mi.evaluation.report.section import Section
from ofa_mi.evaluation.report.study import Study
from ofa_mi.evaluation.scoring.tables import Row as TaskRow
from ofa_mi.evaluation.scoring.tables import Table, task_label
from ofa_mi.instructions.spec import METRICS


def instructions(study: Study) -> list[Block]:
    """Dots and heat maps, where some task was asked under several instructions."""
    table = zero_shot(study.strategies)
    rows = [row for row in table.rows if row.primary] if table else []
    if not any(cell is not None and len(cell.scores) > 1 for row in rows for cell in row.cells):
        return []
    maps = [block for place, run in enumerate(table.runs) for block in _heat_map(rows, place, run)]
    return [
        Paragraph("Means over seeds. Instruction 1 is the first of the task's file; `ofa-mi tasks` prints them."),
        Side(tuple(_dots(table, rows))),
        Side(tuple(maps)),
    ]


SECTION = Section(
    50,
    "By instruction",
    "instructions",
    instructions,
    "evaluate every task under several instructions",
    of_runs=True,
)


def _dots(table: Table, rows: Sequence[TaskRow]) -> list[Figure]:
    """Dots of all tasks, in two figures of about the same height if there are many."""
    groups = []
    for row in rows:
        cells = [
            (place, run, cell) for place, (run, cell) in enumerate(zip(table.runs, row.cells, strict=True)) if cell
        ]
        dots = tuple(Dots(run, tuple(cell.scores.values()), cell.mean, place) for place, run, cell in cells)
        groups.append((task_label(row.task), dots, row.chance))
    half = len(groups) if len(groups) < 4 else (len(groups) + 1) // 2
    legend = "small: one instruction; large: mean; dotted: chance"
    figures = []
    for place, start in enumerate(range(0, len(groups), half), start=1):
        title = "Score of every instruction" + (f", part {place}" if half < len(groups) else "")
        chart = DotChart(tuple(groups[start : start + half]))
        figures.append(Figure(f"instructions-{place}", f"{title} ({legend})", chart))
    return figures


def _heat_map(rows: Sequence[TaskRow], place: int, run: str) -> list[Block]:
    found = [(row, row.cells[place].scores) for row in rows if row.cells[place] is not None]
    numbers = sorted({n for _, scores in found for n in scores})
    lines = []
    for row, scores in found:
        cells = [_heat_cell(scores[n]) if n in scores else Cell("") for n in numbers]
        lines.append(Row((Cell(task_label(row.task), below=(METRICS[row.metric],)), *cells)))
    if not lines:
        return []
    return [Grid(f"{run} by instruction", (run, *(str(n + 1) for n in numbers)), tuple(lines), kind="heat")]


def _heat_cell(score: float) -> Cell:
    return Cell(f"{score:.1f}", heat=score / 100, key=score)
