"""What the attention kernels share: tiles of the scores, which keys they hold, and dropout.

A tile of the scores is (BLOCK_M queries, BLOCK_N keys); in the kernel of the key gradients it is the other way round.
BLOCK_D is head_dim rounded up to a power of 2. ``stride_q_b``, ``stride_q_h`` and ``stride_q_l`` are the strides of
q (B, H, L, D) in elements, and so on. Exponentials are taken to the base 2, which is what the hardware has.
"""

import triton
import triton.language as tl

from ..common import dot

LOG2E = tl.constexpr(1.4426950408889634)
DROPOUT_ROUNDS = tl.constexpr(7)  # of Philox 4x32: the fewest that pass BigCrush (Salmon et al., SC 2011)
DROPOUT_BITS = tl.constexpr(24)


@triton.jit
def place(batch, heads, blocks):
    """Sample, block and head of this program, samples innermost, and the number of the sample's head."""
    sample = tl.program_id(0) % batch
    block = tl.program_id(0) // batch % blocks
    head = tl.program_id(0) // (batch * blocks)
    return sample, block, head, sample * heads + head


@triton.jit
def rows(pointer, stride_l, index, head_dim, BLOCK_D: tl.constexpr):
    """Rows ``index`` (n,) of a matrix as (n, BLOCK_D), with zeros right of ``head_dim``."""
    columns = tl.arange(0, BLOCK_D)
    return tl.load(pointer + index[:, None] * stride_l + columns[None, :], mask=columns[None, :] < head_dim, other=0.0)


@triton.jit
def key_range(
    ranges, sample, first_row, last_row, seqlen_k, shift, HAS_PADDING: tl.constexpr, CAUSAL: tl.constexpr,
    STEP: tl.constexpr,
):  # fmt: skip
    """Which blocks of STEP keys the queries from ``first_row`` to ``last_row`` need, and which of them need no mask.

    Returns:
        (begin, full_begin, full_end, end) in blocks, in ascending order: those from full_begin to full_end hold only
        keys that all these queries see.
    """
    first = 0
    hole = seqlen_k
    last = seqlen_k
    if HAS_PADDING:
        first = tl.load(ranges + 3 * sample)
        hole = tl.load(ranges + 3 * sample + 1)
        last = tl.load(ranges + 3 * sample + 2)
    if CAUSAL:
        hole = tl.minimum(hole, first_row + shift + 1)
        last = tl.minimum(last, last_row + shift + 1)
    begin = first // STEP
    end = tl.maximum(tl.cdiv(last, STEP), begin)
    full_begin = tl.minimum(tl.cdiv(first, STEP), end)
    full_end = tl.minimum(tl.maximum(hole // STEP, full_begin), end)
    return begin, full_begin, full_end, end


@triton.jit
def partial_block(index, begin, full_begin, full_end):
    """The ``index``-th of the blocks that need a mask: those before the full ones, then those after."""
    before = full_begin - begin
    return tl.where(index < before, begin + index, full_end + index - before)


@triton.jit
def masked_keys(padding, key, seqlen_k, HAS_PADDING: tl.constexpr):
    """(n,) bool: True at padding and past the last key."""
    outside = key >= seqlen_k
    if HAS_PADDING:
        outside = outside | (tl.load(padding + key, mask=key < seqlen_k, other=1) != 0)
    return outside


@triton.jit
def bias_tile(pointer, stride_l, row, first_key, seqlen_k, BLOCK_N: tl.constexpr):
    """(rows, BLOCK_N) fp32 of a bias (Lq, Lk). Right of ``seqlen_k``, up to a multiple of 16, it holds what lies in
    memory there: a mask that changes within 16 columns would cost the wide loads."""
    key = first_key + tl.arange(0, BLOCK_N)
    pointers = pointer + row.to(tl.int64)[:, None] * stride_l + key[None, :]
    return tl.load(pointers, mask=(key // 16 * 16 < seqlen_k)[None, :], other=0.0).to(tl.float32)


@triton.jit
def scores_tile(
    q,
    k_ptr,
    stride_k_l,
    bias_ptr,
    stride_bias_l,
    padding_ptr,
    first_key, query, row, seqlen_k, shift, head_dim, scale,
    BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_PADDING: tl.constexpr,
    CAUSAL: tl.constexpr, MASKED: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Scores (BLOCK_M, BLOCK_N) fp32, -inf where a key is masked. Without MASKED none is."""
    key = first_key + tl.arange(0, BLOCK_N)
    key_row = key
    if MASKED:
        key_row = tl.minimum(key, seqlen_k - 1)
    scores = dot(q, tl.trans(rows(k_ptr, stride_k_l, key_row, head_dim, BLOCK_D)), PRECISION, UPCAST) * scale
    if HAS_BIAS:
        scores += bias_tile(bias_ptr, stride_bias_l, row, first_key, seqlen_k, BLOCK_N)
    if MASKED:
        masked = masked_keys(padding_ptr, key, seqlen_k, HAS_PADDING)[None, :]
        if CAUSAL:
            masked = masked | (key[None, :] > query[:, None] + shift)
        scores = tl.where(masked, float("-inf"), scores)
    return scores


@triton.jit
def random_bits(seed, stream, query, key_group):
    """Four (n, m) tensors of DROPOUT_BITS random bits, for the keys 4 g … 4 g + 3 of every group g."""
    zero = query * 0 + key_group * 0
    r0, r1, r2, r3 = tl.philox(seed, zero + key_group, zero + query, zero + stream, zero, DROPOUT_ROUNDS)
    return r0 >> 8, r1 >> 8, r2 >> 8, r3 >> 8


@triton.jit
def dropout_mask(seed, stream, query, first_key, threshold, BLOCK_N: tl.constexpr):
    """(BLOCK_M, BLOCK_N) bool from ``first_key``, a multiple of 4, on: False where a weight is dropped."""
    group = first_key // 4 + tl.arange(0, BLOCK_N // 4)
    r0, r1, r2, r3 = random_bits(seed, stream, query[:, None], group[None, :])
    bits = tl.join(tl.join(r0, r2), tl.join(r1, r3))  # BLOCK_M, BLOCK_N / 4, 2, 2
    return tl.reshape(bits, (query.shape[0], BLOCK_N)).to(tl.int32) >= threshold


@triton.jit
def dropout_mask_transposed(seed, stream, query, first_key, threshold, BLOCK_N: tl.constexpr):
    """As :func:`dropout_mask`, (BLOCK_N, BLOCK_M)."""
    group = first_key // 4 + tl.arange(0, BLOCK_N // 4)
    r0, r1, r2, r3 = random_bits(seed, stream, query[None, :], group[:, None])
    bits = tl.join(tl.join(r0, r2), tl.join(r1, r3))  # BLOCK_N / 4, BLOCK_M, 2, 2
    bits = tl.permute(bits, (0, 2, 3, 1))
    return tl.reshape(bits, (BLOCK_N, query.shape[0])).to(tl.int32) >= threshold
