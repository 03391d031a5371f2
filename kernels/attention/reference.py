"""Attention in plain PyTorch: the definition of the result, and the faster choice when training on a CPU."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..position_bias import PositionBias
from ..position_bias.reference import position_bias
from . import dropout


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    bias: Tensor | PositionBias | None = None,
    key_padding_mask: Tensor | None = None,
    causal: bool = False,
    scale: float,
    dropout_p: float = 0.0,
    seed: int | None = None,
) -> Tensor:
    """See :func:`ofa_mi.kernels.attention`. The scores and the softmax are computed in fp32 (fp64 for fp64 input)."""
    scores = torch.matmul(q * scale, k.transpose(-2, -1))  # B, H, Lq, Lk
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if bias is not None:
        scores += position_bias(bias) if isinstance(bias, PositionBias) else bias
    # A large finite number and not -inf: a row without any key would turn into NaN, in backward even if zeroed
    # after the softmax. A quarter of the range, because the padding and the causal part may add up.
    masked = torch.finfo(scores.dtype).min / 4
    if key_padding_mask is not None:
        scores += torch.zeros_like(key_padding_mask, dtype=scores.dtype).masked_fill_(key_padding_mask, masked)[
            :, None, None, :
        ]
    if causal:
        scores += torch.full(scores.shape[-2:], masked, dtype=scores.dtype, device=scores.device).triu_(
            1 + k.shape[-2] - q.shape[-2]
        )
    weights = _dropout(scores.softmax(dim=-1), dropout_p, seed).to(v.dtype)
    output = torch.matmul(weights, v)  # B, H, Lq, D
    if key_padding_mask is None:
        return output
    return output.masked_fill(_rows_without_keys(key_padding_mask, q.shape[-2], causal)[:, None, :, None], 0.0)


def _rows_without_keys(key_padding_mask: Tensor, seqlen_q: int, causal: bool) -> Tensor:
    """(B, Lk) padding -> (B, Lq or 1) bool: True where every key that the query may see is padding."""
    if not causal:
        return key_padding_mask.all(dim=-1, keepdim=True)
    return key_padding_mask.long().cumprod(dim=-1).bool()[:, -seqlen_q:]


def _dropout(weights: Tensor, p: float, seed: int | None) -> Tensor:
    if p == 0.0:
        return weights
    if seed is None:
        return F.dropout(weights, p)
    return weights * dropout.mask(seed, weights.shape, p, weights.device) / (1.0 - p)
