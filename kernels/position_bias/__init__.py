"""OFA's position bias as one batch-shared plane per layer."""

from .interface import absolute_positions, position_bias
from .structure import AbsolutePositions, PositionBias, RelativePositions, RelativeTable

__all__ = [
    "AbsolutePositions",
    "PositionBias",
    "RelativePositions",
    "RelativeTable",
    "absolute_positions",
    "position_bias",
]
