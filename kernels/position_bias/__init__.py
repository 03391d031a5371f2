"""OFA's position bias as one batch-shared plane per layer."""

from .reference import RelativeTable, absolute_bias, position_bias

__all__ = ["RelativeTable", "absolute_bias", "position_bias"]
