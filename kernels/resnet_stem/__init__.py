"""The first layers of a ResNet as one operation (convolution, BatchNorm, ReLU, max-pooling): API, checks and choice."""

import torch
from torch import Tensor

from .. import dispatch
from . import reference
from .reference import halved

__all__ = ["resnet_stem"]

MAX_CHANNELS = 512
KERNEL_SHAPE = (3, 7, 7)  # colours, rows, columns


def resnet_stem(
    x: Tensor,
    weight: Tensor,
    bn_weight: Tensor,
    bn_bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    eps: float,
    training: bool,
    *,
    momentum: float = 0.1,
) -> Tensor:
    """Convolution 7x7 of stride 2, BatchNorm, ReLU and max-pooling 3x3 of stride 2 (He et al., arXiv 1512.03385).

    With gradients for the images, the convolution's weight and BatchNorm's affine map. The Triton kernels put out
    channels last whatever the input's memory format, and never hold the convolution's output unless BatchNorm takes
    its statistics or affine gradients from it.

    Args:
        x: (N, 3, H, W) images, in either memory format.
        weight: (C, 3, 7, 7) of the convolution, which has no bias.
        bn_weight: (C,) of BatchNorm.
        bn_bias: (C,) of BatchNorm.
        running_mean: (C,) of BatchNorm; used without ``training``, updated in place with it.
        running_var: (C,) likewise; updated with the unbiased variance, as PyTorch does.
        eps: Added to the variance.
        training: Normalise by the statistics of this batch.
        momentum: Share of this batch's statistics in the running ones after a training step.

    Returns:
        (N, C, Hp, Wp): H and W halved twice, rounded up each time.

    Raises:
        ValueError: Shapes do not fit together, or training sees a single value per channel, which has no variance.
        ConfigError: ``OFA_MI_KERNELS=triton`` for a case that the Triton kernels do not have.
    """
    _check(x, weight, (bn_weight, bn_bias, running_mean, running_var), training)
    if torch.is_autocast_enabled(x.device.type):  # as PyTorch does for a convolution
        x, weight = (t.to(torch.get_autocast_dtype(x.device.type)) for t in (x, weight))
    if dispatch.use_triton(x, unsupported=_unsupported(x, weight)):
        return _triton(x, weight, bn_weight, bn_bias, running_mean, running_var, eps, training, momentum)
    return reference.resnet_stem(
        x, weight, bn_weight, bn_bias, running_mean, running_var, eps, training, momentum=momentum
    )


def _check(x: Tensor, weight: Tensor, per_channel: tuple[Tensor, ...], training: bool) -> None:
    """A kernel reads memory by these shapes: no mistake in them may go further."""
    if x.dim() != 4 or x.shape[1] != KERNEL_SHAPE[0]:
        raise ValueError(f"images {tuple(x.shape)}: must be (N, 3, H, W)")
    if weight.dim() != 4 or weight.shape[1:] != KERNEL_SHAPE:
        raise ValueError(f"a convolution's weight {tuple(weight.shape)}: must be (C, 3, 7, 7)")
    for tensor in per_channel:
        if tensor.shape != weight.shape[:1]:
            raise ValueError(f"BatchNorm of {tuple(tensor.shape)} for a convolution of {weight.shape[0]} channels")
    if training and len(x) * halved(x.shape[2]) * halved(x.shape[3]) == 1:
        raise ValueError(f"images {tuple(x.shape)} give one value per channel, from which training takes no variance")


def _unsupported(x: Tensor, weight: Tensor) -> str | None:
    """Why the Triton kernels cannot do this, or None if they can."""
    if x.dtype not in dispatch.DTYPES or weight.dtype != x.dtype:
        return f"there is no stem of {x.dtype} images and {weight.dtype} weights"
    if x.numel() == 0:
        return f"the images {tuple(x.shape)} are empty"
    if weight.shape[0] > MAX_CHANNELS:
        return f"{weight.shape[0]} channels exceed {MAX_CHANNELS}"
    return None


def _triton(x, weight, bn_weight, bn_bias, running_mean, running_var, eps, training, momentum) -> Tensor:
    from . import op  # imports Triton

    graded = torch.is_grad_enabled()
    affine_gradient = graded and (bn_weight.requires_grad or bn_bias.requires_grad)
    any_gradient = affine_gradient or (graded and (x.requires_grad or weight.requires_grad))
    out, _, _, mean, var = op.stem(
        x, weight, bn_weight, bn_bias, running_mean, running_var, eps, training, affine_gradient, any_gradient
    )
    if training:
        _update(running_mean, mean, momentum)
        count = len(x) * halved(x.shape[2]) * halved(x.shape[3])
        _update(running_var, var * (count / (count - 1)), momentum)
    return out


def _update(running: Tensor, batch: Tensor, momentum: float) -> None:
    with torch.no_grad():
        running.copy_(torch.lerp(running.float(), batch, momentum))
