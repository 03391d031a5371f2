"""The position bias in plain PyTorch.

OFA adds to the attention scores an absolute part ``scale * pos_q @ pos_k^T``, the same for all layers, and relative
parts, learned tables per layer that are looked up by a bucket of the distance (arXiv 2202.03052, section 3.1). Neither
depends on the sample, so that both live in planes of shape (H, Lq, Lk) and never in (B, H, Lq, Lk).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class RelativeTable(NamedTuple):
    """One learned table and the square of the plane to which it is added.

    Attributes:
        weight: (rows, H) the table.
        buckets: (n, m) int64, the row for every pair of a query and a key.
        start: (query, key) of the square's upper left corner.
    """

    weight: Tensor
    buckets: Tensor
    start: tuple[int, int] = (0, 0)


def absolute_bias(pos_q: Tensor, pos_k: Tensor, *, scale: float) -> Tensor:
    """Absolute part for position queries (H, Lq, D) and keys (H, Lk, D): (H, Lq, Lk)."""
    return torch.matmul(pos_q * scale, pos_k.transpose(-2, -1))


def position_bias(absolute: Tensor, *tables: RelativeTable) -> Tensor:
    """Bias plane of one layer: the absolute part (H, Lq, Lk), which is left as it is, plus the layer's tables."""
    plane = absolute.clone()
    for weight, buckets, (row, column) in tables:
        rows, columns = buckets.shape
        plane[:, row : row + rows, column : column + columns] += _look_up(weight, buckets)
    return plane


def _look_up(weight: Tensor, buckets: Tensor) -> Tensor:
    """(rows, H), (n, m) -> (H, n, m), with a deterministic gradient."""
    if weight.is_cuda:  # index_select adds its gradient up with atomics there, an embedding sorts first
        return F.embedding(buckets, weight).permute(2, 0, 1)
    # On a CPU this is 4 times (n = m = 104) to 1.6 times (1028) faster, forward and backward, than an embedding.
    return weight.t().contiguous().index_select(1, buckets.flatten()).unflatten(1, buckets.shape)
