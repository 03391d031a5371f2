"""Attention as operators of PyTorch (``torch.library``): launches, fake tensors, autograd, no Python in the graph.

``ofa_mi::attention`` takes the bias as a tensor, ``ofa_mi::position_attention`` the parts of a position bias, which
lives as a tensor only while the kernels run: autograd keeps the parts, and backward builds it again.
"""

import torch
import triton
from torch import Tensor

from .. import dispatch
from ..common import contiguous_rows, launch, on_device, product_options, strides, tile_side
from ..position_bias import op as position_op
from . import backward, dropout, forward
from .configs import Tiles, tiles

DELTA_ROWS = 64


class _Call:
    """What the kernels of one call have in common; the arguments are those of :func:`attention`."""

    def __init__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Tensor | None,
        padding: Tensor | None,
        seed: Tensor | None,
        causal: bool,
        scale: float,
        dropout_p: float,
    ) -> None:
        self.q, self.k, v = (contiguous_rows(t) for t in (q, k, v))
        self.bias = None if bias is None else _wide_rows(bias)
        self.batch, self.heads, self.seqlen_q, head_dim = q.shape
        self.seqlen_k = k.shape[2]
        padding = None if padding is None else padding.contiguous().view(torch.uint8)
        self.arguments = {
            "q_ptr": self.q,
            "k_ptr": self.k,
            "v_ptr": v,
            "bias_ptr": self.bias,
            "padding_ptr": padding,
            "ranges_ptr": None if padding is None else visible_ranges(padding),
            "seed_ptr": seed,
            **strides("bhl", q=self.q, k=self.k, v=v),
            **_bias_strides("bias", self.bias),
            "batch": self.batch,
            "heads": self.heads,
            "seqlen_q": self.seqlen_q,
            "seqlen_k": self.seqlen_k,
            "head_dim": head_dim,
            "scale": scale,
            "threshold": dropout.threshold(dropout_p),
            "keep_scale": 1.0 / (1.0 - dropout_p) if dropout_p < 1.0 else 0.0,
            "BLOCK_D": tile_side(head_dim),
            "HAS_BIAS": bias is not None,
            "HAS_PADDING": padding is not None,
            "CAUSAL": causal,
            "DROPOUT": dropout_p > 0.0,
            **product_options(allow_tf32=torch.backends.cuda.matmul.allow_tf32),
        }

    def tiles(self, kernel: str) -> Tiles:
        """Of the kernel that ``configs.py`` knows by this name."""
        causal, has_dropout = self.arguments["CAUSAL"], self.arguments["DROPOUT"]
        block_d = self.arguments["BLOCK_D"]
        return tiles(kernel, self.q.dtype, block_d, self.seqlen_q, causal=causal, dropout=has_dropout)

    def launch(self, kernel, name: str, grid: tuple[int, ...], arguments: dict[str, object]) -> None:
        """Launch the kernel that ``configs.py`` knows as ``name``, with ``arguments`` beside the common ones."""
        chosen = self.tiles(name)
        blocks = {"BLOCK_M": chosen.block_m, "BLOCK_N": chosen.block_n, "STAGES": chosen.num_stages}
        launch(kernel, grid, self.arguments | blocks | arguments, num_warps=chosen.num_warps, enable_fp_fusion=True)

    def programs(self, blocks: int) -> tuple[int]:
        """Grid of ``blocks`` for each head of each sample."""
        return (self.batch * self.heads * blocks,)


# -- forward


@torch.library.custom_op("ofa_mi::attention", mutates_args=())
def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    padding: Tensor | None,
    seed: Tensor | None,
    causal: bool,
    scale: float,
    dropout_p: float,
) -> tuple[Tensor, Tensor]:
    """Attention with a bias that is there or not, see :func:`ofa_mi.kernels.attention`.

    Args:
        q: (B, H, Lq, D).
        k: (B, H, Lk, D).
        v: (B, H, Lk, D).
        bias: (H, Lq, Lk) or (B, H, Lq, Lk).
        padding: (B, Lk) bool, True at masked keys.
        seed: (1,) int64 on the device, None without dropout.
        causal: Mask the keys after a query.
        scale: Factor of the products of queries and keys.
        dropout_p: Probability with which a weight is dropped.

    Returns:
        out (B, H, Lq, D), stored as (B, Lq, H, D), and the log-sum-exp of the scores (B, H, Lq) fp32.
    """
    return _attention(_Call(q, k, v, bias, padding, seed, causal, scale, dropout_p))


def _attention(call: _Call) -> tuple[Tensor, Tensor]:
    out, lse = _empty_outputs(call.q)
    arguments = {"out_ptr": out, "lse_ptr": lse} | strides("bhl", out=out)
    grid = call.programs(triton.cdiv(call.seqlen_q, call.tiles("forward").block_m))
    with on_device(call.q):
        call.launch(forward.attention_forward, "forward", grid, arguments)
    return out, lse


def _empty_outputs(q: Tensor) -> tuple[Tensor, Tensor]:
    """Uninitialised out and lse."""
    return _empty_like_out(q), q.new_empty(q.shape[:3], dtype=torch.float32)


def _empty_like_out(q: Tensor) -> Tensor:
    """Uninitialised, of the shape of ``q``; the heads of a query lie side by side, as the next layer wants them."""
    return q.new_empty(q.transpose(1, 2).shape).transpose(1, 2)


@attention.register_fake
def _(q, k, v, bias, padding, seed, causal, scale, dropout_p):
    return _empty_outputs(q)


def visible_ranges(padding: Tensor) -> Tensor:
    """Where the visible keys of every sample lie, so that the kernels skip padding and mask only at its edges.

    Args:
        padding: (B, Lk) uint8, not 0 at masked keys.

    Returns:
        (B, 3) int32: the first visible key, the first masked key after it, and the end of the last visible one.
    """
    ranges = torch.empty(len(padding), 3, dtype=torch.int32, device=padding.device)
    arguments = {"padding_ptr": padding, "ranges_ptr": ranges, "seqlen_k": padding.shape[1]}
    arguments |= {"BLOCK": triton.next_power_of_2(padding.shape[1])}
    with on_device(padding):
        launch(forward.visible_ranges, (len(padding),), arguments, num_warps=4)
    return ranges


def _bias_strides(name: str, bias: Tensor | None) -> dict[str, int]:
    """As :func:`~ofa_mi.kernels.common.strides`; there is none between samples if the batch shares the bias."""
    if bias is None:
        return {f"stride_{name}_{dimension}": 0 for dimension in "bhl"}
    return {f"stride_{name}_b": 0} | strides("hl" if bias.dim() == 3 else "bhl", **{name: bias})


def _wide_rows(bias: Tensor) -> Tensor:
    """The bias in rows of a multiple of ROW_MULTIPLE elements, of which the last one, too, is all there."""
    bias = bias if bias.dtype in dispatch.DTYPES else bias.float()
    multiple = position_op.ROW_MULTIPLE
    padded = -(-bias.shape[-1] // multiple) * multiple
    steps = bias.stride()
    end = bias.storage_offset() + sum((n - 1) * s for n, s in zip(bias.shape, steps, strict=True)) + 1
    there = end - bias.shape[-1] + padded <= bias.untyped_storage().nbytes() // bias.element_size()
    if steps[-1] == 1 and there and all(s % multiple == 0 for s in steps[:-1]):
        return bias
    return _empty_like_bias(bias, bias.dtype).copy_(bias)


def _empty_like_bias(bias: Tensor, dtype: torch.dtype) -> Tensor:
    """Uninitialised, of the shape of ``bias``, in rows of a multiple of ROW_MULTIPLE elements."""
    out = position_op.empty_bias(bias[..., 0, 0].numel(), *bias.shape[-2:], dtype=dtype, device=bias.device)
    return out if bias.dim() == 3 else out.unflatten(0, bias.shape[:2])


# -- backward


@torch.library.custom_op("ofa_mi::attention_backward", mutates_args=())
def attention_backward(
    d_out: Tensor,
    out: Tensor,
    lse: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    padding: Tensor | None,
    seed: Tensor | None,
    causal: bool,
    scale: float,
    dropout_p: float,
    bias_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """d_q, d_k, d_v in the layout of :func:`attention`'s out, and d_bias in fp32, empty without ``bias_gradient``."""
    call = _Call(q, k, v, bias, padding, seed, causal, scale, dropout_p)
    d_out, delta = contiguous_rows(d_out), torch.empty_like(lse)
    d_q, d_k, d_v, d_bias = _empty_gradients(call.q, call.k, call.bias if bias_gradient else None)
    call.arguments |= {"out_ptr": out, "d_out_ptr": d_out, "lse_ptr": lse, "delta_ptr": delta}
    call.arguments |= strides("bhl", out=out, d_out=d_out)
    with on_device(q):
        grid = (triton.cdiv(call.seqlen_q, DELTA_ROWS), call.batch * call.heads)
        launch(backward.attention_delta, grid, call.arguments | {"BLOCK_M": DELTA_ROWS}, num_warps=4)
        grid = call.programs(triton.cdiv(call.seqlen_q, call.tiles("d_q").block_m))
        call.launch(backward.attention_d_q, "d_q", grid, {"d_q_ptr": d_q} | strides("bhl", d_q=d_q))
        grid = call.programs(triton.cdiv(call.seqlen_k, call.tiles("d_kv").block_n))
        arguments = {"d_k_ptr": d_k, "d_v_ptr": d_v} | strides("bhl", d_k=d_k, d_v=d_v)
        call.launch(backward.attention_d_kv, "d_kv", grid, arguments)
        if bias_gradient:
            _bias_gradient(call, d_bias)
    return d_q, d_k, d_v, d_bias


def _bias_gradient(call: _Call, d_bias: Tensor) -> None:
    chosen = call.tiles("d_bias")
    groups = 1 if d_bias.dim() == 3 else call.batch
    blocks = triton.cdiv(call.seqlen_q, chosen.block_m) * triton.cdiv(call.seqlen_k, chosen.block_n)
    arguments = {"d_bias_ptr": d_bias, "group_size": call.batch // groups} | _bias_strides("d_bias", d_bias)
    call.launch(backward.attention_d_bias, "d_bias", (blocks, call.heads, groups), arguments)


def _empty_gradients(q: Tensor, k: Tensor, bias: Tensor | None) -> tuple[Tensor, ...]:
    """Uninitialised results of :func:`attention_backward`; ``bias``: None if its gradient is not wanted."""
    d_q, d_k, d_v = (_empty_like_out(t) for t in (q, k, k))
    return d_q, d_k, d_v, q.new_empty(0, dtype=torch.float32) if bias is None else _empty_like_bias(bias, torch.float32)


@attention_backward.register_fake
def _(d_out, out, lse, q, k, v, bias, padding, seed, causal, scale, dropout_p, bias_gradient):
    return _empty_gradients(q, k, bias if bias_gradient else None)


def _keep(ctx, inputs, output) -> None:
    q, k, v, bias, padding, seed, *ctx.options = inputs
    ctx.save_for_backward(q, k, v, bias, padding, seed, *output)
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)


def _backward(ctx, d_out, _):
    q, k, v, bias, padding, seed, out, lse = ctx.saved_tensors
    if d_out is None:
        return (None,) * 9
    wanted = bias is not None and ctx.needs_input_grad[3]
    *gradients, d_bias = attention_backward(d_out, out, lse, q, k, v, bias, padding, seed, *ctx.options, wanted)
    return *gradients, d_bias.to(bias.dtype) if wanted else None, None, None, None, None, None


attention.register_autograd(_backward, setup_context=_keep)


# -- the bias as parts


@torch.library.custom_op("ofa_mi::position_attention", mutates_args=())
def position_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    pos_q: Tensor,
    pos_k: Tensor,
    tables: list[Tensor],
    queries: list[Tensor],
    keys: list[Tensor],
    key_indices: list[Tensor],
    starts: list[int],
    position_scale: float,
    padding: Tensor | None,
    seed: Tensor | None,
    causal: bool,
    scale: float,
    dropout_p: float,
) -> tuple[Tensor, Tensor]:
    """:func:`attention` under the bias of :func:`~ofa_mi.kernels.position_bias.op.position_bias`."""
    bias = position_op.position_bias(pos_q, pos_k, tables, queries, keys, key_indices, starts, position_scale)
    return _attention(_Call(q, k, v, bias, padding, seed, causal, scale, dropout_p))


@position_attention.register_fake
def _(q, *_):
    return _empty_outputs(q)


def _keep_parts(ctx, inputs, output) -> None:
    q, k, v, pos_q, pos_k, *lists = inputs[:9]
    ctx.starts, ctx.position_scale, padding, seed, *ctx.options = inputs[9:]
    ctx.tables = len(lists[0])
    ctx.save_for_backward(q, k, v, padding, seed, *output, pos_q, pos_k, *(t for tensors in lists for t in tensors))
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)


def _position_backward(ctx, d_out, _):
    q, k, v, padding, seed, out, lse, pos_q, pos_k, *rest = ctx.saved_tensors
    if d_out is None:
        return (None,) * 16
    tables, queries, keys, key_indices = (list(rest[n * ctx.tables : (n + 1) * ctx.tables]) for n in range(4))
    place = (ctx.starts, ctx.position_scale)
    with torch.no_grad():
        bias = position_op.position_bias(pos_q, pos_k, tables, queries, keys, key_indices, *place)
    wanted = any(ctx.needs_input_grad[3:5]) or any(_flat(ctx.needs_input_grad[5]))
    *gradients, d_bias = attention_backward(d_out, out, lse, q, k, v, bias, padding, seed, *ctx.options, wanted)
    d_parts: tuple = (None, None, [None] * ctx.tables)
    if wanted:
        d_parts = position_op.bias_gradients(d_bias, pos_q, pos_k, tables, queries, key_indices, *place)
    return *gradients, *d_parts, *position_op.no_gradients(ctx.tables), *(None,) * 6


def _flat(needs) -> list[bool]:
    """Whether each of a list of tensors needs a gradient, as autograd says it: one value, or one for each."""
    return list(needs) if isinstance(needs, list | tuple) else [needs]


position_attention.register_autograd(_position_backward, setup_context=_keep_parts)
