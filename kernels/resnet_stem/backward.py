"""Backward kernels of the stem.

Nothing is scattered: each position of the convolution asks the windows that hold it whether it was their largest value,
so that the gradients need no atomics and two runs are equal bit by bit. The four positions with the same pooled one are
a loop at run time: unrolled, their loads overlap and spill.
"""

import triton
import triton.language as tl

from ..common import dot
from .tiles import NO_PLACE, TAP_ROW, TAPS, columns_of, pooled_gradient, window_row


@triton.jit
def affine_gradient(
    d_out_ptr, index_ptr, y_ptr, mean_ptr, var_ptr, partial_ptr,
    all_rows, conv_rows, conv_columns, pooled_rows, pooled_columns, channels, eps,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, BLOCK_CHANNELS: tl.constexpr,
):  # fmt: skip
    """partial (P, 2, C) fp32: sums of d_out and of d_out times the normalised value that each pooled value comes from.

    One program per ROWS of the N * Hp pooled rows, BLOCK columns at a time.
    """
    channel = tl.program_id(1) * BLOCK_CHANNELS + tl.arange(0, BLOCK_CHANNELS)
    in_channels = channel < channels
    mean = tl.load(mean_ptr + channel, mask=in_channels, other=0.0).to(tl.float32)
    variance = tl.load(var_ptr + channel, mask=in_channels, other=1.0).to(tl.float32)
    inverse = 1.0 / tl.sqrt_rn(variance + eps)
    total = tl.zeros((BLOCK, BLOCK_CHANNELS), tl.float32)
    weighted = tl.zeros((BLOCK, BLOCK_CHANNELS), tl.float32)
    first = tl.program_id(0) * ROWS
    for pooled in tl.range(first, tl.minimum(first + ROWS, all_rows), num_stages=1):
        sample = (pooled // pooled_rows).to(tl.int64)
        row = pooled % pooled_rows
        for start in tl.range(0, pooled_columns, BLOCK, num_stages=1):
            column = start + tl.arange(0, BLOCK)
            inside = (column < pooled_columns)[:, None] & in_channels[None, :]
            offset = ((sample * pooled_rows + row) * pooled_columns + column)[:, None] * channels + channel[None, :]
            place = tl.load(index_ptr + offset, mask=inside, other=NO_PLACE).to(tl.int32)
            inside = inside & (place != NO_PLACE)
            gradient = tl.load(d_out_ptr + offset, mask=inside, other=0.0).to(tl.float32)
            y_row = 2 * row - 1 + place // 3
            y_column = 2 * column[:, None] - 1 + place % 3
            pointers = y_ptr + ((sample * conv_rows + y_row) * conv_columns + y_column) * channels + channel[None, :]
            value = tl.load(pointers, mask=inside, other=0.0).to(tl.float32)
            total += gradient
            weighted += tl.where(inside, gradient * (value - mean[None, :]), 0.0)
    partial_ptr += tl.program_id(0) * 2 * channels + channel
    tl.store(partial_ptr, tl.sum(total, 0), mask=in_channels)
    tl.store(partial_ptr + channels, tl.sum(weighted, 0) * inverse, mask=in_channels)


@triton.jit
def _through_batch_norm(
    d_out_ptr, index_ptr, y_ptr, row, column, channel, row_parity, column_parity, scale, correction, slope, mean,
    conv_rows, conv_columns, pooled_rows, pooled_columns, channels, TRAINING: tl.constexpr,
):  # fmt: skip
    """(M, C) fp32: gradient of the convolution's outputs at (2 row + row_parity, 2 column + column_parity)."""
    gradient = pooled_gradient(
        d_out_ptr, index_ptr, row, column, channel, row_parity, column_parity, pooled_rows, pooled_columns, channels
    )
    y_row = 2 * row + row_parity
    y_column = 2 * column + column_parity
    inside = (y_column < columns_of(y_row, conv_rows, conv_columns))[:, None] & (channel < channels)[None, :]
    if TRAINING:
        pointers = y_ptr + (y_row * conv_columns + y_column)[:, None] * channels + channel[None, :]
        value = tl.load(pointers, mask=inside, other=0.0).to(tl.float32)
        gradient -= correction[None, :] + (value - mean[None, :]) * slope[None, :]
    return tl.where(inside, gradient * scale[None, :], 0.0)


@triton.jit
def _batch_norm(
    mean_ptr, var_ptr, bn_weight_ptr, sums_ptr, count, eps, channel, channels, TRAINING: tl.constexpr,
):  # fmt: skip
    """BatchNorm's derivative as (scale, correction, slope, mean): scale * (d - correction - (y - mean) * slope)."""
    inside = channel < channels
    mean = tl.load(mean_ptr + channel, mask=inside, other=0.0).to(tl.float32)
    variance = tl.load(var_ptr + channel, mask=inside, other=1.0).to(tl.float32)
    inverse = 1.0 / tl.sqrt_rn(variance + eps)
    scale = tl.load(bn_weight_ptr + channel, mask=inside, other=0.0).to(tl.float32) * inverse
    correction = tl.zeros_like(mean)
    slope = tl.zeros_like(mean)
    if TRAINING:
        correction = tl.load(sums_ptr + channel, mask=inside, other=0.0) / count
        slope = tl.load(sums_ptr + channels + channel, mask=inside, other=0.0) * inverse / count
    return scale, correction, slope, mean


@triton.jit
def weight_gradient(
    d_out_ptr, index_ptr, y_ptr, packed_ptr, mean_ptr, var_ptr, bn_weight_ptr, sums_ptr, partial_ptr,
    stride_packed_n, stride_packed_h,
    all_rows, conv_rows, conv_columns, pooled_rows, pooled_columns, channels, count, eps,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, BLOCK_CHANNELS: tl.constexpr, TRAINING: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """partial (P, TAPS, C, TAP_ROW) fp32: gradient of the packed weight from ROWS of the N * Hp pooled rows."""
    channel = tl.program_id(1) * BLOCK_CHANNELS + tl.arange(0, BLOCK_CHANNELS)
    scale, correction, slope, mean = _batch_norm(
        mean_ptr, var_ptr, bn_weight_ptr, sums_ptr, count, eps, channel, channels, TRAINING
    )
    acc0 = tl.zeros((BLOCK_CHANNELS, TAP_ROW), tl.float32)
    acc1 = tl.zeros((BLOCK_CHANNELS, TAP_ROW), tl.float32)
    acc2 = tl.zeros((BLOCK_CHANNELS, TAP_ROW), tl.float32)
    acc3 = tl.zeros((BLOCK_CHANNELS, TAP_ROW), tl.float32)
    first = tl.program_id(0) * ROWS
    for pooled in tl.range(first, tl.minimum(first + ROWS, all_rows), num_stages=1):
        sample = (pooled // pooled_rows).to(tl.int64)
        row = pooled % pooled_rows
        pooled_offset = sample * pooled_rows * pooled_columns * channels
        y_offset = sample * conv_rows * conv_columns * channels
        images = packed_ptr + sample * stride_packed_n
        for start in tl.range(0, pooled_columns, BLOCK, num_stages=1):
            column = start + tl.arange(0, BLOCK)
            for parity in tl.range(0, 4, num_stages=1):
                row_parity = parity // 2
                column_parity = parity % 2
                gradient = _through_batch_norm(
                    d_out_ptr + pooled_offset, index_ptr + pooled_offset, y_ptr + y_offset, row, column, channel,
                    row_parity, column_parity, scale, correction, slope, mean, conv_rows, conv_columns, pooled_rows,
                    pooled_columns, channels, TRAINING,
                )  # fmt: skip
                gradient = tl.trans(gradient.to(packed_ptr.dtype.element_ty))  # C, M
                # what lies outside has no gradient and is read somewhere inside
                y_row = tl.minimum(2 * row + row_parity, conv_rows - 1)
                y_column = tl.minimum(2 * column + column_parity, conv_columns - 1)
                acc0 += dot(gradient, window_row(images, stride_packed_h, y_row, 0, y_column), PRECISION, UPCAST)
                acc1 += dot(gradient, window_row(images, stride_packed_h, y_row, 1, y_column), PRECISION, UPCAST)
                acc2 += dot(gradient, window_row(images, stride_packed_h, y_row, 2, y_column), PRECISION, UPCAST)
                acc3 += dot(gradient, window_row(images, stride_packed_h, y_row, 3, y_column), PRECISION, UPCAST)
    element = tl.arange(0, TAP_ROW)
    partial_ptr += tl.program_id(0) * TAPS * channels * TAP_ROW + channel[:, None] * TAP_ROW + element[None, :]
    inside = (channel < channels)[:, None]
    tl.store(partial_ptr, acc0, mask=inside)
    tl.store(partial_ptr + channels * TAP_ROW, acc1, mask=inside)
    tl.store(partial_ptr + 2 * channels * TAP_ROW, acc2, mask=inside)
    tl.store(partial_ptr + 3 * channels * TAP_ROW, acc3, mask=inside)


@triton.jit
def convolution_gradient(
    d_out_ptr, index_ptr, y_ptr, mean_ptr, var_ptr, bn_weight_ptr, sums_ptr, d_y_ptr,
    conv_rows, conv_columns, pooled_rows, pooled_columns, channels, count, eps,
    BLOCK: tl.constexpr, BLOCK_CHANNELS: tl.constexpr, TRAINING: tl.constexpr,
):  # fmt: skip
    """d_y (N, Ho, Wo, C), for the gradient of the images; one program per BLOCK columns of a pooled row."""
    column_blocks = tl.cdiv(pooled_columns, BLOCK)
    row = tl.program_id(0) // column_blocks
    column = tl.program_id(0) % column_blocks * BLOCK + tl.arange(0, BLOCK)
    channel = tl.program_id(1) * BLOCK_CHANNELS + tl.arange(0, BLOCK_CHANNELS)
    sample = tl.program_id(2).to(tl.int64)
    scale, correction, slope, mean = _batch_norm(
        mean_ptr, var_ptr, bn_weight_ptr, sums_ptr, count, eps, channel, channels, TRAINING
    )
    pooled_offset = sample * pooled_rows * pooled_columns * channels
    y_offset = sample * conv_rows * conv_columns * channels
    for parity in tl.range(0, 4, num_stages=1):
        row_parity = parity // 2
        column_parity = parity % 2
        gradient = _through_batch_norm(
            d_out_ptr + pooled_offset, index_ptr + pooled_offset, y_ptr + y_offset, row, column, channel, row_parity,
            column_parity, scale, correction, slope, mean, conv_rows, conv_columns, pooled_rows, pooled_columns,
            channels, TRAINING,
        )  # fmt: skip
        y_row = 2 * row + row_parity
        y_column = 2 * column + column_parity
        inside = (y_column < columns_of(y_row, conv_rows, conv_columns))[:, None] & (channel < channels)[None, :]
        pointers = d_y_ptr + y_offset + (y_row * conv_columns + y_column)[:, None] * channels + channel[None, :]
        tl.store(pointers, gradient.to(d_y_ptr.dtype.element_ty), mask=inside)
