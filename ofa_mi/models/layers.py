"""Pre-norm Transformer layers of OFA, batch first."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from timm.layers import DropPath
from torch import Tensor, nn

from ofa_mi.kernels import PositionBias
from ofa_mi.models.attention import MultiheadAttention
from ofa_mi.models.products import Linear
from ofa_mi.models.sizes import Config
from ofa_mi.models.tuning import Adapter

KeysValues = tuple[Tensor, Tensor]


def norm(width: int, enabled: bool = True) -> nn.Module:
    return nn.LayerNorm(width) if enabled else nn.Identity()


def drop_path_rates(last: float, layers: int) -> list[float]:
    """Stochastic depth (arXiv 1603.09382): rates that rise linearly from 0 over the layers."""
    return torch.linspace(0, last, layers, device="cpu").tolist()


class TransformerLayer(nn.Module):
    """What encoder and decoder layers share: the feed-forward part and the residual branches."""

    def __init__(self, config: Config, drop_path_rate: float) -> None:
        super().__init__()
        width, hidden = config.encoder_embed_dim, config.encoder_ffn_embed_dim
        self.dropout = nn.Dropout(config.dropout)
        self.activation_dropout = nn.Dropout(config.activation_dropout)
        self.drop_path = DropPath(drop_path_rate)
        self.final_layer_norm = nn.LayerNorm(width)
        self.fc1 = Linear(width, hidden)
        self.ffn_layernorm = norm(hidden, config.scale_fc)
        self.fc2 = Linear(hidden, width)
        self.adapter = Adapter(width, config.adapter_dim) if config.adapter else None
        self.w_resid = nn.Parameter(torch.ones(width)) if config.scale_resids else None

    def feed_forward(self, x: Tensor) -> Tensor:
        """(B, L, C) -> (B, L, C), residual included."""
        hidden = self.activation_dropout(F.gelu(self.fc1(self.final_layer_norm(x))))
        residual = x if self.w_resid is None else self.w_resid * x
        return self.add(residual, self.fc2(self.ffn_layernorm(hidden)), self.adapter)

    def add(self, residual: Tensor, branch: Tensor, adapter: Adapter | None = None) -> Tensor:
        branch = self.dropout(branch)
        return residual + self.drop_path(branch if adapter is None else adapter(branch))


class EncoderLayer(TransformerLayer):
    """Self-attention and feed-forward."""

    def __init__(self, config: Config, drop_path_rate: float = 0.0) -> None:
        super().__init__(config, drop_path_rate)
        self.self_attn_layer_norm = nn.LayerNorm(config.encoder_embed_dim)
        self.self_attn = _attention(config, config.encoder_attention_heads)
        self.attn_ln = norm(config.encoder_embed_dim, config.scale_attn)

    def forward(self, x: Tensor, *, bias: PositionBias, padding_mask: Tensor | None) -> Tensor:
        """x (B, L, C), bias of a plane (H, L, L), padding_mask (B, L) True at padding -> (B, L, C)."""
        h = self.self_attn_layer_norm(x)
        q, k, v = self.self_attn.queries_keys_values(h)
        x = self.add(x, self.attn_ln(self.self_attn.attend(q, k, v, bias=bias, key_padding_mask=padding_mask)))
        return self.feed_forward(x)


class DecoderLayer(TransformerLayer):
    """Causal self-attention, attention to the encoder, and feed-forward."""

    def __init__(self, config: Config, drop_path_rate: float = 0.0) -> None:
        super().__init__(config, drop_path_rate)
        width, heads = config.encoder_embed_dim, config.decoder_attention_heads
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.self_attn = _attention(config, heads)
        self.self_attn_ln = norm(width, config.scale_attn)
        self.encoder_attn_layer_norm = nn.LayerNorm(width)
        self.encoder_attn = _attention(config, heads)
        self.cross_attn_ln = norm(width, config.scale_attn)

    def forward(
        self,
        x: Tensor,
        encoder_out: Tensor,
        *,
        self_bias: PositionBias,
        cross_bias: PositionBias,
        padding_mask: Tensor | None,
        encoder_padding_mask: Tensor | None,
    ) -> Tensor:
        """Teacher forcing.

        Args:
            x: (B, T, C) target positions.
            encoder_out: (B, S, C) output of the encoder.
            self_bias: of a plane (H, T, T).
            cross_bias: of a plane (H, T, S).
            padding_mask: (B, T) True at padded targets.
            encoder_padding_mask: (B, S) True at padded sources.

        Returns:
            (B, T, C).
        """
        return self.step(
            x,
            self.encoder_attn.keys_values(encoder_out),
            self_bias=self_bias,
            cross_bias=cross_bias,
            padding_mask=padding_mask,
            encoder_padding_mask=encoder_padding_mask,
        )

    def step(
        self,
        x: Tensor,
        memory: KeysValues,
        *,
        self_bias: Tensor | PositionBias,
        cross_bias: Tensor | PositionBias,
        padding_mask: Tensor | None = None,
        encoder_padding_mask: Tensor | None = None,
        extend: Callable[[Tensor, Tensor], KeysValues] | None = None,
        causal: bool = True,
    ) -> Tensor:
        """The layer with the encoder's keys and values (B, H, S, D) given once per sentence.

        ``x`` is (B * K, T, C): K hypotheses (beams) per sentence. ``extend`` takes the keys and values (B * K, H, T, D)
        of the new positions and returns those of all positions so far, from a cache. Without ``causal`` it is the bias
        that says what a position sees.
        """
        h = self.self_attn_layer_norm(x)
        q, k, v = self.self_attn.queries_keys_values(h)
        if extend is not None:
            k, v = extend(k, v)
        h = self.self_attn.attend(q, k, v, bias=self_bias, key_padding_mask=padding_mask, causal=causal)
        x = self.add(x, self.self_attn_ln(h))
        h = self._attend_to_encoder(
            self.encoder_attn_layer_norm(x), memory, bias=cross_bias, padding_mask=encoder_padding_mask
        )
        x = self.add(x, self.cross_attn_ln(h))
        return self.feed_forward(x)

    def _attend_to_encoder(
        self, x: Tensor, memory: KeysValues, *, bias: Tensor | PositionBias, padding_mask: Tensor | None
    ) -> Tensor:
        """Cross-attention with the beams of a sentence side by side as further queries: its keys are read once."""
        beams = x.shape[0] // memory[0].shape[0]
        q = self.encoder_attn.queries(x.reshape(-1, beams * x.shape[1], x.shape[2]))  # B, H, K * T, D
        bias = bias.repeat(1, beams, 1) if beams > 1 else bias  # H, K * T, S
        out = self.encoder_attn.attend(q, *memory, bias=bias, key_padding_mask=padding_mask)
        return out.view(x.shape)


def _attention(config: Config, heads: int) -> MultiheadAttention:
    return MultiheadAttention(
        config.encoder_embed_dim,
        heads,
        scale_factor=config.attn_scale_factor,
        scale_heads=config.scale_heads,
        dropout=config.attention_dropout,
    )
