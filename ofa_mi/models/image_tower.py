"""Image towers of stride 16: OFA's ResNet without its fourth stage, and a small stack of plain convolutions."""

from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from timm.layers import DropPath
from timm.models.resnet import Bottleneck, make_blocks
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ofa_mi.errors import ConfigError, shown
from ofa_mi.kernels import resnet_stem
from ofa_mi.models.products import PointwiseConv2d

# name -> (blocks, channels) of the three stages; a stage puts out four times its channels
RESNETS = {
    "resnet_nano": ((1, 1, 1), (16, 32, 64)),
    "resnet50": ((3, 4, 6), (64, 128, 256)),
    "resnet101": ((3, 4, 23), (64, 128, 256)),
    "resnet152": ((3, 8, 36), (64, 128, 256)),
}
# name -> channels of the convolutions, each of stride 2
CONVS = {"conv_nano": (32, 64, 128, 256)}
TOWERS = (*CONVS, *RESNETS)
STRIDE = 16  # pixels per patch side, of every tower


def build_image_tower(
    name: str, *, drop_path_rate: float = 0.0, freeze: bool = False, checkpoint_activations: bool = False
) -> "ImageTower | ConvTower":
    """The tower of this name, one of ``TOWERS``; arguments as those of :class:`ImageTower`.

    Raises:
        ConfigError: there is no such tower.
    """
    if name in CONVS:
        return ConvTower(CONVS[name], freeze=freeze, checkpoint_activations=checkpoint_activations)
    if name not in RESNETS:
        raise ConfigError(f"--resnet-type {shown(name)} is not one of {', '.join(TOWERS)}")
    return ImageTower(name, drop_path_rate=drop_path_rate, freeze=freeze, checkpoint_activations=checkpoint_activations)


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm with frozen statistics and a frozen affine map, under BatchNorm's own names."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.weight.requires_grad_(False)
        self.bias.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> "FrozenBatchNorm2d":
        return super().train(False)


class Block(Bottleneck):
    """timm's bottleneck, of which training keeps the convolutions' outputs, and not those of BatchNorm and ReLU, too.

    The latter are what the next convolution needs in backward; they are computed again there.
    """

    recompute = True

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H / stride, W / stride)."""
        if not (self.recompute and self.training and torch.is_grad_enabled()):
            return super().forward(x)
        branch = _normalised_and_convolved(self.conv1(x), self.bn1, self.conv2)
        branch = self.bn3(_normalised_and_convolved(branch, self.bn2, self.conv3))
        branch = branch if self.drop_path is None else self.drop_path(branch)
        branch += x if self.downsample is None else self.downsample(x)
        return self.act3(branch)


def _normalised_and_convolved(x: Tensor, norm: nn.BatchNorm2d, convolution: nn.Conv2d) -> Tensor:
    """``convolution(relu(norm(x)))``; of the three, autograd keeps ``x`` alone."""
    y, again = norm(x), _Again(x.detach(), norm)
    place = y.data_ptr()

    def pack(kept: Tensor):
        return (again, kept.shape, kept.stride()) if kept.data_ptr() == place else kept

    def unpack(packed) -> Tensor:
        return packed if isinstance(packed, Tensor) else packed[0]().as_strided(*packed[1:])

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        return convolution(F.relu_(y))


class _Again:
    """ReLU of a BatchNorm, computed again for the two that need it: once for both."""

    def __init__(self, x: Tensor, norm: nn.BatchNorm2d) -> None:
        self.x, self.norm, self.result = x, norm, None

    @torch.no_grad()
    def __call__(self) -> Tensor:
        result, self.result = self.result, None
        if result is None:
            norm = self.norm
            statistics = (None, None) if norm.training else (norm.running_mean, norm.running_var)
            y = F.batch_norm(self.x, *statistics, norm.weight, norm.bias, norm.training, eps=norm.eps)
            result = self.result = F.relu_(y)
        return result


class ImageTower(nn.Module):
    """ResNet trunk (He et al., arXiv 1512.03385) of timm's blocks; the stride lies in a block's 3x3 convolution.

    Args:
        resnet_type: a key of ``RESNETS``.
        drop_path_rate: stochastic depth; in each stage the rate rises linearly from 0 to this.
        freeze: freeze the statistics and affine maps of all BatchNorm layers.
        checkpoint_activations: recompute every block in backward.
    """

    def __init__(
        self,
        resnet_type: str,
        *,
        drop_path_rate: float = 0.0,
        freeze: bool = False,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        depths, channels = RESNETS[resnet_type]
        norm_layer = FrozenBatchNorm2d if freeze else nn.BatchNorm2d
        self.checkpoint_activations = checkpoint_activations
        self.out_channels = channels[-1] * Bottleneck.expansion

        self.conv1 = nn.Conv2d(3, channels[0], kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = norm_layer(channels[0])
        stages, _ = make_blocks(
            (Block,) * len(channels), channels, depths, channels[0], norm_layer=norm_layer, act_layer=nn.ReLU
        )
        for name, stage in stages:  # layer1, layer2, layer3
            _set_drop_path(stage, drop_path_rate)
            for block in stage:
                block.recompute = not checkpoint_activations  # which recomputes more
            self.add_module(name, stage)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
                module.__class__ = PointwiseConv2d  # timm makes the layers; this one computes them otherwise
        _init_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, out_channels, H / 16, W / 16)."""
        # Gradients of an evaluated model are for comparison with outside numbers, which come from the plain layout:
        # its rounding decides which way a ReLU near zero falls.
        if self.training or not torch.is_grad_enabled():
            images = _channels_last(images)
        x = self._stem(images)  # N, C, H / 4, W / 4
        for stage in (self.layer1, self.layer2, self.layer3):
            for block in stage:
                x = _checkpointed(block, x) if self.checkpoint_activations and self.training else block(x)
        return x

    def _stem(self, images: Tensor) -> Tensor:
        norm = self.bn1
        if norm.training:
            norm.num_batches_tracked += 1
        statistics = (norm.running_mean, norm.running_var, norm.eps, norm.training)
        return resnet_stem(images, self.conv1.weight, norm.weight, norm.bias, *statistics, momentum=norm.momentum)


class ConvTower(nn.Module):
    """Convolutions of 3x3 and stride 2, each with BatchNorm and ReLU, and no pooling (arXiv 2106.14881).

    A small thing keeps its form: pooling in the first layers, as in a ResNet, leaves of ten pixels two or three.

    Args:
        channels: of the four convolutions.
        freeze: freeze the statistics and affine maps of all BatchNorm layers.
        checkpoint_activations: recompute every convolution in backward.
    """

    def __init__(
        self, channels: tuple[int, int, int, int], *, freeze: bool = False, checkpoint_activations: bool = False
    ) -> None:
        super().__init__()
        norm_layer = FrozenBatchNorm2d if freeze else nn.BatchNorm2d
        self.checkpoint_activations = checkpoint_activations
        self.out_channels = channels[-1]
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(given, made, kernel_size=3, stride=2, padding=1, bias=False),
                    norm_layer(made),
                    nn.ReLU(inplace=True),
                )
                for given, made in pairwise((3, *channels))
            )
        )
        _init_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, out_channels, H / 16, W / 16)."""
        x = _channels_last(images)
        for block in self.blocks:
            x = _checkpointed(block, x) if self.checkpoint_activations and self.training else block(x)
        return x


def _init_convolutions(tower: nn.Module) -> None:
    for module in tower.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _channels_last(images: Tensor) -> Tensor:
    """The layout in which convolutions are 1.2 to 1.5 times faster."""
    return images.contiguous(memory_format=torch.channels_last)


def _checkpointed(block: nn.Module, x: Tensor) -> Tensor:
    return checkpoint(block, x, use_reentrant=False, context_fn=partial(_checkpoint_contexts, block))


def _set_drop_path(stage: nn.Sequential, rate: float) -> None:
    """OFA's schedule: linear within the stage, not over the whole network as in timm."""
    rates = torch.linspace(0, rate, len(stage), device="cpu").tolist()
    for block, block_rate in zip(stage, rates, strict=True):
        block.drop_path = DropPath(block_rate) if block_rate > 0 else None


def _checkpoint_contexts(block: nn.Module):
    """Contexts of the first pass and of the recomputation, which must not update the running statistics again."""
    return nullcontext(), _statistics_untouched(block)


@contextmanager
def _statistics_untouched(block: nn.Module):
    saved = [(m, m.momentum, m.num_batches_tracked) for m in block.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm, _, _ in saved:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, momentum, count in saved:
            norm.momentum, norm.num_batches_tracked = momentum, count
