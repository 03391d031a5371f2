"""The encoder's attention to image patches, computed beside the model's own.

Nothing here runs in training or decoding. The weights are computed from the same queries, keys, bias and mask as the
model's, and are reduced layer by layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from ofa_mi.errors import DataError
from ofa_mi.kernels import position_bias


@contextmanager
def observed(encoder, observe: Callable[..., None]) -> Iterator[None]:
    """Within the block, call ``observe`` with what each self-attention of ``encoder`` is given, and run it as ever.

    Args:
        encoder: Of the model; its layers are called in order.
        observe: Called as ``observe(q, k, bias=…, key_padding_mask=…, scale=…)``, shapes as in
            :func:`ofa_mi.kernels.attention`.
    """
    modules = [layer.self_attn for layer in encoder.layers]
    for module in modules:
        # An attribute of the instance hides the method of the class: no test and no hook stays in the normal path.
        module.attend = partial(_observe_and_attend, module.attend, partial(observe, scale=module.scale))
    try:
        yield
    finally:
        for module in modules:
            del module.attend


def _observe_and_attend(attend, observe, q, k, v, *, bias, key_padding_mask=None):
    observe(q, k, bias=bias, key_padding_mask=key_padding_mask)
    return attend(q, k, v, bias=bias, key_padding_mask=key_padding_mask)


@torch.no_grad()
def image_attention(model, net_input: Mapping[str, Tensor | None]) -> Tensor:
    """Attention of the text to every patch, averaged over text tokens and heads.

    Args:
        model: OFA model in evaluation mode.
        net_input: The encoder's inputs, as :meth:`~ofa_mi.decoding.predictor.Predictor.net_input` makes them.

    Returns:
        (layers, B, P) fp32 (fp64 for an fp64 model) on the CPU. The sum over P is the share of a layer. Undefined, NaN,
        for a sample without an image.

    Raises:
        DataError: No sample has an image.
    """
    if net_input.get("patch_images") is None:
        raise DataError("a batch without any image: there is no attention to patches")
    text = net_input["src_tokens"].ne(model.encoder.padding_idx)  # B, S
    layers: list[Tensor] = []

    def observe(q: Tensor, k: Tensor, **parts) -> None:
        patches = k.shape[2] - text.shape[1]
        layers.append(_mean_weights(q[:, :, patches:], k, text=text, **parts)[:, :patches].cpu())

    with observed(model.encoder, observe):
        model.encoder(**net_input)
    attention = torch.stack(layers)  # layers, B, P
    if (masks := net_input.get("patch_masks")) is not None:
        attention[:, ~masks.cpu()] = math.nan
    return attention


def _mean_weights(q, k, *, bias, key_padding_mask, scale: float, text) -> Tensor:
    """Attention weights of the text's queries (B, H, S, D) to all keys, averaged over text tokens and heads: (B, L)."""
    dtype = torch.promote_types(q.dtype, torch.float32)
    scores = torch.matmul(q.to(dtype) * scale, k.to(dtype).transpose(-2, -1))  # B, H, S, L
    scores += position_bias(bias)[..., -q.shape[2] :, :]
    if key_padding_mask is not None:
        scores.masked_fill_(key_padding_mask[:, None, None, :], -math.inf)
    weights = scores.softmax(dim=-1).mean(dim=1)  # B, S, L
    return weights.masked_fill_(~text[..., None], 0).sum(dim=1) / text.sum(dim=1, keepdim=True)
