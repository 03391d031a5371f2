"""From scores per instruction to the numbers of the paper's tables.

Every task is run once per instruction. Its *mean*, *max* and *deviation* are over instructions; the
deviation is the sample deviation (n - 1), since the paper's cells exceed what a population
deviation could reach. *Sensitivity* (MultiInstruct, arXiv 2212.10773) is 100 times the mean over tasks of
deviation / mean; *aggregated* performance is the mean of the task means.
"""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ofa_mi.errors import ConfigError, shown

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TaskScores:
    """A task's score over instructions, from 0 to 100.

    Attributes:
        mean: Mean over instructions.
        deviation: Sample deviation over instructions; None for a single instruction, which has none.
        max: Best instruction; None where only mean and deviation are known.
    """

    mean: float
    deviation: float | None
    max: float | None = None

    @classmethod
    def of(cls, scores: Sequence[float]) -> TaskScores:
        """Summary of one score per instruction.

        Raises:
            ConfigError: There is no score, or one is not a finite number.
        """
        if not len(scores):
            raise ConfigError("a task has no score; it needs one per instruction")
        scores = [float(score) for score in scores]
        if not all(map(math.isfinite, scores)):
            raise ConfigError(f"a score is not a finite number: {scores}")
        deviation = statistics.stdev(scores) if len(scores) > 1 else None
        return cls(statistics.fmean(scores), deviation, max(scores))


@dataclass(frozen=True, slots=True)
class SensitivityReport:
    """Sensitivity, to wording or to the task, and what went into it.

    Attributes:
        value: Mean over the tasks that count; NaN if no task is left.
        tasks: Sensitivity of every task that counts.
        left_out: Tasks that do not count, each with the reason.
    """

    value: float
    tasks: dict[str, float]
    left_out: dict[str, str]


def sensitivity(scores: Mapping[str, Sequence[float] | TaskScores | Mapping[str, float]]) -> float:
    """Sensitivity to the wording of instructions; lower is better.

    Args:
        scores: For every task one score per instruction or, where only its mean and deviation are
            known, a :class:`TaskScores` or a mapping with these two (an entry of ``scores.json`` is
            one). A plain sequence always holds scores, whatever its length.

    Returns:
        ``100 x mean over tasks of (sample deviation / mean)``. Tasks with mean 0 or with a single
        instruction have no such ratio: they are left out and named in a warning
        (:func:`sensitivity_report` returns them). NaN if no task is left.
    """
    report = sensitivity_report(scores)
    for task, reason in report.left_out.items():
        logger.warning("sensitivity leaves out %s: %s", task, reason)
    return report.value


def sensitivity_report(scores: Mapping[str, Sequence[float] | TaskScores | Mapping[str, float]]) -> SensitivityReport:
    """As :func:`sensitivity`, with the tasks that count and those that are left out."""
    tasks: dict[str, float] = {}
    left_out: dict[str, str] = {}
    for task, value in scores.items():
        summary = _summary(task, value)
        if summary.deviation is None:
            left_out[task] = "it has one instruction only"
        elif summary.mean == 0:
            left_out[task] = "its mean is 0"
        else:
            tasks[task] = 100.0 * summary.deviation / summary.mean
    return SensitivityReport(statistics.fmean(tasks.values()) if tasks else math.nan, tasks, left_out)


def inter_task_sensitivity(own: Mapping[str, float], other: Mapping[str, float]) -> SensitivityReport:
    """Whether a model does what it is told: how far scores fall when the instruction asks for something else.

    Sensitivity is low for a model that understands every wording, and for one that reads none. This tells the two
    apart. Every instance is asked twice, with the same image and inputs: once under its own instructions, and once
    under those of a task that wants another answer (``--perturb other-task``). With the means mu and nu over
    instructions it is ``100 x mean over tasks of (mu - nu) / mu``: 0 if the instruction makes no difference,
    100 if nothing is left of the score.

    It measures reaction, not obedience: what the model says instead is not scored.

    Args:
        own: Mean of every task under its own instructions.
        other: Mean under the other task's.

    Returns:
        The value, NaN if no task is left; ``tasks``; and what is ``left_out``: tasks with mean 0, and those that
        only one of the two holds.
    """
    tasks: dict[str, float] = {}
    left_out: dict[str, str] = {}
    for task in [*own, *(task for task in other if task not in own)]:
        if task not in other:
            left_out[task] = "it was not run under another task's instructions"
        elif task not in own:
            left_out[task] = "it was not run under its own instructions"
        elif own[task] == 0:
            left_out[task] = "its mean is 0"
        else:
            tasks[task] = 100.0 * (own[task] - other[task]) / own[task]
    return SensitivityReport(statistics.fmean(tasks.values()) if tasks else math.nan, tasks, left_out)


def aggregated(means: Mapping[str, float]) -> float:
    """Aggregated performance: the mean of the task means.

    The paper's is over its nine evaluation tasks (commonsense VQA by ROUGE-L) and, where Natural
    Instructions was evaluated, its ROUGE-L as one further entry.

    Raises:
        ConfigError: ``means`` is empty.
    """
    if not means:
        raise ConfigError("no task to aggregate")
    return statistics.fmean(means.values())


def _summary(task: str, value: Sequence[float] | TaskScores | Mapping[str, float]) -> TaskScores:
    if isinstance(value, TaskScores):
        return value
    try:
        if isinstance(value, Mapping):
            return TaskScores(float(value["mean"]), None if value["deviation"] is None else float(value["deviation"]))
        if not isinstance(value, str) and hasattr(value, "__len__"):
            return TaskScores.of(value)
    except ConfigError as error:
        raise ConfigError(f"{task}: {error}") from None
    except (KeyError, TypeError, ValueError):
        pass
    raise ConfigError(
        f"{task}: expected one score per instruction or TaskScores(mean, deviation), found {shown(value)}"
    )
