"""The paper's table for one or several runs: as aligned text, Markdown, CSV and HTML.

Zero-shot tasks and trained tasks never share a table, since their numbers do not mean the same.
"""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ofa_mi.evaluation.protocol import TaskScores
from ofa_mi.evaluation.scoring import TRAINED, ZERO_SHOT
from ofa_mi.instructions.spec import ENGLISH

Scores = Mapping[str, Any]  # content of a scores.json

TITLES = {ZERO_SHOT: "Zero-shot tasks", TRAINED: "Trained tasks"}
METRIC_LABELS = {
    "accuracy": "accuracy",
    "rouge_l": "ROUGE-L",
    "region_accuracy": "region accuracy",
    "iou": "IoU ≥ 0.5",
    "mean_iou": "mean IoU",
    "region_f1": "region F1",
    "set_f1": "set F1",
    "bleu": "BLEU",
    "chrf": "chrF",
    "vqa_accuracy": "VQA accuracy",
}
MISSING = "-"
DEFAULTS = {"language": ENGLISH}  # of what scores.json did not hold when there was one language only


@dataclass(frozen=True)
class Row:
    """One metric of one task.

    Attributes:
        task: Name of the task.
        metric: Name of the metric.
        primary: Whether it is the metric that counts for the totals.
        instances: Largest number of instances in any run.
        chance: Score of a blind choice among the options; None where there is no such thing.
        majority: Score of always giving the commonest right answer; None where there is no such thing.
        cells: Summary of every run; None where it has not run the task.
    """

    task: str
    metric: str
    primary: bool
    instances: int
    chance: float | None
    majority: float | None
    cells: tuple[TaskScores | None, ...]


@dataclass(frozen=True)
class Table:
    """The tasks of one kind over all runs.

    Attributes:
        section: ``zero_shot`` or ``trained``.
        runs: Labels of the runs, in order.
        rows: Tasks by name, each with its primary metric first.
        aggregated: Aggregated performance of every run.
        sensitivity: Sensitivity of every run.
        counted: For every run, the number of tasks that count for its sensitivity, and of those that count
            for its aggregated performance.
        remarks: What a reader must know to compare the runs.
    """

    section: str
    runs: tuple[str, ...]
    rows: tuple[Row, ...]
    aggregated: tuple[float | None, ...]
    sensitivity: tuple[float | None, ...]
    counted: tuple[tuple[int, int], ...]
    remarks: tuple[str, ...]

    @property
    def title(self) -> str:
        """Heading of the table."""
        return TITLES[self.section]

    @property
    def has_choices(self) -> bool:
        """Whether any task has a chance level."""
        return any(row.chance is not None for row in self.rows)


def build_tables(runs: Mapping[str, Scores]) -> list[Table]:
    """Tables of the runs: zero-shot tasks, then trained tasks, each if there are any.

    Args:
        runs: Content of ``scores.json`` by label.
    """
    sections = [section for section in TITLES if any(section in scores for scores in runs.values())]
    return [_table(section, runs) for section in sections]


def format_table(runs: Mapping[str, Scores]) -> str:
    """The tables for a terminal: ``mean ± deviation (max)`` of every task and run, and the totals."""
    return "\n\n".join(_aligned(table) for table in build_tables(runs))


def markdown(runs: Mapping[str, Scores]) -> str:
    """The tables as Markdown."""
    parts = []
    for table in build_tables(runs):
        header, *lines = _lines(table)
        rule = ["---", "---", *["---:"] * (len(header) - 2)]
        rows = ["| " + " | ".join(line) + " |" for line in (header, rule, *lines)]
        parts.append("\n".join([f"### {table.title}", "", *rows, *(f"\n{remark}" for remark in table.remarks)]))
    return "\n\n".join(parts) + "\n"


def comma_separated(runs: Mapping[str, Scores]) -> str:
    """The tables as CSV: one line per run, task and metric, and one per run for each total (task in parentheses)."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    columns = ["run", "section", "task", "metric", "instances", "mean", "deviation", "max", "chance", "majority"]
    writer.writerow(columns)
    for table in build_tables(runs):
        for i, run in enumerate(table.runs):
            for row in table.rows:
                if (cell := row.cells[i]) is not None:
                    numbers = [cell.mean, cell.deviation, cell.max, row.chance, row.majority]
                    start = [run, table.section, row.task, row.metric, row.instances]
                    writer.writerow([*start, *("" if n is None else f"{n:.4f}" for n in numbers)])
            for name, values in (("(aggregated)", table.aggregated), ("(sensitivity)", table.sensitivity)):
                if values[i] is not None:
                    writer.writerow([run, table.section, name, "", "", f"{values[i]:.4f}", "", "", "", ""])
    return file.getvalue()


def html_table(table: Table) -> str:
    """One table as HTML; the classes are those of the report's style sheet."""
    levels = ["chance", "majority"] if table.has_choices else ["majority"]
    head = "".join(
        ["<th scope='col'>Task</th>"]
        + [f"<th scope='col' class='level'>{name}</th>" for name in levels]
        + [f"<th scope='col'>{html.escape(run)}</th>" for run in table.runs]
    )
    body = [_html_row(table, row) for row in table.rows]
    for name, values, better in (
        ("Aggregated", table.aggregated, max),
        ("Sensitivity <small>lower is better</small>", table.sensitivity, min),
    ):
        blank = "<td class='level'></td>" * len(levels)
        marks = _best(values, better)
        cells = "".join(f"<td{mark}>{_number(value)}</td>" for value, mark in zip(values, marks, strict=True))
        body.append(f"<tr class='total'><th scope='row'>{name}</th>{blank}{cells}</tr>")
    remarks = "".join(f"<p class='remark'>{html.escape(remark)}</p>" for remark in table.remarks)
    content = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    return f"<div class='scroll'>{content}</div>{remarks}"


def task_label(name: str) -> str:
    """A task's name for people."""
    return name.replace("_", " ")


def _table(section: str, runs: Mapping[str, Scores]) -> Table:
    names = sorted({name for scores in runs.values() for name in scores.get(section, {}).get("tasks", ())})
    # A task may be held out in one run and trained in another; here it is what this section says it is.
    tasks = {
        name: [
            scores["tasks"][name] if name in scores.get(section, {}).get("tasks", ()) else None
            for scores in runs.values()
        ]
        for name in names
    }
    totals = [scores.get(section, {}) for scores in runs.values()]
    return Table(
        section,
        tuple(runs),
        tuple(row for name in names for row in _rows(name, tasks[name])),
        tuple(total.get("aggregated") for total in totals),
        tuple(total.get("sensitivity") for total in totals),
        tuple(map(_counted, totals)),
        tuple(_remarks(tasks, dict(zip(runs, totals, strict=True)))),
    )


def _counted(total: Mapping[str, Any]) -> tuple[int, int]:
    """Numbers of tasks in a run's sensitivity and in its aggregated performance."""
    aggregated = len(total.get("tasks", ())) - len(total.get("not_aggregated", ()))
    return aggregated - len(total.get("left_out", ())), aggregated


def _rows(name: str, tasks: Sequence[Mapping[str, Any] | None]) -> list[Row]:
    """A row per metric of a task."""
    known = [task for task in tasks if task is not None]
    primary = known[0]["metric"]
    metrics = list(dict.fromkeys([primary, *(metric for task in known for metric in task["metrics"])]))
    return [
        Row(
            name,
            metric,
            metric == primary,
            max(task["instances"] for task in known),
            *_levels(known, metric),
            tuple(_cell(task, metric) for task in tasks),
        )
        for metric in metrics
    ]


def _cell(task: Mapping[str, Any] | None, metric: str) -> TaskScores | None:
    if task is None or metric not in task["metrics"]:
        return None
    scores = task["metrics"][metric]
    return TaskScores(scores["mean"], scores["deviation"], scores["max"])


def _levels(tasks: Sequence[Mapping[str, Any]], metric: str) -> tuple[float | None, float | None]:
    """Chance level and majority answer, of the first run that has the metric."""
    scores = next(task["metrics"][metric] for task in tasks if metric in task["metrics"])
    return scores["chance"], scores["majority"]


def _remarks(tasks: Mapping[str, Sequence[Mapping[str, Any] | None]], totals: Mapping[str, Mapping[str, Any]]):
    for run, total in totals.items():
        if left_out := total.get("left_out"):
            reasons = ", ".join(f"{task} ({reason})" for task, reason in left_out.items())
            yield f"{run}: not counted for sensitivity: {reasons}."
        if extra := total.get("not_aggregated"):
            yield f"{run}: beside the benchmark, so in neither total: {', '.join(extra)}."
    if len({tuple(total.get("tasks", ())) for total in totals.values()}) > 1:
        yield "The runs were not evaluated on the same tasks, so their totals do not compare."
    for name, runs in tasks.items():
        known = [task for task in runs if task is not None]
        for key, what in (
            ("version", "versions"),
            ("language", "languages"),
            ("instances", "numbers of instances"),
            ("instructions", "instructions"),
        ):
            if len({str(task.get(key, DEFAULTS.get(key))) for task in known}) > 1:
                yield f"{name}: the runs were evaluated on different {what}, so their scores do not compare."


def _lines(table: Table) -> list[list[str]]:
    """Header and rows as text."""
    lines = [["task", "metric", "n", "chance", "majority", *table.runs]]
    for row in table.rows:
        start = [row.task if row.primary else "", METRIC_LABELS[row.metric], str(row.instances)]
        lines.append([*start, _number(row.chance), _number(row.majority), *map(_cell_text, row.cells)])
    blank = [""] * 4
    lines.append(["**aggregated**", *blank, *map(_number, table.aggregated)])
    lines.append(["**sensitivity** (lower is better)", *blank, *map(_number, table.sensitivity)])
    return lines


def _aligned(table: Table) -> str:
    lines = [[cell.replace("**", "") for cell in line] for line in _lines(table)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    texts = [
        "  ".join(
            cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    title = f"{table.title}: mean ± deviation (max) over instructions"
    return "\n".join([title, rule, texts[0], rule, *texts[1:-2], rule, *texts[-2:], *table.remarks])


def _cell_text(cell: TaskScores | None) -> str:
    if cell is None:
        return MISSING
    if cell.deviation is None:
        return f"{cell.mean:.2f}"
    return f"{cell.mean:.2f} ± {cell.deviation:.2f} ({cell.max:.2f})"


def _html_row(table: Table, row: Row) -> str:
    name = html.escape(task_label(row.task)) if row.primary else ""
    detail = f"{METRIC_LABELS[row.metric]}, n = {row.instances}" if row.primary else METRIC_LABELS[row.metric]
    baselines = [row.chance, row.majority] if table.has_choices else [row.majority]
    levels = "".join(f"<td class='level'>{_number(level)}</td>" for level in baselines)
    marks = _best([None if cell is None else cell.mean for cell in row.cells], max)
    cells = "".join(f"<td{mark}>{_html_cell(cell)}</td>" for cell, mark in zip(row.cells, marks, strict=True))
    kind = "" if row.primary else " class='secondary'"
    known = [
        f"{what} {level:.1f}"
        for what, level in (("chance", row.chance), ("majority", row.majority))
        if level is not None
    ]
    narrow = f"<small class='narrow'>{', '.join(known)}</small>" if known else ""
    return f"<tr{kind}><th scope='row'>{name} <small>{detail}</small>{narrow}</th>{levels}{cells}</tr>"


def _html_cell(cell: TaskScores | None) -> str:
    if cell is None:
        return MISSING
    if cell.deviation is None:
        return f"<b>{cell.mean:.2f}</b>"
    return f"<b>{cell.mean:.2f}</b> <span>± {cell.deviation:.2f}</span> <small>max {cell.max:.2f}</small>"


def _best(values: Sequence[float | None], better) -> list[str]:
    """Class attribute of the cells that hold the best of several values."""
    known = [value for value in values if value is not None]
    if len(known) < 2 or len(set(known)) == 1:
        return [""] * len(values)
    return [" class='best'" if value == better(known) else "" for value in values]


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2f}"
