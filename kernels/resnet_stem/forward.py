"""Forward kernels of the stem.

With statistics that are known (evaluation, frozen) one kernel does everything, and the convolution's output is never
written. A program walks down the pooled rows of its columns: of the three rows of the convolution in a pooling window
it computes two and has the third from the window before; the three columns of a window are computed anew, half as much
again as needed, because tiles cannot be shifted by one in registers. Both loops run at run time: unrolled, the loads of
later tiles overlap with earlier ones and spill.

Otherwise the convolution is written once together with its statistics, and a second kernel normalises and pools.
"""

import triton
import triton.language as tl

from .tiles import (
    BORDER,
    COLOURS,
    DEPTH,
    TAP_ROW,
    affine,
    columns_of,
    convolution,
    packed_weight,
    store_pooled,
    take_larger,
)


@triton.jit
def pack_images(
    x_ptr, packed_ptr, stride_x_n, stride_x_c, stride_x_h, stride_x_w, height, width, packed_rows, packed_columns,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """packed (N, Hq, Wq, DEPTH) of images (N, 3, H, W) in any format; one program per BLOCK positions of a row."""
    row = tl.program_id(0)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    sample = tl.program_id(2).to(tl.int64)
    element = tl.arange(0, DEPTH)
    y = 2 * (row - BORDER) + element // (2 * COLOURS)
    x = 2 * (column - BORDER)[:, None] + (element // COLOURS % 2)[None, :]
    inside = ((y >= 0) & (y < height) & (element < 4 * COLOURS))[None, :] & (x >= 0) & (x < width)
    pointers = x_ptr + sample * stride_x_n + (y * stride_x_h + element % COLOURS * stride_x_c)[None, :] + x * stride_x_w
    values = tl.load(pointers, mask=inside, other=0.0)
    packed_ptr += (sample * packed_rows + row) * packed_columns * DEPTH
    pointers = packed_ptr + column[:, None] * DEPTH + element[None, :]
    tl.store(pointers, values, mask=(column < packed_columns)[:, None])


@triton.jit
def pack_weight(weight_ptr, packed_ptr, channels, BLOCK: tl.constexpr):
    """packed (TAPS, TAP_ROW, C) of a weight (C, 3, 7, 7); one program per row of the window and BLOCK channels."""
    tap = tl.program_id(0)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    element = tl.arange(0, TAP_ROW)
    depth = element % DEPTH
    row = (
        2 * tap + depth // (2 * COLOURS) - 1
    )  # a window of 8x8 pixels, of which the first row and column count nothing
    column = 2 * (element // DEPTH) + depth // COLOURS % 2 - 1
    used = (depth < 4 * COLOURS) & (row >= 0) & (column >= 0)
    pixel = depth % COLOURS * 49 + row * 7 + column
    inside = used[:, None] & (channel < channels)[None, :]
    values = tl.load(weight_ptr + channel[None, :] * 147 + pixel[:, None], mask=inside, other=0.0)
    pointers = packed_ptr + (tap * TAP_ROW + element)[:, None] * channels + channel[None, :]
    tl.store(pointers, values, mask=(channel < channels)[None, :])


@triton.jit
def fused_stem(
    packed_ptr, weight_ptr, mean_ptr, var_ptr, bn_weight_ptr, bn_bias_ptr, out_ptr, index_ptr,
    stride_packed_n, stride_packed_h,
    conv_rows, conv_columns, pooled_rows, pooled_columns, channels, eps,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, BLOCK_CHANNELS: tl.constexpr, INDEX: tl.constexpr, PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):  # fmt: skip
    """out (N, Hp, Wp, C) and the pooling places; one program per ROWS x BLOCK pooled positions and BLOCK_CHANNELS."""
    column_blocks = tl.cdiv(pooled_columns, BLOCK)
    first_row = tl.program_id(0) // column_blocks * ROWS
    column = tl.program_id(0) % column_blocks * BLOCK + tl.arange(0, BLOCK)
    channel = tl.program_id(1) * BLOCK_CHANNELS + tl.arange(0, BLOCK_CHANNELS)
    sample = tl.program_id(2).to(tl.int64)
    packed_ptr += sample * stride_packed_n
    w0 = packed_weight(weight_ptr, 0, channel, channels)
    w1 = packed_weight(weight_ptr, 1, channel, channels)
    w2 = packed_weight(weight_ptr, 2, channel, channels)
    w3 = packed_weight(weight_ptr, 3, channel, channels)
    scale, shift = affine(mean_ptr, var_ptr, bn_weight_ptr, bn_bias_ptr, eps, channel, channels)
    offset = column[:, None] * channels + channel[None, :]
    inside = (column < pooled_columns)[:, None] & (channel < channels)[None, :]
    offset += sample * pooled_rows * pooled_columns * channels

    best = tl.zeros((BLOCK, BLOCK_CHANNELS), tl.float32)
    place = tl.zeros((BLOCK, BLOCK_CHANNELS), tl.int32)
    last_row = tl.minimum(first_row + ROWS, pooled_rows)
    for conv_row in tl.range(2 * first_row - 1, 2 * last_row, num_stages=1):
        largest, column_place = _row_of_windows(
            packed_ptr, stride_packed_h, conv_row, column, conv_rows, conv_columns, w0, w1, w2, w3, scale, shift, BLOCK,
            BLOCK_CHANNELS, PRECISION, UPCAST,
        )  # fmt: skip
        last_of_window = (conv_row + 2) % 2 == 1  # and the first one of the next
        best, place = take_larger(best, place, largest, True, column_place + tl.where(last_of_window, 6, 3))
        if last_of_window:
            row = conv_row // 2
            if conv_row > 2 * first_row:
                store_pooled(out_ptr, index_ptr, offset + row * pooled_columns * channels, best, place, inside, INDEX)
            best = largest
            place = column_place


@triton.jit
def _row_of_windows(
    packed_ptr, stride_packed_h, row, column, conv_rows, conv_columns, w0, w1, w2, w3, scale, shift,
    BLOCK: tl.constexpr, BLOCK_CHANNELS: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Largest value, and its column 0 to 2, of one row of the pooling windows; 0 where none is positive."""
    best = tl.zeros((BLOCK, BLOCK_CHANNELS), tl.float32)
    place = tl.zeros((BLOCK, BLOCK_CHANNELS), tl.int32)
    columns = columns_of(row, conv_rows, conv_columns)
    row = tl.minimum(tl.maximum(row, 0), conv_rows - 1)
    for code in tl.range(0, 3, num_stages=1):
        position = 2 * column + code - 1
        there = (position >= 0) & (position < columns)
        position = tl.minimum(tl.maximum(position, 0), conv_columns - 1)
        acc = convolution(packed_ptr, stride_packed_h, row, position, w0, w1, w2, w3, PRECISION, UPCAST)
        best, place = take_larger(best, place, acc * scale[None, :] + shift[None, :], there[:, None], code)
    return best, place


@triton.jit
def convolve(
    packed_ptr, weight_ptr, y_ptr, mean_ptr, squares_ptr, count_ptr,
    stride_packed_n, stride_packed_h,
    conv_rows, conv_columns, channels,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, BLOCK_CHANNELS: tl.constexpr, STATISTICS: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """y (N, Ho, Wo, C), and of each program's part the mean, the sum of squared deviations (P, C) and the count (P,).

    Deviations and not squares, after Welford: the variance of values far from 0 would drown in rounding.
    """
    column_blocks = tl.cdiv(conv_columns, BLOCK)
    first_row = tl.program_id(0) // column_blocks * ROWS
    column = tl.program_id(0) % column_blocks * BLOCK + tl.arange(0, BLOCK)
    channel = tl.program_id(1) * BLOCK_CHANNELS + tl.arange(0, BLOCK_CHANNELS)
    sample = tl.program_id(2).to(tl.int64)
    packed_ptr += sample * stride_packed_n
    w0 = packed_weight(weight_ptr, 0, channel, channels)
    w1 = packed_weight(weight_ptr, 1, channel, channels)
    w2 = packed_weight(weight_ptr, 2, channel, channels)
    w3 = packed_weight(weight_ptr, 3, channel, channels)
    in_columns = column < conv_columns
    inside = in_columns[:, None] & (channel < channels)[None, :]
    y_ptr += sample * conv_rows * conv_columns * channels + column[:, None] * channels + channel[None, :]
    position = tl.minimum(column, conv_columns - 1)

    mean = tl.zeros((BLOCK, BLOCK_CHANNELS), tl.float32)  # over the rows, of every column
    squares = tl.zeros((BLOCK, BLOCK_CHANNELS), tl.float32)
    last_row = tl.minimum(first_row + ROWS, conv_rows)
    for row in tl.range(first_row, last_row, num_stages=1):
        acc = convolution(packed_ptr, stride_packed_h, row, position, w0, w1, w2, w3, PRECISION, UPCAST)
        value = acc.to(y_ptr.dtype.element_ty)
        tl.store(y_ptr + row * conv_columns * channels, value, mask=inside)
        if STATISTICS:
            rounded = value.to(tl.float32)
            deviation = rounded - mean
            mean += deviation / (row - first_row + 1)
            squares += deviation * (rounded - mean)
    if STATISTICS:
        rows = last_row - first_row
        columns = tl.sum(in_columns.to(tl.int32), 0)
        of_all = tl.sum(tl.where(in_columns[:, None], mean, 0.0), 0) / columns
        spread = mean - of_all[None, :]
        squares = tl.sum(tl.where(in_columns[:, None], squares + rows * spread * spread, 0.0), 0)
        part = sample * tl.num_programs(0) + tl.program_id(0)
        tl.store(mean_ptr + part * channels + channel, of_all, mask=channel < channels)
        tl.store(squares_ptr + part * channels + channel, squares, mask=channel < channels)
        tl.store(count_ptr + part, rows * columns)


@triton.jit
def normalise_and_pool(
    y_ptr, mean_ptr, var_ptr, bn_weight_ptr, bn_bias_ptr, out_ptr, index_ptr,
    conv_rows, conv_columns, pooled_rows, pooled_columns, channels, eps,
    BLOCK: tl.constexpr, BLOCK_CHANNELS: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    """out (N, Hp, Wp, C) and the pooling places from y (N, Ho, Wo, C); one program per BLOCK of a pooled row."""
    column_blocks = tl.cdiv(pooled_columns, BLOCK)
    row = tl.program_id(0) // column_blocks
    column = tl.program_id(0) % column_blocks * BLOCK + tl.arange(0, BLOCK)
    channel = tl.program_id(1) * BLOCK_CHANNELS + tl.arange(0, BLOCK_CHANNELS)
    sample = tl.program_id(2).to(tl.int64)
    scale, shift = affine(mean_ptr, var_ptr, bn_weight_ptr, bn_bias_ptr, eps, channel, channels)
    y_ptr += sample * conv_rows * conv_columns * channels
    best = tl.zeros((BLOCK, BLOCK_CHANNELS), tl.float32)
    place = tl.zeros((BLOCK, BLOCK_CHANNELS), tl.int32)
    for code in tl.static_range(9):
        y_row = 2 * row + code // 3 - 1
        y_column = 2 * column + code % 3 - 1
        there = (y_column >= 0) & (y_column < columns_of(y_row, conv_rows, conv_columns))
        inside = there[:, None] & (channel < channels)[None, :]
        pointers = y_ptr + (y_row * conv_columns + y_column)[:, None] * channels + channel[None, :]
        value = tl.load(pointers, mask=inside, other=0.0).to(tl.float32) * scale[None, :] + shift[None, :]
        best, place = take_larger(best, place, value, inside, code)
    offset = sample * pooled_rows * pooled_columns * channels
    offset += (row * pooled_columns + column)[:, None] * channels + channel[None, :]
    inside = (column < pooled_columns)[:, None] & (channel < channels)[None, :]
    store_pooled(out_ptr, index_ptr, offset, best, place, inside, INDEX)
