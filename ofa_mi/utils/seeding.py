"""Randomness as a function of (seed, epoch, index).

Nothing here keeps a state, so the same numbers come out for any number of workers, devices and
restarts. Two kinds of choices about the same index take different ``stream`` numbers, which makes
them independent of each other.
"""

from __future__ import annotations

import numpy as np

_WORD = (1 << 64) - 1


def generator(seed: int, epoch: int, index: int, *, stream: int = 0) -> np.random.Generator:
    """A fresh generator for one (seed, epoch, index); any integers will do, negative ones too."""
    return np.random.default_rng([value & _WORD for value in (seed, epoch, index, stream)])


def draw(seed: int, epoch: int, indices: np.ndarray, n: int | np.ndarray, *, stream: int = 0) -> np.ndarray:
    """One uniform integer in ``[0, n)`` for each index, without a generator per index.

    Args:
        seed: Seed of the run.
        epoch: Epoch number.
        indices: Instance numbers, any shape.
        n: Number of choices, below 2**32; one for all, or one for each index.
        stream: Number of the kind of choice.

    Returns:
        int64 of the shape of ``indices``.
    """
    if np.any(np.asarray(n) < 1) or np.any(np.asarray(n) >= 1 << 32):
        raise ValueError("the number of choices must be at least 1 and below 2**32")
    with np.errstate(over="ignore"):  # 64-bit arithmetic is meant to wrap around
        bits = np.asarray(indices).astype(np.uint64)
        for value in (seed, epoch, stream):
            bits = _scramble(bits ^ _scramble(np.uint64(value & _WORD)))
        high = bits >> np.uint64(32)
        return (high * np.asarray(n).astype(np.uint64) >> np.uint64(32)).astype(np.int64)


def _scramble(x: np.ndarray) -> np.ndarray:
    """The output function of SplitMix64 (Steele et al., 2014): a bijection of 64-bit words that looks random."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
