"""Launches of the attention kernels: tensors in, tensors out, no autograd."""

import torch
import triton
from torch import Tensor

from .. import switch
from ..position_bias.triton_kernels import ROW_MULTIPLE, empty_plane
from . import backward as kernels_backward
from . import forward as kernels_forward
from .configs import Tiles, tiles
from .dropout import threshold
from .ranges import visible_ranges

DELTA_ROWS = 64


class Call:
    """What the kernels of one call have in common.

    Args:
        q: (B, H, Lq, D).
        k: (B, H, Lk, D).
        v: (B, H, Lk, D).
        bias: (H, Lq, Lk) or (B, H, Lq, Lk) or None.
        padding: (B, Lk) bool or None.
        seed: (1,) int64 on the device, or None without dropout.
    """

    def __init__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Tensor | None,
        padding: Tensor | None,
        seed: Tensor | None,
        *,
        causal: bool,
        scale: float,
        dropout_p: float,
    ) -> None:
        self.q, self.k, self.v = (_rows_together(t) for t in (q, k, v))
        self.samples, self.heads, self.queries, self.width = q.shape
        self.keys = k.shape[2]
        self.bias = None if bias is None else _wide_rows(bias)
        self.bias_strides = (0, 0, 0) if bias is None else _strides(self.bias)
        self.padding = None if padding is None else padding.contiguous().view(torch.uint8)
        self.ranges = None if padding is None else visible_ranges(self.padding)
        self.seed, self.causal, self.scale, self.dropout_p = seed, causal, scale, dropout_p

    def tiles(self, kernel: str) -> Tiles:
        dropout = self.dropout_p > 0.0
        return tiles(kernel, self.q.dtype, self.padded_width, self.queries, causal=self.causal, dropout=dropout)

    @property
    def padded_width(self) -> int:
        return max(16, triton.next_power_of_2(self.width))

    @property
    def tensors(self) -> tuple:
        return self.q, self.k, self.v, self.bias, self.padding

    @property
    def strides(self) -> tuple[int, ...]:
        return *_strides(self.q), *_strides(self.k), *_strides(self.v), *self.bias_strides

    @property
    def numbers(self) -> tuple:
        keep_scale = 1.0 / (1.0 - self.dropout_p) if self.dropout_p < 1.0 else 0.0
        return self.heads, self.queries, self.keys, self.width, self.scale, threshold(self.dropout_p), keep_scale

    def options(self, kernel: str, **more) -> dict:
        """Compile-time arguments of a kernel."""
        chosen = self.tiles(kernel)
        return {
            "BLOCK_QUERIES": chosen.queries,
            "BLOCK_KEYS": chosen.keys,
            "WIDTH": self.padded_width,
            "HAS_PADDING": self.padding is not None,
            "CAUSAL": self.causal,
            "DROPOUT": self.dropout_p > 0.0,
            "PRECISION": switch.precision(),
            "UPCAST": switch.interpreting(),
            "STAGES": chosen.stages,
            "num_warps": chosen.warps,
            "enable_fp_fusion": True,  # Triton 3.10 leaves it out unless told otherwise
        } | more


def forward(call: Call) -> tuple[Tensor, Tensor]:
    """out (B, H, Lq, D), stored as (B, Lq, H, D), and lse (B, H, Lq) fp32."""
    out, lse = empty_outputs(call.q)
    blocks = triton.cdiv(call.queries, call.tiles("forward").queries)
    with switch.on_device(call.q):
        kernels_forward.attention_forward[(call.samples * call.heads * blocks,)](
            *call.tensors, call.ranges, call.seed, out, lse, *call.strides, *_strides(out), call.samples,
            *call.numbers, **call.options("forward", HAS_BIAS=call.bias is not None),
        )  # fmt: skip
    return out, lse


def empty_outputs(q: Tensor) -> tuple[Tensor, Tensor]:
    """Uninitialised results of :func:`forward`, with the heads of a query side by side, as the next layer wants it."""
    samples, heads, queries, width = q.shape
    out = q.new_empty(samples, queries, heads, width).transpose(1, 2)
    return out, q.new_empty(samples, heads, queries, dtype=torch.float32)


def backward(call: Call, d_out: Tensor, out: Tensor, lse: Tensor, *, bias_gradient: bool) -> tuple[Tensor, ...]:
    """d_q, d_k, d_v in the layout of :func:`forward`'s out, and d_bias in fp32, empty if it is not wanted."""
    d_out = _rows_together(d_out)
    d_q, d_k, d_v, d_bias = empty_gradients(call.q, call.k, call.bias if bias_gradient else None)
    delta = torch.empty_like(lse)
    statistics = (d_out, lse, delta)
    with switch.on_device(call.q):
        kernels_backward.attention_delta[(triton.cdiv(call.queries, DELTA_ROWS), call.samples * call.heads)](
            out, d_out, delta, *_strides(out), *_strides(d_out), call.heads, call.queries, call.width,
            BLOCK_QUERIES=DELTA_ROWS, WIDTH=call.padded_width, num_warps=4,
        )  # fmt: skip
        blocks = triton.cdiv(call.queries, call.tiles("d_q").queries)
        kernels_backward.attention_d_q[(call.samples * call.heads * blocks,)](
            *call.tensors, call.ranges, call.seed, *statistics, d_q, *call.strides, *_strides(d_out), *_strides(d_q),
            call.samples, *call.numbers, **call.options("d_q", HAS_BIAS=call.bias is not None),
        )  # fmt: skip
        blocks = triton.cdiv(call.keys, call.tiles("d_kv").keys)
        kernels_backward.attention_d_kv[(call.samples * call.heads * blocks,)](
            *call.tensors, call.ranges, call.seed, *statistics, d_k, d_v, *call.strides, *_strides(d_out),
            *_strides(d_k), *_strides(d_v), call.samples, *call.numbers,
            **call.options("d_kv", HAS_BIAS=call.bias is not None),
        )  # fmt: skip
        if bias_gradient:
            _bias_gradient(call, statistics, d_bias)
    return d_q, d_k, d_v, d_bias


def _bias_gradient(call: Call, statistics: tuple[Tensor, ...], d_bias: Tensor) -> None:
    chosen = call.tiles("d_bias")
    groups = 1 if d_bias.dim() == 3 else call.samples
    blocks = triton.cdiv(call.queries, chosen.queries) * triton.cdiv(call.keys, chosen.keys)
    kernels_backward.attention_d_bias[(blocks, call.heads, groups)](
        *call.tensors, call.seed, *statistics, d_bias, *call.strides, *_strides(statistics[0]), *_strides(d_bias),
        call.samples // groups, *call.numbers, **call.options("d_bias"),
    )  # fmt: skip


def empty_gradients(q: Tensor, k: Tensor, bias: Tensor | None) -> tuple[Tensor, ...]:
    """Uninitialised results of :func:`backward`."""
    samples, heads, keys, width = k.shape
    d_q, _ = empty_outputs(q)
    d_k, d_v = (k.new_empty(samples, keys, heads, width).transpose(1, 2) for _ in range(2))
    if bias is None:
        return d_q, d_k, d_v, q.new_empty(0, dtype=torch.float32)
    d_bias = empty_plane(bias[..., 0, 0].numel(), *bias.shape[-2:], dtype=torch.float32, device=q.device)
    return d_q, d_k, d_v, d_bias if bias.dim() == 3 else d_bias.unflatten(0, bias.shape[:2])


def _rows_together(x: Tensor) -> Tensor:
    return x if x.stride(-1) == 1 else x.contiguous()


def _strides(x: Tensor) -> tuple[int, int, int]:
    """Of all dimensions but the last; a bias (H, Lq, Lk) has none between samples."""
    return (0, *x.stride()[:2]) if x.dim() == 3 else x.stride()[:3]


def _wide_rows(bias: Tensor) -> Tensor:
    """The bias in rows of a multiple of ROW_MULTIPLE elements, of which the last one, too, is all there."""
    bias = bias if bias.dtype in switch.DTYPES else bias.float()
    padded = -(-bias.shape[-1] // ROW_MULTIPLE) * ROW_MULTIPLE
    strides = bias.stride()
    end = bias.storage_offset() + sum((n - 1) * s for n, s in zip(bias.shape, strides, strict=True)) + 1
    there = end - bias.shape[-1] + padded <= bias.untyped_storage().nbytes() // bias.element_size()
    if strides[-1] == 1 and there and all(s % ROW_MULTIPLE == 0 for s in strides[:-1]):
        return bias
    heads = bias[..., 0, 0].numel()
    copy = empty_plane(heads, *bias.shape[-2:], dtype=bias.dtype, device=bias.device)
    return (copy if bias.dim() == 3 else copy.unflatten(0, bias.shape[:2])).copy_(bias)
