"""The stem as an operator of PyTorch (``torch.library``): fake tensors, autograd, no Python in the graph."""

import torch
from torch import Tensor

from . import launch


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
    affine: bool,
    graded: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The stem, see :func:`ofa_mi.kernels.resnet_stem`, without the update of the running statistics.

    Args:
        affine: gradients of BatchNorm's weight or bias are wanted.
        graded: any gradient is wanted.

    Returns:
        out (N, C, Hp, Wp), the pooling places (N, C, Hp, Wp) uint8 if ``graded``, the convolution's output
        (N, C, Ho, Wo) if ``training`` or ``affine``, and the batch's mean and biased variance (C,) fp32 if
        ``training``; what is not there is empty.
    """
    return launch.forward(
        x,
        weight,
        bn_weight,
        bn_bias,
        running_mean,
        running_var,
        eps,
        training=training,
        affine=affine,
        graded=graded,
    )


@stem.register_fake
def _(x, weight, bn_weight, bn_bias, running_mean, running_var, eps, training, affine, graded):
    return launch.empty_outputs(x, weight, training=training, affine=affine, graded=graded)


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
    return launch.backward(
        d_out, x, weight, bn_weight, index, y, mean, var, eps, training=training, wanted=wanted
    )  # fmt: skip


@stem_backward.register_fake
def _(d_out, x, weight, bn_weight, index, y, mean, var, eps, training, wanted):
    return launch.empty_gradients(x, weight, bn_weight, wanted)


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
