"""The paper's table for one or several runs, or for strategies of several runs each: what it holds, and as text.

Zero-shot tasks and trained tasks never share a table, since their numbers do not mean the same.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ofa_mi.document.text import aligned
from ofa_mi.evaluation.scoring.baselines import ALPHA, is_above
from ofa_mi.evaluation.scoring.scores import TRAINED, ZERO_SHOT
from ofa_mi.instructions.spec import ENGLISH, METRICS

Scores = Mapping[str, Any]  # content of a scores.json

TITLES = {ZERO_SHOT: "Zero-shot tasks", TRAINED: "Trained tasks"}
MISSING = "-"
ABOVE = "*"  # beside a mean that is above chance and majority
DEFAULTS = {"language": ENGLISH}  # of what scores.json did not hold when there was one language only


@dataclass(frozen=True, slots=True)
class Cell:
    """One metric of one task under one strategy, whose runs differ by their seed.

    Attributes:
        mean: Mean over instructions, and over seeds.
        deviation: Sample deviation over instructions, its mean over seeds; None for a single instruction.
        max: Best instruction, its mean over seeds.
        seeds: Number of runs.
        seed_deviation: Sample deviation over seeds of the mean over instructions; None for a single run.
        scores: Mean over seeds of every instruction's score, by the instruction's number.
        above: Whether the score is above chance and majority, by the corrected test and in every seed; None where
            it was not tested.
    """

    mean: float
    deviation: float | None
    max: float
    seeds: int = 1
    seed_deviation: float | None = None
    scores: Mapping[int, float] | None = None
    above: bool | None = None

    @property
    def marked_mean(self) -> str:
        """The mean, with a mark where it is above chance and majority."""
        return number(self.mean) + ABOVE * bool(self.above)


@dataclass(frozen=True, slots=True)
class Total:
    """Aggregated performance or sensitivity of a strategy.

    Attributes:
        value: Mean over seeds.
        seed_deviation: Sample deviation over seeds; None for a single run.
    """

    value: float
    seed_deviation: float | None = None


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
        cells: What every strategy reached; None where it has not run the task.
    """

    task: str
    metric: str
    primary: bool
    instances: int
    chance: float | None
    majority: float | None
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class Table:
    """The tasks of one kind over all runs.

    Attributes:
        section: ``zero_shot`` or ``trained``.
        runs: Labels of the runs or strategies, in order.
        rows: Tasks by name, each with its primary metric first.
        aggregated: Aggregated performance of every run.
        sensitivity: Sensitivity of every run.
        counted: For every run, the number of tasks that count for its sensitivity, and of those that count
            for its aggregated performance.
        notes: What a reader must know to read the table.
        caveats: What keeps scores or totals from comparing, with those of another run or with anybody's.
    """

    section: str
    runs: tuple[str, ...]
    rows: tuple[Row, ...]
    aggregated: tuple[Total | None, ...]
    sensitivity: tuple[Total | None, ...]
    counted: tuple[tuple[int, int], ...]
    notes: tuple[str, ...]
    caveats: tuple[str, ...]

    @property
    def remarks(self) -> tuple[str, ...]:
        """Notes and caveats."""
        return self.notes + self.caveats

    @property
    def title(self) -> str:
        """Heading of the table."""
        return TITLES[self.section]


def build_tables(runs: Mapping[str, Scores | Sequence[Scores]]) -> list[Table]:
    """Tables of the runs: zero-shot tasks, then trained tasks, each if there are any.

    Args:
        runs: By label the content of a run's ``scores.json``, or those of several runs that differ by their seed.
    """
    seeds = {label: [value] if isinstance(value, Mapping) else list(value) for label, value in runs.items()}
    every = [scores for group in seeds.values() for scores in group]
    return [_table(section, seeds) for section in TITLES if any(section in scores for scores in every)]


def format_table(runs: Mapping[str, Scores | Sequence[Scores]]) -> str:
    """The tables for a terminal: ``mean ± deviation (max)`` of every task and run, and the totals."""
    return "\n\n".join(_aligned(table) for table in build_tables(runs))


def task_label(name: str) -> str:
    """A task's name for people."""
    return name.replace("_", " ")


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample deviation; a single value has no deviation."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def mean_total(values: Iterable[float | None]) -> Total | None:
    """A total of the seeds that have one; None if none has."""
    known = [value for value in values if value is not None]
    return Total(*mean_and_deviation(known)) if known else None


def _table(section: str, runs: Mapping[str, Sequence[Scores]]) -> Table:
    names = sorted({n for seeds in runs.values() for scores in seeds for n in _tasks_of(scores, section)})
    # A task may be held out in one run and trained in another; here it is what this section says it is.
    tasks = {
        name: [
            [scores["tasks"][name] for scores in seeds if name in _tasks_of(scores, section)] for seeds in runs.values()
        ]
        for name in names
    }
    totals = {label: [scores.get(section, {}) for scores in seeds] for label, seeds in runs.items()}
    rows = tuple(row for name in names for row in _rows(name, tasks[name]))
    return Table(
        section,
        tuple(runs),
        rows,
        tuple(_total(group, "aggregated") for group in totals.values()),
        tuple(_total(group, "sensitivity") for group in totals.values()),
        tuple(_counted(group[0]) for group in totals.values()),
        (*_marks(rows, totals), *_of_totals(tasks, totals)),
        (*_of_tasks(tasks, totals), *_differences(tasks, totals)),
    )


def _tasks_of(scores: Scores, section: str) -> Sequence[str]:
    return scores.get(section, {}).get("tasks", ())


def _total(seeds: Sequence[Mapping[str, Any]], name: str) -> Total | None:
    # A total that a seed lacks is a total of fewer tasks; the mean over the others is said to be of them by a remark.
    return mean_total(total.get(name) for total in seeds)


def _counted(total: Mapping[str, Any]) -> tuple[int, int]:
    """Numbers of tasks in a run's sensitivity and in its aggregated performance."""
    aggregated = len(total.get("tasks", ())) - len(total.get("not_aggregated", ()))
    return aggregated - len(total.get("left_out", ())), aggregated


def _rows(name: str, tasks: Sequence[Sequence[Mapping[str, Any]]]) -> list[Row]:
    """A row per metric of a task."""
    known = [task for seeds in tasks for task in seeds]
    primary = known[0]["metric"]
    metrics = list(dict.fromkeys([primary, *(metric for task in known for metric in task["metrics"])]))
    return [
        Row(
            name,
            metric,
            metric == primary,
            max(task["instances"] for task in known),
            *_levels(known, metric),
            tuple(_cell(seeds, metric) for seeds in tasks),
        )
        for metric in metrics
    ]


def _cell(seeds: Sequence[Mapping[str, Any]], metric: str) -> Cell | None:
    seeds = [task for task in seeds if metric in task["metrics"]]
    if not seeds:
        return None
    found = [task["metrics"][metric] for task in seeds]
    mean, seed_deviation = mean_and_deviation([scores["mean"] for scores in found])
    deviations = [scores["deviation"] for scores in found if scores["deviation"] is not None]
    by_instruction: dict[int, list[float]] = {}
    for task, scores in zip(seeds, found, strict=True):
        for number, score in zip(task["instructions"], scores["scores"], strict=True):
            by_instruction.setdefault(number, []).append(score)
    return Cell(
        mean,
        statistics.fmean(deviations) if deviations else None,
        statistics.fmean(scores["max"] for scores in found),
        len(found),
        seed_deviation,
        {number: statistics.fmean(scores) for number, scores in sorted(by_instruction.items())},
        _above([task.get("above_baseline") if metric == task["metric"] else None for task in seeds]),
    )


def _above(tests: Sequence[Mapping[str, Any] | None]) -> bool | None:
    """Whether every seed is above its baseline; None where one was not tested."""
    return None if None in tests else all(map(is_above, tests))


def _levels(tasks: Sequence[Mapping[str, Any]], metric: str) -> tuple[float | None, float | None]:
    """Chance level and majority answer, of the first run that has the metric."""
    scores = next(task["metrics"][metric] for task in tasks if metric in task["metrics"])
    return scores["chance"], scores["majority"]


def _marks(rows: Sequence[Row], totals: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    """What the mark beside a mean says, and how many tasks have it."""
    counts: dict[bool, list[str]] = {False: [], True: []}
    for place, (run, seeds) in enumerate(totals.items()):
        apart = {name for total in seeds for name in total.get("not_aggregated", ())}
        cells = {row.task: row.cells[place] for row in rows if row.primary and row.cells[place] is not None}
        for beside, found in counts.items():
            marks = [cell.above for task, cell in cells.items() if (task in apart) == beside and cell.above is not None]
            if marks:
                found.append(f"{run} {sum(marks)} of {len(marks)}")
    if not any(counts.values()):
        return
    in_seeds = " in every seed" if any(len(seeds) > 1 for seeds in totals.values()) else ""
    said = [", ".join(counts[False]), f"beside the benchmark {', '.join(counts[True])}" if counts[True] else ""]
    yield (
        f"{ABOVE} above the better of chance and majority{in_seeds} (p < {ALPHA:g}, one-sided, over images, corrected "
        f"for the number of tasks): {'; '.join(filter(None, said))}."
    )


def _of_totals(
    tasks: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]], totals: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Iterator[str]:
    for run, seeds in totals.items():
        left_out = {task: reason for total in seeds for task, reason in total.get("left_out", {}).items()}
        reasons: dict[str, list[str]] = {}
        for task, reason in left_out.items():
            reasons.setdefault(reason, []).append(task)
        if reasons:
            said = "; ".join(f"{_names(names, tasks)} ({reason})" for reason, names in reasons.items())
            yield f"{run}: not counted for sensitivity{_in_seeds(seeds, 'left_out')}: {said}."
        if extra := list(dict.fromkeys(task for total in seeds for task in total.get("not_aggregated", ()))):
            yield f"{run}: beside the benchmark, so in neither total: {', '.join(extra)}."


def _of_tasks(
    tasks: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]], totals: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Iterator[str]:
    for name, runs in tasks.items():
        for run, seeds in zip(totals, runs, strict=True):
            for remark in dict.fromkeys(remark for task in seeds for remark in task.get("remarks", ())):
                yield f"{run}: {name}: {remark}."


def _differences(
    tasks: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]], totals: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Iterator[str]:
    """What keeps scores from comparing, with the runs that stand apart from the others."""
    if apart := _apart({run: {str(total.get("tasks", ())) for total in seeds} for run, seeds in totals.items()}):
        yield f"Totals do not compare: {apart} evaluated on other tasks than the others."
    for key, what in (
        ("version", "on other versions"),
        ("language", "on other languages"),
        ("mode", "in other modes"),
        ("instances", "on other numbers of instances"),
        ("instructions", "on other instructions"),
    ):
        found: dict[str, list[str]] = {}
        for name, runs in tasks.items():
            values = [{str(task.get(key, DEFAULTS.get(key))) for task in seeds} for seeds in runs]
            found.setdefault(_apart(dict(zip(totals, values, strict=True))), []).append(name)
        found.pop("", None)
        for apart, names in found.items():
            where = _names(names, tasks)
            yield f"{where}: scores do not compare, since {apart} evaluated {what} than the others."


def _apart(values: Mapping[str, set[str]]) -> str:
    """Subject of a sentence on the runs whose values are not those of most; empty if all that have any are alike."""
    values = {run: its for run, its in values.items() if its}
    if len(set().union(*values.values())) < 2:
        return ""
    usual, count = Counter(map(frozenset, values.values())).most_common(1)[0]
    apart = [run for run, its in values.items() if its != usual]
    if 2 * count <= len(values) or not apart:
        return "some runs were"
    return f"{' and '.join(apart)} {'was' if len(apart) == 1 else 'were'}"


def _names(names: Sequence[str], tasks: Mapping[str, Any]) -> str:
    """Names of tasks, in short where they are all of several."""
    return "all tasks" if len(names) == len(tasks) > 1 else ", ".join(names)


def _in_seeds(seeds: Sequence[Mapping[str, Any]], key: str) -> str:
    """Says so where it is not the same for all seeds."""
    return " by some of its seeds" if len({str(total.get(key)) for total in seeds}) > 1 else ""


def _lines(table: Table) -> list[list[str]]:
    """Header and rows as text."""
    lines = [["task", "metric", "n", "chance", "majority", *table.runs]]
    for row in table.rows:
        start = [row.task if row.primary else "", METRICS[row.metric], str(row.instances)]
        lines.append([*start, number(row.chance), number(row.majority), *map(_cell_text, row.cells)])
    blank = [""] * 4
    lines.append(["aggregated", *blank, *map(_total_text, table.aggregated)])
    lines.append(["sensitivity (lower is better)", *blank, *map(_total_text, table.sensitivity)])
    return lines


def _aligned(table: Table) -> str:
    lines = _lines(table)
    texts = aligned(lines, range(2, len(lines[0])))
    rule = "-" * len(texts[0])
    title = f"{table.title}: mean ± deviation (max) over instructions"
    return "\n".join([title, rule, texts[0], rule, *texts[1:-2], rule, *texts[-2:], *table.remarks])


def number(value: float | None) -> str:
    """A score with two digits; ``-`` if there is none."""
    return MISSING if value is None else f"{value:.2f}"


def _cell_text(cell: Cell | None) -> str:
    if cell is None:
        return MISSING
    seeds = "" if cell.seed_deviation is None else f" [seeds ± {cell.seed_deviation:.2f}]"
    if cell.deviation is None:
        return cell.marked_mean + seeds
    return f"{cell.marked_mean} ± {cell.deviation:.2f} ({cell.max:.2f}){seeds}"


def _total_text(total: Total | None) -> str:
    if total is None or total.seed_deviation is None:
        return number(None if total is None else total.value)
    return f"{total.value:.2f} [seeds ± {total.seed_deviation:.2f}]"
