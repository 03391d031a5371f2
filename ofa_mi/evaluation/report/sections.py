"""The sections of a report, each as blocks; a section without data says what would bring them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from ofa_mi.evaluation import published
from ofa_mi.evaluation.report.blocks import Block, Cell, Figure, Grid, Heading, Items, Paragraph, Row, Side
from ofa_mi.evaluation.report.charts import Bar, Dots, Series, bar_chart, dot_chart, line_chart
from ofa_mi.evaluation.report.study import Curve, Run, Seed, Strategy
from ofa_mi.evaluation.report.training import TrainingLog, left_out_remark, read_training_log
from ofa_mi.evaluation.scoring.protocol import TaskScores, aggregated, sensitivity_report
from ofa_mi.evaluation.scoring.scores import TRAINED, ZERO_SHOT
from ofa_mi.evaluation.scoring.tables import (
    METRIC_LABELS,
    MISSING,
    Table,
    Total,
    build_tables,
    mean_and_deviation,
    number,
    task_label,
)
from ofa_mi.evaluation.scoring.tables import Cell as Score
from ofa_mi.evaluation.scoring.tables import Row as TaskRow

PAPER = "paper, OFA-large"
NATURAL_INSTRUCTIONS = "natural_instructions_test"
MOST_TASKS = 11  # in columns: the paper's table has as many
COMMONSENSE = ("commonsense_vqa", "accuracy")  # a column of the paper's table that counts for no total

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


TOTALS = {"aggregated": "Aggregated (higher is better)", "sensitivity": "Sensitivity (lower is better)"}
CURVE_LABELS = {"num_instructions": "instructions per training task", "task_groups": "groups of training tasks"}


@dataclass(frozen=True)
class PaperRow:
    """A row of the paper's tables.

    Attributes:
        cells: By task and metric.
        aggregated: Over the nine tasks, and Natural Instructions where it was evaluated.
        sensitivity: Over the tasks with a deviation; None without one.
    """

    cells: Mapping[tuple[str, str], TaskScores]
    aggregated: float
    sensitivity: float | None

    @classmethod
    def of(cls, name: str) -> PaperRow:
        """The row of a strategy of :data:`published.MODELS`."""
        tasks = published.MODELS[name]
        cells = {(task, published.TASKS[task]): scores for task, scores in tasks.items()}
        cells[COMMONSENSE] = published.COMMONSENSE_ACCURACY[name]
        means = {task: scores.mean for task, scores in tasks.items()}
        if name in published.NATURAL_INSTRUCTIONS:
            means[NATURAL_INSTRUCTIONS] = published.NATURAL_INSTRUCTIONS[name]
            cells[NATURAL_INSTRUCTIONS, "rouge_l"] = TaskScores(means[NATURAL_INSTRUCTIONS], None)
        report = sensitivity_report(tasks)
        return cls(cells, aggregated(means), report.value if report.tasks else None)


def paper_rows(wanted: bool) -> dict[str, PaperRow]:
    """The paper's rows by strategy; none if they are not wanted."""
    return {name: PaperRow.of(name) for name in published.MODELS} if wanted else {}


# -- Results


def results(strategies: Sequence[Strategy], paper: Mapping[str, PaperRow]) -> list[Block]:
    """The paper's table, and the totals as bars."""
    tables = {table.section: table for table in _tables(strategies)}
    blocks: list[Block] = [Heading("Results", "results"), Paragraph(READING)]
    if ZERO_SHOT in tables or paper:
        table = tables.get(ZERO_SHOT) or Table(ZERO_SHOT, (), (), (), (), (), ())
        blocks += [Heading("Zero-shot tasks"), Paragraph("Tasks of kinds that the model was never trained on.")]
        blocks += [_paper_table(table, paper), *_reading(strategies, paper), *_remarks(table)]
        blocks.append(Side(tuple(_total_bars(table, paper))))
        if rows := [row for row in table.rows if not row.primary]:
            blocks.append(_task_table(table, rows, "Further metrics of zero-shot tasks", folded=True))
    if TRAINED in tables:
        table = tables[TRAINED]
        blocks += [
            Heading("Trained tasks"),
            Paragraph("Tasks that are trained on, here with other instances: what was learnt, not what carried over."),
            _task_table(table, table.rows, "Trained tasks", totals=True),
            *_remarks(table),
        ]
    return blocks


def _reading(strategies: Sequence[Strategy], paper: Mapping[str, PaperRow]) -> list[Block]:
    """How to read the table above."""
    several = any(len(strategy.seeds) > 1 for strategy in strategies)
    texts = [*([READING_SEEDS] if several else []), READING_LEVELS, *([READING_PAPER] if paper else [])]
    return [Paragraph(text, remark=True) for text in texts]


def _tables(strategies: Sequence[Strategy]) -> list[Table]:
    plain = {strategy.name: strategy.scores for strategy in strategies if strategy.seeds}
    return build_tables(plain) if plain else []


def _remarks(table: Table) -> list[Block]:
    return [Paragraph(remark, remark=True) for remark in table.remarks]


def _paper_table(table: Table, paper: Mapping[str, PaperRow]) -> Grid:
    """Strategies in rows and tasks in columns, as in the paper, each above the paper's row.

    With more tasks than fit a page, tasks are in rows.
    """
    rows = _columns(table.rows, paper)
    columns = [
        "Strategy",
        "Aggregated",
        "Sensitivity\nlower is better",
        *(_column(key, row) for key, row in rows.items()),
    ]
    best = {key: _best([cell and cell.mean for cell in row.cells]) for key, row in rows.items() if row is not None}
    best_mean, best_spread = _best(_values(table.aggregated)), _best(_values(table.sensitivity), lowest=True)
    lines: list[Row] = []
    for place, name in enumerate(table.runs):
        cells = [
            score_cell(None if row is None else row.cells[place], best=place in best.get(key, ()))
            for key, row in rows.items()
        ]
        totals = [
            total_cell(table.aggregated[place], best=place in best_mean),
            total_cell(table.sensitivity[place], best=place in best_spread, remark=_of_tasks(table.counted[place])),
        ]
        lines.append(Row((Cell(name), *totals, *cells)))
        if name in paper:
            lines.append(_paper_line(name, paper[name], rows))
    lines += [_paper_line(name, row, rows) for name, row in paper.items() if name not in table.runs]
    for label, level in (("chance", "chance"), ("majority", "majority")):
        values = [None if row is None else getattr(row, level) for row in rows.values()]
        if any(value is not None for value in values):
            cells = [Cell(number(value), key=value) for value in values]
            lines.append(Row((Cell(label), Cell(""), Cell(""), *cells), "level"))
    grid = Grid("Zero-shot results by strategy", tuple(columns), tuple(lines), kind="dense", sortable=True)
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
    order = [("commonsense_vqa", "rouge_l"), COMMONSENSE, *published.TASKS.items(), (NATURAL_INSTRUCTIONS, "rouge_l")]
    order = [key for key in dict.fromkeys(order) if key in here or paper]
    return {key: here.get(key) for key in dict.fromkeys([*order, *here])}


def _column(key: tuple[str, str], row: TaskRow | None) -> str:
    task, metric = key
    instances = f"\nn = {row.instances}" if row is not None else "\nnot run here"
    return f"{task_label(task)}\n{METRIC_LABELS[metric]}{instances}"


def _paper_line(name: str, row: PaperRow, columns: Iterable[tuple[str, str]]) -> Row:
    cells = []
    for key in columns:
        scores = row.cells.get(key)
        cells.append(Cell(MISSING) if scores is None else score_cell(Score(scores.mean, scores.deviation, scores.max)))
    totals = [total_cell(Total(row.aggregated)), total_cell(row.sensitivity and Total(row.sensitivity))]
    return Row((Cell(name, below=(PAPER,)), *totals, *cells), "paper")


def score_cell(score: Score | None, *, best: bool = False) -> Cell:
    """Mean (marked if above its baseline) ± deviation over instructions, the best one, and the deviation over seeds."""
    if score is None:
        return Cell(MISSING)
    below = []
    if score.deviation is not None and score.max is not None:
        below.append(f"max {score.max:.2f}")
    if score.seed_deviation is not None:
        below.append(f"seeds ± {score.seed_deviation:.2f}")
    beside = "" if score.deviation is None else f"± {score.deviation:.2f}"
    return Cell(score.marked_mean, beside, tuple(below), "best" if best else "", key=score.mean)


def total_cell(total: Total | None, *, best: bool = False, remark: str = "") -> Cell:
    """A total and its deviation over seeds."""
    if total is None:
        return Cell(MISSING)
    seeds = () if total.seed_deviation is None else (f"seeds ± {total.seed_deviation:.2f}",)
    below = (*seeds, remark) if remark else seeds
    return Cell(number(total.value), "", below, "best" if best else "", key=total.value)


def _of_tasks(counted: tuple[int, int]) -> str:
    """How many tasks count for a sensitivity, where some do not."""
    return "" if counted[0] == counted[1] else f"{counted[0]} of {counted[1]} tasks"


def _values(totals: Sequence[Total | None]) -> list[float | None]:
    return [None if total is None else total.value for total in totals]


def _best(values: Sequence[float | None], *, lowest: bool = False) -> set[int]:
    """Places of the best of several values; none if they are all the same."""
    known = [value for value in values if value is not None]
    if len(known) < 2 or len(set(known)) == 1:
        return set()
    best = min(known) if lowest else max(known)
    return {place for place, value in enumerate(values) if value == best}


def _task_table(table: Table, rows: Sequence[TaskRow], name: str, *, totals=False, folded=False) -> Grid:
    """Tasks in rows and strategies in columns."""
    lines = []
    for row in rows:
        best = _best([cell and cell.mean for cell in row.cells])
        label = Cell(task_label(row.task), below=(f"{METRIC_LABELS[row.metric]}, n = {row.instances}",))
        levels = [Cell(number(level), kind="soft", key=level) for level in (row.chance, row.majority)]
        cells = [score_cell(cell, best=place in best) for place, cell in enumerate(row.cells)]
        lines.append(Row((label, *levels, *cells), "" if row.primary else "secondary"))
    if totals:
        for label, values, lowest in (
            (Cell("Aggregated"), table.aggregated, False),
            (Cell("Sensitivity", below=("lower is better",)), table.sensitivity, True),
        ):
            best = _best(_values(values), lowest=lowest)
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
        bars = [
            Bar(
                run,
                None if value is None else value.value,
                None if value is None else value.seed_deviation,
                getattr(paper[run], name) if run in paper else None,
                place,
                "no task has one" if value is None else "",
            )
            for place, (run, value) in enumerate(zip(table.runs, values, strict=True))
        ]
        bars += [
            Bar(row, None, None, getattr(paper[row], name), 0, "not run here") for row in paper if row not in table.runs
        ]
        note = "; whiskers: deviation over seeds" if any(bar.spread for bar in bars) else ""
        found.append(Figure(name, title + note, bar_chart(title, bars)))
    return found


# -- Seeds


def seeds(strategies: Sequence[Strategy]) -> list[Block]:
    """What training with another seed changes."""
    several = [strategy for strategy in strategies if len(strategy.seeds) > 1]
    if not several:
        return []
    lines = [
        Row((Cell(strategy.name, below=(f"{len(strategy.seeds)} seeds",)), *_by_seed(strategy))) for strategy in several
    ]
    columns = ("Strategy", "Aggregated", "of each seed", "Sensitivity\nlower is better", "of each seed ")
    tables = [table for table in build_tables({s.name: s.scores for s in several}) if table.section == ZERO_SHOT]
    blocks: list[Block] = [
        Paragraph(
            "Zero-shot totals, mean ± deviation over seeds. A difference between two strategies that is not clearly "
            "larger than these deviations may be the seed's doing."
        ),
        Grid("Totals by seed", columns, tuple(lines)),
    ]
    for table in tables:
        rows = []
        for row in (row for row in table.rows if row.primary):
            cells = []
            for cell in row.cells:
                if cell is None:
                    cells += [Cell(MISSING), Cell(MISSING)]
                else:
                    cells += [Cell(number(cell.deviation)), Cell(number(cell.seed_deviation))]
            rows.append(Row((Cell(task_label(row.task)), *cells)))
        heads = [f"{name}\nover {what}" for name in table.runs for what in ("instructions", "seeds")]
        title = "Deviation over instructions and over seeds, by task"
        blocks.append(Grid(title, ("Task", *heads), tuple(rows), folded=title))
    return blocks


def _by_seed(strategy: Strategy) -> list[Cell]:
    """Aggregated performance and sensitivity: over seeds, and of each."""
    cells = []
    for name in TOTALS:
        values = [scores.get(ZERO_SHOT, {}).get(name) for scores in strategy.scores]
        known = [value for value in values if value is not None]
        mean, deviation = mean_and_deviation(known) if known else (None, None)
        cells.append(Cell(number(mean), "" if deviation is None else f"± {deviation:.2f}", key=mean))
        cells.append(Cell(", ".join(map(number, values)), kind="soft"))
    return cells


# -- Sensitivity and instructions


def sensitivity(strategies: Sequence[Strategy], paper: Mapping[str, PaperRow]) -> list[Block]:
    """What the wording of instructions changes, by task."""
    tables = [table for table in _tables(strategies) if table.section == ZERO_SHOT]
    if not tables:
        return []
    (table,) = tables
    lines = []
    for row in (row for row in table.rows if row.primary):
        ratios = [_ratio(cell) for cell in row.cells]
        best = _best(ratios, lowest=True)
        cells = [
            Cell(number(ratio), kind="best" if place in best else "", heat=ratio and min(ratio / 100, 1), key=ratio)
            for place, ratio in enumerate(ratios)
        ]
        lines.append(Row((Cell(task_label(row.task)), *cells)))
    return [
        Heading("Sensitivity to the wording", "sensitivity"),
        Paragraph(
            "Per task: 100 times the deviation over instructions / mean, of the means over seeds. A high value "
            "means that the same question, worded otherwise, gets another score. A score near 0 makes the ratio "
            "large, and one that is the same under every wording makes it 0, whether the task was learnt or not."
        ),
        Grid("Sensitivity by task", ("Task", *table.runs), tuple(lines), kind="heat", sortable=True),
    ]


def _ratio(cell: Score | None) -> float | None:
    if cell is None or cell.deviation is None or cell.mean == 0:
        return None
    return 100 * cell.deviation / cell.mean


def instructions(strategies: Sequence[Strategy]) -> list[Block]:
    """Every instruction's score: dots of all strategies, and a heat map of each."""
    blocks: list[Block] = []
    for table in _tables(strategies):
        rows = [row for row in table.rows if row.primary]
        several = any(cell is not None and len(cell.scores) > 1 for row in rows for cell in row.cells)
        if table.section != ZERO_SHOT or not several:
            continue
        maps = [block for place, run in enumerate(table.runs) for block in _heat_map(table, place, run)]
        blocks += [
            Heading("By instruction", "instructions"),
            Paragraph("Means over seeds. Instruction 1 is the first of the task's file; `ofa-mi tasks` prints them."),
            Side(tuple(_dot_figures(table, rows))),
            Side(tuple(maps)),
        ]
    return blocks


def _dot_figures(table: Table, rows: Sequence[TaskRow]) -> list[Figure]:
    """Dots of all tasks, in two figures of about the same height if there are many."""
    groups = [
        (
            task_label(row.task),
            [
                Dots(run, tuple(cell.scores.values()), cell.mean, place)
                for place, (run, cell) in enumerate(zip(table.runs, row.cells, strict=True))
                if cell is not None
            ],
            row.chance,
        )
        for row in rows
    ]
    half = len(groups) if len(groups) < 4 else (len(groups) + 1) // 2
    legend = "small: one instruction; large: mean; dotted: chance"
    figures = []
    for place, start in enumerate(range(0, len(groups), half), start=1):
        part = groups[start : start + half]
        title = "Score of every instruction" + (f", part {place}" if half < len(groups) else "")
        figures.append(Figure(f"instructions-{place}", f"{title} ({legend})", dot_chart(title, part)))
    return figures


def _heat_map(table: Table, place: int, run: str) -> list[Block]:
    rows = [(row, row.cells[place]) for row in table.rows if row.primary and row.cells[place] is not None]
    numbers = sorted({n for _, cell in rows for n in cell.scores})
    lines = []
    for row, cell in rows:
        cells = [
            Cell(f"{cell.scores[n]:.1f}", heat=cell.scores[n] / 100, key=cell.scores[n])
            if n in cell.scores
            else Cell("")
            for n in numbers
        ]
        lines.append(Row((Cell(task_label(row.task), below=(METRIC_LABELS[row.metric],)), *cells)))
    if not lines:
        return []
    return [Grid(f"{run} by instruction", (run, *(str(n + 1) for n in numbers)), tuple(lines), kind="heat")]


# -- Ablations


def ablations(curves: Sequence[Curve], with_paper: bool) -> list[Block]:
    """Totals of the zero-shot tasks along each curve."""
    if not curves:
        return []
    blocks: list[Block] = [Heading("Ablations", "ablations")]
    for curve in curves:
        paper = published.ABLATIONS.get(curve.name, {}) if with_paper else {}
        blocks += [Heading(_curve_label(curve).capitalize()), *_curve(curve, paper)]
    return blocks


def _curve_label(curve: Curve) -> str:
    return CURVE_LABELS.get(curve.name, curve.name.replace("_", " "))


def _curve(curve: Curve, paper: Mapping[str, tuple[float, float]]) -> list[Block]:
    totals = {point.place: [_seed_total(point.seeds, name) for name in TOTALS] for point in curve.points}
    figures = [figure for index in range(len(TOTALS)) if (figure := _curve_figure(curve, totals, paper, index))]
    places = _places(totals, paper)
    if curve.numeric:
        places.sort(key=float)
    seeds = {point.place: len(point.seeds) for point in curve.points}
    rows = []
    for place in places:
        cells = [total_cell(total) for total in totals.get(place, (None, None))]
        cells.append(Cell(str(seeds.get(place, MISSING)), kind="soft"))
        if paper:
            cells += [Cell(number(value), kind="soft", key=value) for value in paper.get(place, (None, None))]
        rows.append(Row((Cell(place), *cells)))
    columns = [_curve_label(curve), "Aggregated", "Sensitivity\nlower is better", "Seeds"]
    columns += [f"Aggregated\n{PAPER}", f"Sensitivity\n{PAPER}"] if paper else []
    return [Side(tuple(figures)), Grid(_curve_label(curve), tuple(columns), tuple(rows)), *_curve_remarks(curve)]


def _places(here: Iterable[str], paper: Iterable[str]) -> list[str]:
    """Places along the axis: in the paper's order, unless some are not the paper's."""
    here, paper = list(here), list(paper)
    return paper if set(here) <= set(paper) else list(dict.fromkeys([*here, *paper]))


def _curve_figure(
    curve: Curve,
    totals: Mapping[str, Sequence[Total | None]],
    paper: Mapping[str, tuple[float, float]],
    index: int,
) -> Figure | None:
    """One total over the curve; None if no point has it."""
    if not curve.numeric and not set(paper) & set(totals):
        paper = {}  # other groups than the paper's have no place on a common axis
    categories = () if curve.numeric else tuple(_places(totals, paper))
    at = float if curve.numeric else lambda place: categories.index(place) + 1.0
    lines = []
    if known := [(at(place), found[index]) for place, found in totals.items() if found[index] is not None]:
        known.sort(key=lambda point: point[0])
        points = tuple((x, total.value) for x, total in known)
        lines.append(Series("here", points, tuple(total.seed_deviation for _, total in known), 1))
    if paper:
        points = tuple((at(place), values[index]) for place, values in paper.items())
        lines.append(Series("paper", points, (), 0, dashed=True))
    if not lines:
        return None
    name, label = list(TOTALS.items())[index]
    x_label = _curve_label(curve)
    svg = line_chart(
        f"{label} by {x_label}", lines, x_label=x_label, y_label=name, categories=categories, from_zero=True
    )
    note = "; bars: deviation over seeds" if any(spread for line in lines for spread in line.spreads) else ""
    return Figure(f"{_file_name(curve.name)}-{name}", f"{label}{note}", svg)


def _curve_remarks(curve: Curve) -> list[Block]:
    tasks = {tuple(seed.scores.get(ZERO_SHOT, {}).get("tasks", ())) for point in curve.points for seed in point.seeds}
    if len(tasks) > 1:
        return [Paragraph("The points were not evaluated on the same tasks, so they do not compare.", remark=True)]
    return []


def _seed_total(seeds: Sequence[Seed], name: str) -> Total | None:
    values = [seed.scores.get(ZERO_SHOT, {}).get(name) for seed in seeds]
    known = [value for value in values if value is not None]
    return Total(*mean_and_deviation(known)) if known else None


def _file_name(text: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in text)


# -- Training


def training(logs: Sequence[tuple[str, Path]]) -> list[Block]:
    """Curves of the training runs."""
    if not logs:
        return []
    names = list(dict.fromkeys(name for name, _ in logs))
    found = [(name, read_training_log(path)) for name, path in logs]
    figures = []
    for quantity in ("loss", "score"):
        lines, named = [], set()
        for name, log in found:
            for kind, curve in sorted(log.curves.get(quantity, {}).items()):
                lines.append(
                    Series(
                        name,
                        tuple(zip(*_thinned(curve.updates, curve.values), strict=True)),
                        colour=names.index(name),
                        dashed=kind == "validation",
                        marks=len(curve.updates) < 30 and kind == "validation",
                        named=name not in named,
                    )
                )
                named.add(name)
        if lines:
            dashed = any(line.dashed for line in lines) and not all(line.dashed for line in lines)
            note = "solid: training, dashed: validation" if dashed else ""
            title = {"loss": "Loss", "score": "Mean validation score of the tasks"}[quantity]
            svg = line_chart(title, lines, x_label="updates", y_label=quantity, note=note)
            figures.append(Figure(f"training-{quantity}", title, svg, _last_values(found, quantity)))
    remarks = [
        Paragraph(f"{name}: {left_out_remark(log.left_out)}.", remark=True) for name, log in found if log.left_out
    ]
    return [Heading("Training", "training"), Side(tuple(figures)), *remarks]


def _last_values(found: Sequence[tuple[str, TrainingLog]], quantity: str) -> Grid:
    rows = [
        Row((Cell(name), Cell(kind), Cell(str(curve.updates[-1])), Cell(f"{curve.values[-1]:.3f}")))
        for name, log in found
        for kind, curve in sorted(log.curves.get(quantity, {}).items())
    ]
    return Grid(f"Last {quantity}", ("Run", "Curve", "Updates", f"Last {quantity}"), tuple(rows))


def _thinned(xs: Sequence[float], ys: Sequence[float], most: int = 240) -> tuple[Sequence[float], Sequence[float]]:
    """At most about ``most`` points: means of neighbours, and the last as it is."""
    step = -(-len(xs) // most)
    if step == 1:
        return xs, ys
    groups = range(0, len(xs), step)
    return (
        [*(fmean(xs[i : i + step]) for i in groups), xs[-1]],
        [*(fmean(ys[i : i + step]) for i in groups), ys[-1]],
    )


# -- Settings


def settings(strategies: Sequence[Strategy], curves: Sequence[Curve]) -> list[Block]:
    """What was run, so that it can be run again."""
    runs = [(strategy.name, run) for strategy in strategies for run in strategy.runs]
    runs += [
        (f"{curve.name} = {point.place}", run)
        for curve in curves
        for point in curve.points
        for seed in point.seeds
        for run in seed.runs
    ]
    if not runs:
        return []
    rows = [Row((Cell(name), *(Cell(text) for text in _setting_texts(run)))) for name, run in runs]
    columns = ("Run", "Directory", "Checkpoint", "Condition", "Decoding", "Prompts", "Data", "Versions")
    return [
        Heading("Settings and versions", "settings"),
        Paragraph(
            "Of every directory of this report, from its run.json; checkpoints and data by the hash of their files."
        ),
        Grid("Settings", columns, tuple(rows), kind="words", folded=f"All {len(rows)} runs"),
    ]


def _setting_texts(run: Run) -> list[str]:
    options, notes = run.settings.get("options", {}), run.notes
    generation = run.settings.get("generation", {})
    decoding = [options.get("mode", "?"), *(f"{name} {value}" for name, value in generation.items())]
    most = options.get("max_instances")
    prompts = [
        options.get("prompt_style", "instruction"),
        f"language {run.settings.get('instruction_language', 'en')}",
        "option markers" if options.get("option_markers", True) else "no option markers",
        f"instructions {_instruction_numbers(options.get('instructions'))}",
    ]
    data = [
        f"{path} ({str(digest)[:12]})"
        for path, digest in zip(notes.get("data", ()), run.settings.get("data", ()), strict=False)
    ]
    data.append(f"at most {most} instances per task, seed {options.get('seed')}" if most else "all instances")
    versions = [f"{name} {notes[name]}" for name in ("ofa_mi", "torch", "python") if name in notes]
    checkpoint = f"{notes.get('checkpoint') or 'none'} ({str(run.checkpoint)[:12]})" if run.checkpoint else "none"
    if notes.get("weights") == "ema":
        checkpoint += ", averaged weights"
    return [
        str(run.directory),
        checkpoint,
        run.condition or "plain",
        ", ".join(map(str, decoding)),
        ", ".join(prompts),
        "; ".join(data),
        ", ".join(versions),
    ]


def _instruction_numbers(numbers: Sequence[int] | None) -> str:
    return "all" if numbers is None else " ".join(str(n + 1) for n in numbers)


COMPARED = {
    "mode": "ways of decoding",
    "prompt_style": "styles of prompts",
    "option_markers": "option markers",
    "max_instances": "limits of instances per task",
    "instructions": "choices of instructions",
    "seed": "seeds of the choice of instances",
    "split": "splits of the data",
}


def differences(strategies: Sequence[Strategy]) -> list[str]:
    """In which settings of the plain runs the strategies differ, one line each."""
    runs = [(strategy.name, run) for strategy in strategies for seed in strategy.seeds for run in seed.runs]
    lines = []
    for what, value in (
        *((what, lambda run, key=key: run.settings.get("options", {}).get(key)) for key, what in COMPARED.items()),
        ("data files", lambda run: run.settings.get("data")),
        ("settings of the decoder", lambda run: run.settings.get("generation")),
        ("precision", lambda run: run.settings.get("precision", "fp32")),
        ("versions of this package", lambda run: run.notes.get("ofa_mi")),
    ):
        by_value: dict[str, list[str]] = {}
        for name, run in runs:
            names = by_value.setdefault(_short(value(run)), [])
            if name not in names:
                names.append(name)
        if len(by_value) > 1:
            values = [f"{text} ({', '.join(names)})" for text, names in by_value.items()]
            lines.append(f"Different {what}: {'; '.join(values)}.")
    return lines


def _short(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return " ".join(item[:12] for item in value)
    return value if isinstance(value, str) else json.dumps(value)


def caveats(strategies: Sequence[Strategy], curves: Sequence[Curve], with_paper: bool) -> list[Block]:
    """What a reader must not compare."""
    lines = differences(strategies)
    for table in _tables(strategies):
        lines += [f"{table.title}: {remark}" for remark in table.remarks if "compare" in remark]
    single = [strategy.name for strategy in strategies if len(strategy.seeds) == 1]
    if single:
        lines.append(
            f"One seed only: {', '.join(single)}. How much of a difference is the chance of training cannot be told."
        )
    if with_paper:
        lines.append("The paper's rows are OFA-large on the full test sets; they do not compare with the runs here.")
    if not lines:
        return []
    return [Heading("What does not compare", "caveats"), Items(tuple(dict.fromkeys(lines)))]
