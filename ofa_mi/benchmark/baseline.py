"""What the released code does, with this package's weights: the costs of decoding and ranking that it has.

Written from the description of these costs, for machines without a checkout of the released code. At every step and for
every hypothesis it projects the positions of the whole source and of the whole prefix and keeps the last row; the bias
of a layer is a tensor per sentence; attention weights are formed; the encoder's output moves with the beams; the whole
vocabulary is normalised; options that are tried or ranked are rows of their own, each with its copy of the encoder's
output. Search and bookkeeping are fairseq's.
"""

from __future__ import annotations

import torch
from fairseq.models import FairseqEncoder, FairseqEncoderDecoderModel, FairseqIncrementalDecoder
from fairseq.sequence_generator import SequenceGenerator
from torch import Tensor

from ofa_mi.data.collation import pad_right
from ofa_mi.decoding.beam import BOS, PAD
from ofa_mi.decoding.trie import Trie
from ofa_mi.models.encoder import IMAGE
from ofa_mi.models.position_bias import patch_position_ids


class Baseline:
    """The work of the benchmark, done the released way.

    Args:
        model: The model as it is trained, in evaluation mode.
        dictionary: Its vocabulary.
    """

    def __init__(self, model, dictionary) -> None:
        self.dictionary = dictionary
        self.encoder = PerSentenceEncoder(model)
        self.decoder = RedundantDecoder(model)
        self.model = FairseqEncoderDecoderModel(self.encoder, self.decoder).eval()

    def encode(self, batch: dict[str, Tensor]) -> dict:
        """The encoder's output."""
        return self.encoder.forward_torchscript(batch)

    def generate(self, batch: dict[str, Tensor], *, beam: int, length: int, options=None) -> list:
        """Hypotheses, (tokens, score) each, of so many tokens or out of ``options``."""
        self.decoder.trie = None if options is None else Trie(options)
        generator = SequenceGenerator(
            [self.model],
            self.dictionary,
            beam_size=beam,
            max_len_a=0,
            max_len_b=length,
            min_len=1 if options is not None else length,
        )
        found = generator.generate([self.model], {"net_input": batch}, bos_token=BOS)
        return [[(h["tokens"].tolist(), h["score"].item()) for h in sentence] for sentence in found]

    def rank(self, batch: dict[str, Tensor], *, options: list[list[int]]) -> list[list[float]]:
        """Mean log-probability of every option for every sentence."""
        self.decoder.trie = None
        out, count, size = self.encode(batch), len(options), len(batch["src_tokens"])
        target = pad_right(options).repeat(size, 1).to(batch["src_tokens"].device)
        before = torch.cat([torch.full_like(target[:, :1], BOS), target[:, :-1]], dim=1)
        copies = torch.arange(size, device=target.device).repeat_interleave(count)
        logits, _ = self.decoder(before, self.encoder.reorder_encoder_out(out, copies))
        scores = logits.log_softmax(-1).gather(2, target[:, :, None])[:, :, 0].masked_fill(target == PAD, 0)
        return (scores.sum(1) / (target != PAD).sum(1)).view(size, count).tolist()


class PerSentenceEncoder(FairseqEncoder):
    """The encoder with a bias for every sentence and the attention in single steps."""

    def __init__(self, model) -> None:
        super().__init__(None)
        self.of, self.whole = [model.encoder], model  # in a list: no parameters of this module

    def forward_torchscript(self, batch: dict[str, Tensor]) -> dict:
        """Encode, every sentence with its own image."""
        (encoder,) = self.of
        size, text = batch["src_tokens"].shape
        x, padding = encoder._embed_text(batch["src_tokens"])
        positions = encoder.pos_ln(encoder.embed_positions.weight[:text]).expand(size, -1, -1)
        tower = encoder.embed_images
        features = _plain_tower(tower, batch["patch_images"])
        height, width = features.shape[-2:]
        ids = patch_position_ids(height, width, encoder.config.image_bucket_size, x.device)
        places = encoder.embed_image_positions.weight[ids]
        patches = encoder.image_proj(features.flatten(2).transpose(1, 2)) + encoder.type_embedding.weight[IMAGE]
        patches = patches + places if encoder.config.entangle_position_embedding else patches
        x = torch.cat([encoder.patch_layernorm_embedding(patches), x], dim=1)
        positions = torch.cat([encoder.image_pos_ln(places).expand(size, -1, -1), positions], dim=1)  # B, L, C
        padding = torch.cat([~batch["patch_masks"][:, None].expand(size, len(ids)), padding], dim=1)
        x = x.masked_fill(padding[..., None], 0.0)
        q, k = (_heads(linear(positions), encoder.heads) for linear in (encoder.pos_q_linear, encoder.pos_k_linear))
        absolute = (q * encoder.pos_scale) @ k.transpose(2, 3)  # B, H, L, L
        hidden = torch.zeros_like(padding, dtype=x.dtype).masked_fill(padding, -torch.inf)[:, None, None]
        for index, layer in enumerate(encoder.layers):
            bias = absolute.clone()
            bias[:, :, -text:, -text:] += _looked_up(
                encoder.token_rel_pos_table_list[index], encoder.token_rp_bucket[:text, :text].expand(size, -1, -1)
            )
            bias[:, :, :-text, :-text] += _looked_up(
                encoder.image_rel_pos_table_list[index], encoder.image_rp_bucket[ids][:, ids].expand(size, -1, -1)
            )
            h = layer.self_attn_layer_norm(x)
            h = _attend(layer.self_attn, h, *_keys_values(layer.self_attn, h), bias + hidden)
            x = layer.feed_forward(x + layer.attn_ln(h))
        return {"x": encoder.layer_norm(x), "padding": padding, "positions": positions}

    def reorder_encoder_out(self, encoder_out: dict, order: Tensor) -> dict:
        """All of it moves with the beams."""
        return {name: value.index_select(0, order) for name, value in encoder_out.items()}


class RedundantDecoder(FairseqIncrementalDecoder):
    """The decoder that computes everything of the prefix again, except keys and values."""

    def __init__(self, model) -> None:
        super().__init__(None)
        self.of, self.trie = [model.decoder], None

    def max_positions(self) -> int:
        return self.of[0].max_positions()

    def forward(self, tokens: Tensor, encoder_out: dict, incremental_state: dict | None = None):
        """(N, T) prefixes -> logits (N, T, V), or (N, 1, V) step by step."""
        (decoder,) = self.of
        size, length = tokens.shape
        last = slice(-1, None) if incremental_state is not None else slice(None)
        positions = decoder.pos_ln(decoder.embed_positions.weight[:length]).expand(size, -1, -1)
        itself = self._products(decoder.self_pos_q_linear, positions, decoder.self_pos_k_linear, positions)
        cross = self._products(
            decoder.cross_pos_q_linear, positions, decoder.cross_pos_k_linear, encoder_out["positions"]
        )
        hidden = encoder_out["padding"][:, None, None]
        cross = cross[:, :, last].masked_fill(hidden, -torch.inf)
        later = torch.full((length, length), -torch.inf, device=tokens.device).triu(1)
        x = decoder._embed(tokens[:, last], slice(0 if incremental_state is None else length - 1, length))
        for index, layer in enumerate(decoder.layers):
            buckets = decoder.token_rp_bucket[:length, :length]
            bias = itself.clone() + _looked_up(decoder.token_rel_pos_table_list[index], buckets[None]) + later
            h = layer.self_attn_layer_norm(x)
            k, v = self._extended(incremental_state, f"self{index}", _keys_values(layer.self_attn, h))
            x = x + layer.self_attn_ln(_attend(layer.self_attn, h, k, v, bias[:, :, last]))
            h = layer.encoder_attn_layer_norm(x)
            k, v = self._kept(incremental_state, f"cross{index}", layer.encoder_attn, encoder_out["x"])
            x = x + layer.cross_attn_ln(_attend(layer.encoder_attn, h, k, v, cross))
            x = layer.feed_forward(x)
        logits = decoder.output_layer(decoder.layer_norm(x))
        return self._constrained(tokens, logits), {"attn": [None]}

    def _products(self, to_q, of_q: Tensor, to_k, of_k: Tensor) -> Tensor:
        (decoder,) = self.of
        q, k = _heads(to_q(of_q), decoder.heads), _heads(to_k(of_k), decoder.heads)
        return (q * decoder.pos_scale) @ k.transpose(2, 3)

    def _constrained(self, tokens: Tensor, logits: Tensor) -> Tensor:
        if self.trie is None:
            return logits
        allowed = torch.zeros_like(logits, dtype=torch.bool)
        for row, prefix in enumerate(tokens.tolist()):
            allowed[row, :, self.trie.next(prefix[1:]) or [2]] = True
        return logits.masked_fill(~allowed, -torch.inf)

    @staticmethod
    def _extended(state: dict | None, name: str, new):
        if state is not None:
            if name in state:
                new = [torch.cat([old, more], dim=2) for old, more in zip(state[name], new, strict=True)]
            state[name] = new
        return new

    @staticmethod
    def _kept(state: dict | None, name: str, attention, memory: Tensor):
        if state is None:
            return _keys_values(attention, memory)
        if name not in state:
            state[name] = _keys_values(attention, memory)
        return state[name]

    def reorder_incremental_state_scripting(self, incremental_state: dict, new_order: Tensor) -> None:
        """Keys and values of prefixes and of the source."""
        for name, tensors in incremental_state.items():
            incremental_state[name] = [tensor.index_select(0, new_order) for tensor in tensors]


def _plain_tower(tower, images: Tensor) -> Tensor:
    """The trunk layer by layer, in the usual layout."""
    if not hasattr(tower, "bn1"):
        return tower(images)
    x = torch.relu(tower.bn1(tower.conv1(images)))
    x = torch.nn.functional.max_pool2d(x, kernel_size=3, stride=2, padding=1)
    for stage in (tower.layer1, tower.layer2, tower.layer3):
        x = stage(x)
    return x


def _heads(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _keys_values(attention, x: Tensor) -> list[Tensor]:
    return [_heads(linear(x), attention.heads) for linear in (attention.k_proj, attention.v_proj)]


def _looked_up(table, buckets: Tensor) -> Tensor:
    """Buckets (B, n, m) -> (B, H, n, m)."""
    return table(buckets).permute(0, 3, 1, 2).contiguous()


def _attend(attention, x: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Attention in single steps, with the factors of the heads."""
    q = _heads(attention.q_proj(x) * attention.scale, attention.heads)
    weights = (q @ k.transpose(2, 3) + bias).softmax(-1)
    out = weights @ v  # B, H, L, D
    if attention.c_attn is not None:
        out = out * attention.c_attn[:, None, None]
    return attention.out_proj(out.transpose(1, 2).flatten(2))
