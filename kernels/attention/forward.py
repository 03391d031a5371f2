"""Forward pass: one program per (block of queries, head, sample), the samples innermost.

Programs that run at the same time then read the same tiles of the bias, and all but the first find them in the L2
cache. The softmax is the online one (Milakov and Gimelshein, arXiv 1805.02867; Dao et al., arXiv 2205.14135).
"""

import triton
import triton.language as tl

from ..common import dot
from .tiles import LOG2E, dropout_mask, key_range, partial_block, place, rows, scores_tile


@triton.jit
def visible_ranges(padding_ptr, ranges_ptr, seqlen_k, BLOCK: tl.constexpr):
    """ranges (B, 3) of padding (B, Lk), one program per sample; see ``op.visible_ranges``."""
    sample = tl.program_id(0)
    key = tl.arange(0, BLOCK)
    masked = tl.load(padding_ptr + sample.to(tl.int64) * seqlen_k + key, mask=key < seqlen_k, other=1) != 0
    first = tl.min(tl.where(masked, seqlen_k, key), 0)
    last = tl.max(tl.where(masked, 0, key + 1), 0)
    first = tl.minimum(first, last)  # all masked: nothing from 0 to 0
    hole = tl.minimum(tl.min(tl.where(masked & (key > first), key, seqlen_k), 0), last)
    tl.store(ranges_ptr + 3 * sample, first)
    tl.store(ranges_ptr + 3 * sample + 1, hole)
    tl.store(ranges_ptr + 3 * sample + 2, last)


@triton.jit
def _attend(
    acc, row_sum, row_max, scores, v_ptr, stride_v_l, first_key, query, seqlen_k, head_dim, seed, stream, threshold,
    BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, DROPOUT: tl.constexpr, MASKED: tl.constexpr, PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):  # fmt: skip
    """One step of the online softmax: (acc, row_sum, row_max) after a tile of scores more."""
    new_max = tl.maximum(row_max, tl.max(scores, 1))
    reference = new_max
    if MASKED:  # no key seen yet: any finite number will do
        reference = tl.where(new_max == float("-inf"), 0.0, new_max)
    weights = tl.exp2(scores * LOG2E - (reference * LOG2E)[:, None])
    decay = tl.exp2((row_max - reference) * LOG2E)
    row_sum = row_sum * decay + tl.sum(weights, 1)
    if DROPOUT:
        weights = tl.where(dropout_mask(seed, stream, query, first_key, threshold, BLOCK_N), weights, 0.0)
    key = first_key + tl.arange(0, BLOCK_N)
    if MASKED:
        key = tl.minimum(key, seqlen_k - 1)
    v = rows(v_ptr, stride_v_l, key, head_dim, BLOCK_D)
    acc = acc * decay[:, None] + dot(weights.to(v.dtype), v, PRECISION, UPCAST)
    return acc, row_sum, new_max


@triton.jit
def attention_forward(
    q_ptr, k_ptr, v_ptr, bias_ptr, padding_ptr, ranges_ptr, seed_ptr, out_ptr, lse_ptr,
    stride_q_b, stride_q_h, stride_q_l, stride_k_b, stride_k_h, stride_k_l, stride_v_b, stride_v_h, stride_v_l,
    stride_bias_b, stride_bias_h, stride_bias_l, stride_out_b, stride_out_h, stride_out_l,
    batch, heads, seqlen_q, seqlen_k, head_dim, scale, threshold, keep_scale,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, HAS_BIAS: tl.constexpr,
    HAS_PADDING: tl.constexpr, CAUSAL: tl.constexpr, DROPOUT: tl.constexpr, PRECISION: tl.constexpr,
    UPCAST: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """out (B, H, Lq, D) and the log-sum-exp (B, H, Lq) of every query's scores, -inf where it sees no key."""
    sample, block, head, stream = place(batch, heads, tl.cdiv(seqlen_q, BLOCK_M))
    sample64 = sample.to(tl.int64)
    q_ptr += sample64 * stride_q_b + head * stride_q_h
    k_ptr += sample64 * stride_k_b + head * stride_k_h
    v_ptr += sample64 * stride_v_b + head * stride_v_h
    out_ptr += sample64 * stride_out_b + head * stride_out_h
    if HAS_BIAS:
        bias_ptr += sample64 * stride_bias_b + head.to(tl.int64) * stride_bias_h
    if HAS_PADDING:
        padding_ptr += sample64 * seqlen_k
    seed = 0
    if DROPOUT:
        seed = tl.load(seed_ptr)

    first_row = block * BLOCK_M
    query = first_row + tl.arange(0, BLOCK_M)
    row = tl.minimum(query, seqlen_q - 1)  # what is read past the end is not written
    shift = seqlen_k - seqlen_q
    q = rows(q_ptr, stride_q_l, row, head_dim, BLOCK_D)
    begin, full_begin, full_end, end = key_range(
        ranges_ptr, sample, first_row, first_row + BLOCK_M - 1, seqlen_k, shift, HAS_PADDING, CAUSAL, BLOCK_N
    )

    row_max = tl.full((BLOCK_M,), float("-inf"), tl.float32)  # of the scores so far
    row_sum = tl.zeros((BLOCK_M,), tl.float32)
    acc = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    for index in tl.range(full_begin, full_end, num_stages=STAGES):
        scores = scores_tile(
            q, k_ptr, stride_k_l, bias_ptr, stride_bias_l, padding_ptr, index * BLOCK_N, query, row, seqlen_k, shift,
            head_dim, scale, BLOCK_N, BLOCK_D, HAS_BIAS, HAS_PADDING, CAUSAL, False, PRECISION, UPCAST,
        )  # fmt: skip
        acc, row_sum, row_max = _attend(
            acc, row_sum, row_max, scores, v_ptr, stride_v_l, index * BLOCK_N, query, seqlen_k, head_dim, seed, stream,
            threshold, BLOCK_N, BLOCK_D, DROPOUT, False, PRECISION, UPCAST,
        )  # fmt: skip
    for index in tl.range(0, full_begin - begin + end - full_end, num_stages=1):
        first_key = partial_block(index, begin, full_begin, full_end) * BLOCK_N
        scores = scores_tile(
            q, k_ptr, stride_k_l, bias_ptr, stride_bias_l, padding_ptr, first_key, query, row, seqlen_k, shift,
            head_dim, scale, BLOCK_N, BLOCK_D, HAS_BIAS, HAS_PADDING, CAUSAL, True, PRECISION, UPCAST,
        )  # fmt: skip
        acc, row_sum, row_max = _attend(
            acc, row_sum, row_max, scores, v_ptr, stride_v_l, first_key, query, seqlen_k, head_dim, seed, stream,
            threshold, BLOCK_N, BLOCK_D, DROPOUT, True, PRECISION, UPCAST,
        )  # fmt: skip

    seen = row_sum > 0.0
    acc = tl.where(seen[:, None], acc * (keep_scale / tl.where(seen, row_sum, 1.0))[:, None], 0.0)
    column = tl.arange(0, BLOCK_D)
    inside = (query < seqlen_q)[:, None] & (column < head_dim)[None, :]
    tl.store(out_ptr + query[:, None] * stride_out_l + column[None, :], acc.to(out_ptr.dtype.element_ty), mask=inside)
    lse = tl.where(seen, row_max + tl.log(tl.where(seen, row_sum, 1.0)), float("-inf"))
    tl.store(lse_ptr + stream.to(tl.int64) * seqlen_q + query, lse, mask=query < seqlen_q)
