"""How far answers can be guessed without the image: a trained baseline and some simple rules.

For a task with options, a conditional logit (softmax over the options of an instance, linear in the features of
:mod:`ofa_mi.data_prep.check.features`) is trained on some images and tested on the others, so that every instance is
tested once and no image is on both sides. It is deterministic. What it finds above chance is a lower bound: that it
finds nothing does not prove that there is nothing.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import sparse

from ofa_mi.data_prep.check.counts import is_region
from ofa_mi.data_prep.check.features import Features, Question, make_features
from ofa_mi.instances.instance import Instance, plain
from ofa_mi.instructions.spec import TaskSpec
from ofa_mi.utils.hashing import hash64

FOLDS = 4
MIN_QUESTIONS = 40  # fewer tell nothing
PENALTIES = (0.03, 0.003, 0.0003)  # of the squared weights, relative to the mean loss of a question
ITERATIONS = 60
MEMORY = 8  # steps that L-BFGS remembers
TOLERANCE = 0.05  # above chance; less is not worth a warning
SURE = 3.0  # standard errors beyond which a guess counts as better than chance: many tasks and rules are tried
Z95 = 1.959964

Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]  # loss and gradient at some weights

NEAR_CHANCE, GUESSABLE, UNCLEAR = "near chance", "guessable", "unclear"
TOO_FEW = "too few"

# Tasks whose questions, options and answers were written or labelled by people, and only rewritten by a converter.
FROM_SOURCE = frozenset(
    {
        "color_understanding",
        "commonsense_vqa",
        "counting",
        "disaster_type_classification",
        "grounded_object_attribute_identification",
        "grounded_vqa",
        "image_quality",
        "multimodal_factual_checking",
        "nlvr",
        "object_detection",
        "object_recognition",
        "position_reasoning",
        "scene_recognition",
        "sentiment_understanding",
        "sport_understanding",
        "text_legibility",
        "text_type_classification",
        "utility_affordance",
        "visual7w_vqa",
        "visual_entailment",
        "visual_spatial_reasoning",
    }
)
COORDINATES = "region_understanding"  # group of tasks that ask about nothing but coordinates


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Share of right guesses, with its 95% confidence interval.

    Attributes:
        value: The share.
        low: Lower end of the interval.
        high: Upper end of the interval.
        surely: Share that is exceeded with near certainty (:data:`SURE` standard errors).
    """

    value: float
    low: float
    high: float
    surely: float


@dataclass(frozen=True, slots=True)
class Guess:
    """How far the answers of a task can be guessed.

    Attributes:
        task: The task.
        questions: Choices that were looked at; a set of options gives one for each right option.
        instances: Instances of the task from which they were drawn.
        images: Different images (or instances without an image).
        chance: Expected share of right answers of a blind choice.
        by: Accuracy of each way of guessing, by name: ``options`` and ``options and inputs`` are the trained
            baseline without and with the inputs, the others are rules.
        verdict: One of :data:`NEAR_CHANCE`, :data:`GUESSABLE`, :data:`UNCLEAR`, :data:`TOO_FEW`.
        best: The way that is highest above chance.
        origin: Where the answers come from: ``source``, ``coordinates`` or ``conversion``.
    """

    task: str
    questions: int
    instances: int
    images: int
    chance: float
    by: dict[str, Accuracy]
    verdict: str
    best: str | None
    origin: str

    @property
    def excess(self) -> float:
        """How far the best way is above chance."""
        return self.by[self.best].value - self.chance if self.best else 0.0

    def record(self) -> dict[str, Any]:
        """The numbers as JSON values."""
        record = asdict(self) | {"excess": self.excess, "chance": self.chance}
        return _rounded(record)


def origin(spec: TaskSpec) -> str:
    """Where the answers of a task come from: people (``source``), ``coordinates``, or the ``conversion``."""
    if spec.group == COORDINATES:
        return "coordinates"
    return "source" if spec.name in FROM_SOURCE else "conversion"


def questions_of(instance: Instance, group: int | None) -> Iterator[Question]:
    """The choices that an instance makes: one, or one for each right option of a set, beside the wrong ones.

    Args:
        instance: An instance of a task with options.
        group: Hash of the content of its image; None for text only.
    """
    options = instance.options or ()
    right = (instance.target,) if instance.target_set is None else instance.target_set
    wrong = [option for option in options if option not in right]
    for answer in right:
        if answer in options and wrong:
            kept = tuple(option for option in options if option == answer or option in wrong)
            yield Question(
                options=kept,
                answer=kept.index(answer),
                texts=tuple(text for text in (*instance.context, instance.question, instance.text) if text),
                regions=instance.regions,
                size=instance.image_size or (1, 1),
                group=hash64(instance.unique_id) if group is None else group,
            )


def guess(spec: TaskSpec, questions: Sequence[Question], instances: int) -> Guess:
    """Try to guess the answers of one task.

    Args:
        spec: The task.
        questions: Its choices.
        instances: Instances of the task in all.
    """
    groups = np.array([question.group for question in questions], dtype=np.uint64)
    number_of_groups = len(np.unique(groups))
    common = {
        "task": spec.name,
        "questions": len(questions),
        "instances": instances,
        "images": number_of_groups,
        "origin": origin(spec),
    }
    chances = np.array([1 / len(question.options) for question in questions])
    chance = float(chances.mean()) if len(questions) else 0.0
    folds = _scramble(groups) % FOLDS
    if len(questions) < MIN_QUESTIONS or len(np.unique(folds)) < FOLDS:
        return Guess(**common, chance=chance, by={}, verdict=TOO_FEW, best=None)
    features = make_features(questions)
    right = {
        "options": _cross_validate(features.options, features, folds),
        "options and inputs": _cross_validate(
            sparse.hstack([features.options, features.inputs], format="csr"), features, folds
        ),
        "commonest answer": _commonest(questions, features, folds),
        **_rules(features),
    }
    by = {name: accuracy(correct, chances, groups) for name, correct in right.items() if correct is not None}
    best = max(by, key=lambda name: by[name].value)
    return Guess(**common, chance=chance, by=by, verdict=judge(by, chance), best=best)


def judge(by: dict[str, Accuracy], chance: float) -> str:
    """The verdict on some accuracies.

    Guessable: one of them is surely above chance, and by more than :data:`TOLERANCE`. Near chance: none is, and the
    confidence intervals of all end below twice that. Otherwise there are too few instances to say.
    """
    if any(a.surely > chance and a.value - chance > TOLERANCE for a in by.values()):
        return GUESSABLE
    return NEAR_CHANCE if all(a.high - chance < 2 * TOLERANCE for a in by.values()) else UNCLEAR


def accuracy(correct: np.ndarray, chances: np.ndarray, groups: np.ndarray) -> Accuracy:
    """Accuracy with its interval (Wilson's), for as many independent answers as the groups are worth.

    Args:
        correct: Probability that each guess is right, float ``(questions,)``; between 0 and 1 where a rule has to draw.
        chances: Chance of a blind guess, ``(questions,)``.
        groups: Group of each question; guesses within a group depend on each other, ``(questions,)``.
    """
    n, value = len(correct), float(correct.mean())
    excess = correct - chances
    _, which = np.unique(groups, return_inverse=True)
    clustered = float((np.bincount(which, excess - excess.mean()) ** 2).sum()) / n**2
    binomial = value * (1 - value) / n
    effective = n / max(1.0, clustered / binomial) if binomial > 0 else len(np.unique(which))
    low, high = _wilson(value, effective, Z95)
    return Accuracy(value, low, high, _wilson(value, effective, SURE)[0])


def _wilson(share: float, n: float, z: float) -> tuple[float, float]:
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


# -- the trained baseline


def _cross_validate(matrix: sparse.csr_matrix, features: Features, folds: np.ndarray) -> np.ndarray:
    """Probability that the guess at each question is right, by a model that was trained on the other folds."""
    data = _Choices(matrix, features.starts, features.answers)
    penalty = _choose_penalty(data, np.flatnonzero(folds != 0))
    correct = np.zeros(len(folds))
    for fold in range(FOLDS):
        weights = _fit(data.part(np.flatnonzero(folds != fold)), penalty)
        tested = np.flatnonzero(folds == fold)
        correct[tested] = data.part(tested).correct(weights)
    return correct


def _choose_penalty(data: _Choices, training: np.ndarray) -> float:
    """The penalty with the smallest loss on every fifth training question, after training on the others."""
    held_out = np.arange(len(training)) % 5 == 0
    fitted, tested = data.part(training[~held_out]), data.part(training[held_out])
    losses, weights = {}, None
    for penalty in PENALTIES:
        weights = _fit(fitted, penalty, weights)
        losses[penalty] = tested.loss(weights)
    return min(losses, key=losses.get)


def _fit(data: _Choices, penalty: float, start: np.ndarray | None = None) -> np.ndarray:
    """Weights ``(columns,)`` that minimise the mean loss and the penalised squares."""

    def objective(weights: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient = data.loss_and_gradient(weights)
        return loss + penalty / 2 * _dot(weights, weights), gradient + penalty * weights

    return _minimise(objective, np.zeros(data.matrix.shape[1]) if start is None else start)


def _minimise(objective: Objective, weights: np.ndarray) -> np.ndarray:
    """L-BFGS with backtracking (Nocedal and Wright, 2006, algorithm 7.5), for a strictly convex function.

    Written out, because a BLAS sums in an order that depends on the number of its threads: the last digits of a sum
    must not decide a guess.
    """
    loss, gradient = objective(weights)
    steps: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=MEMORY)
    for _ in range(ITERATIONS):
        direction = -_inverse_hessian(gradient, steps)
        slope = _dot(direction, gradient)
        length = 1.0 if steps else min(1.0, 1 / max(math.sqrt(_dot(gradient, gradient)), 1e-12))
        while (trial := objective(weights + length * direction))[0] > loss + 1e-4 * length * slope:
            length /= 2
            if length < 1e-8:  # as low as floating-point numbers go
                return weights
        change = length * direction
        steps.append((change, trial[1] - gradient))
        weights = weights + change
        gained, (loss, gradient) = loss - trial[0], trial
        if gained < 1e-6:
            break
    return weights


def _inverse_hessian(gradient: np.ndarray, steps: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The product of the estimated inverse Hessian with a gradient; ``steps`` hold changes of weights and gradients."""
    result = gradient.copy()
    factors = []
    for change, difference in reversed(steps):
        factors.append(_dot(change, result) / _dot(change, difference))
        result -= factors[-1] * difference
    if steps:
        change, difference = steps[-1]
        result *= _dot(change, difference) / _dot(difference, difference)
    for (change, difference), factor in zip(steps, reversed(factors), strict=True):
        result += (factor - _dot(difference, result) / _dot(change, difference)) * change
    return result


def _dot(first: np.ndarray, second: np.ndarray) -> float:
    return float((first * second).sum())


@dataclass(frozen=True, slots=True)
class _Choices:
    """Options of some questions as rows, with the first row and the right row of each question."""

    matrix: sparse.csr_matrix
    starts: np.ndarray
    answers: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        return np.diff([*self.starts, self.matrix.shape[0]])

    def part(self, questions: np.ndarray) -> _Choices:
        """Those of some questions."""
        sizes = self.sizes[questions]
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        rows = np.repeat(self.starts[questions] - starts, sizes) + np.arange(sizes.sum())
        return _Choices(self.matrix[rows], starts, starts + self.answers[questions] - self.starts[questions])

    def loss_and_gradient(self, weights: np.ndarray) -> tuple[float, np.ndarray]:
        """Mean negative log-likelihood of the right options, and its gradient."""
        scores = self.matrix @ weights
        scores -= np.repeat(np.maximum.reduceat(scores, self.starts), self.sizes)
        exponentials = np.exp(scores)
        totals = np.add.reduceat(exponentials, self.starts)
        loss = float(np.mean(np.log(totals) - scores[self.answers]))
        slope = exponentials / np.repeat(totals, self.sizes)
        slope[self.answers] -= 1
        return loss, self.matrix.T @ slope / len(self.starts)

    def loss(self, weights: np.ndarray) -> float:
        return self.loss_and_gradient(weights)[0]

    def correct(self, weights: np.ndarray) -> np.ndarray:
        return _picked(self.matrix @ weights, self.starts, self.answers)


def _picked(scores: np.ndarray, starts: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Probability that the option with the highest score is the right one, where equals are drawn from."""
    sizes = np.diff([*starts, len(scores)])
    is_best = scores >= np.repeat(np.maximum.reduceat(scores, starts), sizes) - 1e-9
    return is_best[answers] / np.add.reduceat(is_best.astype(np.float64), starts)


# -- rules


def _rules(features: Features) -> dict[str, np.ndarray | None]:
    """Probability that each rule is right at each question; None for a rule that does not apply."""

    def rule(name: str, sign: int) -> np.ndarray | None:
        values = features.quantities.get(name)
        return None if values is None else _picked(sign * values, features.starts, features.answers)

    return {
        "longest option": rule("characters", 1),
        "shortest option": rule("characters", -1),
        "most words in the text": rule("words in the text", 1),
        "most like the other options": rule("similarity to the other options", 1),
        "least like the other options": rule("similarity to the other options", -1),
        "largest box": rule("area", 1),
        "smallest box": rule("area", -1),
    }


def _commonest(questions: Sequence[Question], features: Features, folds: np.ndarray) -> np.ndarray | None:
    """The option that was right most often, when offered, in the other folds; None where all options are regions."""
    if all(is_region(option) for question in questions for option in question.options):
        return None
    keys = [plain(option) for question in questions for option in question.options]
    _, which = np.unique(np.array(keys, dtype=object), return_inverse=True)
    sizes = np.diff([*features.starts, len(keys)])
    fold_of_row = np.repeat(folds, sizes)
    is_right = np.zeros(len(keys))
    is_right[features.answers] = 1
    expected = np.repeat(1 / sizes, sizes)
    scores = np.zeros(len(keys))
    for fold in range(FOLDS):
        others = fold_of_row != fold
        right = np.bincount(which[others], is_right[others], minlength=which.max() + 1)
        blind = np.bincount(which[others], expected[others], minlength=which.max() + 1)
        # One blind guess more on both sides keeps an option that was offered once or twice near what it is worth.
        scores[~others] = ((right + 1) / (blind + 1))[which[~others]]
    return _picked(scores, features.starts, features.answers)


def _scramble(groups: np.ndarray) -> np.ndarray:
    """Hashes of hashes, so that folds do not depend on how groups were hashed."""
    with np.errstate(over="ignore"):
        mixed = (groups ^ (groups >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(33)).astype(np.int64)


def _rounded(value: Any) -> Any:
    """Floats with four digits, so that another processor's last digits do not change a card."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return value
