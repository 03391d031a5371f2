"""Every operation in plain PyTorch, with the signatures of :mod:`ofa_mi.kernels`: what defines the results."""

from .attention.reference import attention
from .position_bias.reference import position_bias
from .resnet_stem.reference import resnet_stem

__all__ = ["attention", "position_bias", "resnet_stem"]
