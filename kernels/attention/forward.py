"""Forward pass: one program per (block of queries, head, sample), the samples innermost.

Programs that run at the same time then read the same tiles of the bias, and all but the first find them in the L2
cache. The softmax is the online one (Milakov and Gimelshein, arXiv 1805.02867; Dao et al., arXiv 2205.14135).
"""

import triton
import triton.language as tl

from ..products import dot
from .tiles import LOG2E, kept, key_range, partial_block, place, rows, scores_tile


@triton.jit
def _attend(
    acc, total, peak, scores, v_ptr, v_row, first_key, query, keys, width, seed, stream, threshold,
    BLOCK_KEYS: tl.constexpr, WIDTH: tl.constexpr, DROPOUT: tl.constexpr, MASKED: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """One step of the online softmax: (acc, total, peak) after a tile of scores more."""
    new_peak = tl.maximum(peak, tl.max(scores, 1))
    reference = new_peak
    if MASKED:  # no key seen yet: any finite number will do
        reference = tl.where(new_peak == float("-inf"), 0.0, new_peak)
    weights = tl.exp2(scores * LOG2E - (reference * LOG2E)[:, None])
    decay = tl.exp2((peak - reference) * LOG2E)
    total = total * decay + tl.sum(weights, 1)
    if DROPOUT:
        weights = tl.where(kept(seed, stream, query, first_key, threshold, BLOCK_KEYS), weights, 0.0)
    key = first_key + tl.arange(0, BLOCK_KEYS)
    if MASKED:
        key = tl.minimum(key, keys - 1)
    v = rows(v_ptr, v_row, key, width, WIDTH)
    acc = acc * decay[:, None] + dot(weights.to(v.dtype), v, PRECISION, UPCAST)
    return acc, total, new_peak


@triton.jit
def attention_forward(
    q_ptr,
    k_ptr,
    v_ptr,
    bias_ptr,
    padding_ptr,
    ranges_ptr,
    seed_ptr,
    out_ptr,
    lse_ptr,
    q_sample,
    q_head,
    q_row,
    k_sample,
    k_head,
    k_row,
    v_sample,
    v_head,
    v_row,
    bias_sample,
    bias_head,
    bias_row,
    out_sample,
    out_head,
    out_row,
    samples,
    heads,
    queries,
    keys,
    width,
    scale,
    threshold,
    keep_scale,
    BLOCK_QUERIES: tl.constexpr,
    BLOCK_KEYS: tl.constexpr,
    WIDTH: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_PADDING: tl.constexpr,
    CAUSAL: tl.constexpr,
    DROPOUT: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
    STAGES: tl.constexpr,
):
    """out (B, H, Lq, D) and the log-sum-exp (B, H, Lq) of every query's scores, -inf where it sees no key."""
    sample, block, head, stream = place(samples, heads, tl.cdiv(queries, BLOCK_QUERIES))
    sample64 = sample.to(tl.int64)
    q_ptr += sample64 * q_sample + head * q_head
    k_ptr += sample64 * k_sample + head * k_head
    v_ptr += sample64 * v_sample + head * v_head
    out_ptr += sample64 * out_sample + head * out_head
    if HAS_BIAS:
        bias_ptr += sample64 * bias_sample + head.to(tl.int64) * bias_head
    if HAS_PADDING:
        padding_ptr += sample64 * keys
    seed = 0
    if DROPOUT:
        seed = tl.load(seed_ptr)

    first_row = block * BLOCK_QUERIES
    query = first_row + tl.arange(0, BLOCK_QUERIES)
    row = tl.minimum(query, queries - 1)  # what is read past the end is not written
    shift = keys - queries
    q = rows(q_ptr, q_row, row, width, WIDTH)
    begin, full_begin, full_end, end = key_range(
        ranges_ptr, sample, first_row, first_row + BLOCK_QUERIES - 1, keys, shift, HAS_PADDING, CAUSAL, BLOCK_KEYS
    )

    peak = tl.full((BLOCK_QUERIES,), float("-inf"), tl.float32)  # of the scores so far
    total = tl.zeros((BLOCK_QUERIES,), tl.float32)
    acc = tl.zeros((BLOCK_QUERIES, WIDTH), tl.float32)
    for index in tl.range(full_begin, full_end, num_stages=STAGES):
        scores = scores_tile(
            q, k_ptr, k_row, bias_ptr, bias_row, padding_ptr, index * BLOCK_KEYS, query, row, keys, shift, width, scale,
            BLOCK_KEYS, WIDTH, HAS_BIAS, HAS_PADDING, CAUSAL, False, PRECISION, UPCAST,
        )  # fmt: skip
        acc, total, peak = _attend(
            acc, total, peak, scores, v_ptr, v_row, index * BLOCK_KEYS, query, keys, width, seed, stream, threshold,
            BLOCK_KEYS, WIDTH, DROPOUT, False, PRECISION, UPCAST,
        )  # fmt: skip
    for index in tl.range(0, full_begin - begin + end - full_end, num_stages=1):
        first_key = partial_block(index, begin, full_begin, full_end) * BLOCK_KEYS
        scores = scores_tile(
            q, k_ptr, k_row, bias_ptr, bias_row, padding_ptr, first_key, query, row, keys, shift, width, scale,
            BLOCK_KEYS, WIDTH, HAS_BIAS, HAS_PADDING, CAUSAL, True, PRECISION, UPCAST,
        )  # fmt: skip
        acc, total, peak = _attend(
            acc, total, peak, scores, v_ptr, v_row, first_key, query, keys, width, seed, stream, threshold,
            BLOCK_KEYS, WIDTH, DROPOUT, True, PRECISION, UPCAST,
        )  # fmt: skip

    seen = total > 0.0
    acc = tl.where(seen[:, None], acc * (keep_scale / tl.where(seen, total, 1.0))[:, None], 0.0)
    column = tl.arange(0, WIDTH)
    inside = (query < queries)[:, None] & (column < width)[None, :]
    tl.store(out_ptr + query[:, None] * out_row + column[None, :], acc.to(out_ptr.dtype.element_ty), mask=inside)
    lse = tl.where(seen, peak + tl.log(tl.where(seen, total, 1.0)), float("-inf"))
    tl.store(lse_ptr + stream.to(tl.int64) * queries + query, lse, mask=query < queries)
