"""Which instances an epoch consists of, when tasks are capped or mixed by temperature."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ofa_mi.errors import ConfigError
from ofa_mi.utils.seeding import generator

_CAP, _SHARE, _TASK, _ORDER = range(1, 5)  # streams of random numbers


class Mixture:
    """Draws the instances of each epoch.

    With temperature T, a task of n instances (after the cap) has a share of the epoch proportional to
    ``n ** (1 / T)`` (Raffel et al., 2020, section 3.5.2). T = 1 is every instance once; a large T
    gives every task the same share: small tasks repeat, each instance equally often give or take one,
    and of large ones every epoch takes another sample. The length of an epoch does not depend on T.

    Pools of tasks may be given a share of the epoch of their own, e.g. half of it to text-only tasks; within
    a pool, and among the tasks that are in none, the rule above divides what there is.

    Args:
        task_ids_per_instance: Task number of each instance, ``(N,)``.
        cap: At most so many instances per task, chosen once for all epochs; None or 0 for all.
        temperature: T > 0, possibly infinite.
        seed: Seed of every choice.
        pools: Task number → name of its pool, for tasks that are in one.
        shares: Name of a pool → its share of an epoch, above 0.

    Attributes:
        size: Instances in an epoch.

    Raises:
        ConfigError: The cap is negative, the temperature is not positive, a pool is empty, or the shares leave
            nothing to the other tasks, or something where there are no others.
    """

    def __init__(
        self,
        task_ids_per_instance: np.ndarray,
        *,
        cap: int | None,
        temperature: float,
        seed: int,
        pools: Mapping[int, str] | None = None,
        shares: Mapping[str, float] | None = None,
    ) -> None:
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
        self.pools = [(pools or {}).get(int(task)) for task in self.tasks]
        self.pool_shares = self._check_pools(dict(shares or {}))

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

    def _check_pools(self, shares: dict[str, float]) -> dict[str | None, float]:
        """Pool → share of an epoch, None standing for the tasks that are in no pool; empty without pools."""
        if not shares:
            return {}
        for pool, share in shares.items():
            if not 0 < share <= 1:
                raise ConfigError(f"the share of {pool} must be above 0 and at most 1, found {share}")
            if pool not in self.pools:
                raise ConfigError(f"{pool} has a share of the mixture, but there is no instance of it")
        rest = 1 - sum(shares.values())
        if None in self.pools:
            if rest < 1e-9:
                raise ConfigError("the shares of the mixture leave nothing to the tasks that have none")
            return {**shares, None: rest}
        if abs(rest) > 1e-9:
            raise ConfigError(f"every task is in a pool, so the shares must add up to 1, not {1 - rest:g}")
        return shares

    def _shares(self, epoch: int) -> np.ndarray:
        """Instances of each task in an epoch, ``(tasks,)``, adding up to ``size``."""
        counts = np.array([len(members) for members in self.members])
        if self.temperature == 1 and not self.pool_shares:
            return counts
        weights = (counts / counts.max()) ** (1 / self.temperature)
        for pool, share in self.pool_shares.items():
            inside = np.array([name == pool for name in self.pools])
            weights[inside] *= share / weights[inside].sum()
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
