"""The stem as operators of PyTorch (``torch.library``): launches, fake tensors, autograd, no Python in the graph."""

import torch
import triton
from torch import Tensor

from ..common import launch, on_device, product_options, strides
from . import backward, forward
from .configs import Tiles, tiles
from .reference import halved
from .tiles import COLOURS, DEPTH, TAP_ROW, TAPS

PACK_POSITIONS, PACK_CHANNELS = 64, 16  # tiles of the packing kernels


class _Call:
    """Sizes of one call, and how its kernels are launched.

    Args:
        x: (N, 3, H, W) images.
        weight: (C, 3, 7, 7).
        arguments: What its kernels have in common beside the sizes.
    """

    def __init__(self, x: Tensor, weight: Tensor, **arguments: object) -> None:
        self.batch, self.channels, self.dtype = len(x), weight.shape[0], x.dtype
        self.conv = halved(x.shape[2]), halved(x.shape[3])
        self.pooled = halved(self.conv[0]), halved(self.conv[1])
        self.count = self.batch * self.conv[0] * self.conv[1]  # values of a channel that BatchNorm sees
        self.all_rows = self.batch * self.pooled[0]
        self.arguments = {
            "conv_rows": self.conv[0],
            "conv_columns": self.conv[1],
            "pooled_rows": self.pooled[0],
            "pooled_columns": self.pooled[1],
            "all_rows": self.all_rows,
            "channels": self.channels,
            "count": self.count,
            # PyTorch has a switch of its own for TF32 in convolutions, which is on
            **product_options(allow_tf32=torch.backends.cudnn.allow_tf32),
            **arguments,
        }

    def tiles(self, kernel: str) -> Tiles:
        """Of the kernel that ``configs.py`` knows by this name."""
        columns = self.conv[1] if kernel == "convolve" else self.pooled[1]
        return tiles(kernel, self.dtype, columns, self.channels)

    def grid(self, kernel: str) -> tuple[int, int, int]:
        """Programs over (rows and columns, channels, samples)."""
        chosen = self.tiles(kernel)
        rows, columns = self.conv if kernel == "convolve" else self.pooled
        blocks = triton.cdiv(rows, chosen.rows) * triton.cdiv(columns, chosen.positions)
        return blocks, triton.cdiv(self.channels, chosen.channels), self.batch

    def flat_grid(self, kernel: str) -> tuple[int, int]:
        """Programs over (pooled rows of all samples, channels)."""
        chosen = self.tiles(kernel)
        return triton.cdiv(self.all_rows, chosen.rows), triton.cdiv(self.channels, chosen.channels)

    def launch(self, kernel, name: str, grid: tuple[int, ...], **arguments: object) -> None:
        """Launch the kernel that ``configs.py`` knows as ``name``, with ``arguments`` beside the common ones."""
        chosen = self.tiles(name)
        sizes = {"ROWS": chosen.rows, "BLOCK": chosen.positions, "BLOCK_CHANNELS": chosen.channels}
        launch(kernel, grid, self.arguments | sizes | arguments, num_warps=chosen.num_warps, enable_fp_fusion=True)

    def pack_images(self, x: Tensor) -> None:
        """Make the images an argument as (N, Hq, Wq, DEPTH), see ``tiles.py``."""
        rows, columns = (size + TAPS.value - 1 for size in self.conv)
        packed = x.new_empty(self.batch, rows, columns, DEPTH.value)
        arguments = {"x_ptr": x, "packed_ptr": packed, "height": x.shape[2], "width": x.shape[3]}
        arguments |= {"packed_rows": rows, "packed_columns": columns, "BLOCK": PACK_POSITIONS}
        grid = (rows, triton.cdiv(columns, PACK_POSITIONS), self.batch)
        launch(forward.pack_images, grid, arguments | strides("nchw", x=x), num_warps=4)
        self.arguments |= {"packed_ptr": packed, **strides("nh", packed=packed)}

    def pack_weight(self, weight: Tensor) -> None:
        """Make the weight an argument as (TAPS, TAP_ROW, C), see ``tiles.py``."""
        packed = weight.new_empty(TAPS.value, TAP_ROW.value, self.channels)
        arguments = {"weight_ptr": weight.contiguous(), "packed_ptr": packed, "channels": self.channels}
        grid = (TAPS.value, triton.cdiv(self.channels, PACK_CHANNELS))
        launch(forward.pack_weight, grid, arguments | {"BLOCK": PACK_CHANNELS}, num_warps=4)
        self.arguments["weight_ptr"] = packed

    def empty(self, like: Tensor, size: tuple[int, int], dtype: torch.dtype | None = None) -> Tensor:
        """(N, C, *size) uninitialised, channels last."""
        return like.new_empty(self.batch, *size, self.channels, dtype=dtype).permute(0, 3, 1, 2)


# -- forward


@torch.library.custom_op("ofa_mi::resnet_stem", mutates_args=())
def stem(
    x: Tensor,
    weight: Tensor,
    bn_weight: Tensor,
    bn_bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    eps: float,
    training: bool,
    affine_gradient: bool,
    any_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The stem, see :func:`ofa_mi.kernels.resnet_stem`, without the update of the running statistics.

    Args:
        affine_gradient: Gradients of BatchNorm's weight or bias are wanted.
        any_gradient: Any gradient is wanted.

    Returns:
        out (N, C, Hp, Wp), the pooling places (N, C, Hp, Wp) uint8 if ``any_gradient``, the convolution's output
        (N, C, Ho, Wo) if ``training`` or ``affine_gradient``, and the batch's mean and biased variance (C,) fp32 if
        ``training``; what is not there is empty.
    """
    norm = {"bn_weight_ptr": bn_weight, "bn_bias_ptr": bn_bias, "mean_ptr": running_mean, "var_ptr": running_var}
    call = _Call(x, weight, eps=eps, INDEX=any_gradient, STATISTICS=training, **norm)
    out, index, y, mean, var = _empty_outputs(call, x, training, affine_gradient, any_gradient)
    pooled = {"out_ptr": out, "index_ptr": index if any_gradient else None}
    with on_device(x):
        call.pack_images(x)
        call.pack_weight(weight)
        if not training and not affine_gradient:
            call.launch(forward.fused_stem, "fused", call.grid("fused"), **pooled)
            return out, index, y, mean, var
        _convolve(call, y, mean, var)
        if training:
            call.arguments |= {"mean_ptr": mean, "var_ptr": var}
        call.launch(forward.normalise_and_pool, "pool", call.grid("pool"), y_ptr=y, **pooled)
    return out, index, y, mean, var


def _convolve(call: _Call, y: Tensor, mean: Tensor, var: Tensor) -> None:
    """Fill y, and in training the batch's mean and biased variance."""
    grid = call.grid("convolve")
    means, squares = (y.new_empty(grid[0] * grid[2], call.channels, dtype=torch.float32) for _ in range(2))
    counts = means.new_empty(len(means))
    parts = {"mean_ptr": means, "squares_ptr": squares, "count_ptr": counts}
    call.launch(forward.convolve, "convolve", grid, y_ptr=y, **parts)
    if call.arguments["STATISTICS"]:
        # Chan, Golub and LeVeque (1979), "Updating formulae and a pairwise algorithm for computing sample variances"
        weights = counts[:, None] / call.count
        torch.sum(means * weights, 0, out=mean)
        torch.sum(squares / call.count + weights * (means - mean).square(), 0, out=var)


def _empty_outputs(call: _Call, x: Tensor, training: bool, affine_gradient: bool, any_gradient: bool):
    """Uninitialised results of :func:`stem`."""
    out = call.empty(x, call.pooled)
    index = call.empty(x, call.pooled, torch.uint8) if any_gradient else x.new_empty(0, dtype=torch.uint8)
    y = call.empty(x, call.conv) if training or affine_gradient else x.new_empty(0)
    mean, var = (x.new_empty(call.channels if training else 0, dtype=torch.float32) for _ in range(2))
    return out, index, y, mean, var


@stem.register_fake
def _(x, weight, bn_weight, bn_bias, running_mean, running_var, eps, training, affine_gradient, any_gradient):
    return _empty_outputs(_Call(x, weight), x, training, affine_gradient, any_gradient)


# -- backward


@torch.library.custom_op("ofa_mi::resnet_stem_backward", mutates_args=())
def stem_backward(
    d_out: Tensor,
    x: Tensor,
    weight: Tensor,
    bn_weight: Tensor,
    index: Tensor,
    y: Tensor,
    mean: Tensor,
    var: Tensor,
    eps: float,
    training: bool,
    wanted: list[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, weight, bn_weight and bn_bias, empty if not wanted; ``mean`` and ``var`` are those used."""
    d_out = d_out.contiguous(memory_format=torch.channels_last)
    d_out = d_out if d_out.permute(0, 2, 3, 1).is_contiguous() else d_out.permute(0, 2, 3, 1).contiguous()
    norm = {"bn_weight_ptr": bn_weight, "mean_ptr": mean, "var_ptr": var, "sums_ptr": None}
    call = _Call(x, weight, d_out_ptr=d_out, index_ptr=index, y_ptr=y, eps=eps, TRAINING=training, **norm)
    d_x, d_weight, d_bn_weight, d_bn_bias = _empty_gradients(x, weight, bn_weight, wanted)
    with on_device(x):
        if training or wanted[2] or wanted[3]:
            sums = _affine_gradient(call)
            call.arguments["sums_ptr"] = sums
            _copy(sums[1], d_bn_weight)
            _copy(sums[0], d_bn_bias)
        if wanted[1]:
            _copy(_weight_gradient(call, x), d_weight)
        if wanted[0]:
            d_y = call.empty(x, call.conv)
            grid = call.grid("convolution_gradient")
            call.launch(backward.convolution_gradient, "convolution_gradient", grid, d_y_ptr=d_y)
            # Images are leaves in training; their gradient is for saliency maps, and PyTorch's is good enough.
            _copy(torch.nn.grad.conv2d_input(x.shape, weight, d_y, stride=2, padding=3), d_x)
    return d_x, d_weight, d_bn_weight, d_bn_bias


def _affine_gradient(call: _Call) -> Tensor:
    """(2, C) fp32: gradients of BatchNorm's bias and weight."""
    grid = call.flat_grid("affine_gradient")
    partial = call.arguments["d_out_ptr"].new_empty(grid[0], 2, call.channels, dtype=torch.float32)
    call.launch(backward.affine_gradient, "affine_gradient", grid, partial_ptr=partial)
    return partial.sum(0)


def _weight_gradient(call: _Call, x: Tensor) -> Tensor:
    """(C, 3, 7, 7) fp32."""
    call.pack_images(x)
    grid = call.flat_grid("weight_gradient")
    partial = x.new_empty(grid[0], TAPS.value, call.channels, TAP_ROW.value, dtype=torch.float32)
    call.launch(backward.weight_gradient, "weight_gradient", grid, partial_ptr=partial)
    return _unpack_weight(partial.sum(0))


def _unpack_weight(packed: Tensor) -> Tensor:
    """(TAPS, C, TAP_ROW), the way the kernels have it, as (C, 3, 7, 7)."""
    taps, colours = TAPS.value, COLOURS.value
    used = packed.unflatten(2, (taps, -1))[..., : 4 * colours]  # row tap, C, column tap, depth
    pixels = used.unflatten(3, (2, 2, colours)).permute(1, 5, 0, 3, 2, 4)  # C, colour, row tap, row, column tap, column
    return pixels.reshape(-1, colours, 2 * taps, 2 * taps)[:, :, 1:, 1:]


def _empty_gradients(x: Tensor, weight: Tensor, bn_weight: Tensor, wanted: list[bool]) -> tuple[Tensor, ...]:
    """Uninitialised results of :func:`stem_backward`."""
    like = (x, weight, bn_weight, bn_weight)
    return tuple(torch.empty_like(t) if needed else t.new_empty(0) for t, needed in zip(like, wanted, strict=True))


def _copy(values: Tensor, out: Tensor) -> None:
    if out.numel():
        out.copy_(values)


@stem_backward.register_fake
def _(d_out, x, weight, bn_weight, index, y, mean, var, eps, training, wanted):
    return _empty_gradients(x, weight, bn_weight, wanted)


def _keep(ctx, inputs, output) -> None:
    x, weight, bn_weight, _, running_mean, running_var, ctx.eps, ctx.training, *_ = inputs
    _, index, y, mean, var = output
    # A later step changes the running statistics in place; those of evaluation are kept as they are now.
    used = (mean, var) if ctx.training else (running_mean.clone(), running_var.clone())
    ctx.save_for_backward(x, weight, bn_weight, index, y, *used)
    ctx.mark_non_differentiable(index, y, mean, var)
    ctx.set_materialize_grads(False)


def _backward(ctx, d_out, *_):
    if d_out is None:
        return (None,) * 10
    wanted = list(ctx.needs_input_grad[:4])
    gradients = stem_backward(d_out, *ctx.saved_tensors, ctx.eps, ctx.training, wanted)
    return *(g if needed else None for g, needed in zip(gradients, wanted, strict=True)), *(None,) * 6


stem.register_autograd(_backward, setup_context=_keep)
