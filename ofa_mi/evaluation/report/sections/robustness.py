"""What is left of the scores when the image, the options or the wording are changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from ofa_mi.document.blocks import Bar, BarChart, Block, Cell, Figure, Items, Paragraph, Row, Side, Table
from ofa_mi.evaluation.report.cells import TOTALS, number_cell, remarks, signed_cell
from ofa_mi.evaluation.report.section import Section
from ofa_mi.evaluation.report.study import Seed, Strategy, Study
from ofa_mi.evaluation.scoring.scores import ZERO_SHOT
from ofa_mi.evaluation.scoring.summaries import robustness_summary
from ofa_mi.evaluation.scoring.tables import number, task_label

# What a run under a condition is called, and what it tells.
CONDITION_NOTES = {
    "image none": "text only: what can be answered from the question and the language alone",
    "image gray": "a gray image instead of the instance's",
    "image shuffled": "the image of another instance of the task: what is answered without the right image",
    "options-only": "nothing but the options, and the image",
    "image none, options-only": "nothing but the options, without the image",
    "options-only, image none": "nothing but the options, without the image",
    "option-order": "options in another order",
    "typos": "typing errors in the instruction",
    "upper-case": "the instruction in capital letters",
    "paraphrase": "a second, independent set of instructions",
    "other-task": "the instruction of another task: a model that reads instructions should fail",
}


def robustness(study: Study) -> list[Block]:
    """Totals, bars and tasks under every condition, beside the plain runs of the same models."""
    changed = [strategy for strategy in study.strategies if strategy.changed]
    if not changed:
        return []
    conditions = list(dict.fromkeys(condition for strategy in changed for condition in strategy.changed))
    summaries = {
        (strategy.name, condition): _summaries(strategy, seeds)
        for strategy in changed
        for condition, seeds in strategy.changed.items()
    }
    notes = tuple(f"{name}: {CONDITION_NOTES[name]}." for name in conditions if name in CONDITION_NOTES)
    blocks: list[Block] = [
        Paragraph(
            "The same models asked the same questions under another condition. Differences are to the plain run of "
            "the same checkpoint, over the tasks that both have, as a mean over seeds. If a score without the "
            "image is as high as with it, the model did not use the image."
        ),
        Items(notes),
        _condition_table(changed, summaries),
        Side(tuple(_condition_bars(study.strategies, conditions, summaries))),
        *(_task_differences(name, _answered(changed, name, summaries), summaries) for name in conditions),
    ]
    pairs = [(strategy, condition) for strategy in changed for condition in strategy.changed]
    if lacking := [f"{s.name} under {condition}" for s, condition in pairs if not summaries[s.name, condition]]:
        names = ", ".join(lacking)
        blocks += remarks([f"Without a plain run of the same checkpoint, so nothing to compare with: {names}."])
    if "other-task" in conditions:
        text = (
            "Inter-task sensitivity says how much of the score is lost when the instruction asks for another "
            "task. Near 0, the model does not read the instruction; docs/evaluation.md defines it."
        )
        blocks.append(Paragraph(text))
    return blocks


SECTION = Section(
    60,
    "What the image contributes, and robustness",
    "robustness",
    robustness,
    "run `ofa-mi evaluate` with --image none or --perturb, and give the run under the same NAME",
)


def _answered(changed: Sequence[Strategy], condition: str, summaries: Mapping) -> list[str]:
    """Names of the strategies that were run under a condition."""
    return [strategy.name for strategy in changed if summaries.get((strategy.name, condition))]


def _summaries(strategy: Strategy, seeds: Sequence[Seed]) -> list[Mapping[str, Any]]:
    """What every seed's model loses; only models whose plain run is there, too."""
    plain = {seed.runs[0].checkpoint: seed.scores for seed in strategy.seeds}
    summaries = []
    for seed in seeds:
        if (reference := plain.get(seed.runs[0].checkpoint)) is not None:
            name = str(seed.runs[0].directory)  # for an error
            summaries.append(robustness_summary(reference, {name: seed.scores})[name])
    return summaries


def _mean(summaries: Sequence[Mapping[str, Any]] | None, *keys: str) -> float | None:
    """Mean over seeds of a value of the zero-shot tasks; None if no seed has it."""
    values = []
    for summary in summaries or ():
        value: Any = summary.get(ZERO_SHOT)
        for key in keys:
            value = None if value is None else value.get(key)
        if value is not None:
            values.append(value)
    return fmean(values) if values else None


def _condition_table(changed: Sequence[Strategy], summaries: Mapping) -> Table:
    """Totals of every strategy under every condition."""
    rows = []
    for strategy in changed:
        for condition in strategy.changed:
            if not (found := summaries[strategy.name, condition]):
                continue
            cells = []
            for name in TOTALS:
                cells += [number_cell(_mean(found, name, what)) for what in ("reference", "score")]
                cells.append(signed_cell(_mean(found, name, "difference")))
            cells.append(number_cell(_mean(found, "inter_task_sensitivity")))
            rows.append(Row((Cell(strategy.name, below=(condition,)), *cells)))
    columns = ["Strategy"]
    for name in ("Aggregated", "Sensitivity"):
        columns += [f"{name}\n{what}" for what in ("plain", "changed", "difference")]
    columns.append("Inter-task\nsensitivity")
    return Table("Totals under changed conditions", tuple(columns), tuple(rows), kind="dense", sortable=True)


def _condition_bars(strategies: Sequence[Strategy], conditions: Sequence[str], summaries: Mapping) -> list[Figure]:
    """Aggregated performance with and without every condition."""
    figures = []
    for condition in conditions:
        bars = []
        for place, strategy in enumerate(strategies):
            found = summaries.get((strategy.name, condition))
            if (score := _mean(found, "aggregated", "score")) is not None:
                bars.append(Bar(strategy.name, _mean(found, "aggregated", "reference"), colour=place))
                bars.append(Bar(condition, score, colour=place, faint=True))
        if bars:
            title = f"Aggregated, plain and {condition}"
            name = "robustness-" + condition.replace(", ", "-").replace(" ", "-")
            figures.append(Figure(name, title, BarChart(tuple(bars))))
    return figures


def _task_differences(condition: str, names: Sequence[str], summaries: Mapping) -> Table:
    tasks = dict.fromkeys(
        task
        for name in names
        for summary in summaries[name, condition]
        for task in (summary.get(ZERO_SHOT) or {}).get("tasks", {})
    )
    rows = []
    for task in tasks:
        cells = []
        for name in names:
            found = summaries[name, condition]
            score = _mean(found, "tasks", task, "score")
            difference = signed_cell(_mean(found, "tasks", task, "difference"))
            cells.append(Cell(number(score), f"({difference.text})" if score is not None else "", key=score))
        rows.append(Row((Cell(task_label(task)), *cells)))
    title = f"{condition}, by task: score (difference to plain)"
    return Table(title, ("Zero-shot task", *names), tuple(rows), sortable=True, folded=title)
