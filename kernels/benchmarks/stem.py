"""The first layers of the ResNet."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ..resnet_stem import reference, resnet_stem
from ..resnet_stem.reference import halved
from .run import FORMATS, Function, Pass

KEYS = ("format", "batch", "pixels", "contender", "pass")
PLOT = ("batch", "pixels")
CONTENDERS = ("eager", "ofa_mi", "eager-last", "compile", "compile-last")  # last: images with channels last
GPU_SIZES = [(b, n) for n in (384, 480) for b in (8, 32, 64)]
CPU_SIZES = [(2, 96), (8, 96), (2, 224)]
CHANNELS, EPS = 64, 1e-5
MARGIN = 1e-4  # many roundings of fp32


def cases(device: torch.device) -> Iterator["StemCase"]:
    """Real sizes in bf16 on a GPU, small ones in fp32 on a CPU."""
    gpu = device.type == "cuda"
    for batch, pixels in GPU_SIZES if gpu else CPU_SIZES:
        yield StemCase(device, torch.bfloat16 if gpu else torch.float32, batch, pixels)


class StemCase:
    """Images (N, 3, H, H): without gradients, and with those of the weights under frozen and training BatchNorm."""

    pass_names = ("inference", "frozen", "training")

    def __init__(self, device: torch.device, dtype: torch.dtype, batch: int, pixels: int) -> None:
        self.device, self.dtype, self.batch, self.pixels = device, dtype, batch, pixels
        self.key = {"format": FORMATS[dtype], "batch": batch, "pixels": pixels}
        self.pooled = halved(halved(pixels))
        self._tensors: list[Tensor] | None = None

    @property
    def tensors(self) -> list[Tensor]:
        """x, weight, the four tensors of BatchNorm, and the output's gradient, made when they are first used."""
        if self._tensors is None:
            generator = torch.Generator(self.device).manual_seed(0)

            def normal(*shape: int) -> Tensor:
                return torch.randn(shape, generator=generator, device=self.device).to(self.dtype)

            norm = [normal(CHANNELS) * 0.1 + 1, normal(CHANNELS), normal(CHANNELS), normal(CHANNELS).exp()]
            weight = normal(CHANNELS, 3, 7, 7) * 147**-0.5
            x = normal(self.batch, 3, self.pixels, self.pixels)
            d_out = normal(self.batch, CHANNELS, self.pooled, self.pooled)
            if self.dtype == torch.float32:  # in 16 bits no implementation agrees with the exact one about them
                d_out *= _decided(x, weight, norm)
            self._tensors = [x, weight, *norm, d_out]
        return self._tensors

    def passes(self) -> dict[str, Pass]:
        """The convolution is 2 * 147 C operations per output; its weight's gradient as much again."""
        conv = self.batch * halved(self.pixels) ** 2 * CHANNELS
        tflop, size = 294 * conv / 1e12, self.dtype.itemsize
        read = self.batch * 3 * self.pixels**2 * size / 1e9
        written = self.batch * self.pooled**2 * CHANNELS * size / 1e9
        y = conv * size / 1e9
        costs = {
            "inference": (tflop, read + written),
            "frozen": (2 * tflop, 2 * read + 2 * written),
            "training": (2 * tflop, 2 * read + 2 * written + 3 * y),
        }
        return {name: Pass(self._exact(name), *costs[name]) for name in self.pass_names}

    def _exact(self, name: str) -> list[Tensor]:
        """In fp32 without TF32, whose error is far below that of 16 bits; on a CPU in fp64."""
        exact = torch.float32 if self.device.type == "cuda" else torch.float64
        tensors = [t.to(exact) for t in self.tensors]
        with torch.backends.cudnn.flags(allow_tf32=False):
            return [t.float() for t in _functions(reference.resnet_stem, tensors)[name]()]

    def contenders(self) -> dict[str, Callable[[], dict[str, Function]]]:
        """Plain PyTorch first."""
        last = [t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t for t in self.tensors]
        compiled = torch.compile(_stem, dynamic=False)
        return {
            "eager": lambda: _functions(reference.resnet_stem, self.tensors),
            "ofa_mi": lambda: _functions(resnet_stem, last),
            "eager-last": lambda: _functions(reference.resnet_stem, last),
            "compile": lambda: _functions(compiled, self.tensors),
            "compile-last": lambda: _functions(compiled, last),
        }


def _decided(x: Tensor, weight: Tensor, norm: list[Tensor]) -> Tensor:
    """(N, C, Hp, Wp) bool: windows where no rounding changes which value is the largest and whether it is positive."""
    y = F.conv2d(x, weight, stride=2, padding=3)
    windows = F.pad(y, (1, 1, 1, 1), value=-torch.inf).unfold(2, 3, 2).unfold(3, 3, 2).flatten(4)
    first, second = windows.topk(2, dim=-1).values.unbind(-1)  # every BatchNorm's weight here is positive: same order
    decided = first - second > MARGIN
    for training in (False, True):
        normal = F.batch_norm(y, norm[2].clone(), norm[3].clone(), *norm[:2], training, 0.1, EPS)
        decided &= F.max_pool2d(normal, 3, 2, 1).abs() > MARGIN
    return decided


def _stem(*arguments) -> Tensor:
    return reference.resnet_stem(*arguments)


def _functions(stem: Callable[..., Tensor], tensors: list[Tensor]) -> dict[str, Function]:
    x, weight, bn_weight, bn_bias, mean, var, d_out = tensors
    weight = weight.detach().clone().requires_grad_()
    affine = [t.detach().clone().requires_grad_() for t in (bn_weight, bn_bias)]
    running = [mean.clone(), var.clone()]

    def inference() -> list[Tensor]:
        with torch.no_grad():
            return [stem(x, weight, bn_weight, bn_bias, mean, var, EPS, False)]

    def frozen() -> list[Tensor]:
        out = stem(x, weight, bn_weight, bn_bias, mean, var, EPS, False)
        return [out.detach(), *torch.autograd.grad(out, [weight], d_out)]

    def training() -> list[Tensor]:
        out = stem(x, weight, *affine, *running, EPS, True)
        return [out.detach(), *torch.autograd.grad(out, [weight, *affine], d_out)]

    return {"inference": inference, "frozen": frozen, "training": training}
