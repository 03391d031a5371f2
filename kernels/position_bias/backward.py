"""Backward kernel of the position bias: the gradient of a table, a sum along the diagonals of the bias's gradient."""

import triton
import triton.language as tl


@triton.jit
def table_gradient(
    d_bias_ptr, partial_ptr, queries_ptr, key_index_ptr, stride_d_bias_h, stride_d_bias_l, size, n, span, row0, column0,
    DIFFERENCES: tl.constexpr, DIAGONAL_ROWS: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """partial (chunks, H, size) fp32: for every difference the sum over the pairs that have it, in CHUNK rows."""
    difference = tl.program_id(0) * DIFFERENCES + tl.arange(0, DIFFERENCES)
    head = tl.program_id(1).to(tl.int64)
    chunk = tl.program_id(2)
    d_bias_ptr += head * stride_d_bias_h + column0
    acc = tl.zeros((DIFFERENCES,), tl.float32)
    for first in tl.range(chunk * CHUNK, tl.minimum(chunk * CHUNK + CHUNK, n), DIAGONAL_ROWS):
        i = first + tl.arange(0, DIAGONAL_ROWS)
        query = tl.load(queries_ptr + i, mask=i < n, other=-1)
        key = query[:, None] - difference[None, :]
        j = tl.load(key_index_ptr + key, mask=(key >= 0) & (key < span), other=-1)
        pointers = d_bias_ptr + (row0 + i).to(tl.int64)[:, None] * stride_d_bias_l + j
        acc += tl.sum(tl.load(pointers, mask=(j >= 0) & (i < n)[:, None], other=0.0), 0)
    heads = tl.num_programs(1)
    tl.store(partial_ptr + (chunk * heads + head) * size + difference, acc, mask=difference < size)
