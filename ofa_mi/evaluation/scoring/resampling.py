"""How sure a score is: bootstrap intervals, permutation tests, and the correction for many of them.

What varies is the *image*, not the answer: answers about one image under all instructions, and of all tasks that
share it, stand or fall together. An instance without an image counts as an image of its own.

Intervals come from the Bayesian bootstrap (Rubin 1981). In every replicate each image has a random weight, drawn
from an exponential distribution, instead of the number of times that it was drawn with replacement; every score is the
weighted mean. That is the same distribution made smooth, with two gains: no image ever vanishes, so that a ratio such
as sensitivity is always defined, and tasks that share images move together.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

REPLICATES, CONFIDENCE, SEED = 1000, 0.95, 1
PERMUTATIONS = 10_000
DIGITS = 4  # of an interval's ends; beyond them two machines may round a sum in another way
_CHUNK = 1 << 22  # numbers that are held at once
_TOLERANCE = 1e-9
_NODES = np.arange(0.0, 20.0, 0.05)  # of an integral to infinity; its integrand falls like exp(-2 x) or faster

Interval = list[float]
_Name = TypeVar("_Name", bound=Hashable)


@dataclass(frozen=True)
class ImageSums:
    """Scores added up by image.

    Attributes:
        images: Numbers of the images among all images, int64 ``(k,)``.
        sums: Sums of the scores, float64 ``(..., k)``.
        counts: Numbers of the scores, float64 ``(..., k)``, of which the first dimensions may be 1.
    """

    images: np.ndarray
    sums: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, images: Sequence[Sequence[int]], scores: Sequence[Sequence[Sequence[float]]]) -> ImageSums:
        """Sums of scores.

        Args:
            images: For every instruction, the numbers of its answers' images.
            scores: For every metric and instruction, the scores of these answers.

        Returns:
            ``sums`` of shape (metrics, instructions, k) and ``counts`` of shape (1, instructions, k).
        """
        numbers = np.concatenate([np.asarray(row, dtype=np.int64) for row in images])
        known, places = np.unique(numbers, return_inverse=True)
        rows = np.split(places.reshape(-1), np.cumsum([len(row) for row in images])[:-1])
        sums = np.zeros((len(scores), len(rows), len(known)))
        counts = np.zeros((1, len(rows), len(known)))
        for i, row in enumerate(rows):
            counts[0, i] = np.bincount(row, minlength=len(known))
            for number, metric in enumerate(scores):
                sums[number, i] = np.bincount(row, weights=metric[i], minlength=len(known))
        return cls(known, sums, counts)

    def over_instructions(self, metric: int) -> ImageSums:
        """One metric over all instructions, each of which weighs the same whatever the number of its answers.

        Returns:
            ``sums`` and ``counts`` of shape (k,); their totals' ratio is the mean over instructions of their means.
        """
        counts = np.broadcast_to(self.counts, self.sums.shape)[metric]
        answers = counts.sum(axis=-1, keepdims=True)
        return ImageSums(self.images, (self.sums[metric] / answers).sum(axis=0), (counts / answers).sum(axis=0))


def bootstrap_means(
    tasks: Mapping[_Name, ImageSums], num_images: int, *, replicates: int = REPLICATES, seed: int = SEED
) -> dict[_Name, np.ndarray]:
    """Mean scores of every task in every replicate.

    Args:
        tasks: Scores added up by image.
        num_images: Number of all images, of which every replicate draws the weights.
        replicates: How many.
        seed: Of the weights.

    Returns:
        By task float64 ``(replicates, ...)``, where ``...`` are the first dimensions of the task's ``sums``.
    """
    means: dict[_Name, list[np.ndarray]] = {name: [] for name in tasks}
    for weights in _weights(num_images, replicates, seed):
        for name, task in tasks.items():
            chosen = weights[:, task.images]  # replicates, k
            means[name].append(_product(chosen, task.sums) / _product(chosen, task.counts))
    return {name: np.concatenate(parts) for name, parts in means.items()}


def interval(replicates: np.ndarray, confidence: float = CONFIDENCE) -> Interval:
    """The middle of replicated scores, ``[low, high]``: the percentile interval."""
    tail = (1 - confidence) / 2
    return [round(float(end), DIGITS) for end in np.quantile(replicates, [tail, 1 - tail])]


def sign_flip_p(
    differences: Mapping[str, ImageSums],
    num_images: int,
    *,
    counted: Collection[str] | None = None,
    permutations: int = PERMUTATIONS,
    seed: int = SEED,
) -> tuple[dict[str, float], float]:
    """Paired permutation tests of differences between two runs, each against "there is none".

    If two runs are equally good, it is as likely that either of them gave the better answers about an image. So the
    signs of all differences about an image are flipped together, at random, and p is the share of such worlds with a
    mean difference as far from 0 as the real one, which itself counts as one of them: p is never 0.

    Args:
        differences: By task, differences of instances added up by image, ``sums`` and ``counts`` of shape ``(k,)``.
        num_images: Number of all images.
        counted: Tasks of the mean over tasks; None for all.
        permutations: How many worlds.
        seed: Of the signs.

    Returns:
        p of every task, and p of the mean over tasks.
    """
    means = {name: task.sums / task.counts.sum() for name, task in differences.items()}  # of each, what an image adds
    extreme, extreme_of_all = dict.fromkeys(means, 1), 1
    rng = np.random.default_rng([seed, 1])
    observed = {name: parts.sum() for name, parts in means.items()}
    observed_of_all = sum(observed[name] for name in observed if counted is None or name in counted)
    for rows in _chunks(permutations, num_images):
        signs = rng.integers(0, 2, (rows, num_images), dtype=np.int8) * 2.0 - 1
        total = np.zeros(rows)
        for name, parts in means.items():
            values = signs[:, differences[name].images] @ parts
            if counted is None or name in counted:
                total += values
            extreme[name] += int(np.sum(np.abs(values) >= abs(observed[name]) - _TOLERANCE))
        extreme_of_all += int(np.sum(np.abs(total) >= abs(observed_of_all) - _TOLERANCE))
    worlds = permutations + 1
    return {name: count / worlds for name, count in extreme.items()}, extreme_of_all / worlds


def mean_above_p(scores: ImageSums, level: float) -> float:
    """p of a one-sided test of a mean of scores against "its expectation is at most this level".

    The test is Gaffke's (2005, "Three test statistics for a nonparametric one-sided hypothesis on the mean of a
    nonnegative variable"; as a confidence bound: Learned-Miller and Thomas 2019, arXiv 1905.06208). It takes no more
    for granted than that images are drawn independently and scores are not negative. Images get the weights of the
    Bayesian bootstrap, as for the intervals, beside one more image whose score is 0, the lowest there is; p is the
    probability that the weighted mean is at most the level. That image stands for the low scores which a small sample
    may lack. For scores of 0 and 100 only, p is the binomial test's, exactly, with few images as with many. For graded
    scores, such as means over instructions, it uses their smaller variance; that p is then valid with few images, too,
    is a conjecture to which no exception is known.

    Other tests do not keep their size here. Flipping the signs of score - level supposes that they are symmetric, and
    right answers at a chance of 25 % or 75 % are not; a t test errs likewise: both find too much at levels above 50,
    most of all where few images differ from the others, and in the tails that Holm's correction looks at. The bound
    of Bentkus 2004 (e times the binomial tail) is proven, but knows of scores only their number and mean.

    Images whose numbers of answers differ weigh accordingly; the additional one has the largest weight among them.

    Args:
        scores: Scores from 0 added up by image, ``sums`` and ``counts`` of shape ``(k,)``.
        level: From 0, in units of the scores.

    Returns:
        Probability from 0 to 1, computed and not drawn: it has no seed and no smallest value but rounding's.
    """
    parts = np.append(scores.sums - level * scores.counts, -level * scores.counts.max())
    if (largest := np.abs(parts).max()) == 0 or parts.max() <= 0:
        return 1.0
    values, counts = np.unique(parts / largest, return_counts=True)
    return 0.0 if values[0] >= 0 else _exponentials_at_most_0(values, counts)


def _exponentials_at_most_0(values: np.ndarray, counts: np.ndarray) -> float:
    """Probability that a weighted sum of independent standard exponential variables is not above 0.

    With the cumulant generating function K(t) = - sum of log(1 - t value), it is the inverse Laplace transform
    1 / (2 pi i) times the integral of exp(K(t)) / -t along a vertical line between 1 / (smallest value) and 0. On the
    line through the minimum of the integrand on the real axis (Daniels 1954) hardly anything cancels, so that small
    probabilities have all their digits, too; y = sinh(x) / scale makes the integrand fall exponentially.

    Args:
        values: Distinct weights, float64 ``(k,)``, the first below and the last above 0.
        counts: How many variables have each of them, ``(k,)``.
    """
    if counts @ values < 0:  # the rarer side is the one whose integrand does not oscillate
        return 1.0 - _exponentials_at_most_0(-values[::-1], counts[::-1])
    low, high = 1 / values[0], 0.0
    for _ in range(100):  # by bisection, since the slope grows from minus infinity to infinity
        line = (low + high) / 2
        slope = np.sum(counts * values / (1 - line * values)) - 1 / line
        low, high = (line, high) if slope < 0 else (low, line)
    scale = np.sqrt(np.sum(counts * (values / (1 - line * values)) ** 2) + 1 / line**2)
    t = line + 1j * np.sinh(_NODES) / scale
    integrand = np.exp(-np.log(1 - t[:, None] * values) @ counts) / -t
    terms = integrand.real * np.cosh(_NODES) / scale
    terms[0] /= 2  # the trapezoidal rule; the left half of the line mirrors the right one
    return float(np.clip(terms.sum() * (_NODES[1] - _NODES[0]) / np.pi, 0, 1))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p values corrected for their number, so that the chance of any false finding among them stays what p says.

    Holm 1979: the smallest is multiplied by their number n, the next one by n - 1, and so on; none is smaller than
    that of a smaller p, none above 1.
    """
    corrected: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        largest = max(largest, min(1.0, p_values[name] * (len(p_values) - rank)))
        corrected[name] = largest
    return {name: corrected[name] for name in p_values}


def _weights(num_images: int, replicates: int, seed: int) -> Iterator[np.ndarray]:
    """Weights of the images, ``(rows, num_images)`` at a time."""
    rng = np.random.default_rng([seed, 0])
    for rows in _chunks(replicates, num_images):
        yield rng.standard_exponential((rows, num_images))


def _chunks(count: int, width: int) -> Iterator[int]:
    """Numbers of rows that sum to ``count``, so that no more than ``_CHUNK`` numbers are held."""
    size = max(1, _CHUNK // max(width, 1))
    for start in range(0, count, size):
        yield min(size, count - start)


def _product(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Weighted sums over the last dimension, ``(rows, k)`` and ``(..., k)`` to ``(rows, ...)``."""
    return (weights @ values.reshape(-1, values.shape[-1]).T).reshape(len(weights), *values.shape[:-1])
