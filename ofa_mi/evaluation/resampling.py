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
