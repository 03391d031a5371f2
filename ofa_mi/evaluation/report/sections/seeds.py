"""How sure the numbers are: what another seed of training changes, other instances, and another run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ofa_mi.document.blocks import Block, Cell, Heading, Paragraph, Row, Table
from ofa_mi.evaluation.formats import Comparison
from ofa_mi.evaluation.report.cells import (
    TOTALS,
    interval_cell,
    number_cell,
    remarks,
    signed_cell,
    zero_shot,
)
from ofa_mi.evaluation.report.section import Section
from ofa_mi.evaluation.report.study import Strategy, Study
from ofa_mi.evaluation.scoring.scores import TRAINED, ZERO_SHOT
from ofa_mi.evaluation.scoring.tables import MISSING, TITLES, mean_total, number, task_label
from ofa_mi.instructions.spec import METRICS


def certainty(study: Study) -> list[Block]:
    """Deviations over seeds, intervals over instances, and paired differences."""
    names = {str(run.directory.resolve()): strategy.name for strategy in study.strategies for run in strategy.runs}
    return [*_seeds(study.strategies), *_intervals(study.strategies), *comparisons(study.comparisons, names)]


SECTION = Section(
    20,
    "Seeds and significance",
    "seeds",
    certainty,
    "give several seeds of a strategy (the same NAME for each run), or --compare FILE of `ofa-mi compare`",
)


def _seeds(strategies: Sequence[Strategy]) -> list[Block]:
    """What training with another seed changes."""
    several = [strategy for strategy in strategies if len(strategy.seeds) > 1]
    if not several:
        return []
    rows = [Row((Cell(s.name, below=(f"{len(s.seeds)} seeds",)), *_by_seed(s))) for s in several]
    columns = ("Strategy", "Aggregated", "of each seed", "Sensitivity\nlower is better", "of each seed ")
    blocks: list[Block] = [
        Paragraph(
            "Zero-shot totals, mean ± deviation over seeds. A difference between two strategies that is not clearly "
            "larger than these deviations may be the seed's doing."
        ),
        Table("Totals by seed", columns, tuple(rows)),
    ]
    if table := zero_shot(several):
        rows = []
        for row in (row for row in table.rows if row.primary):
            values = [(None, None) if cell is None else (cell.deviation, cell.seed_deviation) for cell in row.cells]
            rows.append(Row((Cell(task_label(row.task)), *(Cell(number(value)) for pair in values for value in pair))))
        heads = [f"{name}\nover {what}" for name in table.runs for what in ("instructions", "seeds")]
        title = "Deviation over instructions and over seeds, by task"
        blocks.append(Table(title, ("Task", *heads), tuple(rows), folded=title))
    return blocks


def _by_seed(strategy: Strategy) -> list[Cell]:
    """Aggregated performance and sensitivity: over seeds, and of each."""
    cells = []
    for name in TOTALS:
        values = [scores.get(ZERO_SHOT, {}).get(name) for scores in strategy.scores]
        total = mean_total(values)
        deviation = "" if total is None or total.seed_deviation is None else f"± {total.seed_deviation:.2f}"
        mean = None if total is None else total.value
        cells += [Cell(number(mean), deviation, key=mean), Cell(", ".join(map(number, values)), kind="soft")]
    return cells


def _intervals(strategies: Sequence[Strategy]) -> list[Block]:
    """Confidence intervals over instances, of the first seed of every strategy."""
    found = {strategy.name: strategy.seeds[0].scores for strategy in strategies if strategy.seeds}
    bootstrap = next((scores["bootstrap"] for scores in found.values() if scores.get("bootstrap")), None)
    if bootstrap is None:
        return []
    totals = [scores.get(ZERO_SHOT, {}) for scores in found.values()]
    names = list(dict.fromkeys(task for total in totals for task in total.get("tasks", ())))
    rows = []
    for key in TOTALS:
        cells = [interval_cell(total.get(key), total.get(f"{key}_interval")) for total in totals]
        rows.append(Row((Cell(key.capitalize()), *cells), "total"))
    for task in names:
        cells = []
        for scores in found.values():
            entry = scores["tasks"].get(task)
            metric = entry["metrics"][entry["metric"]] if entry else {}
            cells.append(interval_cell(metric.get("mean"), metric.get("interval")))
        rows.append(Row((Cell(task_label(task)), *cells)))
    share = f"{100 * bootstrap['confidence']:.0f}%"
    return [
        Heading("Confidence intervals over instances"),
        Paragraph(
            f"{share} bootstrap intervals of the mean over instructions, of the first seed: how far the score may "
            "move with other instances of the same kind. Images are drawn with replacement "
            f"({bootstrap['replicates']} times, seed {bootstrap['seed']}), each with all of its questions, the same "
            "under every instruction. They say nothing of other seeds of training or of other instructions. Noise "
            "makes a sensitivity larger, so with few instances its interval may lie above the value itself."
        ),
        Table(f"{share} confidence intervals", ("Zero-shot task", *found), tuple(rows), sortable=True),
    ]


def comparisons(found: Sequence[Comparison], names: Mapping[str, str]) -> list[Block]:
    """Paired differences between two runs each.

    Args:
        found: Contents of files of ``ofa-mi compare``.
        names: Name of the strategy by the resolved directory of a run.
    """
    blocks: list[Block] = []
    for comparison in found:
        runs = [comparison[side]["run"] for side in "ab"]
        first, second = (names.get(str(Path(run).resolve()), run) for run in runs)
        if first == second:
            first, second = runs
        title = f"{second} against {first}"
        columns = ("Task", first, second, "Difference", "p", "p (Holm)\nfor all tasks")
        rows = [row for section in (ZERO_SHOT, TRAINED) for row in _differences(comparison, section)]
        texts = [*comparison.get("remarks", ())]
        texts += [f"Not compared: {task} ({reason})." for task, reason in comparison.get("not_compared", {}).items()]
        blocks += [Heading(title), Table(title, columns, tuple(rows)), *remarks(texts)]
    if not blocks:
        return []
    return [
        Paragraph(
            "Two runs on the same questions. The difference and its interval are from drawing the same images "
            "for both; p is from exchanging the two runs' scores at random, image by image; Holm's correction "
            "allows for as many tests as there are tasks. Other seeds of training are not in it."
        ),
        *blocks,
    ]


def _differences(comparison: Comparison, section: str) -> list[Row]:
    """Totals and tasks of one section of a comparison."""
    part = comparison.get(section)
    if part is None:
        return []
    rows = []
    for name in TOTALS:
        if (total := part.get(name)) is not None:
            rows.append(_difference_row(Cell(name.capitalize(), below=(TITLES[section].lower(),)), total, "total"))
    for task, values in part["tasks"].items():
        below = f"{METRICS[values['metric']]}, n = {values['instances']}"
        rows.append(_difference_row(Cell(task_label(task), below=(below,)), values))
    return rows


def _difference_row(label: Cell, values: Mapping[str, Any], kind: str = "") -> Row:
    p, holm = values.get("p"), values.get("p_holm")
    difference = signed_cell(values["difference"], values.get("interval"))
    tests = [
        Cell(_p_text(p), key=p),
        Cell(_p_text(holm), kind="best" if holm is not None and holm < 0.05 else "", key=holm),
    ]
    return Row((label, number_cell(values["a"]), number_cell(values["b"]), difference, *tests), kind)


def _p_text(p: float | None) -> str:
    if p is None:
        return MISSING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
