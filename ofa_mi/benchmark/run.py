"""Runs cases: values first, then time, in turns."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property
from statistics import median
from typing import Any

import torch

from ofa_mi.benchmark.baseline import Baseline
from ofa_mi.benchmark.case import Case, Difference, difference
from ofa_mi.benchmark.measure import Parts, Sample, sample
from ofa_mi.benchmark.released import Released
from ofa_mi.benchmark.table import BASELINE, OURS, RELEASED, Row
from ofa_mi.benchmark.train import BaselineTraining, Training, TrainingParts
from ofa_mi.errors import OfaMiError
from ofa_mi.models.inference import for_inference

EXACT = "fp32"


class Runner:
    """The contenders, each with the same weights.

    Args:
        model: The model as it is trained.
        dictionary: Its vocabulary.
        precisions: In which ours computes.
        released: The released code, if there is a checkout of it.
        repeats: Turns of everyone.
    """

    def __init__(self, model, dictionary, precisions: Sequence[str], released: Released | None, repeats: int) -> None:
        self.device = next(model.parameters()).device
        self.model, self.dictionary, self.precisions = model, dictionary, precisions
        self.baseline = Baseline(model, dictionary)
        self.released, self.repeats = released, repeats

    @cached_property
    def models(self) -> dict[str, Any]:
        """Ours for inference, by precision."""
        return {precision: for_inference(self.model, precision) for precision in self.precisions}

    @cached_property
    def trainings(self) -> dict[str, Training]:
        """Ours for training, by precision."""
        return {precision: Training(self.model, self.dictionary, precision) for precision in self.precisions}

    @cached_property
    def baseline_training(self) -> Training:
        """The baseline for training."""
        return BaselineTraining(self.model, self.dictionary, self.baseline)

    @torch.no_grad()
    def run(self, case: Case) -> list[Row]:
        """Compare all contenders, then time them.

        Raises:
            OfaMiError: Their outputs differ by more than rounding.
        """
        contenders = self._contenders(case)
        first, expected = None, None
        differences: dict[tuple[str, str], Difference] = {}
        for name, contender in contenders.items():
            values = contender().values
            if expected is None:
                first, expected = name, values
            found = differences[name] = difference(values, expected)
            if name[1] == EXACT and not (found.alike and found.scores <= case.tolerance):
                raise OfaMiError(
                    f"{case.work}: {' '.join(name)} differs from {' '.join(first)} (scores by {found.scores:.1e}, "
                    f"{found.answers:.0%} of the answers the same): nothing is timed"
                )
        samples: dict[tuple[str, str], list[Sample]] = {name: [] for name in contenders}
        for _ in range(self.repeats):
            for name, contender in contenders.items():
                samples[name].append(contender())
        return [self._row(case, name, samples, differences[name]) for name in contenders]

    def _contenders(self, case: Case) -> dict[tuple[str, str], Callable[[], Sample]]:
        """By name and precision, the one that the others are compared with first."""
        contenders: dict[tuple[str, str], Callable[[], Sample]] = {}
        if self.released is not None:
            if case.inputs:
                self.released.inputs(case.inputs)
            do, arguments = case.released
            contenders[RELEASED, EXACT] = lambda: self.released.run(do, **arguments)
        baseline = self.baseline_training if case.trains else self.baseline
        contenders[BASELINE, EXACT] = lambda: sample(lambda: case.baseline(baseline), self.device)
        for precision, model in (self.trainings if case.trains else self.models).items():
            contenders[OURS, precision] = lambda model=model: sample(lambda: case.ours(model), self.device)
        return contenders

    def _row(self, case: Case, name: tuple[str, str], samples: dict, found: Difference) -> Row:
        medians = {other: self._seconds(taken) for other, taken in samples.items()}
        contender, precision = name
        sizes = {key: value for key, value in asdict(case.setting).items() if key not in ("device", "vocabulary")}
        return Row(
            work=case.work,
            **sizes,
            contender=contender,
            precision=precision,
            process_s=median(s.process for s in samples[name]),
            wall_s=median(s.wall for s in samples[name]),
            memory_mib=max(s.memory for s in samples[name]) / 2**20,
            faster_than_released=self._factor(medians, (RELEASED, EXACT), name),
            faster_than_baseline=self._factor(medians, (BASELINE, EXACT), name),
            goal=_goal(case, precision) if contender == OURS else None,
            difference=found.scores,
            same_answers=found.answers,
            shares=self._shares(case, precision) if contender == OURS else None,
        )

    def _factor(self, medians: dict, other: tuple[str, str], name: tuple[str, str]) -> float | None:
        return medians[other] / medians[name] if other in medians and name[0] == OURS else None

    def _seconds(self, taken: Sequence[Sample]) -> float:
        """Of the processor; on a GPU, which it waits for, of the clock."""
        return median(s.wall if self.device.type == "cuda" else s.process for s in taken)

    def _shares(self, case: Case, precision: str) -> dict[str, float]:
        """Of the parts, in one more run."""
        if case.trains:
            training = self.trainings[precision]
            parts = TrainingParts(self.model, self.device)
            with parts.watching():
                training(case.inputs, case.released[1]["fixed"], parts.mark)
            return parts.shares(0.0)
        parts = Parts(self.models[precision], self.device)
        with parts.watching():
            taken = sample(lambda: case.ours(self.models[precision]), self.device)
        return parts.shares(self._seconds([taken]))


def _goal(case: Case, precision: str) -> float | None:
    return case.goal.get(precision) if isinstance(case.goal, dict) else case.goal


def show(rows: Sequence[Row]) -> None:
    """Print what was measured."""
    for row in rows:
        factor = row.faster_than_released or row.faster_than_baseline
        print(
            f"{row.work:34}{row.contender:>9} {row.precision}{row.process_s * 1e3:9.0f} ms"
            f"{row.memory_mib:7.0f} MiB"
            + (f"  x {factor:.2f}" if factor else "")
            + (f" (goal {row.goal:g})" if row.goal else ""),
            flush=True,
            file=sys.stdout,
        )
