"""OFA's position bias as structure: what it is made of, instead of the tensor that is added to the scores.

OFA adds to the attention scores an absolute part ``scale * pos_q @ pos_k^T``, the same for all layers, and relative
parts, learned tables per layer that are looked up by a bucket of the distance (arXiv 2202.03052, section 3.1). Neither
depends on the sample, so that both fit in a bias of shape (H, Lq, Lk) and never need (B, H, Lq, Lk).

Each table covers a square of the bias, the pairs of two text tokens or of two patches, and in both cases the bucket
depends on a difference only: of positions in the text, and of ``row * span + column`` in the grid of patches.
"""

from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

MAX_TABLES = 2  # of a bias that the Triton kernels build


class AbsolutePositions(NamedTuple):
    """The absolute part of the bias, shared by the layers; made by :func:`ofa_mi.kernels.absolute_positions`.

    Attributes:
        pos_q: (H, Lq, D) projected positions of the queries.
        pos_k: (H, Lk, D) projected positions of the keys.
        scale: Factor of their products.
        products: (H, Lq, Lk) if they are kept for all layers.
    """

    pos_q: Tensor
    pos_k: Tensor
    scale: float
    products: Tensor | None = None


class RelativePositions:
    """Which row of a relative table belongs to every pair of a query and a key: ``rows[queries[i] - keys[j]]``.

    Args:
        queries: (n,) int64.
        keys: (m,) int64, each from 0 to ``span`` - 1 and different from the others.
        span: Upper limit of the keys.
        rows: (r,) int64, row of the table for every difference, from 0 to r - 1; ``None``: the difference is the row.
    """

    def __init__(self, queries: Tensor, keys: Tensor, *, span: int, rows: Tensor | None = None) -> None:
        self.queries, self.keys, self.span, self.rows = queries, keys, span, rows

    @cached_property
    def buckets(self) -> Tensor:
        """(n, m) int64, the row for every pair."""
        difference = self.queries[:, None] - self.keys[None, :]
        return difference if self.rows is None else self.rows[difference]

    @cached_property
    def key_index(self) -> Tensor:
        """(span,) int64, the index j of each key, -1 where there is no such key."""
        index = self.keys.new_full((self.span,), -1)
        return index.scatter_(0, self.keys, torch.arange(len(self.keys), device=self.keys.device))

    @classmethod
    def toeplitz(cls, buckets: Tensor) -> "RelativePositions":
        """Of a square (n, n) of rows that depend on i - j only, as those of text positions do."""
        index = torch.arange(len(buckets), device=buckets.device)
        rows = torch.cat([buckets[0, 1:].flip(0), buckets[:, 0]])  # for i - j from -(n - 1) to n - 1
        return cls(index + len(buckets) - 1, index, span=len(buckets), rows=rows)


class RelativeTable(NamedTuple):
    """One learned table and the square of the bias to which it is added.

    Attributes:
        weight: (rows, H) the table.
        positions: The row for every pair of a query and a key.
        start: (query, key) of the square's upper left corner.
    """

    weight: Tensor
    positions: RelativePositions
    start: tuple[int, int] = (0, 0)


class PositionBias(NamedTuple):
    """The bias of one layer.

    Attributes:
        absolute: The part that all layers share.
        tables: The layer's tables, whose squares do not overlap.
    """

    absolute: AbsolutePositions
    tables: tuple[RelativeTable, ...] = ()
