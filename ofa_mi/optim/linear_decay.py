"""fairseq learning-rate schedule ``linear_decay``: warm-up, then a straight line to 0, or to ``--end-lr``.

fairseq's ``polynomial_decay`` has to be told the number of updates. A run of ``--max-epoch 3`` has as many as its
tasks, its caps and its number of GPUs make it: this schedule is told by the trainer (`fairseq_compat`), and needs the
share of warm-up only.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import List  # noqa: UP035 (fairseq reads the types of these fields, and knows this one)

from fairseq.dataclass import FairseqDataclass
from fairseq.optim.lr_scheduler import FairseqLRScheduler, register_lr_scheduler
from omegaconf import II

from ofa_mi.errors import ConfigError


@dataclass
class LinearDecayConfig(FairseqDataclass):
    warmup_ratio: float = field(
        default=0.0, metadata={"help": "share of the run's updates in which the learning rate rises to --lr"}
    )
    end_lr: float = field(default=0.0, metadata={"help": "learning rate that is reached at the end of the run"})
    lr: List[float] = II("optimization.lr")  # noqa: RUF009, UP006
    max_epoch: int = II("optimization.max_epoch")
    max_update: int = II("optimization.max_update")


@register_lr_scheduler("linear_decay", dataclass=LinearDecayConfig)
class LinearDecaySchedule(FairseqLRScheduler):
    """Rises in a line to ``--lr`` and falls in a line to ``--end-lr``, which would be the update after the last one.

    Raises:
        ConfigError: The run has no end, several learning rates are given, or the share of warm-up or the last learning
            rate is impossible.
    """

    def __init__(self, cfg: LinearDecayConfig, optimizer) -> None:
        super().__init__(cfg, optimizer)
        if not 0 <= cfg.warmup_ratio < 1:
            raise ConfigError(f"--warmup-ratio must be from 0 to below 1, found {cfg.warmup_ratio}")
        if len(cfg.lr) != 1:
            raise ConfigError(f"--lr-scheduler linear_decay takes one learning rate, found {len(cfg.lr)}")
        if not 0 <= cfg.end_lr <= cfg.lr[0]:
            raise ConfigError(f"--end-lr must be from 0 to --lr {cfg.lr[0]}, found {cfg.end_lr}")
        if cfg.max_epoch <= 0 and cfg.max_update <= 0:
            raise ConfigError("--lr-scheduler linear_decay needs the end of the run: --max-epoch or --max-update")
        self.total = cfg.max_update  # 0: not known before the data are
        self.step_update(0)

    def set_epoch_length(self, batches: int, update_freq: Sequence[int]) -> None:
        """Tell how long an epoch is.

        Args:
            batches: Batches of one process in an epoch.
            update_freq: Batches per update in each epoch; later epochs are like the last one.
        """
        epochs = max(self.cfg.max_epoch, 0)
        updates = [math.ceil(batches / update_freq[min(i, len(update_freq) - 1)]) for i in range(epochs)]
        self.total = min((end for end in (sum(updates), self.cfg.max_update) if end > 0), default=0)

    def step_update(self, num_updates: int) -> float:
        """Set the learning rate for the update after ``num_updates``; returns it."""
        assert self.optimizer is not None, "only fairseq's base class allows for none"
        self.optimizer.set_lr(self.cfg.lr[0] * self.factor(num_updates))
        return self.optimizer.get_lr()

    def factor(self, num_updates: int) -> float:
        """Share of ``--lr`` for the update after ``num_updates``."""
        warmup = math.ceil(self.total * self.cfg.warmup_ratio)
        if num_updates < warmup:
            return (num_updates + 1) / (warmup + 1)
        left = max(self.total - num_updates, 0) / (self.total - warmup) if self.total > warmup else 1.0
        last = self.cfg.end_lr / self.cfg.lr[0] if self.cfg.end_lr else 0.0
        return last + (1 - last) * left
