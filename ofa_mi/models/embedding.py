"""The token embedding, whose table is also the matrix of the output layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class TokenEmbedding(nn.Embedding):
    """A table of tokens that is looked up more than once, and multiplied by, and has one gradient of it all.

    By itself autograd fills a gradient of all rows for every lookup, most of them zero, and adds these up: at OFA's
    59,457 rows an eighth of a training step. Within :meth:`one_gradient` the lookups leave their few rows to the
    node that the table comes from, which adds them to the gradient of the output layer. Sums and their order are those
    of autograd.
    """

    _shared: tuple[Tensor, list[tuple[Tensor, Tensor]]] | None = None  # only within `one_gradient`

    @contextmanager
    def one_gradient(self) -> Iterator[None]:
        """A block, such as one forward pass, in which all uses of the table have one gradient together."""
        if self._shared is not None or not (torch.is_grad_enabled() and self.weight.requires_grad):
            yield
            return
        rows: list[tuple[Tensor, Tensor]] = []
        self._shared = _Shared.apply(self.weight, rows), rows
        try:
            yield
        finally:
            self._shared = None

    @property
    def shared(self) -> Tensor | None:
        """The table (V, C) to multiply by within :meth:`one_gradient`, otherwise None."""
        return None if self._shared is None else self._shared[0]

    def forward(self, tokens: Tensor) -> Tensor:
        """(…) int64 -> (…, C)."""
        if self._shared is None:
            return super().forward(tokens)
        return _Lookup.apply(*self._shared, tokens, self.padding_idx)


class _Lookup(torch.autograd.Function):
    """Rows of a table that came through :class:`_Shared`, to which their gradient goes."""

    @staticmethod
    def forward(ctx, table, rows, tokens, padding):
        ctx.save_for_backward(tokens)
        ctx.rows, ctx.padding = rows, padding
        return F.embedding(tokens, table)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        (tokens,) = ctx.saved_tensors
        if ctx.padding is not None:
            grad = grad.masked_fill(tokens.eq(ctx.padding)[..., None], 0)
        ctx.rows.append((tokens.flatten(), grad.flatten(0, -2)))
        return None, None, None, None


class _Shared(torch.autograd.Function):
    """A table for many uses: its backward runs when all of theirs have, and adds the rows of lookups to the rest."""

    @staticmethod
    def forward(ctx, weight, rows):
        ctx.rows, ctx.like = rows, (weight.shape, weight.dtype, weight.device)
        ctx.set_materialize_grads(False)
        return weight.view_as(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        if grad is None:  # nothing was multiplied by it
            shape, dtype, device = ctx.like
            grad = torch.zeros(shape, dtype=dtype, device=device)
        for tokens, of_tokens in ctx.rows:
            _add_rows(grad, tokens, of_tokens.to(grad.dtype))
        ctx.rows.clear()
        return grad, None


def _add_rows(total: Tensor, tokens: Tensor, rows: Tensor) -> None:
    """Add rows (N, C) to those of ``total`` (V, C) that ``tokens`` (N,) name, in place.

    What belongs to the same token is summed first, by the operation that sums a lookup's gradient: in the order of
    the tokens, and on a GPU without atomics, so that two runs are equal.
    """
    if not len(tokens):
        return
    ordered, order = tokens.sort(stable=True)
    place = F.pad(ordered.diff().ne(0).cumsum(0), (1, 0))  # among the different tokens
    sums = torch.ops.aten.embedding_dense_backward(rows[order], place, len(rows), -1, False)  # zero beyond them
    total.index_add_(0, torch.zeros_like(ordered).scatter_(0, place, ordered), sums)
