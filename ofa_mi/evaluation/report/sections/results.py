"""The paper's table, and the totals as bars."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from ofa_mi.document.blocks import Bar, BarChart, Block, Cell, Figure, Heading, Paragraph, Row, Side
from ofa_mi.document.blocks import Table as Grid
from ofa_mi.evaluation.report.cells import TOTALS, best_of, number_cell, remarks, score_cell, tables_of, total_cell
from ofa_mi.evaluation.report.published import (
    COMMONSENSE,
    INSTRAUG_AVERAGES,
    NATURAL_INSTRUCTIONS_TASK,
    TASKS,
    PaperRow,
)
from ofa_mi.evaluation.report.section import Section
from ofa_mi.evaluation.report.study import Strategy, Study
from ofa_mi.evaluation.scoring.scores import TRAINED, ZERO_SHOT
from ofa_mi.evaluation.scoring.tables import MISSING, Table, Total, task_label
from ofa_mi.evaluation.scoring.tables import Cell as Score
from ofa_mi.evaluation.scoring.tables import Row as TaskRow
from ofa_mi.instructions.spec import METRICS

MOST_TASKS = 11  # in columns: the paper's table has as many

READING = (
    "Every task is run once per instruction. A cell gives the mean over instructions ± their sample deviation, and "
    "the best instruction (max). Aggregated is the mean of the task means; sensitivity is 100 times the mean over "
    "tasks of deviation / mean, and lower is better."
)
READING_SEEDS = (
    "Where a strategy was trained with several seeds, mean, deviation over instructions and max are means over its "
    "seeds, and “seeds ±” is the sample deviation over seeds of the mean: the two deviations say different things."
)
READING_LEVELS = (
    "“Chance” is a blind choice among the options; “majority” gives the commonest right answer of these instances to "
    "every question, which a model can reach without looking at anything. A task has been learnt, or carried over to, "
    "only where a score is clearly above both."
)
READING_PAPER = (
    "Rows marked “paper” are the paper's (arXiv 2212.10773 v3): OFA-large with its full pre-training, on the full "
    "test sets. They show what the method gave there. They do not compare with a model of another size, other "
    "training data or other test instances. Their totals are computed from its cells by the definitions used here."
)
READING_INSTRAUG = (
    "Rows marked “InstrAug” are of arXiv 2402.14492, which trained OFA-large on MultiInstruct anew: on 59 and 564 "
    "thousand instances, and with generated instructions. It prints means over five instructions, without deviations. "
    "Its averages count commonsense VQA by accuracy, and are therefore no aggregated performance: "
    + ", ".join(f"{average:.2f} ({name})" for name, average in INSTRAUG_AVERAGES.items())
    + "."
)


def results(study: Study) -> list[Block]:
    """The paper's table with its totals as bars, the trained tasks, and the parts of tasks that have some."""
    if not study.strategies and not study.paper:
        return []
    tables = {table.section: table for table in tables_of(study.strategies)}
    blocks: list[Block] = [Paragraph(READING)]
    if ZERO_SHOT in tables or study.paper:
        table = tables.get(ZERO_SHOT) or Table(ZERO_SHOT, (), (), (), (), (), (), ())
        several = any(len(strategy.seeds) > 1 for strategy in study.strategies)
        how = [READING_SEEDS] * several + [READING_LEVELS] + [READING_PAPER, READING_INSTRAUG] * bool(study.paper)
        blocks += [
            Heading("Zero-shot tasks"),
            Paragraph("Tasks of kinds that the model was never trained on."),
            paper_table(table, study.paper),
            *remarks([*how, *table.remarks]),
            Side(tuple(_total_bars(table, study.paper))),
        ]
        if rows := [row for row in table.rows if not row.primary]:
            blocks.append(_task_table(table, rows, "Further metrics of zero-shot tasks", folded=True))
    if TRAINED in tables:
        table = tables[TRAINED]
        blocks += [
            Heading("Trained tasks"),
            Paragraph("Tasks that are trained on, here with other instances: what was learnt, not what carried over."),
            _task_table(table, table.rows, "Trained tasks", totals=True),
            *remarks(table.remarks),
        ]
    return [*blocks, *_subsets(study.strategies)]


SECTION = Section(10, "Results", "results", results, "give runs as NAME=DIR")


def paper_table(table: Table, paper: Mapping[str, PaperRow]) -> Grid:
    """Strategies in rows and tasks in columns, as in the paper, each above the paper's row.

    With more tasks than fit a page, tasks are in rows.
    """
    rows = _columns(table.rows, paper)
    best = {key: best_of([cell and cell.mean for cell in row.cells]) for key, row in rows.items() if row is not None}
    best_mean, best_spread = best_of(_values(table.aggregated)), best_of(_values(table.sensitivity), lowest=True)
    lines: list[Row] = []
    for place, name in enumerate(table.runs):
        cells = [
            score_cell(None if row is None else row.cells[place], best=place in best.get(key, ()))
            for key, row in rows.items()
        ]
        totals = [
            total_cell(table.aggregated[place], best=place in best_mean),
            total_cell(table.sensitivity[place], best=place in best_spread, remark=_of_tasks(*table.counted[place])),
        ]
        lines.append(Row((Cell(name), *totals, *cells)))
        if name in paper:
            lines.append(_paper_line(name, paper[name], rows))
    lines += [_paper_line(name, row, rows) for name, row in paper.items() if name not in table.runs]
    for level in ("chance", "majority"):
        values = [None if row is None else getattr(row, level) for row in rows.values()]
        if any(value is not None for value in values):
            lines.append(Row((Cell(level), Cell(""), Cell(""), *map(number_cell, values)), "level"))
    columns = ("Strategy", "Aggregated", "Sensitivity\nlower is better", *map(_column, rows, rows.values()))
    grid = Grid("Zero-shot results by strategy", columns, tuple(lines), kind="dense", sortable=True)
    return _turned(grid) if len(rows) > max(MOST_TASKS, len(lines)) else grid


def _turned(grid: Grid) -> Grid:
    """A table of strategies with its rows and columns exchanged; the totals, which come first, are not sorted in."""
    names = ["\n".join((row.cells[0].text, *row.cells[0].below)) for row in grid.rows]
    lines = []
    for place, column in enumerate(grid.columns[1:], start=1):
        label, *below = column.split("\n")
        cells = [replace(row.cells[place], kind="soft") if row.kind else row.cells[place] for row in grid.rows]
        lines.append(Row((Cell(label, below=tuple(below)), *cells), "total" if place <= len(TOTALS) else ""))
    return replace(grid, columns=("Task", *names), rows=tuple(lines), sortable=False)


def _columns(rows: Sequence[TaskRow], paper: Mapping[str, PaperRow]) -> dict[tuple[str, str], TaskRow | None]:
    """Primary metrics, and commonsense VQA's accuracy as in the paper: its tasks first; None where not evaluated."""
    here = {(row.task, row.metric): row for row in rows if row.primary or (row.task, row.metric) == COMMONSENSE}
    order = [("commonsense_vqa", "rouge_l"), COMMONSENSE, *TASKS.items(), (NATURAL_INSTRUCTIONS_TASK, "rouge_l")]
    order = [key for key in dict.fromkeys(order) if key in here or paper]
    return {key: here.get(key) for key in dict.fromkeys([*order, *here])}


def _column(key: tuple[str, str], row: TaskRow | None) -> str:
    task, metric = key
    instances = f"\nn = {row.instances}" if row is not None else "\nnot run here"
    return f"{task_label(task)}\n{METRICS[metric]}{instances}"


def _paper_line(name: str, row: PaperRow, columns: Iterable[tuple[str, str]]) -> Row:
    cells = []
    for key in columns:
        scores = row.cells.get(key)
        cells.append(Cell(MISSING) if scores is None else score_cell(Score(scores.mean, scores.deviation, scores.max)))
    totals = [total_cell(None if value is None else Total(value)) for value in (row.aggregated, row.sensitivity)]
    return Row((Cell(name, below=(row.source,)), *totals, *cells), "paper")


def _of_tasks(counted: int, every: int) -> str:
    """How many tasks count for a sensitivity, where some do not."""
    return "" if counted == every else f"{counted} of {every} tasks"


def _values(totals: Sequence[Total | None]) -> list[float | None]:
    return [None if total is None else total.value for total in totals]


def _task_table(table: Table, rows: Sequence[TaskRow], name: str, *, totals=False, folded=False) -> Grid:
    """Tasks in rows and strategies in columns."""
    lines = []
    for row in rows:
        best = best_of([cell and cell.mean for cell in row.cells])
        label = Cell(task_label(row.task), below=(f"{METRICS[row.metric]}, n = {row.instances}",))
        levels = [number_cell(level, "soft") for level in (row.chance, row.majority)]
        cells = [score_cell(cell, best=place in best) for place, cell in enumerate(row.cells)]
        lines.append(Row((label, *levels, *cells), "" if row.primary else "secondary"))
    if totals:
        for label, values, lowest in (
            (Cell("Aggregated"), table.aggregated, False),
            (Cell("Sensitivity", below=("lower is better",)), table.sensitivity, True),
        ):
            best = best_of(_values(values), lowest=lowest)
            cells = [total_cell(value, best=place in best) for place, value in enumerate(values)]
            lines.append(Row((label, Cell(""), Cell(""), *cells), "total"))
    columns = ("Task", "Chance", "Majority", *table.runs)
    return Grid(name, columns, tuple(lines), sortable=not totals, folded=name if folded else "")


def _total_bars(table: Table, paper: Mapping[str, PaperRow]) -> list[Figure]:
    """Aggregated performance and sensitivity of all strategies as bars."""
    found = []
    for name, title, values in (
        ("aggregated", "Aggregated performance (higher is better)", table.aggregated),
        ("sensitivity", "Sensitivity to the wording (lower is better)", table.sensitivity),
    ):
        here = dict(zip(table.runs, values, strict=True))
        bars = []
        for place, (run, total) in enumerate(here.items()):
            published = getattr(paper[run], name) if run in paper else None
            if total is None:
                bars.append(Bar(run, None, None, published, place, "no task has one"))
            else:
                bars.append(Bar(run, total.value, total.seed_deviation, published, place))
        others = [row for row in paper if row not in here and paper[row].aggregated is not None]
        bars += [Bar(row, None, None, getattr(paper[row], name), note="not run here") for row in others]
        note = "; whiskers: deviation over seeds" if any(bar.spread for bar in bars) else ""
        found.append(Figure(name, title + note, BarChart(tuple(bars))))
    return found


def _subsets(strategies: Sequence[Strategy]) -> list[Block]:
    """Scores of the parts of a task, such as the test tasks of Natural Instructions."""
    plain = [strategy for strategy in strategies if strategy.seeds]
    tasks = dict.fromkeys(
        name for s in plain for scores in s.scores for name, task in scores["tasks"].items() if task.get("subsets")
    )
    blocks: list[Block] = []
    for task in tasks:
        found = [[scores["tasks"].get(task, {}).get("subsets", {}) for scores in s.scores] for s in plain]
        rows = []
        for name in sorted({name for seeds in found for subset in seeds for name in subset}):
            means = [[subset[name]["mean"] for subset in seeds if name in subset] for seeds in found]
            sizes = [subset[name]["instances"] for seeds in found for subset in seeds if name in subset]
            cells = [number_cell(fmean(mean) if mean else None) for mean in means]
            rows.append(Row((Cell(name, below=(f"n = {max(sizes)}",)), *cells)))
        title = f"{task_label(task).capitalize()}: its parts"
        columns = ("Part", *(strategy.name for strategy in plain))
        blocks.append(Grid(title, columns, tuple(rows), sortable=True, folded=title))
    return blocks
