"""Whether a model is above what can be reached without looking: tests of scores against chance and majority."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from ofa_mi.evaluation.scoring.resampling import ImageSums, holm, mean_above_p

ALPHA = 0.01  # a task is above its baseline if the corrected p is below
_DIGITS = 6  # significant, of p; beyond them two machines may round a sum in another way


def baseline_test(scores: ImageSums, metric: Mapping[str, Any]) -> dict[str, float] | None:
    """Test of a score against the better of chance and majority.

    The level counts as known. The majority answer is that of the very instances that are scored, so that answering it
    always is never above it.

    Args:
        scores: Of all instructions, added up by image, ``(k,)``.
        metric: Entry of the metric in ``scores.json``: ``mean``, ``chance`` and ``majority``.

    Returns:
        ``level``, ``difference`` (mean - level) and ``p``, one-sided against "the expected score is at most the
        level" by :func:`~ofa_mi.evaluation.scoring.resampling.mean_above_p`; None where there is neither level, or no
        score.
    """
    levels = [level for name in ("chance", "majority") if _known(level := metric[name])]
    if not levels or not _known(metric["mean"]):
        return None
    p = mean_above_p(scores, max(levels))
    return {"level": max(levels), "difference": metric["mean"] - max(levels), "p": float(f"{p:.{_DIGITS}g}")}


def correct_tests(tasks: Mapping[str, dict[str, Any]], apart: Collection[str]) -> dict[str, dict[str, Any] | None]:
    """Correct the tests of a section's tasks for their number, and count what they found.

    The tasks that count for the totals are one family, those beside the benchmark another one: how many of the latter
    a run evaluates must not change what it says of the former.

    Args:
        tasks: Entries of ``scores["tasks"]``, of which each ``above_baseline`` gets its ``p_holm``.
        apart: Those beside the benchmark.

    Returns:
        ``above_baseline`` and ``above_baseline_apart``, for either family ``alpha``, the number of tasks ``above``
        their baseline and ``of`` how many that have one; None where none has.
    """
    tests = {name: task["above_baseline"] for name, task in tasks.items() if task["above_baseline"] is not None}
    families = {
        "above_baseline": {name: test for name, test in tests.items() if name not in apart},
        "above_baseline_apart": {name: test for name, test in tests.items() if name in apart},
    }
    return {key: _corrected(family) if family else None for key, family in families.items()}


def is_above(test: Mapping[str, Any]) -> bool:
    """Whether a corrected test found the task above its baseline."""
    return test["p_holm"] < ALPHA


def _corrected(tests: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    for name, p in holm({name: test["p"] for name, test in tests.items()}).items():
        tests[name]["p_holm"] = p
    return {"alpha": ALPHA, "above": sum(map(is_above, tests.values())), "of": len(tests)}


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
