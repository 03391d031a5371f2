"""Matrix products of training, by oneDNN where that is faster than PyTorch's usual ones.

On a CPU PyTorch multiplies in fp32 by MKL, which on AMD's processors reaches 40% of what they can do; oneDNN, which
PyTorch brings along for convolutions, reaches 90% (1216 x 768 x 3072 on one thread of an EPYC: 57 to 64 ms against 28
to 33, forwards and backwards). In bf16, and on a GPU, the usual operations are the fast ones.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Linear(nn.Linear):
    """PyTorch's linear layer, by :func:`linear` in training.

    An evaluated model keeps PyTorch's products: its gradients are for comparison with outside numbers.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(…, K) -> (…, N)."""
        return linear(x, self.weight, self.bias) if self.training else super().forward(x)


class PointwiseConv2d(nn.Conv2d):
    """A 1x1 convolution without a bias, by :func:`linear` in training: PyTorch does not ask oneDNN for small ones."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), fastest with channels last -> (N, C', H / stride, W / stride), channels last in training."""
        if not (self.training and by_onednn(x)):
            return super().forward(x)
        rows, columns = self.stride
        pixels = x[:, :, ::rows, ::columns].permute(0, 2, 3, 1)
        return linear(pixels, self.weight.flatten(1)).permute(0, 3, 1, 2)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias`` for training.

    Args:
        x: (…, K).
        weight: (N, K).
        bias: (N,), or None.

    Returns:
        (…, N). Its gradient can be computed, but not that of its gradient.
    """
    if by_onednn(x) and by_onednn(weight):
        return _Product.apply(x, weight, bias)
    return F.linear(x, weight, bias)


def by_onednn(x: Tensor) -> bool:
    """Whether products of ``x`` that are differentiated are oneDNN's here."""
    fp32 = x.device.type == "cpu" and x.dtype == torch.float32 and x.numel() > 0
    return fp32 and torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu") and onednn()


def _multiply(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return _multiply(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        rows = grad.reshape(-1, grad.shape[-1])  # M, N
        grad_x = _multiply(rows, weight.t()).view(x.shape) if wanted[0] else None
        grad_weight = _multiply(rows.t(), x.reshape(-1, x.shape[-1]).t()) if wanted[1] else None
        return grad_x, grad_weight, rows.sum(0) if wanted[2] else None


@cache
def onednn() -> bool:
    """Whether this PyTorch has oneDNN's products and convolutions, as inductor uses them.

    They are not part of PyTorch's public interface, so they are tried once, and must give what they are for. On Arm
    the usual operations are oneDNN's already.
    """
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        return False
    try:
        return _onednn_agrees()
    except (AttributeError, RuntimeError, TypeError):
        return False


@torch.no_grad()
def _onednn_agrees() -> bool:
    ops = torch.ops.mkldnn
    weight, bias = torch.linspace(-1, 1, 48).view(6, 8), torch.linspace(0, 1, 6)
    x = torch.linspace(-1, 2, 32).view(4, 8)
    packed = ops._linear_pointwise(x, ops._reorder_linear_weight(weight), bias, "none", [], "")
    turned = _multiply(x.t().contiguous().t(), weight.t().contiguous().t(), bias)
    kernel, pixels, shape = weight[:, :, None, None], x.view(1, 8, 2, 2), ((0, 0), (1, 1), (1, 1), 1)
    convolved = F.conv2d(pixels, kernel, bias)
    relu = ops._convolution_pointwise(pixels, kernel, bias, *shape, "relu", [], "")
    added = ops._convolution_pointwise_.binary(
        torch.ones_like(convolved), pixels, kernel, bias, *shape, "add", 1.0, "relu", [], None
    )
    product = F.linear(x, weight, bias)
    pairs = ((packed, product), (turned, product), (relu, convolved.relu()), (added, (convolved + 1).relu()))
    return all(torch.allclose(found, expected, atol=1e-5) for found, expected in pairs)
