"""What the kernels of the stem share: the packed images, a tile of the convolution, and the way back through the pool.

**Packed images.** Two rows and two columns of pixels become one position of 12 numbers, padded with zeros to 16: the
convolution of 7x7 pixels at stride 2 is then one of 4x4 positions at stride 1, whose rows of four positions lie side
by side in memory, 64 numbers that load in wide words. A border of zeros makes every window complete. Position (i, j)
holds the pixels from (2 i - 4, 2 j - 4) on; the window of the convolution's output (r, s) begins at (r, s).

**Pooling window.** A code 0 to 8, row by row, says which place of the 3x3 window had the largest value; NO_PLACE, that
it was cut off by the ReLU.
"""

import triton
import triton.language as tl

from ..common import dot

COLOURS = tl.constexpr(3)
DEPTH = tl.constexpr(16)  # of a packed position; 12 are used
TAPS = tl.constexpr(4)  # positions of a window in each direction
TAP_ROW = tl.constexpr(64)  # numbers in a row of a window: TAPS * DEPTH
BORDER = tl.constexpr(2)  # positions before the image
NO_PLACE = tl.constexpr(9)


@triton.jit
def packed_weight(weight_ptr, tap, channel, channels):
    """(TAP_ROW, C) weights of a window's row ``tap``; from packed (TAPS, TAP_ROW, C)."""
    element = tap * TAP_ROW + tl.arange(0, TAP_ROW)
    pointers = weight_ptr + element[:, None] * channels + channel[None, :]
    return tl.load(pointers, mask=(channel < channels)[None, :], other=0.0)


@triton.jit
def window_row(packed_ptr, stride_packed_h, row, tap, column):
    """(M, TAP_ROW) numbers of row ``tap`` of the windows of the convolution's outputs (row, column)."""
    element = tl.arange(0, TAP_ROW)
    return tl.load(packed_ptr + (row + tap) * stride_packed_h + column[:, None] * DEPTH + element[None, :])


@triton.jit
def convolution(
    packed_ptr, stride_packed_h, row, column, w0, w1, w2, w3, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """(M, C) fp32: the convolution's outputs in ``row`` at ``column`` (M,)."""
    acc = dot(window_row(packed_ptr, stride_packed_h, row, 0, column), w0, PRECISION, UPCAST)
    acc += dot(window_row(packed_ptr, stride_packed_h, row, 1, column), w1, PRECISION, UPCAST)
    acc += dot(window_row(packed_ptr, stride_packed_h, row, 2, column), w2, PRECISION, UPCAST)
    acc += dot(window_row(packed_ptr, stride_packed_h, row, 3, column), w3, PRECISION, UPCAST)
    return acc


@triton.jit
def affine(mean_ptr, var_ptr, bn_weight_ptr, bn_bias_ptr, eps, channel, channels):
    """BatchNorm as (scale, shift), (C,) fp32 each."""
    inside = channel < channels
    variance = tl.load(var_ptr + channel, mask=inside, other=1.0).to(tl.float32)
    scale = tl.load(bn_weight_ptr + channel, mask=inside, other=0.0).to(tl.float32) / tl.sqrt_rn(variance + eps)
    mean = tl.load(mean_ptr + channel, mask=inside, other=0.0).to(tl.float32)
    return scale, tl.load(bn_bias_ptr + channel, mask=inside, other=0.0).to(tl.float32) - mean * scale


@triton.jit
def columns_of(row, rows, columns):
    """Columns of a row: none of one that lies outside.

    In place of a condition on the row, which the interpreter cannot combine with those on tiles.
    """
    return tl.where((row >= 0) & (row < rows), columns, 0)


@triton.jit
def take_larger(best, place, value, there, code):
    """(best, place) after one more value of the window: the first of equal ones, and NaN whenever there is one."""
    take = there & ((value > best) | (value != value))
    return tl.where(take, value, best), tl.where(take, code, place)


@triton.jit
def store_pooled(out_ptr, index_ptr, offset, best, place, inside, INDEX: tl.constexpr):
    """Write the pooled values, which begin at the 0 of the ReLU, and where they come from."""
    tl.store(out_ptr + offset, best.to(out_ptr.dtype.element_ty), mask=inside)
    if INDEX:
        tl.store(index_ptr + offset, tl.where(best == 0.0, NO_PLACE, place).to(tl.uint8), mask=inside)


@triton.jit
def pooled_gradient(
    d_out_ptr, index_ptr, row, column, channel, row_parity, column_parity, pooled_rows, pooled_columns, channels,
):  # fmt: skip
    """(M, C) fp32: gradient of BatchNorm's outputs at (2 row + row_parity, 2 column + column_parity).

    An even row or column lies in one window, an odd one in two; those whose largest value it was pass theirs on.
    """
    gradient = tl.zeros((column.shape[0], channel.shape[0]), tl.float32)
    for down in tl.static_range(2):
        for right in tl.static_range(2):
            last = tl.where((down <= row_parity) & (right <= column_parity), pooled_columns, 0)
            inside = (column + right < columns_of(row + down, pooled_rows, last))[:, None] & (channel < channels)[
                None, :
            ]
            offset = ((row + down) * pooled_columns + column + right)[:, None] * channels + channel[None, :]
            place = tl.load(index_ptr + offset, mask=inside, other=NO_PLACE).to(tl.int32)
            value = tl.load(d_out_ptr + offset, mask=inside, other=0.0).to(tl.float32)
            code = 3 * (row_parity + 1 - 2 * down) + column_parity + 1 - 2 * right
            gradient += tl.where(place == code, value, 0.0)
    return gradient
