"""The stem in plain PyTorch: the definition of the result."""

import torch.nn.functional as F
from torch import Tensor


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
    """See :func:`ofa_mi.kernels.resnet_stem`."""
    x = F.conv2d(x, weight, stride=2, padding=3)  # N, C, H / 2, W / 2
    x = F.batch_norm(x, running_mean, running_var, bn_weight, bn_bias, training, momentum, eps)
    return F.max_pool2d(F.relu(x, inplace=True), kernel_size=3, stride=2, padding=1)  # N, C, H / 4, W / 4


def halved(size: int) -> int:
    """Rows or columns that a layer of stride 2 gives, whose padding is half its kernel."""
    return (size + 1) // 2
