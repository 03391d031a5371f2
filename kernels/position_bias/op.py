"""The position bias as operators of PyTorch (``torch.library``): launches, fake tensors, gradients."""

import torch
import triton
from torch import Tensor

from ..common import contiguous_rows, launch, on_device, product_options, strides, tile_side
from . import backward, forward
from .structure import MAX_TABLES, PositionBias

ROW_MULTIPLE = 16  # elements: rows of a bias begin at multiples of it, so that they can be read in wide loads
TILES = {2: (64, 4), 4: (32, 8)}  # bytes of an element -> side of a tile, warps
# Tile of a table's gradient, and the rows of the bias's gradient that a program reads.
GRADIENT_TILE = {"DIFFERENCES": 128, "DIAGONAL_ROWS": 16, "CHUNK": 64}


def empty_bias(heads: int, seqlen_q: int, seqlen_k: int, *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(H, Lq, Lk) uninitialised, in rows of a multiple of ROW_MULTIPLE elements."""
    padded = -(-seqlen_k // ROW_MULTIPLE) * ROW_MULTIPLE
    return torch.empty(heads, seqlen_q, padded, dtype=dtype, device=device)[..., :seqlen_k]


def _empty_output(pos_q: Tensor, pos_k: Tensor) -> Tensor:
    """The uninitialised bias: fp16 for both 16-bit formats, it has 3 bits more than bf16."""
    dtype = torch.float32 if pos_q.dtype == torch.float32 else torch.float16
    return empty_bias(*pos_q.shape[:2], pos_k.shape[1], dtype=dtype, device=pos_q.device)


@torch.library.custom_op("ofa_mi::position_bias", mutates_args=())
def position_bias(
    pos_q: Tensor,
    pos_k: Tensor,
    tables: list[Tensor],
    queries: list[Tensor],
    keys: list[Tensor],
    key_indices: list[Tensor],
    starts: list[int],
    scale: float,
) -> Tensor:
    """The bias (H, Lq, Lk) of pos_q (H, Lq, D), pos_k (H, Lk, D) and up to two tables; :func:`parts` gives these.

    Args:
        tables: (H, r) each, contiguous: the value of every difference.
        queries: (n,) int64 of each table, see :class:`~ofa_mi.kernels.RelativePositions`.
        keys: (m,) int64 of each table.
        key_indices: (span,) int64 of each table, for the gradient only.
        starts: (query, key) of each table's square, one after the other.
        scale: Factor of the products of positions.
    """
    out = _empty_output(pos_q, pos_k)
    pos_q, pos_k = contiguous_rows(pos_q), contiguous_rows(pos_k)
    heads, seqlen_q, head_dim = pos_q.shape
    seqlen_k = pos_k.shape[1]
    block, num_warps = TILES[pos_q.element_size()]
    arguments = {"pos_q_ptr": pos_q, "pos_k_ptr": pos_k, "bias_ptr": out}
    arguments |= strides("hl", pos_q=pos_q, pos_k=pos_k, bias=out)
    for n in range(MAX_TABLES):
        arguments |= _table(n, *(each[n : n + 1] for each in (tables, queries, keys)), starts[2 * n : 2 * n + 2])
    arguments |= {"seqlen_q": seqlen_q, "seqlen_k": seqlen_k, "head_dim": head_dim, "scale": scale}
    arguments |= {"limit": torch.finfo(out.dtype).max, "TABLES": len(tables), "BLOCK": block}
    arguments |= {"BLOCK_D": tile_side(head_dim)}
    arguments |= product_options(allow_tf32=torch.backends.cuda.matmul.allow_tf32)
    grid = (triton.cdiv(seqlen_q, block) * triton.cdiv(seqlen_k, block), heads)
    with on_device(pos_q):
        launch(forward.position_bias, grid, arguments, num_warps=num_warps, enable_fp_fusion=True)
    return out


def _table(n: int, table: list[Tensor], queries: list[Tensor], keys: list[Tensor], start: list[int]) -> dict:
    """Arguments of table ``n``, of which there is one or none."""
    pointers = [each[0] if each else None for each in (table, queries, keys)]
    sizes = [table[0].shape[1], len(queries[0]), len(keys[0]), *start] if table else [0] * 5
    names = ("table{}_ptr", "queries{}_ptr", "keys{}_ptr", "size{}", "n{}", "m{}", "row{}", "column{}")
    return {name.format(n): value for name, value in zip(names, (*pointers, *sizes), strict=True)}


@position_bias.register_fake
def _(pos_q, pos_k, tables, queries, keys, key_indices, starts, scale):
    return _empty_output(pos_q, pos_k)


@torch.library.custom_op("ofa_mi::table_gradient", mutates_args=())
def table_gradient(d_bias: Tensor, table_size: int, queries: Tensor, key_index: Tensor, start: list[int]) -> Tensor:
    """Gradient (H, table_size) fp32 of a table from that of the bias (H, Lq, Lk)."""
    d_bias = contiguous_rows(d_bias)
    heads, chunks = len(d_bias), triton.cdiv(len(queries), GRADIENT_TILE["CHUNK"])
    partial = d_bias.new_empty((chunks, heads, table_size), dtype=torch.float32)
    arguments = {"d_bias_ptr": d_bias, "partial_ptr": partial, "queries_ptr": queries, "key_index_ptr": key_index}
    arguments |= strides("hl", d_bias=d_bias) | {"size": table_size, "n": len(queries), "span": len(key_index)}
    arguments |= {"row0": start[0], "column0": start[1]} | GRADIENT_TILE
    with on_device(d_bias):
        grid = (triton.cdiv(table_size, GRADIENT_TILE["DIFFERENCES"]), heads, chunks)
        launch(backward.table_gradient, grid, arguments, num_warps=4)
    return partial.sum(0)


@table_gradient.register_fake
def _(d_bias, table_size, queries, key_index, start):
    return d_bias.new_empty(d_bias.shape[0], table_size, dtype=torch.float32)


def bias_gradients(
    d_bias: Tensor,
    pos_q: Tensor,
    pos_k: Tensor,
    tables: list[Tensor],
    queries: list[Tensor],
    key_indices: list[Tensor],
    starts: list[int],
    scale: float,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Gradients of pos_q, pos_k and the tables from that of the bias (H, Lq, Lk); the rest as :func:`position_bias`."""
    d_scores = d_bias.to(pos_q.dtype)
    d_tables = [
        table_gradient(d_bias, table.shape[1], *indices, starts[2 * n : 2 * n + 2]).to(table.dtype)
        for n, (table, *indices) in enumerate(zip(tables, queries, key_indices, strict=True))
    ]
    return torch.bmm(d_scores, pos_k) * scale, torch.bmm(d_scores.transpose(1, 2), pos_q) * scale, d_tables


def _keep(ctx, inputs, output) -> None:
    pos_q, pos_k, tables, queries, _, key_indices, ctx.starts, ctx.scale = inputs
    ctx.save_for_backward(pos_q, pos_k, *tables, *queries, *key_indices)
    ctx.tables = len(tables)


def _backward(ctx, d_bias):
    pos_q, pos_k, *rest = ctx.saved_tensors
    lists = [list(rest[n * ctx.tables : (n + 1) * ctx.tables]) for n in range(3)]
    return *bias_gradients(d_bias, pos_q, pos_k, *lists, ctx.starts, ctx.scale), *no_gradients(ctx.tables), None


def no_gradients(tables: int) -> tuple[list[None] | None, ...]:
    """For queries, keys, key_indices and starts; an empty list, even of numbers, counts as one of tensors."""
    return *([None] * tables for _ in range(3)), None if tables else []


position_bias.register_autograd(_backward, setup_context=_keep)


def parts(bias: PositionBias) -> tuple[Tensor | list[Tensor] | list[int] | float, ...]:
    """The arguments of :func:`position_bias`: each table as one (H, r) row of values by difference."""
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
