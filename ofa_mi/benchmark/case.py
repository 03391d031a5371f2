"""What is timed: one piece of work that every contender does, with what each of them calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ofa_mi.benchmark.setting import Setting


@dataclass(frozen=True)
class Case:
    """One work in one setting.

    Attributes:
        work: Its name.
        setting: Sizes.
        inputs: The encoder's inputs, or {} where the work brings its own.
        ours: Does it with a model made for inference.
        baseline: Does it the released way.
        released: The command of :mod:`~ofa_mi.benchmark.released_child`, and its arguments.
        goal: Factor released / ours to reach, by processor time: one, or one of each precision; None if there is none.
        tolerance: How far apart scores may be in fp32; the default is the released code's own rounding.
        trains: What does it is no model, but a :class:`~ofa_mi.benchmark.train.Training`.
    """

    work: str
    setting: Setting
    inputs: dict[str, Tensor]
    ours: Callable[[Any], list]
    baseline: Callable[[Any], list]
    released: tuple[str, dict]
    goal: float | dict[str, float] | None = None
    tolerance: float = 2e-4
    trains: bool = False


@dataclass
class Difference:
    """Of two lists of results.

    Attributes:
        scores: Largest difference of scores.
        answers: Share of sentences whose best answer is the same.
        alike: Shapes and all tokens are equal.
    """

    scores: float = 0.0
    answers: float = 1.0
    alike: bool = True
    _same: list[bool] = field(default_factory=list)


def difference(found: Sequence, expected: Sequence) -> Difference:
    """Of results per sentence: lists of scores, or of hypotheses (tokens, score)."""
    result = Difference()
    for ours, theirs in zip(found, expected, strict=True):
        if isinstance(theirs[0], (int, float)):
            result.alike &= len(ours) == len(theirs)
            result._same.append(_largest(ours) == _largest(theirs))
            pairs = list(zip(ours, theirs, strict=False))
        else:
            result.alike &= [list(h[0]) for h in ours] == [list(h[0]) for h in theirs]
            result._same.append(list(ours[0][0]) == list(theirs[0][0]))
            # Of the same output, where both have it; otherwise of the same place.
            known = {tuple(tokens): score for tokens, score in theirs}
            pairs = [(score, known[tuple(tokens)]) for tokens, score in ours if tuple(tokens) in known]
        result.scores = max([result.scores, *(abs(a - b) for a, b in pairs)])
    result.answers = sum(result._same) / len(result._same)
    return result


def _largest(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def plain(hypotheses: Sequence) -> Iterator[list]:
    """Hypotheses of :func:`~ofa_mi.decoding.beam.generate` as (tokens, score), per sentence."""
    for sentence in hypotheses:
        yield [(h.tokens, h.score) for h in sentence]
