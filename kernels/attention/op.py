"""Attention as operators of PyTorch (``torch.library``): fake tensors, autograd, no Python in the graph.

``ofa_mi::attention`` takes the bias as a tensor, ``ofa_mi::position_attention`` the parts of a position bias, whose
plane lives only while the kernels run: autograd keeps the parts, and backward builds the plane again.
"""

import torch
from torch import Tensor

from ..position_bias import op as position_op
from . import launch


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
    """out (B, H, Lq, D) and lse (B, H, Lq) fp32, see :func:`ofa_mi.kernels.attention`."""
    return launch.forward(launch.Call(q, k, v, bias, padding, seed, causal=causal, scale=scale, dropout_p=dropout_p))


@attention.register_fake
def _(q, k, v, bias, padding, seed, causal, scale, dropout_p):
    return launch.empty_outputs(q)


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
    """d_q, d_k, d_v and d_bias in fp32, which is empty without ``bias_gradient``."""
    call = launch.Call(q, k, v, bias, padding, seed, causal=causal, scale=scale, dropout_p=dropout_p)
    return launch.backward(call, d_out, out, lse, bias_gradient=bias_gradient)


@attention_backward.register_fake
def _(d_out, out, lse, q, k, v, bias, padding, seed, causal, scale, dropout_p, bias_gradient):
    return launch.empty_gradients(q, k, bias if bias_gradient else None)


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
    """:func:`attention` under the plane of :func:`~ofa_mi.kernels.position_bias.op.position_plane`."""
    plane = position_op.position_plane(pos_q, pos_k, tables, queries, keys, key_indices, starts, position_scale)
    return launch.forward(launch.Call(q, k, v, plane, padding, seed, causal=causal, scale=scale, dropout_p=dropout_p))


@position_attention.register_fake
def _(q, *_):
    return launch.empty_outputs(q)


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
    with torch.no_grad():
        plane = position_op.position_plane(
            pos_q, pos_k, tables, queries, keys, key_indices, ctx.starts, ctx.position_scale
        )
    wanted = any(ctx.needs_input_grad[3:5]) or any(_flat(ctx.needs_input_grad[5]))
    *gradients, d_plane = attention_backward(d_out, out, lse, q, k, v, plane, padding, seed, *ctx.options, wanted)
    d_parts: tuple = (None, None, [None] * ctx.tables)
    if wanted:
        d_parts = position_op.plane_gradients(
            d_plane, pos_q, pos_k, tables, queries, key_indices, ctx.starts, ctx.position_scale
        )
    return *gradients, *d_parts, *position_op.no_gradients(ctx.tables), *(None,) * 6


def _flat(needs) -> list[bool]:
    """Whether each of a list of tensors needs a gradient, as autograd says it: one value, or one for each."""
    return list(needs) if isinstance(needs, list | tuple) else [needs]


position_attention.register_autograd(_position_backward, setup_context=_keep_parts)
