"""Learning-rate schedules, registered with fairseq."""

from ofa_mi.optim import linear_decay

__all__ = ["linear_decay"]
