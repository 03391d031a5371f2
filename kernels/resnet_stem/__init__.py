"""The first layers of a ResNet as one operation: convolution 7x7/2, BatchNorm, ReLU, max-pooling 3x3/2."""

from .interface import resnet_stem

__all__ = ["resnet_stem"]
