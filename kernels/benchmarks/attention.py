"""Attention with a learned bias (H, L, L) that the batch shares."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import flex_attention

from ..attention import attention, reference
from .run import FORMATS, Function, Pass

KEYS = ("format", "batch", "length", "heads", "width", "contender", "pass")
PLOT = ("batch", "length")
# batch, length, heads: OFA-base at 384 and 480 pixels (24^2 or 30^2 patches and 128 tokens), OFA-large at 640
GPU_SIZES = [(b, n, 12) for n in (704, 1028) for b in (1, 4, 16, 32)] + [(b, 1728, 16) for b in (1, 8, 16)]
CPU_SIZES = [(2, 96, 4), (8, 96, 4), (2, 320, 4)]
WIDTH = 64
BACKENDS = {
    "sdpa-efficient": SDPBackend.EFFICIENT_ATTENTION,
    "sdpa-cudnn": SDPBackend.CUDNN_ATTENTION,
    "sdpa-flash": SDPBackend.FLASH_ATTENTION,
    "sdpa-math": SDPBackend.MATH,
}
CONTENDERS = ("eager", "ofa_mi", *BACKENDS, "flex", "compile")


def cases(device: torch.device) -> Iterator["AttentionCase"]:
    """Real sizes in bf16 on a GPU, small ones in fp32 on a CPU."""
    gpu = device.type == "cuda"
    for batch, length, heads in GPU_SIZES if gpu else CPU_SIZES:
        yield AttentionCase(device, torch.bfloat16 if gpu else torch.float32, batch, length, heads)


class AttentionCase:
    """q, k, v (B, H, L, D) and a bias (H, L, L), all of them with gradients."""

    pass_names = ("forward", "forward and backward")

    def __init__(self, device: torch.device, dtype: torch.dtype, batch: int, length: int, heads: int) -> None:
        self.device, self.dtype, self.batch, self.length, self.heads = device, dtype, batch, length, heads
        self.scale = WIDTH**-0.5
        self.key = {"format": FORMATS[dtype], "batch": batch, "length": length, "heads": heads, "width": WIDTH}
        self._tensors: list[Tensor] | None = None

    @property
    def tensors(self) -> list[Tensor]:
        """q, k, v, bias and the output's gradient, made when they are first used."""
        if self._tensors is None:
            generator = torch.Generator(self.device).manual_seed(0)
            shape = (self.batch, self.length, self.heads, WIDTH)
            q, k, v, d_out = (self._normal(shape, generator).transpose(1, 2) for _ in range(4))
            bias = self._normal((self.heads, self.length, self.length), generator)
            self._tensors = [q, k, v, bias, d_out]
            for tensor in self._tensors[:4]:
                tensor.requires_grad_()
        return self._tensors

    def _normal(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return torch.randn(shape, generator=generator, device=self.device, dtype=self.dtype)

    def passes(self) -> dict[str, Pass]:
        """A product over all scores is 2 B H L^2 D operations: two forward, five more backward."""
        out, *gradients = self._exact()
        tflop = 2 * self.batch * self.heads * self.length**2 * WIDTH / 1e12
        size = self.dtype.itemsize
        rows = self.batch * self.heads * self.length * WIDTH * size / 1e9  # of q, k, v, out and each gradient
        plane = self.heads * self.length**2 * size / 1e9
        return {
            "forward": Pass([out], 2 * tflop, 4 * rows + plane),
            "forward and backward": Pass([out, *gradients], 7 * tflop, 11 * rows + 2 * plane),
        }

    def _exact(self) -> list[Tensor]:
        """In fp64, sample by sample."""
        q, k, v, bias, d_out = self.tensors
        leaf, parts = bias.detach().double().requires_grad_(), []
        d_bias = torch.zeros_like(leaf)
        for n in range(self.batch):
            sample = [t[n : n + 1].detach().double().requires_grad_() for t in (q, k, v)]
            out = reference.attention(*sample, bias=leaf, scale=self.scale)
            *gradients, of_bias = torch.autograd.grad(out, [*sample, leaf], d_out[n : n + 1].double())
            d_bias += of_bias
            parts.append([t.detach().float() for t in (out, *gradients)])
        return [*(torch.cat(tensors) for tensors in zip(*parts, strict=True)), d_bias.float()]

    def contenders(self) -> dict[str, Callable[[], dict[str, Function]]]:
        """Plain PyTorch first."""
        found = {"eager": lambda: self._functions(self._eager), "ofa_mi": lambda: self._functions(self._ofa_mi)}
        for name, backend in BACKENDS.items():
            found[name] = lambda backend=backend: self._functions(lambda *tensors: self._sdpa(backend, *tensors))
        found["flex"] = lambda: self._functions(torch.compile(self._flex, dynamic=False))
        found["compile"] = lambda: self._functions(torch.compile(self._eager, dynamic=False))
        return found

    def _functions(self, attend: Callable[..., Tensor]) -> dict[str, Function]:
        *leaves, d_out = self.tensors
        plain = [t.detach() for t in leaves]  # some backends look at what requires a gradient even without autograd

        def forward() -> list[Tensor]:
            with torch.no_grad():
                return [attend(*plain)]

        def both() -> list[Tensor]:
            out = attend(*leaves)
            return [out.detach(), *torch.autograd.grad(out, leaves, d_out)]

        return dict(zip(self.pass_names, (forward, both), strict=True))

    def _eager(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        return reference.attention(q, k, v, bias=bias, scale=self.scale)

    def _ofa_mi(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        return attention(q, k, v, bias=bias, scale=self.scale)

    def _sdpa(self, backend: SDPBackend, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(q, k, v, attn_mask=bias.expand(len(q), -1, -1, -1), scale=self.scale)

    def _flex(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        def add_bias(score, batch, head, query, key):
            return score + bias[head, query, key]

        return flex_attention(q, k, v, score_mod=add_bias, scale=self.scale)
