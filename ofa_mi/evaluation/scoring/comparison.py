"""Two runs side by side: is one better than the other, or could it be luck?

Both answered the same instances, so every instance is compared with itself. Its score is the mean over the
instructions of its run, by the task's primary metric, computed anew for both, so that the rules are the same; the
number of instructions may differ, as it does between instructions and task names. What is compared with what, and
what is not, is said in words.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from ofa_mi.document.text import aligned
from ofa_mi.evaluation.metrics import get_metric
from ofa_mi.evaluation.predictions import Record
from ofa_mi.evaluation.scoring.protocol import sensitivity_report
from ofa_mi.evaluation.scoring.resampling import (
    PERMUTATIONS,
    REPLICATES,
    SEED,
    ImageSums,
    bootstrap_means,
    holm,
    interval,
    sign_flip_p,
)
from ofa_mi.evaluation.scoring.scores import (
    PREDICTIONS,
    SECTION_OF_SPLIT,
    replicated_aggregate,
    replicated_sensitivity,
    scored_records,
)
from ofa_mi.instructions.spec import GROUPS_APART

TITLES = {"zero_shot": "Zero-shot tasks", "trained": "Trained tasks"}


def compare_runs(
    first: Path, second: Path, *, permutations: int = PERMUTATIONS, replicates: int = REPLICATES, seed: int = SEED
) -> dict[str, Any]:
    """Differences between two runs with intervals and p values.

    Args:
        first: Directory of run ``a``, the one to compare with.
        second: Directory of run ``b``; differences are ``b - a``.
        permutations: Worlds of the permutation test.
        replicates: Of the bootstrap.
        seed: Of both.

    Returns:
        ``a`` and ``b`` (``run``, ``conditions``), ``remarks``, ``not_compared`` (task to reason), and for
        ``zero_shot`` and ``trained`` tasks, where there are any: ``tasks`` (by name: metric, number of instances and
        images, ``a``, ``b``, ``difference``, ``interval``, ``p``, ``p_holm``), ``aggregated`` and
        ``sensitivity``. Totals leave out the group ``extra``; sensitivity has no p, since flipping signs says
        nothing about a ratio.

    Raises:
        DataError: The predictions of a run cannot be read, or there are none.
    """
    runs = [_Run.read(directory) for directory in (first, second)]
    pairs, not_compared, remarks = _pairs(*runs)
    result: dict[str, Any] = {
        name: {"run": str(directory), "conditions": asdict(run.conditions)}
        for name, directory, run in zip("ab", (first, second), runs, strict=True)
    }
    result |= {"remarks": remarks, "not_compared": not_compared}
    for split, section in SECTION_OF_SPLIT.items():
        chosen = {name: pair for name, pair in pairs.items() if pair.record.split == split}
        if chosen:
            result[section] = _section(chosen, permutations, replicates, seed)
    return result


def format_comparison(comparison: Mapping[str, Any]) -> str:
    """What :func:`compare_runs` found, for a terminal."""
    lines = [f"{name.upper()}: {comparison[name]['run']}" for name in "ab"]
    for section, title in TITLES.items():
        if section in comparison:
            lines += ["", f"{title}: B - A with its 95 % interval; p by permutation, corrected for the number of tasks"]
            lines += _table(comparison[section])
    lines += [""] * bool(comparison["remarks"] or comparison["not_compared"]) + comparison["remarks"]
    lines += [f"{task}: not compared: {reason}." for task, reason in comparison["not_compared"].items()]
    return "\n".join(lines)


@dataclass
class _Instance:
    """What a run said about one instance."""

    record: Record
    scores: dict[int, float] = field(default_factory=dict)  # by instruction

    def same_truth(self, other: _Instance) -> bool:
        """Whether the right answers and the options are the same, in whatever order the options are."""
        return all(
            sorted(map(repr, getattr(self.record, name) or ())) == sorted(map(repr, getattr(other.record, name) or ()))
            for name in ("references", "answers", "target_boxes", "target_set", "options")
        )


@dataclass
class _Task:
    """What a run said about one task."""

    record: Record
    instances: dict[str, _Instance] = field(default_factory=dict)  # by unique_id
    instructions: set[int] = field(default_factory=set)

    @property
    def metric(self) -> str:
        return next(iter(self.record.scores))

    def complete(self) -> dict[str, _Instance]:
        """Instances that were answered under every instruction of the run."""
        return {name: one for name, one in self.instances.items() if len(one.scores) == len(self.instructions)}

    def matrix(self, names: Sequence[str]) -> np.ndarray:
        """Scores of instances, ``(instructions, n)``."""
        return np.array([[self.instances[name].scores[i] for name in names] for i in sorted(self.instructions)])


@dataclass
class _Run:
    """The answers of a run by task."""

    tasks: dict[str, _Task]

    @classmethod
    def read(cls, directory: Path) -> _Run:
        tasks: dict[str, _Task] = {}
        for record in scored_records(directory / PREDICTIONS):
            task = tasks.setdefault(record.task, _Task(record))
            instance = task.instances.setdefault(record.unique_id, _Instance(record))
            instance.scores[record.instruction] = next(iter(record.scores.values()))
            task.instructions.add(record.instruction)
        return cls(tasks)

    @property
    def conditions(self):
        return next(iter(self.tasks.values())).record.conditions


@dataclass(frozen=True)
class _Pair:
    """The instances of a task that both runs answered.

    Attributes:
        record: Any record of the task.
        images: What each instance is resampled with, ``n`` keys.
        scores: Of the two runs, each ``(instructions, n)``.
    """

    record: Record
    images: list[tuple[str, ...]]
    scores: tuple[np.ndarray, np.ndarray]

    @property
    def metric(self) -> str:
        return next(iter(self.record.scores))

    @property
    def counts(self) -> bool:
        """Whether it enters the totals."""
        return not (self.record.split == "eval" and self.record.group in GROUPS_APART)

    def means(self) -> tuple[float, float]:
        """Scores of the two runs."""
        return tuple(float(scores.mean()) for scores in self.scores)

    def sums(self, numbers: Mapping[tuple[str, ...], int], run: int) -> ImageSums:
        """Scores of one run added up by image, of which ``numbers`` are given."""
        images, scores = [numbers[key] for key in self.images], self.scores[run]
        return ImageSums.of([images] * len(scores), [scores])

    def differences(self, numbers: Mapping[tuple[str, ...], int]) -> ImageSums:
        """Differences of the instances added up by image."""
        first, second = (scores.mean(axis=0) for scores in self.scores)
        added = ImageSums.of([[numbers[key] for key in self.images]], [[second - first]])
        return ImageSums(added.images, added.sums[0, 0], added.counts[0, 0])


def _pairs(first: _Run, second: _Run) -> tuple[dict[str, _Pair], dict[str, str], list[str]]:
    """The tasks that compare; why others do not; and what a reader must know of those that do."""
    pairs: dict[str, _Pair] = {}
    not_compared: dict[str, str] = {}
    notes: dict[str, list[str]] = defaultdict(list)
    for name in sorted({*first.tasks, *second.tasks}):
        if name not in first.tasks or name not in second.tasks:
            not_compared[name] = f"only run {'A' if name in first.tasks else 'B'} has it"
            continue
        one, other = first.tasks[name], second.tasks[name]
        shared = sorted(one.complete().keys() & other.complete().keys())
        if reason := _obstacle(one, other, shared):
            not_compared[name] = reason
            continue
        for note in _notes(one, other, len(shared)):
            notes[note].append(name)
        images = [one.instances[key].record.image_key for key in shared]
        pairs[name] = _Pair(one.record, images, (one.matrix(shared), other.matrix(shared)))
    remarks = [
        *_different_conditions(first, second),
        *(f"{', '.join(names)}: {note}." for note, names in notes.items()),
    ]
    return pairs, not_compared, remarks


def _obstacle(one: _Task, other: _Task, shared: list[str]) -> str | None:
    """Why a task does not compare, if so."""
    if one.metric != other.metric:
        return f"its metric is {one.metric} in A and {other.metric} in B"
    if get_metric(one.metric).corpus is not None:
        return f"{one.metric} is computed over all answers together, so instances have no scores to compare"
    a, b = one.record, other.record
    # The version of other instructions, in another language or reworded, says nothing about these.
    same_instructions = a.language == b.language and (a.perturb == "paraphrase") == (b.perturb == "paraphrase")
    if same_instructions and a.task_version != b.task_version:
        return f"A answered version {a.task_version} of the task and B version {b.task_version}"
    if not shared:
        return "the runs have no instance in common"
    if changed := sum(not one.instances[key].same_truth(other.instances[key]) for key in shared):
        return f"{changed} of {len(shared)} instances have other options or another right answer in B: other data"
    return None


def _notes(one: _Task, other: _Task, shared: int) -> Iterator[str]:
    """What must be known to read a comparison of a task."""
    a, b = one.record, other.record
    if a.language != b.language:
        yield f"the instructions are in {a.language} in A and in {b.language} in B"
    if a.mode != b.mode:
        yield f"answers are decoded in mode {a.mode} in A and {b.mode} in B; a mode may tell what an answer looks like"
    if one.instructions != other.instructions:
        numbers = (", ".join(str(i + 1) for i in sorted(task.instructions)) for task in (one, other))
        yield "the instructions are {} in A and {} in B".format(*numbers)
    if left := len({*one.instances, *other.instances}) - shared:
        yield f"{left} instances are left out, which not both runs answered under all their instructions"


def _different_conditions(first: _Run, second: _Run) -> list[str]:
    a, b = (run.conditions.label or "as usual" for run in (first, second))
    return [f"The runs were asked under different conditions: A {a}, B {b}."] if a != b else []


def _section(pairs: Mapping[str, _Pair], permutations: int, replicates: int, seed: int) -> dict[str, Any]:
    """The comparison of the tasks of one kind."""
    counted = [name for name, pair in pairs.items() if pair.counts]
    images = sorted({key for pair in pairs.values() for key in pair.images})
    numbers = {key: number for number, key in enumerate(images)}
    p, p_all = sign_flip_p(
        {name: pair.differences(numbers) for name, pair in pairs.items()},
        len(images),
        counted=counted,
        permutations=permutations,
        seed=seed,
    )
    sums = {(name, run): pair.sums(numbers, run) for name, pair in pairs.items() for run in (0, 1)}
    means = bootstrap_means(sums, len(images), replicates=replicates, seed=seed)
    means = {key: values[:, 0] for key, values in means.items()}  # of one metric
    corrected = holm(p)
    tasks = {
        name: {"metric": pair.metric, "instances": len(pair.images), "images": len(set(pair.images))}
        | _difference(pair.means(), [means[name, run].mean(axis=1) for run in (0, 1)], len(set(pair.images)))
        | {"p": p[name], "p_holm": corrected[name]}
        for name, pair in pairs.items()
    }
    aggregated = sensitivity = None
    if counted:
        scores = [fmean(pairs[name].means()[run] for name in counted) for run in (0, 1)]
        replicated = [replicated_aggregate([means[name, run] for name in counted]) for run in (0, 1)]
        aggregated = _difference(scores, replicated, len(images)) | {"p": p_all}
    if both := _sensitivities(pairs, counted):
        scores = [fmean(values[run] for values in both.values()) for run in (0, 1)]
        replicated = [replicated_sensitivity([means[name, run] for name in both]) for run in (0, 1)]
        sensitivity = _difference(scores, replicated, len(images))
    return {"tasks": tasks, "aggregated": aggregated, "sensitivity": sensitivity}


def _sensitivities(pairs: Mapping[str, _Pair], counted: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Sensitivity of both runs, by task; of the tasks that have one in both."""
    first, second = (
        sensitivity_report({name: pairs[name].scores[run].mean(axis=1) for name in counted}).tasks for run in (0, 1)
    )
    return {name: (first[name], second[name]) for name in first if name in second}


def _difference(scores: Sequence[float], replicates: Sequence[np.ndarray], images: int) -> dict[str, Any]:
    """Both scores and their difference; a single image varies with nothing, so it has no interval."""
    a, b = scores
    return {
        "a": a,
        "b": b,
        "difference": b - a,
        "interval": interval(replicates[1] - replicates[0]) if images > 1 else None,
    }


def _table(section: Mapping[str, Any]) -> list[str]:
    """Aligned lines of one kind of tasks."""
    rows = [["task", "metric", "n", "A", "B", "B - A", "interval", "p", "p corrected"]]
    for name, task in section["tasks"].items():
        cells = [name, task["metric"], str(task["instances"]), *_numbers(task)]
        rows.append([*cells, f"{task['p']:.4f}", f"{task['p_holm']:.4f}"])
    for name in ("aggregated", "sensitivity"):
        if (total := section[name]) is not None:
            rows.append([name, "", "", *_numbers(total), f"{total['p']:.4f}" if "p" in total else "", ""])
    lines = aligned(rows, range(2, len(rows[0])))
    rule = "-" * len(lines[0])
    return [rule, lines[0], rule, *(line.rstrip() for line in lines[1:])]


def _numbers(values: Mapping[str, Any]) -> list[str]:
    low, high = values["interval"] or (math.nan, math.nan)
    ends = "-" if math.isnan(low) else f"[{low:+.2f}, {high:+.2f}]"
    return [f"{values['a']:.2f}", f"{values['b']:.2f}", f"{values['difference']:+.2f}", ends]
