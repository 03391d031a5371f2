"""Optimiser and learning-rate schedules, registered with fairseq."""

from ofa_mi.optim import adam, linear_decay

__all__ = ["adam", "linear_decay"]
