"""What the wording of instructions changes, by task."""

from __future__ import annotations

from ofa_mi.document.blocks import Block, Cell, Paragraph, Row, Table
from ofa_mi.evaluation.report.cells import best_of, zero_shot
from ofa_mi.evaluation.report.section import Section
from ofa_mi.evaluation.report.study import Study
from ofa_mi.evaluation.scoring.tables import Cell as Score
from ofa_mi.evaluation.scoring.tables import number, task_label


def sensitivity(study: Study) -> list[Block]:
    """Sensitivity of every task and strategy."""
    table = zero_shot(study.strategies)
    if table is None:
        return []
    lines = []
    for row in (row for row in table.rows if row.primary):
        ratios = [_ratio(cell) for cell in row.cells]
        best = best_of(ratios, lowest=True)
        cells = [
            Cell(number(ratio), kind="best" if place in best else "", heat=ratio and min(ratio / 100, 1), key=ratio)
            for place, ratio in enumerate(ratios)
        ]
        lines.append(Row((Cell(task_label(row.task)), *cells)))
    return [
        Paragraph(
            "Per task: 100 times the deviation over instructions / mean, of the means over seeds. A high value "
            "means that the same question, worded otherwise, gets another score. A score near 0 makes the ratio "
            "large, and one that is the same under every wording makes it 0, whether the task was learnt or not."
        ),
        Table("Sensitivity by task", ("Task", *table.runs), tuple(lines), kind="heat", sortable=True),
    ]


SECTION = Section(30, "Sensitivity to the wording", "sensitivity", sensitivity)


def _ratio(cell: Score | None) -> float | None:
    if cell is None or cell.deviation is None or cell.mean == 0:
        return None
    return 100 * cell.deviation / cell.mean
