"""Backward pass, in four kernels without atomics, so that two runs are equal bit by bit.

``delta`` = sum over D of out * d_out comes first (Dao et al., arXiv 2205.14135, algorithm 4). The weights are rebuilt
from the scores and the saved log-sum-exp wherever they are needed: in a pass over the keys for d_q, in a pass over the
queries for d_k and d_v, and, if the bias is learned, in a pass over the samples for d_bias. There every program owns a
tile of the bias and adds up the samples in registers: no gradient of shape (B, H, Lq, Lk) is ever formed.
"""

import triton
import triton.language as tl

from ..common import dot
from .tiles import (
    LOG2E,
    bias_tile,
    dropout_mask,
    dropout_mask_transposed,
    key_range,
    masked_keys,
    partial_block,
    place,
    rows,
    scores_tile,
)


@triton.jit
def attention_delta(
    out_ptr, d_out_ptr, delta_ptr, stride_out_b, stride_out_h, stride_out_l, stride_d_out_b, stride_d_out_h,
    stride_d_out_l, heads, seqlen_q, head_dim, BLOCK_M: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """delta (B, H, Lq) fp32."""
    stream = tl.program_id(1).to(tl.int64)
    sample, head = stream // heads, stream % heads
    query = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    row = tl.minimum(query, seqlen_q - 1)
    out = rows(out_ptr + sample * stride_out_b + head * stride_out_h, stride_out_l, row, head_dim, BLOCK_D)
    d_out = rows(d_out_ptr + sample * stride_d_out_b + head * stride_d_out_h, stride_d_out_l, row, head_dim, BLOCK_D)
    delta = tl.sum(out.to(tl.float32) * d_out.to(tl.float32), 1)
    tl.store(delta_ptr + stream * seqlen_q + query, delta, mask=query < seqlen_q)


@triton.jit
def row_statistics(lse_ptr, delta_ptr, query, seqlen_q):
    """The lse to the base 2 and delta of a block of queries. An lse of infinity turns every weight of a row to 0: of a
    row past the end, and of one that sees no key."""
    lse = tl.load(lse_ptr + query, mask=query < seqlen_q, other=float("inf"))
    delta = tl.load(delta_ptr + query, mask=query < seqlen_q, other=0.0)
    return tl.where(lse == float("-inf"), float("inf"), lse) * LOG2E, delta


@triton.jit
def attention_d_q(
    q_ptr, k_ptr, v_ptr, bias_ptr, padding_ptr, ranges_ptr, seed_ptr, d_out_ptr, lse_ptr, delta_ptr, d_q_ptr,
    stride_q_b, stride_q_h, stride_q_l, stride_k_b, stride_k_h, stride_k_l, stride_v_b, stride_v_h, stride_v_l,
    stride_bias_b, stride_bias_h, stride_bias_l, stride_d_out_b, stride_d_out_h, stride_d_out_l, stride_d_q_b,
    stride_d_q_h, stride_d_q_l,
    batch, heads, seqlen_q, seqlen_k, head_dim, scale, threshold, keep_scale,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, HAS_BIAS: tl.constexpr,
    HAS_PADDING: tl.constexpr, CAUSAL: tl.constexpr, DROPOUT: tl.constexpr, PRECISION: tl.constexpr,
    UPCAST: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """d_q (B, H, Lq, D); the order of the programs is that of the forward pass."""
    sample, block, head, stream = place(batch, heads, tl.cdiv(seqlen_q, BLOCK_M))
    first_row = block * BLOCK_M
    sample64 = sample.to(tl.int64)
    k_ptr += sample64 * stride_k_b + head * stride_k_h
    v_ptr += sample64 * stride_v_b + head * stride_v_h
    if HAS_BIAS:
        bias_ptr += sample64 * stride_bias_b + head.to(tl.int64) * stride_bias_h
    if HAS_PADDING:
        padding_ptr += sample64 * seqlen_k
    seed = 0
    if DROPOUT:
        seed = tl.load(seed_ptr)

    query = first_row + tl.arange(0, BLOCK_M)
    row = tl.minimum(query, seqlen_q - 1)
    shift = seqlen_k - seqlen_q
    q = rows(q_ptr + sample64 * stride_q_b + head * stride_q_h, stride_q_l, row, head_dim, BLOCK_D)
    d_out = rows(d_out_ptr + sample64 * stride_d_out_b + head * stride_d_out_h, stride_d_out_l, row, head_dim, BLOCK_D)
    first_statistic = stream.to(tl.int64) * seqlen_q
    lse2, delta = row_statistics(lse_ptr + first_statistic, delta_ptr + first_statistic, query, seqlen_q)
    begin, full_begin, full_end, end = key_range(
        ranges_ptr, sample, first_row, first_row + BLOCK_M - 1, seqlen_k, shift, HAS_PADDING, CAUSAL, BLOCK_N
    )
    acc = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    for index in tl.range(full_begin, full_end, num_stages=STAGES):
        scores = scores_tile(
            q, k_ptr, stride_k_l, bias_ptr, stride_bias_l, padding_ptr, index * BLOCK_N, query, row, seqlen_k, shift,
            head_dim, scale, BLOCK_N, BLOCK_D, HAS_BIAS, HAS_PADDING, CAUSAL, False, PRECISION, UPCAST,
        )  # fmt: skip
        acc = _add_d_q(
            acc, scores, d_out, lse2, delta, k_ptr, stride_k_l, v_ptr, stride_v_l, index * BLOCK_N, query, seqlen_k,
            head_dim, seed, stream, threshold, keep_scale, BLOCK_N, BLOCK_D, DROPOUT, False, PRECISION, UPCAST,
        )  # fmt: skip
    for index in tl.range(0, full_begin - begin + end - full_end, num_stages=1):
        first_key = partial_block(index, begin, full_begin, full_end) * BLOCK_N
        scores = scores_tile(
            q, k_ptr, stride_k_l, bias_ptr, stride_bias_l, padding_ptr, first_key, query, row, seqlen_k, shift,
            head_dim, scale, BLOCK_N, BLOCK_D, HAS_BIAS, HAS_PADDING, CAUSAL, True, PRECISION, UPCAST,
        )  # fmt: skip
        acc = _add_d_q(
            acc, scores, d_out, lse2, delta, k_ptr, stride_k_l, v_ptr, stride_v_l, first_key, query, seqlen_k, head_dim,
            seed, stream, threshold, keep_scale, BLOCK_N, BLOCK_D, DROPOUT, True, PRECISION, UPCAST,
        )  # fmt: skip
    column = tl.arange(0, BLOCK_D)
    pointers = d_q_ptr + sample64 * stride_d_q_b + head * stride_d_q_h + query[:, None] * stride_d_q_l + column[None, :]
    inside = (query < seqlen_q)[:, None] & (column < head_dim)[None, :]
    tl.store(pointers, (acc * scale).to(d_q_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _add_d_q(
    acc, scores, d_out, lse2, delta, k_ptr, stride_k_l, v_ptr, stride_v_l, first_key, query, seqlen_k, head_dim, seed,
    stream, threshold, keep_scale, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, DROPOUT: tl.constexpr,
    MASKED: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    key = first_key + tl.arange(0, BLOCK_N)
    if MASKED:
        key = tl.minimum(key, seqlen_k - 1)
    weights = tl.exp2(scores * LOG2E - lse2[:, None])
    d_weights = dot(d_out, tl.trans(rows(v_ptr, stride_v_l, key, head_dim, BLOCK_D)), PRECISION, UPCAST)
    if DROPOUT:
        keep = dropout_mask(seed, stream, query, first_key, threshold, BLOCK_N)
        d_weights = tl.where(keep, d_weights * keep_scale, 0.0)
    d_scores = weights * (d_weights - delta[:, None])
    k = rows(k_ptr, stride_k_l, key, head_dim, BLOCK_D)
    return acc + dot(d_scores.to(k.dtype), k, PRECISION, UPCAST)


@triton.jit
def attention_d_kv(
    q_ptr, k_ptr, v_ptr, bias_ptr, padding_ptr, ranges_ptr, seed_ptr, d_out_ptr, lse_ptr, delta_ptr, d_k_ptr, d_v_ptr,
    stride_q_b, stride_q_h, stride_q_l, stride_k_b, stride_k_h, stride_k_l, stride_v_b, stride_v_h, stride_v_l,
    stride_bias_b, stride_bias_h, stride_bias_l, stride_d_out_b, stride_d_out_h, stride_d_out_l, stride_d_k_b,
    stride_d_k_h, stride_d_k_l, stride_d_v_b, stride_d_v_h, stride_d_v_l,
    batch, heads, seqlen_q, seqlen_k, head_dim, scale, threshold, keep_scale,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, HAS_BIAS: tl.constexpr,
    HAS_PADDING: tl.constexpr, CAUSAL: tl.constexpr, DROPOUT: tl.constexpr, PRECISION: tl.constexpr,
    UPCAST: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """d_k and d_v (B, H, Lk, D). Tiles are (keys, queries) here, so that both sums are plain products.

    A key that is padding needs no mask inside the loop: its rows are its own and become 0 at the end.
    """
    sample, block, head, stream = place(batch, heads, tl.cdiv(seqlen_k, BLOCK_N))
    first_key = block * BLOCK_N
    sample64 = sample.to(tl.int64)
    q_ptr += sample64 * stride_q_b + head * stride_q_h
    d_out_ptr += sample64 * stride_d_out_b + head * stride_d_out_h
    first_statistic = stream.to(tl.int64) * seqlen_q
    if HAS_BIAS:
        bias_ptr += sample64 * stride_bias_b + head.to(tl.int64) * stride_bias_h
    if HAS_PADDING:
        padding_ptr += sample64 * seqlen_k
    seed = 0
    if DROPOUT:
        seed = tl.load(seed_ptr)

    key = first_key + tl.arange(0, BLOCK_N)
    key_row = tl.minimum(key, seqlen_k - 1)
    shift = seqlen_k - seqlen_q
    k = rows(k_ptr + sample64 * stride_k_b + head * stride_k_h, stride_k_l, key_row, head_dim, BLOCK_D)
    v = rows(v_ptr + sample64 * stride_v_b + head * stride_v_h, stride_v_l, key_row, head_dim, BLOCK_D)
    begin, full_begin, end = _query_range(
        ranges_ptr, sample, first_key, first_key + BLOCK_N - 1, seqlen_q, shift, HAS_PADDING, CAUSAL, BLOCK_M
    )
    d_k = tl.zeros((BLOCK_N, BLOCK_D), tl.float32)
    d_v = tl.zeros((BLOCK_N, BLOCK_D), tl.float32)
    for index in tl.range(begin, full_begin, num_stages=1):
        d_k, d_v = _add_d_kv(
            d_k, d_v, k, v, q_ptr, stride_q_l, d_out_ptr, stride_d_out_l, bias_ptr, stride_bias_l,
            lse_ptr + first_statistic, delta_ptr + first_statistic, index * BLOCK_M, first_key, seqlen_q, seqlen_k,
            shift, head_dim, scale, seed, stream, threshold, keep_scale, BLOCK_M, BLOCK_N, BLOCK_D, HAS_BIAS, CAUSAL,
            DROPOUT, PRECISION, UPCAST,
        )  # fmt: skip
    for index in tl.range(full_begin, end, num_stages=STAGES):
        d_k, d_v = _add_d_kv(
            d_k, d_v, k, v, q_ptr, stride_q_l, d_out_ptr, stride_d_out_l, bias_ptr, stride_bias_l,
            lse_ptr + first_statistic, delta_ptr + first_statistic, index * BLOCK_M, first_key, seqlen_q, seqlen_k,
            shift, head_dim, scale, seed, stream, threshold, keep_scale, BLOCK_M, BLOCK_N, BLOCK_D, HAS_BIAS, False,
            DROPOUT, PRECISION, UPCAST,
        )  # fmt: skip
    seen = ~masked_keys(padding_ptr, key, seqlen_k, HAS_PADDING)[:, None]
    d_k = tl.where(seen, d_k * scale, 0.0)
    d_v = tl.where(seen, d_v * keep_scale, 0.0)
    column = tl.arange(0, BLOCK_D)
    inside = (key < seqlen_k)[:, None] & (column < head_dim)[None, :]
    d_k_ptr += sample64 * stride_d_k_b + head * stride_d_k_h
    d_v_ptr += sample64 * stride_d_v_b + head * stride_d_v_h
    tl.store(d_k_ptr + key[:, None] * stride_d_k_l + column[None, :], d_k.to(d_k_ptr.dtype.element_ty), mask=inside)
    tl.store(d_v_ptr + key[:, None] * stride_d_v_l + column[None, :], d_v.to(d_v_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _query_range(
    ranges, sample, first_key, last_key, seqlen_q, shift, HAS_PADDING: tl.constexpr, CAUSAL: tl.constexpr,
    STEP: tl.constexpr,
):  # fmt: skip
    """Blocks of STEP queries (begin, full_begin, end) that see any of the keys: all of them from ``full_begin`` on."""
    begin = 0
    full_begin = 0
    end = tl.cdiv(seqlen_q, STEP)
    if CAUSAL:
        begin = tl.minimum(tl.maximum(first_key - shift, 0) // STEP, end)
        full_begin = tl.minimum(tl.cdiv(tl.maximum(last_key - shift, 0), STEP), end)
    if HAS_PADDING:
        first = tl.load(ranges + 3 * sample)
        last = tl.load(ranges + 3 * sample + 2)
        if (last_key < first) | (first_key >= last):
            end = begin
            full_begin = begin
    return begin, full_begin, end


@triton.jit
def _add_d_kv(
    d_k, d_v, k, v, q_ptr, stride_q_l, d_out_ptr, stride_d_out_l, bias_ptr, stride_bias_l, lse_ptr, delta_ptr,
    first_row, first_key, seqlen_q, seqlen_k, shift, head_dim, scale, seed, stream, threshold, keep_scale,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, HAS_BIAS: tl.constexpr, MASKED: tl.constexpr,
    DROPOUT: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    query = first_row + tl.arange(0, BLOCK_M)
    row = tl.minimum(query, seqlen_q - 1)
    q = rows(q_ptr, stride_q_l, row, head_dim, BLOCK_D)
    d_out = rows(d_out_ptr, stride_d_out_l, row, head_dim, BLOCK_D)
    lse2, delta = row_statistics(lse_ptr, delta_ptr, query, seqlen_q)
    scores = dot(k, tl.trans(q), PRECISION, UPCAST) * scale  # BLOCK_N, BLOCK_M
    if HAS_BIAS:
        scores += tl.trans(bias_tile(bias_ptr, stride_bias_l, row, first_key, seqlen_k, BLOCK_N))
    weights = tl.exp2(scores * LOG2E - lse2[None, :])
    if MASKED:
        key = first_key + tl.arange(0, BLOCK_N)
        weights = tl.where(key[:, None] > query[None, :] + shift, 0.0, weights)
    d_weights = dot(v, tl.trans(d_out), PRECISION, UPCAST)
    kept_weights = weights
    if DROPOUT:
        keep = dropout_mask_transposed(seed, stream, query, first_key, threshold, BLOCK_N)
        kept_weights = tl.where(keep, weights, 0.0)
        d_weights = tl.where(keep, d_weights * keep_scale, 0.0)
    d_v += dot(kept_weights.to(d_out.dtype), d_out, PRECISION, UPCAST)
    d_scores = weights * (d_weights - delta[None, :])
    d_k += dot(d_scores.to(q.dtype), q, PRECISION, UPCAST)
    return d_k, d_v


@triton.jit
def attention_d_bias(
    q_ptr, k_ptr, v_ptr, bias_ptr, padding_ptr, seed_ptr, d_out_ptr, lse_ptr, delta_ptr, d_bias_ptr,
    stride_q_b, stride_q_h, stride_q_l, stride_k_b, stride_k_h, stride_k_l, stride_v_b, stride_v_h, stride_v_l,
    stride_bias_b, stride_bias_h, stride_bias_l, stride_d_out_b, stride_d_out_h, stride_d_out_l, stride_d_bias_b,
    stride_d_bias_h, stride_d_bias_l,
    group_size, heads, seqlen_q, seqlen_k, head_dim, scale, threshold, keep_scale,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, HAS_PADDING: tl.constexpr,
    CAUSAL: tl.constexpr, DROPOUT: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """d_bias (groups, H, Lq, Lk) fp32: the sum over each group of ``group_size`` samples, B of them or 1."""
    blocks = tl.cdiv(seqlen_k, BLOCK_N)
    first_key = tl.program_id(0) % blocks * BLOCK_N
    first_row = tl.program_id(0) // blocks * BLOCK_M
    head = tl.program_id(1)
    group = tl.program_id(2).to(tl.int64)
    seed = 0
    if DROPOUT:
        seed = tl.load(seed_ptr)
    query = first_row + tl.arange(0, BLOCK_M)
    row = tl.minimum(query, seqlen_q - 1)
    key = first_key + tl.arange(0, BLOCK_N)
    key_row = tl.minimum(key, seqlen_k - 1)
    shift = seqlen_k - seqlen_q
    bias_ptr += group * stride_bias_b + head.to(tl.int64) * stride_bias_h
    bias = bias_tile(bias_ptr, stride_bias_l, row, first_key, seqlen_k, BLOCK_N)

    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for index in tl.range(0, group_size, num_stages=STAGES):
        sample = group * group_size + index
        stream = sample * heads + head
        q = rows(q_ptr + sample * stride_q_b + head * stride_q_h, stride_q_l, row, head_dim, BLOCK_D)
        k = rows(k_ptr + sample * stride_k_b + head * stride_k_h, stride_k_l, key_row, head_dim, BLOCK_D)
        v = rows(v_ptr + sample * stride_v_b + head * stride_v_h, stride_v_l, key_row, head_dim, BLOCK_D)
        d_out_rows = d_out_ptr + sample * stride_d_out_b + head * stride_d_out_h
        d_out = rows(d_out_rows, stride_d_out_l, row, head_dim, BLOCK_D)
        lse2, delta = row_statistics(lse_ptr + stream * seqlen_q, delta_ptr + stream * seqlen_q, query, seqlen_q)
        scores = dot(q, tl.trans(k), PRECISION, UPCAST) * scale + bias
        weights = tl.exp2(scores * LOG2E - lse2[:, None])
        d_weights = dot(d_out, tl.trans(v), PRECISION, UPCAST)
        if DROPOUT:
            keep = dropout_mask(seed, stream.to(tl.int32), query, first_key, threshold, BLOCK_N)
            d_weights = tl.where(keep, d_weights * keep_scale, 0.0)
        d_scores = weights * (d_weights - delta[:, None])
        if HAS_PADDING:  # a masked key's weight has nothing to do with the log-sum-exp and may be infinite
            masked = masked_keys(padding_ptr + sample * seqlen_k, key, seqlen_k, HAS_PADDING)
            d_scores = tl.where(masked[None, :], 0.0, d_scores)
        acc += d_scores
    inside = (query < seqlen_q)[:, None] & (key < seqlen_k)[None, :]
    if CAUSAL:
        acc = tl.where(key[None, :] > query[:, None] + shift, 0.0, acc)
    pointers = d_bias_ptr + group * stride_d_bias_b + head.to(tl.int64) * stride_d_bias_h
    pointers += query.to(tl.int64)[:, None] * stride_d_bias_l + key[None, :]
    tl.store(pointers, acc, mask=inside)
