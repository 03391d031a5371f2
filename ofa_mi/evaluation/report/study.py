"""What a report is about: strategies, the runs of each that differ by their seed, and what stands beside them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ofa_mi.errors import ConfigError
from ofa_mi.evaluation.conditions import Conditions
from ofa_mi.evaluation.formats import Comparison, read_attention_file, read_comparison
from ofa_mi.evaluation.report.published import PaperRow, paper_rows
from ofa_mi.evaluation.report.training import TrainingLog, read_training_log
from ofa_mi.evaluation.scoring.scores import SECTION_OF_SPLIT, read_run, read_scores, summarise
from ofa_mi.evaluation.scoring.tables import Scores

TASK_NAME = "task-name"  # a condition, but the plain protocol of a strategy that knows no instructions


@dataclass(frozen=True)
class Run:
    """One directory that ``ofa-mi evaluate`` wrote.

    Attributes:
        directory: The directory.
        scores: Content of its ``scores.json``.
        settings: What it ran, of its ``run.json``.
        notes: Paths and versions, of its ``run.json``.
    """

    directory: Path
    scores: Scores
    settings: Mapping[str, Any]
    notes: Mapping[str, Any]

    @classmethod
    def read(cls, directory: str | Path) -> Run:
        """Read a run.

        Raises:
            ConfigError: It is none, or was not scored.
            DataError: A file of it is damaged.
        """
        directory = Path(directory)
        scores, run = read_scores(directory), read_run(directory)
        return cls(directory, scores, run["settings"], run["notes"])

    @property
    def checkpoint(self) -> str | None:
        """Hash of the model's file; None for a model without one."""
        return self.settings.get("checkpoint")

    @property
    def condition(self) -> str:
        """How it differs from the plain protocol, such as ``image none``; empty if it does not."""
        return Conditions(**self.scores.get("conditions", {})).label

    @property
    def tasks(self) -> set[str]:
        """Tasks that it ran."""
        return set(self.scores["tasks"])


@dataclass(frozen=True)
class Seed:
    """Everything that was run of one model under one condition.

    Attributes:
        runs: Directories, each with other tasks.
    """

    runs: tuple[Run, ...]

    @property
    def scores(self) -> Scores:
        """As a ``scores.json`` of all its tasks."""
        if len(self.runs) == 1:
            return self.runs[0].scores
        tasks = {name: entry for run in self.runs for name, entry in run.scores["tasks"].items()}
        joined: dict[str, Any] = {"tasks": dict(sorted(tasks.items()))}
        for split, section in SECTION_OF_SPLIT.items():
            if chosen := {name: task for name, task in joined["tasks"].items() if task["split"] == split}:
                joined[section] = summarise(chosen)
        return joined


@dataclass(frozen=True)
class Strategy:
    """A way of training.

    Attributes:
        name: Its name.
        seeds: Models trained so that differ by their seed, under the plain protocol.
        changed: The same models under changed conditions, by the name of the condition.
    """

    name: str
    seeds: tuple[Seed, ...]
    changed: Mapping[str, tuple[Seed, ...]]

    @property
    def scores(self) -> list[Scores]:
        """Scores of every seed under the plain protocol."""
        return [seed.scores for seed in self.seeds]

    @property
    def runs(self) -> list[Run]:
        """All directories."""
        return [run for seed in itertools.chain(self.seeds, *self.changed.values()) for run in seed.runs]


@dataclass(frozen=True)
class Point:
    """A model of an ablation.

    Attributes:
        place: Its place on the curve, as given.
        seeds: Models there that differ by their seed.
    """

    place: str
    seeds: tuple[Seed, ...]


@dataclass(frozen=True)
class Curve:
    """An ablation: what changes from point to point.

    Attributes:
        name: What is changed.
        points: In the order of the axis.
    """

    name: str
    points: tuple[Point, ...]

    @property
    def numeric(self) -> bool:
        """Whether all places are numbers."""
        return all(_is_number(point.place) for point in self.points)


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What a report is made of; everything but the runs or an ablation may be missing.

    Attributes:
        runs: Name of the strategy and directory of every run, as :func:`read_strategies` takes them.
        ablations: Name of the curve, place on it, and directory of a run.
        published: Whether the paper's rows stand beside.
        attention: Files of ``ofa-mi attention``.
        comparisons: Files of ``ofa-mi compare``.
        logs: Name and log of ``fairseq-train --log-format json``; several of a name are its seeds.
        title: Heading.
        notes: Paragraphs of plain text under the heading.
        examples: So many of each kind per task.
    """

    runs: Sequence[tuple[str, str | Path]] = ()
    ablations: Sequence[tuple[str, str, str | Path]] = ()
    published: bool = False
    attention: Sequence[str | Path] = ()
    comparisons: Sequence[str | Path] = ()
    logs: Sequence[tuple[str, str | Path]] = ()
    title: str = "Evaluation report"
    notes: Sequence[str] = ()
    examples: int = 2


@dataclass(frozen=True, kw_only=True)
class Study:
    """All that a report shows.

    Attributes:
        strategies: In the order in which they are first named.
        curves: Ablations.
        paper: The paper's rows by strategy; empty if they are not wanted.
        comparisons: Contents of files of ``ofa-mi compare``.
        attention: Contents of files of ``ofa-mi attention`` and, as ``folder``, where each lies.
        logs: Name and curves of every training.
        examples: So many examples of each kind per task.
    """

    strategies: Sequence[Strategy] = ()
    curves: Sequence[Curve] = ()
    paper: Mapping[str, PaperRow] = field(default_factory=dict)
    comparisons: Sequence[Comparison] = ()
    attention: Sequence[Mapping[str, Any]] = ()
    logs: Sequence[tuple[str, TrainingLog]] = ()
    examples: int = 0

    @property
    def names(self) -> list[str]:
        """Names of the strategies; the place of each is the number of its colour."""
        return [strategy.name for strategy in self.strategies]

    @classmethod
    def read(cls, options: ReportOptions) -> Study:
        """Read all files of a report; errors as in :func:`~ofa_mi.evaluation.report.build_report`."""
        if not (options.runs or options.ablations or options.attention):
            raise ConfigError("a report needs at least one run, --ablation or --attention")
        return cls(
            strategies=read_strategies(options.runs),
            curves=read_curves(options.ablations),
            paper=paper_rows(options.published),
            comparisons=[read_comparison(Path(path)) for path in options.comparisons],
            attention=[read_attention(Path(path)) for path in options.attention],
            logs=[(name, read_training_log(Path(path))) for name, path in options.logs],
            examples=options.examples,
        )


def read_attention(path: Path) -> Mapping[str, Any]:
    """A file of ``ofa-mi attention`` and, as ``folder``, where it lies; :class:`DataError` if it is none."""
    return {**read_attention_file(path), "folder": path.parent}


def read_strategies(runs: Iterable[tuple[str, str | Path]]) -> list[Strategy]:
    """Strategies in the order in which they are first named.

    Args:
        runs: Name and directory of every run. Runs of one name are its seeds if their checkpoints differ, parts of
            one seed if they ran other tasks with the same checkpoint, and comparisons if their condition differs.

    Raises:
        ConfigError: A directory is no scored run, or two runs of a name ask the same model the same.
    """
    grouped: dict[str, dict[str, list[Run]]] = {}
    for name, directory in runs:
        run = Run.read(directory)
        grouped.setdefault(name, {}).setdefault(run.condition, []).append(run)
    strategies = []
    for name, conditions in grouped.items():
        if "" not in conditions and TASK_NAME in conditions:
            conditions[""] = conditions.pop(TASK_NAME)
        seeds = {condition: _seeds(name, members) for condition, members in conditions.items()}
        strategies.append(Strategy(name, seeds.pop("", ()), seeds))
    return strategies


def read_curves(points: Iterable[tuple[str, str, str | Path]]) -> list[Curve]:
    """Ablations in the order in which they are first named.

    Args:
        points: Name of the curve, place on it, and directory of a run. Places that are all numbers are sorted.

    Raises:
        ConfigError: As in :func:`read_strategies`, or a run of an ablation is not under the plain protocol.
    """
    grouped: dict[str, dict[str, list[Run]]] = {}
    for name, place, directory in points:
        run = Run.read(directory)
        if run.condition not in ("", TASK_NAME):
            raise ConfigError(f"--ablation {name}: {directory} is a run with {run.condition}; give a plain one")
        grouped.setdefault(name, {}).setdefault(place, []).append(run)
    curves = []
    for name, places in grouped.items():
        found = [Point(place, _seeds(f"{name}={place}", runs)) for place, runs in places.items()]
        if all(_is_number(place) for place in places):
            found.sort(key=lambda point: float(point.place))
        curves.append(Curve(name, tuple(found)))
    return curves


def _seeds(name: str, runs: Sequence[Run]) -> tuple[Seed, ...]:
    """Runs of one condition, put together by their checkpoint."""
    models: dict[object, list[Run]] = {}
    for number, run in enumerate(runs):
        model = models.setdefault(number if run.checkpoint is None else run.checkpoint, [])
        for earlier in model:
            if both := earlier.tasks & run.tasks:
                raise ConfigError(
                    f"{earlier.directory} and {run.directory}, both {name!r}, ran the same checkpoint on the same task "
                    f"({min(both)}), so they are not two seeds; leave one out, or give it another name"
                )
        model.append(run)
    return tuple(Seed(tuple(parts)) for parts in models.values())


def _is_number(text: str) -> bool:
    try:
        return float(text) == float(text)
    except ValueError:
        return False
