"""Backward pass, in four kernels without atomics, so that two runs are equal bit by bit.

``delta`` = sum over D of out * d_out comes first (Dao et al., arXiv 2205.14135, algorithm 4). The weights are rebuilt
from the scores and the saved log-sum-exp wherever they are needed: in a pass over the keys for d_q, in a pass over the
queries for d_k and d_v, and, if the bias is learned, in a pass over the samples for d_bias. There every program owns a
tile of the plane and adds up the samples in registers: no gradient of shape (B, H, Lq, Lk) is ever formed.
"""

import triton
import triton.language as tl

from ..products import dot
from .tiles import (
    LOG2E,
    hidden_keys,
    kept,
    kept_transposed,
    key_range,
    partial_block,
    place,
    plane_tile,
    rows,
    scores_tile,
)


@triton.jit
def attention_delta(
    out_ptr, d_out_ptr, delta_ptr, out_sample, out_head, out_row, d_out_sample, d_out_head, d_out_row,
    heads, queries, width, BLOCK_QUERIES: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """delta (B, H, Lq) fp32."""
    stream = tl.program_id(1).to(tl.int64)
    sample, head = stream // heads, stream % heads
    query = tl.program_id(0) * BLOCK_QUERIES + tl.arange(0, BLOCK_QUERIES)
    row = tl.minimum(query, queries - 1)
    out = rows(out_ptr + sample * out_sample + head * out_head, out_row, row, width, WIDTH).to(tl.float32)
    d_out = rows(d_out_ptr + sample * d_out_sample + head * d_out_head, d_out_row, row, width, WIDTH).to(tl.float32)
    tl.store(delta_ptr + stream * queries + query, tl.sum(out * d_out, 1), mask=query < queries)


@triton.jit
def row_statistics(lse_ptr, delta_ptr, query, queries):
    """The lse to the base 2 and delta of a block of queries. An lse of infinity turns every weight of a row to 0: of a
    row past the end, and of one that sees no key."""
    lse = tl.load(lse_ptr + query, mask=query < queries, other=float("inf"))
    delta = tl.load(delta_ptr + query, mask=query < queries, other=0.0)
    return tl.where(lse == float("-inf"), float("inf"), lse) * LOG2E, delta


@triton.jit
def attention_d_q(
    q_ptr, k_ptr, v_ptr, bias_ptr, padding_ptr, ranges_ptr, seed_ptr, d_out_ptr, lse_ptr, delta_ptr, d_q_ptr,
    q_sample, q_head, q_row, k_sample, k_head, k_row, v_sample, v_head, v_row, bias_sample, bias_head, bias_row,
    d_out_sample, d_out_head, d_out_row, d_q_sample, d_q_head, d_q_row,
    samples, heads, queries, keys, width, scale, threshold, keep_scale,
    BLOCK_QUERIES: tl.constexpr, BLOCK_KEYS: tl.constexpr, WIDTH: tl.constexpr, HAS_BIAS: tl.constexpr,
    HAS_PADDING: tl.constexpr, CAUSAL: tl.constexpr, DROPOUT: tl.constexpr, PRECISION: tl.constexpr,
    UPCAST: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """d_q (B, H, Lq, D); the order of the programs is that of the forward pass."""
    sample, block, head, stream = place(samples, heads, tl.cdiv(queries, BLOCK_QUERIES))
    first_row = block * BLOCK_QUERIES
    sample64 = sample.to(tl.int64)
    k_ptr += sample64 * k_sample + head * k_head
    v_ptr += sample64 * v_sample + head * v_head
    if HAS_BIAS:
        bias_ptr += sample64 * bias_sample + head.to(tl.int64) * bias_head
    if HAS_PADDING:
        padding_ptr += sample64 * keys
    seed = 0
    if DROPOUT:
        seed = tl.load(seed_ptr)

    query = first_row + tl.arange(0, BLOCK_QUERIES)
    row = tl.minimum(query, queries - 1)
    shift = keys - queries
    q = rows(q_ptr + sample64 * q_sample + head * q_head, q_row, row, width, WIDTH)
    d_out = rows(d_out_ptr + sample64 * d_out_sample + head * d_out_head, d_out_row, row, width, WIDTH)
    first_statistic = stream.to(tl.int64) * queries
    lse2, delta = row_statistics(lse_ptr + first_statistic, delta_ptr + first_statistic, query, queries)
    begin, full_begin, full_end, end = key_range(
        ranges_ptr, sample, first_row, first_row + BLOCK_QUERIES - 1, keys, shift, HAS_PADDING, CAUSAL, BLOCK_KEYS
    )
    acc = tl.zeros((BLOCK_QUERIES, WIDTH), tl.float32)
    for index in tl.range(full_begin, full_end, num_stages=STAGES):
        scores = scores_tile(
            q, k_ptr, k_row, bias_ptr, bias_row, padding_ptr, index * BLOCK_KEYS, query, row, keys, shift, width, scale,
            BLOCK_KEYS, WIDTH, HAS_BIAS, HAS_PADDING, CAUSAL, False, PRECISION, UPCAST,
        )  # fmt: skip
        acc = _add_d_q(
            acc, scores, d_out, lse2, delta, k_ptr, k_row, v_ptr, v_row, index * BLOCK_KEYS, query, keys, width, seed,
            stream, threshold, keep_scale, BLOCK_KEYS, WIDTH, DROPOUT, False, PRECISION, UPCAST,
        )  # fmt: skip
    for index in tl.range(0, full_begin - begin + end - full_end, num_stages=1):
        first_key = partial_block(index, begin, full_begin, full_end) * BLOCK_KEYS
        scores = scores_tile(
            q, k_ptr, k_row, bias_ptr, bias_row, padding_ptr, first_key, query, row, keys, shift, width, scale,
            BLOCK_KEYS, WIDTH, HAS_BIAS, HAS_PADDING, CAUSAL, True, PRECISION, UPCAST,
        )  # fmt: skip
        acc = _add_d_q(
            acc, scores, d_out, lse2, delta, k_ptr, k_row, v_ptr, v_row, first_key, query, keys, width, seed,
            stream, threshold, keep_scale, BLOCK_KEYS, WIDTH, DROPOUT, True, PRECISION, UPCAST,
        )  # fmt: skip
    column = tl.arange(0, WIDTH)
    pointers = d_q_ptr + sample64 * d_q_sample + head * d_q_head + query[:, None] * d_q_row + column[None, :]
    inside = (query < queries)[:, None] & (column < width)[None, :]
    tl.store(pointers, (acc * scale).to(d_q_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _add_d_q(
    acc, scores, d_out, lse2, delta, k_ptr, k_row, v_ptr, v_row, first_key, query, keys, width, seed, stream,
    threshold, keep_scale, BLOCK_KEYS: tl.constexpr, WIDTH: tl.constexpr, DROPOUT: tl.constexpr, MASKED: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    key = first_key + tl.arange(0, BLOCK_KEYS)
    if MASKED:
        key = tl.minimum(key, keys - 1)
    weights = tl.exp2(scores * LOG2E - lse2[:, None])
    d_weights = dot(d_out, tl.trans(rows(v_ptr, v_row, key, width, WIDTH)), PRECISION, UPCAST)
    if DROPOUT:
        keep = kept(seed, stream, query, first_key, threshold, BLOCK_KEYS)
        d_weights = tl.where(keep, d_weights * keep_scale, 0.0)
    d_scores = weights * (d_weights - delta[:, None])
    k = rows(k_ptr, k_row, key, width, WIDTH)
    return acc + dot(d_scores.to(k.dtype), k, PRECISION, UPCAST)


@triton.jit
def attention_d_kv(
    q_ptr, k_ptr, v_ptr, bias_ptr, padding_ptr, ranges_ptr, seed_ptr, d_out_ptr, lse_ptr, delta_ptr, d_k_ptr, d_v_ptr,
    q_sample, q_head, q_row, k_sample, k_head, k_row, v_sample, v_head, v_row, bias_sample, bias_head, bias_row,
    d_out_sample, d_out_head, d_out_row, d_k_sample, d_k_head, d_k_row, d_v_sample, d_v_head, d_v_row,
    samples, heads, queries, keys, width, scale, threshold, keep_scale,
    BLOCK_QUERIES: tl.constexpr, BLOCK_KEYS: tl.constexpr, WIDTH: tl.constexpr, HAS_BIAS: tl.constexpr,
    HAS_PADDING: tl.constexpr, CAUSAL: tl.constexpr, DROPOUT: tl.constexpr, PRECISION: tl.constexpr,
    UPCAST: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """d_k and d_v (B, H, Lk, D). Tiles are (keys, queries) here, so that both sums are plain products.

    A key that is padding needs no mask inside the loop: its rows are its own and become 0 at the end.
    """
    sample, block, head, stream = place(samples, heads, tl.cdiv(keys, BLOCK_KEYS))
    first_key = block * BLOCK_KEYS
    sample64 = sample.to(tl.int64)
    q_ptr += sample64 * q_sample + head * q_head
    d_out_ptr += sample64 * d_out_sample + head * d_out_head
    first_statistic = stream.to(tl.int64) * queries
    if HAS_BIAS:
        bias_ptr += sample64 * bias_sample + head.to(tl.int64) * bias_head
    if HAS_PADDING:
        padding_ptr += sample64 * keys
    seed = 0
    if DROPOUT:
        seed = tl.load(seed_ptr)

    key = first_key + tl.arange(0, BLOCK_KEYS)
    key_row = tl.minimum(key, keys - 1)
    shift = keys - queries
    k = rows(k_ptr + sample64 * k_sample + head * k_head, k_row, key_row, width, WIDTH)
    v = rows(v_ptr + sample64 * v_sample + head * v_head, v_row, key_row, width, WIDTH)
    begin, full_begin, end = _query_range(
        ranges_ptr, sample, first_key, first_key + BLOCK_KEYS - 1, queries, shift, HAS_PADDING, CAUSAL, BLOCK_QUERIES
    )
    d_k = tl.zeros((BLOCK_KEYS, WIDTH), tl.float32)
    d_v = tl.zeros((BLOCK_KEYS, WIDTH), tl.float32)
    for index in tl.range(begin, full_begin, num_stages=1):
        d_k, d_v = _add_d_kv(
            d_k, d_v, k, v, q_ptr, q_row, d_out_ptr, d_out_row, bias_ptr, bias_row, lse_ptr + first_statistic,
            delta_ptr + first_statistic, index * BLOCK_QUERIES, first_key, queries, keys, shift, width, scale, seed,
            stream, threshold, keep_scale, BLOCK_QUERIES, BLOCK_KEYS, WIDTH, HAS_BIAS, CAUSAL, DROPOUT, PRECISION,
            UPCAST,
        )  # fmt: skip
    for index in tl.range(full_begin, end, num_stages=STAGES):
        d_k, d_v = _add_d_kv(
            d_k, d_v, k, v, q_ptr, q_row, d_out_ptr, d_out_row, bias_ptr, bias_row, lse_ptr + first_statistic,
            delta_ptr + first_statistic, index * BLOCK_QUERIES, first_key, queries, keys, shift, width, scale, seed,
            stream, threshold, keep_scale, BLOCK_QUERIES, BLOCK_KEYS, WIDTH, HAS_BIAS, False, DROPOUT, PRECISION,
            UPCAST,
        )  # fmt: skip
    seen = ~hidden_keys(padding_ptr, key, keys, HAS_PADDING)[:, None]
    d_k = tl.where(seen, d_k * scale, 0.0)
    d_v = tl.where(seen, d_v * keep_scale, 0.0)
    column = tl.arange(0, WIDTH)
    inside = (key < keys)[:, None] & (column < width)[None, :]
    d_k_ptr += sample64 * d_k_sample + head * d_k_head
    d_v_ptr += sample64 * d_v_sample + head * d_v_head
    tl.store(d_k_ptr + key[:, None] * d_k_row + column[None, :], d_k.to(d_k_ptr.dtype.element_ty), mask=inside)
    tl.store(d_v_ptr + key[:, None] * d_v_row + column[None, :], d_v.to(d_v_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _query_range(
    ranges, sample, first_key, last_key, queries, shift, HAS_PADDING: tl.constexpr, CAUSAL: tl.constexpr,
    STEP: tl.constexpr,
):  # fmt: skip
    """Blocks of STEP queries (begin, full_begin, end) that see any of the keys: all of them from ``full_begin`` on."""
    begin = 0
    full_begin = 0
    end = tl.cdiv(queries, STEP)
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
    d_k, d_v, k, v, q_ptr, q_row, d_out_ptr, d_out_row, bias_ptr, bias_row, lse_ptr, delta_ptr, first_row, first_key,
    queries, keys, shift, width, scale, seed, stream, threshold, keep_scale, BLOCK_QUERIES: tl.constexpr,
    BLOCK_KEYS: tl.constexpr, WIDTH: tl.constexpr, HAS_BIAS: tl.constexpr, MASKED: tl.constexpr,
    DROPOUT: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    query = first_row + tl.arange(0, BLOCK_QUERIES)
    row = tl.minimum(query, queries - 1)
    q = rows(q_ptr, q_row, row, width, WIDTH)
    d_out = rows(d_out_ptr, d_out_row, row, width, WIDTH)
    lse2, delta = row_statistics(lse_ptr, delta_ptr, query, queries)
    scores = dot(k, tl.trans(q), PRECISION, UPCAST) * scale  # keys, queries
    if HAS_BIAS:
        scores += tl.trans(plane_tile(bias_ptr, bias_row, row, first_key, keys, BLOCK_KEYS))
    weights = tl.exp2(scores * LOG2E - lse2[None, :])
    if MASKED:
        key = first_key + tl.arange(0, BLOCK_KEYS)
        weights = tl.where(key[:, None] > query[None, :] + shift, 0.0, weights)
    d_weights = dot(v, tl.trans(d_out), PRECISION, UPCAST)
    kept_weights = weights
    if DROPOUT:
        keep = kept_transposed(seed, stream, query, first_key, threshold, BLOCK_KEYS)
        kept_weights = tl.where(keep, weights, 0.0)
        d_weights = tl.where(keep, d_weights * keep_scale, 0.0)
    d_v += dot(kept_weights.to(d_out.dtype), d_out, PRECISION, UPCAST)
    d_scores = weights * (d_weights - delta[None, :])
    d_k += dot(d_scores.to(q.dtype), q, PRECISION, UPCAST)
    return d_k, d_v


@triton.jit
def attention_d_bias(
    q_ptr, k_ptr, v_ptr, bias_ptr, padding_ptr, seed_ptr, d_out_ptr, lse_ptr, delta_ptr, d_bias_ptr,
    q_sample, q_head, q_row, k_sample, k_head, k_row, v_sample, v_head, v_row, bias_sample, bias_head, bias_row,
    d_out_sample, d_out_head, d_out_row, d_bias_sample, d_bias_head, d_bias_row,
    summed, heads, queries, keys, width, scale, threshold, keep_scale,
    BLOCK_QUERIES: tl.constexpr, BLOCK_KEYS: tl.constexpr, WIDTH: tl.constexpr, HAS_PADDING: tl.constexpr,
    CAUSAL: tl.constexpr, DROPOUT: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """d_bias (groups, H, Lq, Lk) fp32: the sum over each group of ``summed`` samples, B of them or 1."""
    blocks = tl.cdiv(keys, BLOCK_KEYS)
    first_key = tl.program_id(0) % blocks * BLOCK_KEYS
    first_row = tl.program_id(0) // blocks * BLOCK_QUERIES
    head = tl.program_id(1)
    group = tl.program_id(2).to(tl.int64)
    seed = 0
    if DROPOUT:
        seed = tl.load(seed_ptr)
    query = first_row + tl.arange(0, BLOCK_QUERIES)
    row = tl.minimum(query, queries - 1)
    key = first_key + tl.arange(0, BLOCK_KEYS)
    key_row = tl.minimum(key, keys - 1)
    shift = keys - queries
    bias_ptr += group * bias_sample + head.to(tl.int64) * bias_head
    bias = plane_tile(bias_ptr, bias_row, row, first_key, keys, BLOCK_KEYS)

    acc = tl.zeros((BLOCK_QUERIES, BLOCK_KEYS), tl.float32)
    for index in tl.range(0, summed, num_stages=STAGES):
        sample = group * summed + index
        stream = sample * heads + head
        q = rows(q_ptr + sample * q_sample + head * q_head, q_row, row, width, WIDTH)
        k = rows(k_ptr + sample * k_sample + head * k_head, k_row, key_row, width, WIDTH)
        v = rows(v_ptr + sample * v_sample + head * v_head, v_row, key_row, width, WIDTH)
        d_out = rows(d_out_ptr + sample * d_out_sample + head * d_out_head, d_out_row, row, width, WIDTH)
        lse2, delta = row_statistics(lse_ptr + stream * queries, delta_ptr + stream * queries, query, queries)
        scores = dot(q, tl.trans(k), PRECISION, UPCAST) * scale + bias
        weights = tl.exp2(scores * LOG2E - lse2[:, None])
        d_weights = dot(d_out, tl.trans(v), PRECISION, UPCAST)
        if DROPOUT:
            keep = kept(seed, stream.to(tl.int32), query, first_key, threshold, BLOCK_KEYS)
            d_weights = tl.where(keep, d_weights * keep_scale, 0.0)
        d_scores = weights * (d_weights - delta[:, None])
        if HAS_PADDING:  # a hidden key's weight has nothing to do with the log-sum-exp and may be infinite
            hidden = hidden_keys(padding_ptr + sample * keys, key, keys, HAS_PADDING)
            d_scores = tl.where(hidden[None, :], 0.0, d_scores)
        acc += d_scores
    inside = (query < queries)[:, None] & (key < keys)[None, :]
    if CAUSAL:
        acc = tl.where(key[None, :] > query[:, None] + shift, 0.0, acc)
    pointers = d_bias_ptr + group * d_bias_sample + head.to(tl.int64) * d_bias_head
    pointers += query.to(tl.int64)[:, None] * d_bias_row + key[None, :]
    tl.store(pointers, acc, mask=inside)
