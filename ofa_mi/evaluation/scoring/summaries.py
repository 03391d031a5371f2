"""Runs of one strategy under several conditions of its evaluation, in one."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ofa_mi.errors import ConfigError
from ofa_mi.evaluation.scoring.protocol import (
    SensitivityReport,
    TaskScores,
    aggregated,
    inter_task_sensitivity,
    sensitivity_report,
)
from ofa_mi.evaluation.scoring.scores import SECTION_OF_SPLIT

Scores = Mapping[str, Any]  # content of a scores.json


def robustness_summary(reference: Scores, variants: Mapping[str, Scores]) -> dict[str, Any]:
    """How the scores of a model change with the conditions of the evaluation.

    Args:
        reference: Content of ``scores.json`` of its normal run.
        variants: The same of its runs under other conditions, by label.

    Returns:
        By label: ``conditions``, and for ``zero_shot`` and ``trained`` tasks ``tasks`` (by name: metric,
        ``reference``, ``score``, ``difference`` and ``relative``, the difference in percent of the reference, None
        where that is 0), ``aggregated`` and ``sensitivity`` over the tasks that both runs have (None where there is
        none), and, for instructions of another task, ``inter_task_sensitivity`` with what it ``left_out``.

    Raises:
        ConfigError: A variant is scored by other metrics than the reference.
    """
    return {label: _against(reference, variant, label) for label, variant in variants.items()}


def _against(reference: Scores, variant: Scores, label: str) -> dict[str, Any]:
    result: dict[str, Any] = {"conditions": variant["conditions"]}
    for section in SECTION_OF_SPLIT.values():
        if section in reference and section in variant:
            result[section] = _section_against(reference, variant, section, label)
    return result


def _section_against(reference: Scores, variant: Scores, section: str, label: str) -> dict[str, Any]:
    """Changes of the tasks of one kind."""
    names = [name for name in reference[section]["tasks"] if name in variant[section]["tasks"]]
    metrics = {name: reference["tasks"][name]["metric"] for name in names}
    for name, metric in metrics.items():
        if (other := variant["tasks"][name]["metric"]) != metric:
            raise ConfigError(f"{label}: {name} is scored by {other}, not by {metric}")
    own, changed = ({name: _primary(run, name) for name in names} for run in (reference, variant))
    counted = [name for name in names if name not in reference[section]["not_aggregated"]]
    means = [{name: run[name].mean for name in counted} for run in (own, changed)]
    inter_task = SensitivityReport(math.nan, {}, {})
    if variant["conditions"]["perturb"] == "other-task":
        inter_task = inter_task_sensitivity(*means)
    return {
        "tasks": {
            name: {"metric": metrics[name]}
            | _change(own[name].mean, changed[name].mean)
            | {"relative": 100 * (changed[name].mean / own[name].mean - 1) if own[name].mean else None}
            for name in names
        },
        "aggregated": _change(*map(aggregated, means)) if counted else None,
        "sensitivity": _sensitivity_change(own, changed, counted),
        "inter_task_sensitivity": None if math.isnan(inter_task.value) else inter_task.value,
        "left_out": inter_task.left_out,
    }


def _primary(run: Scores, name: str) -> TaskScores:
    task = run["tasks"][name]
    scores = task["metrics"][task["metric"]]
    return TaskScores(scores["mean"], scores["deviation"], scores["max"])


def _sensitivity_change(
    own: Mapping[str, TaskScores], changed: Mapping[str, TaskScores], counted: Sequence[str]
) -> dict[str, float] | None:
    """Sensitivity over the tasks that have one in both runs."""
    reports = [sensitivity_report({name: run[name] for name in counted}).tasks for run in (own, changed)]
    both = [name for name in counted if all(name in report for report in reports)]
    return _change(*(statistics.fmean(report[name] for name in both) for report in reports)) if both else None


def _change(reference: float, score: float) -> dict[str, float]:
    return {"reference": reference, "score": score, "difference": score - reference}
