"""The plane of the position bias as operators of PyTorch (``torch.library``), with gradients."""

import torch
from torch import Tensor

from . import triton_kernels
from .structure import PositionBias


@torch.library.custom_op("ofa_mi::position_plane", mutates_args=())
def position_plane(
    pos_q: Tensor,
    pos_k: Tensor,
    tables: list[Tensor],
    queries: list[Tensor],
    keys: list[Tensor],
    key_indices: list[Tensor],
    starts: list[int],
    scale: float,
) -> Tensor:
    """See :func:`triton_kernels.plane`; ``key_indices`` (span,) of each table are for the gradient only."""
    return triton_kernels.plane(pos_q, pos_k, tables, queries, keys, starts, scale=scale)


@position_plane.register_fake
def _(pos_q, pos_k, tables, queries, keys, key_indices, starts, scale):
    dtype = triton_kernels.plane_dtype(pos_q.dtype)
    return triton_kernels.empty_plane(pos_q.shape[0], pos_q.shape[1], pos_k.shape[1], dtype=dtype, device=pos_q.device)


@torch.library.custom_op("ofa_mi::table_gradient", mutates_args=())
def table_gradient(d_plane: Tensor, table_size: int, queries: Tensor, key_index: Tensor, start: list[int]) -> Tensor:
    """See :func:`triton_kernels.plane_gradient`."""
    return triton_kernels.plane_gradient(d_plane, table_size, queries, key_index, start)


@table_gradient.register_fake
def _(d_plane, table_size, queries, key_index, start):
    return d_plane.new_empty(d_plane.shape[0], table_size, dtype=torch.float32)


def plane_gradients(
    d_plane: Tensor,
    pos_q: Tensor,
    pos_k: Tensor,
    tables: list[Tensor],
    queries: list[Tensor],
    key_indices: list[Tensor],
    starts: list[int],
    scale: float,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Gradients of pos_q, pos_k and the tables from that of the plane (H, Lq, Lk)."""
    d_scores = d_plane.to(pos_q.dtype)
    d_tables = [
        table_gradient(d_plane, table.shape[1], *indices, starts[2 * n : 2 * n + 2]).to(table.dtype)
        for n, (table, *indices) in enumerate(zip(tables, queries, key_indices, strict=True))
    ]
    return torch.bmm(d_scores, pos_k) * scale, torch.bmm(d_scores.transpose(1, 2), pos_q) * scale, d_tables


def _keep(ctx, inputs, output) -> None:
    pos_q, pos_k, tables, queries, _, key_indices, ctx.starts, ctx.scale = inputs
    ctx.save_for_backward(pos_q, pos_k, *tables, *queries, *key_indices)
    ctx.tables = len(tables)


def _backward(ctx, d_plane):
    pos_q, pos_k, *rest = ctx.saved_tensors
    lists = [list(rest[n * ctx.tables : (n + 1) * ctx.tables]) for n in range(3)]
    gradients = plane_gradients(d_plane, pos_q, pos_k, *lists, ctx.starts, ctx.scale)
    return *gradients, *no_gradients(ctx.tables), None


def no_gradients(tables: int) -> tuple[list[None] | None, ...]:
    """For queries, keys, key_indices and starts; an empty list, even of numbers, counts as one of tensors."""
    return *([None] * tables for _ in range(3)), None if tables else []


position_plane.register_autograd(_backward, setup_context=_keep)


def parts(bias: PositionBias) -> tuple[Tensor | list[Tensor] | list[int] | float, ...]:
    """The arguments of :func:`position_plane`: each table as one (H, r) row of values by difference."""
    positions = [table.positions for table in bias.tables]
    weights = [t.weight if t.positions.rows is None else t.weight[t.positions.rows] for t in bias.tables]
    return (
        bias.absolute.pos_q,
        bias.absolute.pos_k,
        [weight.t().contiguous() for weight in weights],
        [p.queries for p in positions],
        [p.keys for p in positions],
        [p.key_index for p in positions],
        [coordinate for table in bias.tables for coordinate in table.start],
        bias.absolute.scale,
    )
