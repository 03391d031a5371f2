"""Sections of a report beyond the paper's tables: how sure the numbers are, and what image and wording bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from ofa_mi.evaluation.formats import Comparison
from ofa_mi.evaluation.report.blocks import Block, Cell, Figure, Grid, Heading, Items, Paragraph, Row, Side
from ofa_mi.evaluation.report.charts import Bar, bar_chart
from ofa_mi.evaluation.report.study import Seed, Strategy
from ofa_mi.evaluation.scoring.scores import TRAINED, ZERO_SHOT
from ofa_mi.evaluation.scoring.summaries import robustness_summary
from ofa_mi.evaluation.scoring.tables import METRIC_LABELS, MISSING, TITLES, number, task_label

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


def confidence(strategies: Sequence[Strategy]) -> list[Block]:
    """Confidence intervals over instances, of the first seed of every strategy."""
    found = {strategy.name: strategy.seeds[0].scores for strategy in strategies if strategy.seeds}
    bootstrap = next((scores["bootstrap"] for scores in found.values() if scores.get("bootstrap")), None)
    if bootstrap is None:
        return []
    totals = [scores.get(ZERO_SHOT, {}) for scores in found.values()]
    names = list(dict.fromkeys(task for total in totals for task in total.get("tasks", ())))
    rows = []
    for key in ("aggregated", "sensitivity"):
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
        Grid(f"{share} confidence intervals", ("Zero-shot task", *found), tuple(rows), sortable=True),
    ]


def interval_cell(value: float | None, interval: Sequence[float] | None) -> Cell:
    """A value and its interval."""
    if value is None:
        return Cell(MISSING)
    beside = "" if interval is None else f"[{interval[0]:.2f}, {interval[1]:.2f}]"
    return Cell(number(value), beside, key=value)


def comparisons(found: Sequence[Comparison], names: Mapping[str, str]) -> list[Block]:
    """Paired differences between two runs each.

    Args:
        found: Contents of files of ``ofa-mi compare``.
        names: Name of the strategy by the resolved directory of a run.
    """
    blocks: list[Block] = []
    for comparison in found:
        first, second = (
            names.get(str(Path(comparison[side]["run"]).resolve()), comparison[side]["run"]) for side in "ab"
        )
        if first == second:
            first, second = comparison["a"]["run"], comparison["b"]["run"]
        blocks.append(Heading(f"{second} against {first}"))
        rows = []
        for section in (ZERO_SHOT, TRAINED):
            if section not in comparison:
                continue
            part = comparison[section]
            kind = TITLES[section].lower()
            for label in ("aggregated", "sensitivity"):
                if (total := part.get(label)) is not None:
                    rows.append(_difference_row(Cell(label.capitalize(), below=(kind,)), total, "total"))
            for task, values in part["tasks"].items():
                below = f"{METRIC_LABELS[values['metric']]}, n = {values['instances']}"
                rows.append(_difference_row(Cell(task_label(task), below=(below,)), values))
        columns = ("Task", first, second, "Difference", "p", "p (Holm)\nfor all tasks")
        blocks.append(Grid(f"{second} against {first}", columns, tuple(rows)))
        remarks = [*comparison.get("remarks", ())]
        remarks += [f"Not compared: {task} ({reason})." for task, reason in comparison.get("not_compared", {}).items()]
        blocks += [Paragraph(remark, remark=True) for remark in remarks]
    if blocks:
        blocks.insert(
            0,
            Paragraph(
                "Two runs on the same questions. The difference and its interval are from drawing the same images "
                "for both; p is from exchanging the two runs' scores at random, image by image; Holm's correction "
                "allows for as many tests as there are tasks. Other seeds of training are not in it."
            ),
        )
    return blocks


def _difference_row(label: Cell, values: Mapping[str, Any], kind: str = "") -> Row:
    p, holm = values.get("p"), values.get("p_holm")
    return Row(
        (
            label,
            Cell(number(values["a"]), key=values["a"]),
            Cell(number(values["b"]), key=values["b"]),
            signed_cell(values["difference"], values.get("interval")),
            Cell(_p_text(p), key=p),
            Cell(_p_text(holm), kind="best" if holm is not None and holm < 0.05 else "", key=holm),
        ),
        kind,
    )


def signed_cell(value: float | None, interval: Sequence[float] | None = None, *, heat: bool = False) -> Cell:
    """A difference with its sign."""
    if value is None:
        return Cell(MISSING)
    beside = "" if interval is None else f"[{interval[0]:+.2f}, {interval[1]:+.2f}]"
    return Cell(f"{value:+.2f}", beside, heat=min(abs(value) / 50, 1) if heat else None, key=value)


def _p_text(p: float | None) -> str:
    if p is None:
        return MISSING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


# -- Changed conditions


def robustness(strategies: Sequence[Strategy]) -> list[Block]:
    """What is left of the scores when the image, the options or the wording are changed."""
    changed = [strategy for strategy in strategies if strategy.changed]
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
        Heading("What the image contributes, and robustness", "robustness"),
        Paragraph(
            "The same models asked the same questions under another condition. Differences are to the plain run of "
            "the same checkpoint, over the tasks that both have, as a mean over seeds. If a score without the "
            "image is as high as with it, the model did not use the image."
        ),
        Items(notes),
        _condition_table(changed, summaries),
        Side(tuple(_condition_bars(strategies, conditions, summaries))),
        *(_task_differences(name, _answered(changed, name, summaries), summaries) for name in conditions),
    ]
    lacking = [
        f"{strategy.name} under {condition}"
        for strategy in changed
        for condition in strategy.changed
        if not summaries[strategy.name, condition]
    ]
    if lacking:
        text = f"Without a plain run of the same checkpoint, so nothing to compare with: {', '.join(lacking)}."
        blocks.append(Paragraph(text, remark=True))
    if any(condition == "other-task" for condition in conditions):
        blocks.append(
            Paragraph(
                "Inter-task sensitivity says how much of the score is lost when the instruction asks for another "
                "task. Near 0, the model does not read the instruction; docs/evaluation.md defines it."
            )
        )
    return blocks


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


def _values(summaries: Sequence[Mapping[str, Any]] | None, *keys: str) -> list[float]:
    values = []
    for summary in summaries or ():
        value: Any = summary.get(ZERO_SHOT)
        for key in keys:
            value = None if value is None else value.get(key)
        if value is not None:
            values.append(value)
    return values


def _mean(summaries: Sequence[Mapping[str, Any]] | None, *keys: str) -> float | None:
    values = _values(summaries, *keys)
    return fmean(values) if values else None


def _condition_table(changed: Sequence[Strategy], summaries: Mapping) -> Grid:
    """Totals of every strategy under every condition."""
    rows = []
    for strategy in changed:
        for condition in strategy.changed:
            if not (found := summaries[strategy.name, condition]):
                continue
            cells = []
            for name in ("aggregated", "sensitivity"):
                score, reference = _mean(found, name, "score"), _mean(found, name, "reference")
                cells += [Cell(number(reference), key=reference), Cell(number(score), key=score)]
                cells.append(signed_cell(_mean(found, name, "difference")))
            lost = _mean(found, "inter_task_sensitivity")
            heading = Cell(strategy.name, below=(condition,))
            rows.append(Row((heading, *cells, Cell(number(lost), key=lost))))
    columns = ["Strategy"]
    for name in ("Aggregated", "Sensitivity"):
        columns += [f"{name}\n{what}" for what in ("plain", "changed", "difference")]
    columns.append("Inter-task\nsensitivity")
    return Grid("Totals under changed conditions", tuple(columns), tuple(rows), kind="dense", sortable=True)


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
            figures.append(Figure(name, title, bar_chart(title, bars)))
    return figures


def _task_differences(condition: str, names: Sequence[str], summaries: Mapping) -> Grid:
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
    return Grid(title, ("Zero-shot task", *names), tuple(rows), sortable=True, folded=title)


# -- Subsets


def subsets(strategies: Sequence[Strategy]) -> list[Block]:
    """Scores of the parts of a task, such as the test tasks of Natural Instructions."""
    plain = [strategy for strategy in strategies if strategy.seeds]
    tasks = dict.fromkeys(
        name for s in plain for scores in s.scores for name, task in scores["tasks"].items() if task.get("subsets")
    )
    blocks: list[Block] = []
    for task in tasks:
        found = [[scores["tasks"].get(task, {}).get("subsets", {}) for scores in s.scores] for s in plain]
        names = sorted({name for seeds in found for subset in seeds for name in subset})
        rows = []
        for name in names:
            means = [[subset[name]["mean"] for subset in seeds if name in subset] for seeds in found]
            sizes = [subset[name]["instances"] for seeds in found for subset in seeds if name in subset]
            cells = [Cell(number(fmean(m)), key=fmean(m)) if m else Cell(MISSING) for m in means]
            rows.append(Row((Cell(name, below=(f"n = {max(sizes)}",)), *cells)))
        title = f"{task_label(task).capitalize()}: its parts"
        columns = ("Part", *(strategy.name for strategy in plain))
        blocks.append(Grid(title, columns, tuple(rows), sortable=True, folded=title))
    return blocks
