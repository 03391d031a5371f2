"""Forward kernel of the position bias: products of the positions plus the tables."""

import triton
import triton.language as tl

from ..common import dot


@triton.jit
def position_bias(
    pos_q_ptr, pos_k_ptr, bias_ptr,
    stride_pos_q_h, stride_pos_q_l, stride_pos_k_h, stride_pos_k_l, stride_bias_h, stride_bias_l,
    table0_ptr, queries0_ptr, keys0_ptr, size0, n0, m0, row0, column0,
    table1_ptr, queries1_ptr, keys1_ptr, size1, n1, m1, row1, column1,
    seqlen_q, seqlen_k, head_dim, scale, limit,
    TABLES: tl.constexpr, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """bias (H, Lq, Lk), one program per tile and head; values beyond ``limit``, the format's largest, are cut off."""
    blocks = tl.cdiv(seqlen_k, BLOCK)
    query = tl.program_id(0) // blocks * BLOCK + tl.arange(0, BLOCK)
    key = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    head = tl.program_id(1).to(tl.int64)
    column = tl.arange(0, BLOCK_D)
    pos_q_ptr += head * stride_pos_q_h + query[:, None] * stride_pos_q_l + column[None, :]
    pos_k_ptr += head * stride_pos_k_h + key[:, None] * stride_pos_k_l + column[None, :]
    inside = column[None, :] < head_dim
    q = tl.load(pos_q_ptr, mask=inside & (query < seqlen_q)[:, None], other=0.0)
    k = tl.load(pos_k_ptr, mask=inside & (key < seqlen_k)[:, None], other=0.0)
    tile = dot(q, tl.trans(k), PRECISION, UPCAST) * scale
    if TABLES > 0:
        tile += _look_up(table0_ptr + head * size0, queries0_ptr, keys0_ptr, query - row0, key - column0, n0, m0)
    if TABLES > 1:
        tile += _look_up(table1_ptr + head * size1, queries1_ptr, keys1_ptr, query - row1, key - column1, n1, m1)
    tile = tl.clamp(tile, -limit, limit, propagate_nan=tl.PropagateNan.ALL)
    pointers = bias_ptr + head * stride_bias_h + query.to(tl.int64)[:, None] * stride_bias_l + key[None, :]
    inside = (query < seqlen_q)[:, None] & (key < seqlen_k)[None, :]
    tl.store(pointers, tile.to(bias_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _look_up(table_ptr, queries_ptr, keys_ptr, i, j, n, m):
    """What a table adds to a tile: 0 outside of its square."""
    in_rows = (i >= 0) & (i < n)
    in_columns = (j >= 0) & (j < m)
    query = tl.load(queries_ptr + i, mask=in_rows, other=0)
    key = tl.load(keys_ptr + j, mask=in_columns, other=0)
    inside = in_rows[:, None] & in_columns[None, :]
    return tl.load(table_ptr + query[:, None] - key[None, :], mask=inside, other=0.0).to(tl.float32)
