"""Launches of the stem's kernels: tensors in, tensors out, no autograd."""

import torch
import triton
from torch import Tensor

from .. import switch
from . import backward as kernels_backward
from . import forward as kernels_forward
from .configs import Tiles, tiles
from .interface import halved
from .tiles import COLOURS, DEPTH, TAP_ROW, TAPS

PACK_POSITIONS, PACK_CHANNELS = 64, 16  # tiles of the packing kernels


class Shapes:
    """Sizes of one call, and how its kernels are launched.

    Args:
        x: (N, 3, H, W) images.
        weight: (C, 3, 7, 7).
    """

    def __init__(self, x: Tensor, weight: Tensor) -> None:
        self.samples, self.channels, self.dtype = len(x), weight.shape[0], x.dtype
        self.conv = halved(x.shape[2]), halved(x.shape[3])
        self.pooled = halved(self.conv[0]), halved(self.conv[1])
        self.packed = self.conv[0] + TAPS - 1, self.conv[1] + TAPS - 1

    @property
    def count(self) -> int:
        """Values of a channel that BatchNorm sees."""
        return self.samples * self.conv[0] * self.conv[1]

    def tiles(self, kernel: str) -> Tiles:
        columns = self.conv[1] if kernel == "convolve" else self.pooled[1]
        return tiles(kernel, self.dtype, columns, self.channels)

    def grid(self, kernel: str) -> tuple[int, int, int]:
        """Programs over (rows and columns, channels, samples)."""
        chosen = self.tiles(kernel)
        rows, columns = self.conv if kernel == "convolve" else self.pooled
        blocks = triton.cdiv(rows, chosen.rows) * triton.cdiv(columns, chosen.positions)
        return blocks, triton.cdiv(self.channels, chosen.channels), self.samples

    def flat_grid(self, kernel: str) -> tuple[int, int]:
        """Programs over (pooled rows of all samples, channels)."""
        chosen = self.tiles(kernel)
        return triton.cdiv(self.samples * self.pooled[0], chosen.rows), triton.cdiv(self.channels, chosen.channels)

    def options(self, kernel: str, *, product: bool = False, **more) -> dict:
        """Compile-time arguments of a kernel."""
        chosen = self.tiles(kernel)
        options = {"BLOCK": chosen.positions, "BLOCK_CHANNELS": chosen.channels, "num_warps": chosen.warps}
        if product:
            options |= {"ROWS": chosen.rows, "PRECISION": precision(), "UPCAST": switch.interpreting()}
        return options | {"enable_fp_fusion": True} | more


def precision() -> str:
    """``input_precision`` of products of fp32: PyTorch has a switch of its own for convolutions, which is on."""
    return "tf32" if torch.backends.cudnn.allow_tf32 else "ieee"


def pack(x: Tensor, shapes: Shapes) -> Tensor:
    """The images as (N, Hq, Wq, DEPTH), see ``tiles.py``."""
    packed = x.new_empty(shapes.samples, *shapes.packed, DEPTH.value)
    grid = (shapes.packed[0], triton.cdiv(shapes.packed[1], PACK_POSITIONS), shapes.samples)
    kernels_forward.pack_images[grid](
        x, packed, *x.stride(), *x.shape[2:], *shapes.packed, BLOCK=PACK_POSITIONS, num_warps=4
    )
    return packed


def packed_strides(packed: Tensor) -> tuple[int, int]:
    return packed.stride()[:2]


def forward(
    x: Tensor,
    weight: Tensor,
    bn_weight: Tensor,
    bn_bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    eps: float,
    *,
    training: bool,
    affine: bool,
    graded: bool,
) -> tuple[Tensor, ...]:
    """See :func:`ofa_mi.kernels.resnet_stem.op.stem`."""
    shapes = Shapes(x, weight)
    out, index, y, mean, var = empty_outputs(x, weight, training=training, affine=affine, graded=graded)
    pooled = (out, index if graded else None)
    norm = (running_mean, running_var, bn_weight, bn_bias)
    with switch.on_device(x):
        packed = pack(x, shapes)
        packed_weight = _pack_weight(weight, shapes)
        if training or affine:
            _convolve(packed, packed_weight, y, (mean, var) if training else None, shapes)
            if training:
                norm = (mean, var, bn_weight, bn_bias)
            kernels_forward.normalise_and_pool[shapes.grid("pool")](
                y, *norm, *pooled, *shapes.conv, *shapes.pooled, shapes.channels, eps, INDEX=graded,
                **shapes.options("pool"),
            )  # fmt: skip
        else:
            kernels_forward.fused_stem[shapes.grid("fused")](
                packed, packed_weight, *norm, *pooled, *packed_strides(packed), *shapes.conv, *shapes.pooled,
                shapes.channels, eps, **shapes.options("fused", product=True, INDEX=graded),
            )  # fmt: skip
    return out, index, y, mean, var


def empty_outputs(x: Tensor, weight: Tensor, *, training: bool, affine: bool, graded: bool) -> tuple[Tensor, ...]:
    """Uninitialised results of :func:`forward`; empty where there is nothing to return."""
    shapes = Shapes(x, weight)
    out = _channels_last(x, shapes, shapes.pooled)
    index = _channels_last(x, shapes, shapes.pooled, torch.uint8) if graded else x.new_empty(0, dtype=torch.uint8)
    y = _channels_last(x, shapes, shapes.conv) if training or affine else x.new_empty(0)
    mean, var = (x.new_empty(shapes.channels if training else 0, dtype=torch.float32) for _ in range(2))
    return out, index, y, mean, var


def _channels_last(x: Tensor, shapes: Shapes, size: tuple[int, int], dtype: torch.dtype | None = None) -> Tensor:
    return x.new_empty(shapes.samples, *size, shapes.channels, dtype=dtype).permute(0, 3, 1, 2)


def _pack_weight(weight: Tensor, shapes: Shapes) -> Tensor:
    packed = weight.new_empty(TAPS.value, TAP_ROW.value, shapes.channels)
    kernels_forward.pack_weight[TAPS.value, triton.cdiv(shapes.channels, PACK_CHANNELS)](
        weight.contiguous(), packed, shapes.channels, BLOCK=PACK_CHANNELS, num_warps=4
    )
    return packed


def _convolve(packed: Tensor, weight: Tensor, y: Tensor, statistics: tuple[Tensor, Tensor] | None, shapes: Shapes):
    """Fill y, and ``statistics`` (mean, biased variance) if they are wanted."""
    grid = shapes.grid("convolve")
    parts = grid[0] * grid[2]
    mean, squares = (weight.new_empty(parts, shapes.channels, dtype=torch.float32) for _ in range(2))
    count = mean.new_empty(parts)
    kernels_forward.convolve[grid](
        packed, weight, y, mean, squares, count, *packed_strides(packed), *shapes.conv, shapes.channels,
        **shapes.options("convolve", product=True, STATISTICS=statistics is not None),
    )  # fmt: skip
    if statistics is not None:
        # Chan, Golub and LeVeque (1979), "Updating formulae and a pairwise algorithm for computing sample variances"
        weights = count[:, None] / shapes.count
        of_all = torch.sum(mean * weights, 0, out=statistics[0])
        torch.sum(squares / shapes.count + weights * (mean - of_all).square(), 0, out=statistics[1])


def backward(
    d_out: Tensor,
    x: Tensor,
    weight: Tensor,
    bn_weight: Tensor,
    index: Tensor,
    y: Tensor,
    mean: Tensor,
    var: Tensor,
    eps: float,
    *,
    training: bool,
    wanted: list[bool],
) -> tuple[Tensor, ...]:
    """Gradients of x, weight, bn_weight and bn_bias; empty where ``wanted`` says no."""
    shapes = Shapes(x, weight)
    d_out = d_out.contiguous(memory_format=torch.channels_last)
    d_out = d_out if d_out.permute(0, 2, 3, 1).is_contiguous() else d_out.permute(0, 2, 3, 1).contiguous()
    d_x, d_weight, d_bn_weight, d_bn_bias = empty_gradients(x, weight, bn_weight, wanted)
    sums = None
    with switch.on_device(x):
        if training or wanted[2] or wanted[3]:
            sums = _affine_gradient(d_out, index, y, mean, var, eps, shapes)
            _copy(sums[1], d_bn_weight)
            _copy(sums[0], d_bn_bias)
        common = (d_out, index, y, mean, var, bn_weight, sums)
        if wanted[1]:
            _copy(_weight_gradient(x, common, eps, training, shapes), d_weight)
        if wanted[0]:
            d_y = _channels_last(x, shapes, shapes.conv)
            kernels_backward.convolution_gradient[shapes.grid("convolution_gradient")](
                *common, d_y, *shapes.conv, *shapes.pooled, shapes.channels, shapes.count, eps, TRAINING=training,
                **shapes.options("convolution_gradient"),
            )  # fmt: skip
            # Images are leaves in training; their gradient is for saliency maps, and PyTorch's is good enough.
            _copy(torch.nn.grad.conv2d_input(x.shape, weight, d_y, stride=2, padding=3), d_x)
    return d_x, d_weight, d_bn_weight, d_bn_bias


def empty_gradients(x: Tensor, weight: Tensor, bn_weight: Tensor, wanted: list[bool]) -> tuple[Tensor, ...]:
    """Uninitialised results of :func:`backward`."""
    like = (x, weight, bn_weight, bn_weight)
    return tuple(torch.empty_like(t) if needed else t.new_empty(0) for t, needed in zip(like, wanted, strict=True))


def _copy(values: Tensor, out: Tensor) -> None:
    if out.numel():
        out.copy_(values)


def _affine_gradient(d_out, index, y, mean, var, eps: float, shapes: Shapes) -> Tensor:
    """(2, C) fp32: gradients of BatchNorm's bias and weight."""
    grid = shapes.flat_grid("affine_gradient")
    partial = mean.new_empty(grid[0], 2, shapes.channels, dtype=torch.float32)
    kernels_backward.affine_gradient[grid](
        d_out, index, y, mean, var, partial, shapes.samples * shapes.pooled[0], *shapes.conv, *shapes.pooled,
        shapes.channels, eps, ROWS=shapes.tiles("affine_gradient").rows, **shapes.options("affine_gradient"),
    )  # fmt: skip
    return partial.sum(0)


def _weight_gradient(x: Tensor, common: tuple, eps: float, training: bool, shapes: Shapes) -> Tensor:
    """(C, 3, 7, 7) fp32."""
    packed = pack(x, shapes)
    grid = shapes.flat_grid("weight_gradient")
    partial = x.new_empty(grid[0], TAPS.value, shapes.channels, TAP_ROW.value, dtype=torch.float32)
    d_out, index, y, mean, var, bn_weight, sums = common
    kernels_backward.weight_gradient[grid](
        d_out, index, y, packed, mean, var, bn_weight, sums, partial, *packed_strides(packed),
        shapes.samples * shapes.pooled[0], *shapes.conv, *shapes.pooled, shapes.channels, shapes.count, eps,
        TRAINING=training, **shapes.options("weight_gradient", product=True),
    )  # fmt: skip
    return _unpack_weight(partial.sum(0))


def _unpack_weight(packed: Tensor) -> Tensor:
    """(TAPS, C, TAP_ROW), the way the kernels have it, as (C, 3, 7, 7)."""
    taps, colours = TAPS.value, COLOURS.value
    used = packed.unflatten(2, (taps, -1))[..., : 4 * colours]  # row tap, C, column tap, depth
    pixels = used.unflatten(3, (2, 2, colours)).permute(1, 5, 0, 3, 2, 4)  # C, colour, row tap, row, column tap, column
    return pixels.reshape(-1, colours, 2 * taps, 2 * taps)[:, :, 1:, 1:]
