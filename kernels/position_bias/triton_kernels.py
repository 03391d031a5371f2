"""The plane of the position bias, and the gradient of a relative table as a sum along its diagonals, in Triton."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .. import switch

ROW_MULTIPLE = 16  # elements: rows of a plane begin at multiples of it, so that they can be read in wide loads
TILES = {2: (64, 4), 4: (32, 8)}  # bytes of an element -> side of a tile, warps
DIFFERENCES, DIAGONAL_ROWS, CHUNK = 128, 16, 64  # tile of a table's gradient, and the plane's rows that a program reads


@triton.jit
def position_plane(
    pos_q_ptr, pos_k_ptr, plane_ptr, pos_q_head, pos_q_row, pos_k_head, pos_k_row, plane_head, plane_row,
    table0_ptr, queries0_ptr, keys0_ptr, size0, n0, m0, row0, column0,
    table1_ptr, queries1_ptr, keys1_ptr, size1, n1, m1, row1, column1,
    queries, keys, width, scale, limit, TABLES: tl.constexpr, BLOCK: tl.constexpr, WIDTH: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """plane (H, Lq, Lk), one program per tile and head; values beyond ``limit``, the format's largest, are cut off."""
    blocks = tl.cdiv(keys, BLOCK)
    query = tl.program_id(0) // blocks * BLOCK + tl.arange(0, BLOCK)
    key = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    head = tl.program_id(1).to(tl.int64)
    column = tl.arange(0, WIDTH)
    pos_q_ptr += head * pos_q_head + query[:, None] * pos_q_row + column[None, :]
    pos_k_ptr += head * pos_k_head + key[:, None] * pos_k_row + column[None, :]
    inside = column[None, :] < width
    q = tl.load(pos_q_ptr, mask=inside & (query < queries)[:, None], other=0.0)
    k = tl.load(pos_k_ptr, mask=inside & (key < keys)[:, None], other=0.0)
    if UPCAST:
        q = q.to(tl.float32)
        k = k.to(tl.float32)
    tile = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale
    if TABLES > 0:
        tile += _look_up(table0_ptr + head * size0, queries0_ptr, keys0_ptr, query - row0, key - column0, n0, m0)
    if TABLES > 1:
        tile += _look_up(table1_ptr + head * size1, queries1_ptr, keys1_ptr, query - row1, key - column1, n1, m1)
    tile = tl.clamp(tile, -limit, limit, propagate_nan=tl.PropagateNan.ALL)
    pointers = plane_ptr + head * plane_head + query.to(tl.int64)[:, None] * plane_row + key[None, :]
    inside = (query < queries)[:, None] & (key < keys)[None, :]
    tl.store(pointers, tile.to(plane_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _look_up(table_ptr, queries_ptr, keys_ptr, i, j, n, m):
    """What a table adds to a tile: 0 outside of its square."""
    in_rows = (i >= 0) & (i < n)
    in_columns = (j >= 0) & (j < m)
    query = tl.load(queries_ptr + i, mask=in_rows, other=0)
    key = tl.load(keys_ptr + j, mask=in_columns, other=0)
    inside = in_rows[:, None] & in_columns[None, :]
    return tl.load(table_ptr + query[:, None] - key[None, :], mask=inside, other=0.0).to(tl.float32)


@triton.jit
def table_gradient(
    d_plane_ptr, partial_ptr, queries_ptr, key_index_ptr, plane_head, plane_row, size, n, span, row0, column0,
    DIFFERENCES: tl.constexpr, DIAGONAL_ROWS: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """partial (chunks, H, size) fp32: for every difference the sum over the pairs that have it, in CHUNK rows."""
    difference = tl.program_id(0) * DIFFERENCES + tl.arange(0, DIFFERENCES)
    head = tl.program_id(1).to(tl.int64)
    chunk = tl.program_id(2)
    d_plane_ptr += head * plane_head + column0
    acc = tl.zeros((DIFFERENCES,), tl.float32)
    for first in tl.range(chunk * CHUNK, tl.minimum(chunk * CHUNK + CHUNK, n), DIAGONAL_ROWS):
        i = first + tl.arange(0, DIAGONAL_ROWS)
        query = tl.load(queries_ptr + i, mask=i < n, other=-1)
        key = query[:, None] - difference[None, :]
        j = tl.load(key_index_ptr + key, mask=(key >= 0) & (key < span), other=-1)
        pointers = d_plane_ptr + (row0 + i).to(tl.int64)[:, None] * plane_row + j
        acc += tl.sum(tl.load(pointers, mask=(j >= 0) & (i < n)[:, None], other=0.0), 0)
    heads = tl.num_programs(1)
    tl.store(partial_ptr + (chunk * heads + head) * size + difference, acc, mask=difference < size)


def empty_plane(heads: int, queries: int, keys: int, *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(H, Lq, Lk) uninitialised, in rows of a multiple of ROW_MULTIPLE elements."""
    padded = -(-keys // ROW_MULTIPLE) * ROW_MULTIPLE
    return torch.empty(heads, queries, padded, dtype=dtype, device=device)[..., :keys]


def plane_dtype(dtype: torch.dtype) -> torch.dtype:
    """Format of the plane for inputs of ``dtype``: fp16 for both 16-bit formats, it has 3 bits more than bf16."""
    return torch.float32 if dtype == torch.float32 else torch.float16


def plane(
    pos_q: Tensor, pos_k: Tensor, tables: list[Tensor], queries: list[Tensor], keys: list[Tensor], starts: list[int],
    *, scale: float,
) -> Tensor:  # fmt: skip
    """The plane (H, Lq, Lk) of pos_q (H, Lq, D), pos_k (H, Lk, D) and up to two tables.

    Args:
        tables: (H, r) each, contiguous: the value of every difference.
        queries, keys: (n,) and (m,) int64 of each table.
        starts: (query, key) of each table's square, one after the other.
    """
    heads, rows, width = pos_q.shape
    out = empty_plane(heads, rows, pos_k.shape[1], dtype=plane_dtype(pos_q.dtype), device=pos_q.device)
    arguments = []
    for index in range(2):
        if index < len(tables):
            shape = (tables[index].shape[1], len(queries[index]), len(keys[index]))
            arguments += [tables[index], queries[index], keys[index], *shape, *starts[2 * index : 2 * index + 2]]
        else:
            arguments += [None, None, None, 0, 0, 0, 0, 0]
    pos_q, pos_k = (t if t.stride(-1) == 1 else t.contiguous() for t in (pos_q, pos_k))
    block, warps = TILES[pos_q.element_size()]
    grid = (triton.cdiv(rows, block) * triton.cdiv(pos_k.shape[1], block), heads)
    with switch.on_device(pos_q):
        position_plane[grid](
            pos_q, pos_k, out, *pos_q.stride()[:2], *pos_k.stride()[:2], *out.stride()[:2], *arguments,
            rows, pos_k.shape[1], width, scale, torch.finfo(out.dtype).max, TABLES=len(tables), BLOCK=block,
            WIDTH=max(16, triton.next_power_of_2(width)), PRECISION=switch.precision(), UPCAST=switch.interpreting(),
            num_warps=warps, enable_fp_fusion=True,
        )  # fmt: skip
    return out


def plane_gradient(d_plane: Tensor, table_size: int, queries: Tensor, key_index: Tensor, start: list[int]) -> Tensor:
    """Gradient (H, table_size) fp32 of a table from that of the plane (H, Lq, Lk)."""
    d_plane = d_plane if d_plane.stride(-1) == 1 else d_plane.contiguous()
    heads, chunks = len(d_plane), triton.cdiv(len(queries), CHUNK)
    partial = d_plane.new_empty((chunks, heads, table_size), dtype=torch.float32)
    with switch.on_device(d_plane):
        table_gradient[(triton.cdiv(table_size, DIFFERENCES), heads, chunks)](
            d_plane, partial, queries, key_index, *d_plane.stride()[:2], table_size, len(queries), len(key_index),
            *start, DIFFERENCES=DIFFERENCES, DIAGONAL_ROWS=DIAGONAL_ROWS, CHUNK=CHUNK, num_warps=4,
        )  # fmt: skip
    return partial.sum(0)
