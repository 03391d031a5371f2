"""Attention with a learned additive bias that the batch shares: its API, checks and choice."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import dispatch
from ..position_bias import PositionBias, position_bias
from ..position_bias import unsupported as unsupported_bias
from . import reference

__all__ = ["attention"]

FEW_QUERIES = 32


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
    """Multi-head attention ``softmax(scale * q @ k^T + bias) @ v`` with gradients for every input, the bias included.

    Args:
        q: (B, H, Lq, D) queries.
        k: (B, H, Lk, D) keys.
        v: (B, H, Lk, D) values.
        bias: (H, Lq, Lk), shared by the batch, or (B, H, Lq, Lk); added to the scores. Or the parts of a shared one:
            the Triton kernels then build it where they need it, in backward again, and keep only the parts.
        key_padding_mask: (B, Lk) bool, True at masked keys.
        causal: The last query sees every key, the one before all but the last key, and so on (Lq <= Lk).
        scale: Factor of the products of queries and keys.
        dropout_p: Probability with which an attention weight is dropped; the caller passes 0 outside of training.
        seed: Of the dropout mask, which is then the same in every implementation; ``None`` draws from PyTorch's global
            generator.

    Returns:
        (B, H, Lq, D). A query whose keys are all masked gives 0, and zero gradients.

    Raises:
        ValueError: Shapes do not fit together, or ``causal`` with more queries than keys.
        ConfigError: ``OFA_MI_KERNELS=triton`` for a case that the Triton kernels do not have.
    """
    _check(q, k, v, bias, key_padding_mask, causal)
    if dispatch.use_triton(q, unsupported=_unsupported(q, k, v, bias)):
        return _triton(q, k, v, bias, key_padding_mask, causal, scale, dropout_p, seed)
    if dispatch.mode() == "auto" and _fused_is_faster(q, k, v, bias, dropout_p):
        if key_padding_mask is None:
            return _fused(q, k, v, bias, causal, scale)
        spans = None if causal or q.device.type != "cpu" else _spans(key_padding_mask)
        if spans is not None:
            return _fused_in_spans(q, k, v, bias, spans, scale)
    masks = {"key_padding_mask": key_padding_mask, "causal": causal}
    return reference.attention(q, k, v, bias=bias, **masks, scale=scale, dropout_p=dropout_p, seed=seed)


def _check(q, k, v, bias, key_padding_mask, causal) -> None:
    """A kernel reads memory by these shapes: no mistake in them may go further."""
    batch, heads, seqlen_q, head_dim = q.shape
    seqlen_k = k.shape[2]
    if k.shape != (batch, heads, seqlen_k, head_dim) or v.shape != k.shape:
        raise ValueError(f"q {tuple(q.shape)}, k {tuple(k.shape)} and v {tuple(v.shape)} do not fit together")
    shared = (heads, seqlen_q, seqlen_k)
    if isinstance(bias, PositionBias):
        parts = bias.absolute.pos_q.shape[:2] + bias.absolute.pos_k.shape[1:2]
        if parts != shared:
            raise ValueError(f"positions of a plane {tuple(parts)} for attention that needs {shared}")
    elif bias is not None and bias.shape not in (shared, (batch, *shared)):
        raise ValueError(f"a bias {tuple(bias.shape)} is neither {shared} nor {(batch, *shared)}")
    if key_padding_mask is not None and key_padding_mask.shape != (batch, seqlen_k):
        raise ValueError(f"a padding mask {tuple(key_padding_mask.shape)} for {batch} samples of {seqlen_k} keys")
    if causal and seqlen_q > seqlen_k:
        raise ValueError(f"causal attention with {seqlen_q} queries and only {seqlen_k} keys")


def _unsupported(q, k, v, bias) -> str | None:
    """Why the Triton kernels cannot do this, or None if they can."""
    if q.dtype not in dispatch.DTYPES or k.dtype != q.dtype or v.dtype != q.dtype:
        return f"there is no attention of {q.dtype}, {k.dtype} and {v.dtype}"
    if q.shape[-1] > dispatch.MAX_HEAD_DIM:
        return f"a head width of {q.shape[-1]} exceeds {dispatch.MAX_HEAD_DIM}"
    if 0 in q.shape or 0 in k.shape:
        return f"queries {tuple(q.shape)} and keys {tuple(k.shape)} are empty"
    return unsupported_bias(bias) if isinstance(bias, PositionBias) else None


def _triton(q, k, v, bias, key_padding_mask, causal, scale, dropout_p, seed) -> Tensor:
    from . import op  # imports Triton

    options = (key_padding_mask, _seed_tensor(q.device, seed) if dropout_p > 0 else None, causal, scale, dropout_p)
    if isinstance(bias, PositionBias):
        return op.position_attention(q, k, v, *op.position_op.parts(bias), *options)[0]
    return op.attention(q, k, v, bias, *options)[0]


def _seed_tensor(device: torch.device, seed: int | None) -> Tensor:
    """(1,) int64 on the device: drawing it there waits for nothing, and a recomputation draws it again."""
    if seed is None:
        return torch.randint(2**62, (1,), device=device)
    return torch.full((1,), seed, dtype=torch.int64, device=device)


def _fused_is_faster(q, k, v, bias, dropout_p) -> bool:
    """PyTorch's fused attention wins only where it needs neither a bias gradient nor an expanded (B, H, Lq, Lk) mask.

    On one CPU thread the fused form takes 0.85 (B 8, L 320) to 0.5 (B 2, L 1028) of the reference's time without
    gradients and padding. With a bias gradient it is 1.2 to 1.6 times slower. An expanded mask eats up half of the
    gain, so padded keys are left out sample by sample. For the few queries of a decoding step
    in bf16, whose products oneDNN does, the reference takes 0.4 of its time.
    """
    if q.dtype == torch.bfloat16 and q.device.type == "cpu" and q.shape[2] <= FEW_QUERIES:
        return False
    if dropout_p > 0.0:
        return False
    return not (torch.is_grad_enabled() and any(t.requires_grad for t in (q, k, v, *_bias_tensors(bias))))


def _bias_tensors(bias: Tensor | PositionBias | None) -> list[Tensor]:
    if isinstance(bias, PositionBias):
        return [bias.absolute.pos_q, bias.absolute.pos_k, *(table.weight for table in bias.tables)]
    return [] if bias is None else [bias]


def _fused(q, k, v, bias, causal, scale) -> Tensor:
    bias = position_bias(bias) if isinstance(bias, PositionBias) else bias
    # without autograd, too, a mask that requires a gradient sends PyTorch to its slow path
    bias = None if bias is None else bias.detach()
    if causal and q.shape[-2] > 1:
        seqlen_q, seqlen_k = q.shape[-2], k.shape[-2]
        later = torch.ones(seqlen_q, seqlen_k, dtype=torch.bool, device=q.device).triu_(1 + seqlen_k - seqlen_q)
        bias = q.new_zeros(later.shape) if bias is None else bias
        bias = bias.masked_fill(later, float("-inf"))
    if bias is not None:
        bias = bias.to(q.dtype)
        bias = bias[None] if bias.dim() == 3 else bias
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale)


def _spans(key_padding_mask: Tensor) -> list[tuple[int, int]] | None:
    """First key of each sample and the one after its last, if none in between is masked for any sample."""
    seen = ~key_padding_mask
    count = seen.sum(-1)  # B
    first = seen.int().argmax(-1)  # 0 if there is none
    last = seen.shape[-1] - seen.flip(-1).int().argmax(-1)
    if bool(((count > 0) & (last - first != count)).any()):
        return None
    return list(zip(first.tolist(), (first + count).tolist(), strict=True))


def _fused_in_spans(q, k, v, bias, spans: list[tuple[int, int]], scale) -> Tensor:
    """Each sample with the keys of its span alone: (B, H, Lq, D), 0 where there are none."""
    bias = position_bias(bias) if isinstance(bias, PositionBias) else bias
    out = torch.zeros_like(q)
    for row, (start, end) in enumerate(spans):
        if start == end:
            continue
        own = bias if bias is None or bias.dim() == 3 else bias[row]
        own = None if own is None else own[..., start:end]
        one = slice(row, row + 1)
        out[one] = _fused(q[one], k[one, :, start:end], v[one, :, start:end], own, False, scale)
    return out
