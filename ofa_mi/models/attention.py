"""Multi-head attention of OFA."""

import torch
from torch import Tensor, nn

from ofa_mi import kernels
from ofa_mi.models.products import Linear


class MultiheadAttention(nn.Module):
    """Projections around :func:`ofa_mi.kernels.attention`, with a learned factor per head (arXiv 2110.09456).

    Args:
        embed_dim: width C.
        heads: number of heads H.
        scale_factor: scores are scaled by (head width * scale_factor)^-0.5.
        scale_heads: multiply each head's output by its own learned scalar.
        dropout: of the attention weights.
    """

    def __init__(
        self, embed_dim: int, heads: int, *, scale_factor: float, scale_heads: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.heads = heads
        self.scale = position_scale(embed_dim, heads, scale_factor)
        self.dropout = dropout
        self.q_proj = Linear(embed_dim, embed_dim)
        self.k_proj = Linear(embed_dim, embed_dim)
        self.v_proj = Linear(embed_dim, embed_dim)
        self.out_proj = Linear(embed_dim, embed_dim)
        self.c_attn = nn.Parameter(torch.ones(heads)) if scale_heads else None

    def queries(self, x: Tensor) -> Tensor:
        """(B, Lq, C) -> (B, H, Lq, D)."""
        return self._split(self.q_proj(x))

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, Lk, C) -> two of (B, H, Lk, D)."""
        return self._split(self.k_proj(x)), self._split(self.v_proj(x))

    def queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, L, C) -> three of (B, H, L, D), for attention of ``x`` to itself."""
        return self.queries(x), *self.keys_values(x)

    def attend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        bias: Tensor | kernels.PositionBias,
        key_padding_mask: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """Attention (:func:`ofa_mi.kernels.attention`) and output projection: (B, H, Lq, D) queries -> (B, Lq, C)."""
        out = kernels.attention(
            q,
            k,
            v,
            bias=bias,
            key_padding_mask=key_padding_mask,
            causal=causal,
            scale=self.scale,
            dropout_p=self.dropout if self.training else 0.0,
        )  # B, H, Lq, D
        if self.c_attn is not None:
            out = out * self.c_attn[:, None, None]
        return self.out_proj(out.transpose(1, 2).flatten(2))  # B, Lq, C

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def position_scale(embed_dim: int, heads: int, scale_factor: float) -> float:
    """Factor of the scores, the same for the content part and for the position part."""
    return float(embed_dim / heads * scale_factor) ** -0.5
