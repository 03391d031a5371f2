"""Which instances an epoch consists of, when tasks are capped or mixed by temperature."""

from __future__ import annotations

import numpy as np

from ofa_mi.data.seeding import generator
from ofa_mi.errors import ConfigError

_CAP, _SHARE, _TASK, _ORDER = range(1, 5)  # streams of random numbers


class Mixture:
    """Draws the instances of each epoch.

    With temperature T, a task of n instances (after the cap) has a share of the epoch proportional to
    ``n ** (1 / T)`` (Raffel et al., 2020, section 3.5.2). T = 1 is every instance once; a large T
    gives every task the same share: small tasks repeat, each instance equally often give or take one,
    and of large ones every epoch takes another sample. The length of an epoch does not depend on T.

    Args:
        task_ids_per_instance: Task number of each instance, ``(N,)``.
        cap: At most so many instances per task, chosen once for all epochs; None or 0 for all.
        temperature: T > 0, possibly infinite.
        seed: Seed of every choice.

    Attributes:
        size: Instances in an epoch.

    Raises:
        ConfigError: The cap is negative or the temperature is not positive.
    """

    def __init__(self, task_ids_per_instance: np.ndarray, *, cap: int | None, temperature: float, seed: int) -> None:
        if cap is not None and cap < 0:
            raise ConfigError(f"the cap per task must be 0 (all) or positive, found {cap}")
        if not temperature > 0:
            raise ConfigError(f"the mixture temperature must be positive, found {temperature}")
        task_ids = np.asarray(task_ids_per_instance)
        self.temperature, self.seed = temperature, seed
        self.tasks, counts = np.unique(task_ids, return_counts=True)
        by_task = np.argsort(task_ids, kind="stable")
        groups = np.split(by_task, counts.cumsum()[:-1]) if len(counts) else []
        self.members = [self._capped(*part, cap) for part in zip(self.tasks, groups, strict=True)]
        self.size = sum(map(len, self.members))

    def epoch(self, epoch: int) -> np.ndarray:
        """Indices of the instances of an epoch, int64 ``(size,)``, in an order of this epoch.

        An instance that is drawn several times occurs several times.
        """
        if not self.members:
            return np.empty(0, dtype=np.int64)
        shares = self._shares(epoch)
        drawn = [self._draw(*part, epoch) for part in zip(self.tasks, self.members, shares, strict=True)]
        return generator(self.seed, epoch, 0, stream=_ORDER).permutation(np.concatenate(drawn))

    def _capped(self, task: int, members: np.ndarray, cap: int | None) -> np.ndarray:
        if not cap or len(members) <= cap:
            return members
        rng = generator(self.seed, 0, int(task), stream=_CAP)
        return np.sort(rng.choice(members, cap, replace=False))

    def _shares(self, epoch: int) -> np.ndarray:
        """Instances of each task in an epoch, ``(tasks,)``, adding up to ``size``."""
        counts = np.array([len(members) for members in self.members])
        if self.temperature == 1:
            return counts
        weights = (counts / counts.max()) ** (1 / self.temperature)
        exact = weights / weights.sum() * self.size
        shares = np.floor(exact).astype(np.int64)
        # Systematic sampling of the remainders: each task is rounded up with probability equal to its
        # remainder, so that a task that deserves less than one instance gets one now and then.
        edges = np.concatenate([[0], (exact - shares).cumsum()])
        edges = np.minimum(edges, round(edges[-1]))  # the sum is a whole number but for rounding errors
        edges[-1] = round(edges[-1])
        offset = generator(self.seed, epoch, 0, stream=_SHARE).random()
        return shares + np.diff(np.floor(edges + offset)).astype(np.int64)

    def _draw(self, task: int, members: np.ndarray, share: int, epoch: int) -> np.ndarray:
        """``share`` of the members: all of them as often as they fit, and a sample of them for the rest."""
        rng = generator(self.seed, epoch, int(task), stream=_TASK)
        rest = rng.choice(members, share % len(members), replace=False)
        return np.concatenate([np.tile(members, share // len(members)), rest])
