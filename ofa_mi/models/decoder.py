"""Decoder of OFA: teacher forcing, and decoding step by step with a static cache.

Image-code targets (text-to-image generation) are not implemented; their parameters exist so that released checkpoints
load, and stay as they are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from fairseq.distributed import fsdp_wrap
from fairseq.models import FairseqIncrementalDecoder
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ofa_mi.errors import ConfigError
from ofa_mi.kernels import PositionBias, RelativePositions, RelativeTable, absolute_positions, position_bias
from ofa_mi.models.attention import position_scale
from ofa_mi.models.embedding import TokenEmbedding
from ofa_mi.models.layers import DecoderLayer, KeysValues, drop_path_rates
from ofa_mi.models.position_bias import (
    code_position_ids,
    image_buckets,
    image_table_rows,
    project_positions,
    token_buckets,
)
from ofa_mi.models.products import Linear, linear
from ofa_mi.models.sizes import Config

EncoderOut = dict[str, list[Tensor]]


@dataclass
class DecoderState:
    """What decoding remembers between steps, for B sentences with K hypotheses (beams) each.

    Attributes:
        beams: hypotheses K per sentence.
        position: number of positions decoded so far, the same for all hypotheses.
        cache: (layers, 2, B * K, H, max_length, D) keys and values of the decoded positions.
        memory: per layer the encoder's keys and values, two of (B, H, S, D): once per sentence, for all its beams.
        encoder_padding_mask: (B, S) bool, or None if no source is padded.
        self_biases: per layer (H, max_length, max_length).
        cross_bias: (H, max_length, S).
    """

    beams: int
    position: int
    cache: Tensor
    memory: list[KeysValues]
    encoder_padding_mask: Tensor | None
    self_biases: list[Tensor]
    cross_bias: Tensor

    @property
    def max_length(self) -> int:
        return self.cache.shape[4]

    @property
    def device(self) -> torch.device:
        return self.cache.device

    def extend(self, layer: int, k: Tensor, v: Tensor) -> KeysValues:
        """Store keys and values (B * K, H, T, D) from ``position`` on; return those of all positions so far."""
        end = self.position + k.shape[2]
        cached = self.cache[layer, :, :, :, :end]
        cached[0, :, :, self.position :] = k
        cached[1, :, :, self.position :] = v
        return cached[0], cached[1]

    def reorder(self, parents: Tensor) -> None:
        """Let every hypothesis continue another one of its sentence.

        Args:
            parents: (B, K) int64, the beam from 0 to K - 1 whose past each hypothesis takes over.
        """
        first = torch.arange(len(parents), device=parents.device)[:, None] * self.beams
        self._move((first + parents).flatten())

    def select(self, sentences: Tensor) -> None:
        """Keep the sentences (B',) int64, with all their hypotheses; the others are dropped."""
        beams = torch.arange(self.beams, device=sentences.device)
        past = self.cache[..., : self.position, :]
        cache = self.cache.new_empty(*self.cache.shape[:2], len(sentences) * self.beams, *self.cache.shape[3:])
        cache[..., : self.position, :] = past.index_select(2, (sentences[:, None] * self.beams + beams).flatten())
        self.cache = cache
        self.memory, self.encoder_padding_mask = self.of(sentences)

    def of(self, sentences: Tensor) -> tuple[list[KeysValues], Tensor | None]:
        """``memory`` and ``encoder_padding_mask`` of some sentences (B',) int64, which may repeat."""
        present = torch.arange(len(self.memory[0][0]), device=sentences.device)
        if sentences.equal(present):
            return self.memory, self.encoder_padding_mask
        memory = [(k.index_select(0, sentences), v.index_select(0, sentences)) for k, v in self.memory]
        mask = self.encoder_padding_mask
        return memory, None if mask is None else mask.index_select(0, sentences)

    def _move(self, hypotheses: Tensor) -> None:
        past = self.cache[..., : self.position, :]
        past.copy_(past.index_select(2, hypotheses))


class Decoder(FairseqIncrementalDecoder):
    """Token embedding, decoder layers and tied output projection (arXiv 2202.03052, section 3).

    Args:
        config: settings of the model.
        dictionary: fairseq's dictionary of the vocabulary.
        embed_tokens: token embedding, shared with the encoder.
    """

    def __init__(self, config: Config, dictionary, embed_tokens: TokenEmbedding) -> None:
        super().__init__(dictionary)
        width, heads = config.encoder_embed_dim, config.decoder_attention_heads
        self.config = config
        self.heads = heads
        self.padding_idx = embed_tokens.padding_idx
        self.register_buffer("version", torch.tensor([3.0]))  # of fairseq's format

        self.embed_tokens = embed_tokens
        self.layernorm_embedding = nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)

        self.embed_positions = nn.Embedding(config.max_target_positions + 2, width)
        self.pos_ln = nn.LayerNorm(width)
        self.self_pos_q_linear = Linear(width, width)
        self.self_pos_k_linear = Linear(width, width)
        self.cross_pos_q_linear = Linear(width, width)
        self.cross_pos_k_linear = Linear(width, width)
        self.pos_scale = position_scale(width, heads, config.attn_scale_factor)

        rates = drop_path_rates(config.decoder_drop_path_rate, config.decoder_layers)
        wrap_from = 0 if config.checkpoint_activations else config.min_params_to_wrap
        self.layers = nn.ModuleList(fsdp_wrap(DecoderLayer(config, rate), min_num_params=wrap_from) for rate in rates)
        self.layer_norm = nn.LayerNorm(width)
        self.output_projection = Linear(width, embed_tokens.num_embeddings, bias=False)
        self.output_projection.weight = embed_tokens.weight

        token_rows = 2 * config.token_bucket_size - 1
        self.token_rel_pos_table_list = nn.ModuleList(nn.Embedding(token_rows, heads) for _ in rates)
        self.register_buffer("token_rp_bucket", token_buckets(config.token_bucket_size, config.max_target_positions))
        self._register_image_code_parameters()

    def _register_image_code_parameters(self) -> None:
        """Parameters of image-code targets: loaded and saved with the released checkpoints, otherwise unused."""
        width, side = self.config.encoder_embed_dim, self.config.image_bucket_size
        rows = image_table_rows(side)
        self.code_layernorm_embedding = nn.LayerNorm(width)
        self.embed_image_positions = nn.Embedding(side**2 + 1, width)
        self.image_pos_ln = nn.LayerNorm(width)
        self.image_rel_pos_table_list = nn.ModuleList(nn.Embedding(rows, self.heads) for _ in self.layers)
        self.register_buffer("image_rp_bucket", image_buckets(side))
        self.register_buffer("image_position_idx", code_position_ids(self.config.code_image_size, side))

    def max_positions(self) -> int:
        """Longest target in tokens."""
        return self.config.max_target_positions

    # --- teacher forcing -----------------------------------------------------------------------------------------

    def forward(
        self,
        prev_output_tokens: Tensor,
        encoder_out: EncoderOut | None = None,
        incremental_state: dict | None = None,
        features_only: bool = False,
        return_all_hiddens: bool = False,
    ) -> tuple[Tensor, dict[str, list]]:
        """Logits for every target position, or for the new ones only in fairseq's incremental decoding.

        Args:
            prev_output_tokens: (B, T) int64, the target shifted to the right; with ``incremental_state`` the whole
                prefix, of which only positions not seen yet are computed.
            encoder_out: the encoder's dictionary.
            incremental_state: fairseq's dictionary that keeps the cache between calls.
            features_only: return the features instead of the logits.
            return_all_hiddens: also return the input of every layer and the output of the last one.

        Returns:
            (B, T, V) logits, or (B, T, C) features; and a dictionary with ``attn`` (None, attention weights are
            never formed) and ``inner_states`` [(T, B, C), …].
        """
        x, extra = self.extract_features(prev_output_tokens, encoder_out, incremental_state, return_all_hiddens)
        return (x if features_only else self.output_layer(x)), extra

    def extract_features(
        self,
        prev_output_tokens: Tensor,
        encoder_out: EncoderOut,
        incremental_state: dict | None = None,
        return_all_hiddens: bool = False,
    ) -> tuple[Tensor, dict[str, list]]:
        """As :meth:`forward`, without the output projection."""
        states: list[Tensor] = []
        if incremental_state is not None:
            x = self._incremental_features(prev_output_tokens, encoder_out, incremental_state)
        else:
            x = self._features(prev_output_tokens, encoder_out, states if return_all_hiddens else None)
        return x, {"attn": [None], "inner_states": states}

    def _features(self, tokens: Tensor, encoder_out: EncoderOut, states: list[Tensor] | None) -> Tensor:
        """(B, T) -> (B, T, C); ``states`` collects what lies between the layers."""
        memory = encoder_out["encoder_out"][0].transpose(0, 1)  # B, S, C
        memory_padding = encoder_out["encoder_padding_mask"][0]
        padding = tokens.eq(self.padding_idx)
        if not torch.is_grad_enabled():  # lets the attention take its fused path
            padding = padding if padding.any() else None
            memory_padding = memory_padding if memory_padding.any() else None
        self_biases, cross_bias = self._biases(tokens.shape[1], encoder_out["position_embeddings"][0])

        def run(index: int, x: Tensor) -> Tensor:
            return self.layers[index](
                x,
                memory,
                self_bias=self_biases[index],
                cross_bias=cross_bias,
                padding_mask=padding,
                encoder_padding_mask=memory_padding,
            )

        x = self._embed(tokens, slice(tokens.shape[1]))
        for index in range(len(self.layers)):
            if states is not None:
                states.append(x.transpose(0, 1))
            if self.config.checkpoint_activations and self.training:
                x = checkpoint(run, index, x, use_reentrant=False)  # the bias is rebuilt, too
            else:
                x = run(index, x)
        if states is not None:
            states.append(x.transpose(0, 1))
        return self.layer_norm(x)

    def output_layer(self, features: Tensor) -> Tensor:
        """Features (…, C) -> logits (…, V)."""
        table = self.embed_tokens.shared
        if table is None:
            return self.output_projection(features)
        return (linear if self.training else F.linear)(features, table)

    def head(self, ids: Tensor | None = None) -> Callable[[Tensor], Tensor]:
        """The output layer, for many calls: features (…, C) -> fp32 logits (…, V), or (…, N) of the rows ``ids``."""
        if ids is None:
            return lambda features: self.output_layer(features).float()
        rows = self.embed_tokens.weight[ids]  # the output projection's
        return lambda features: F.linear(features, rows).float()

    def _embed(self, tokens: Tensor, positions: Tensor | slice) -> Tensor:
        """(B, T) tokens at ``positions``, (B or 1, T) or the same T for all -> (B, T, C)."""
        x = self.embed_tokens(tokens)
        if not self.config.disable_entangle:
            x = x + self.embed_positions.weight[positions]
        return self.dropout(self.layernorm_embedding(x))

    def _biases(self, length: int, source_positions: Tensor) -> tuple[list[PositionBias], PositionBias]:
        """Position biases for ``length`` target positions: of each layer's self-attention, and of all cross-attention.

        ``source_positions`` is (1, S, C).
        """
        if length > self.config.max_target_positions:
            raise ConfigError(
                f"a target of {length} tokens exceeds --max-target-positions {self.config.max_target_positions}: "
                "lower --max-tgt-length or the length of generation"
            )
        positions = self.pos_ln(self.embed_positions.weight[:length])  # T, C
        project = partial(project_positions, heads=self.heads)
        itself = absolute_positions(
            project(self.self_pos_q_linear, positions), project(self.self_pos_k_linear, positions), scale=self.pos_scale
        )
        cross = absolute_positions(
            project(self.cross_pos_q_linear, positions),
            project(self.cross_pos_k_linear, source_positions[0]),
            scale=self.pos_scale,
        )
        of_text = RelativePositions.toeplitz(self.token_rp_bucket[:length, :length])
        tables = (RelativeTable(table.weight, of_text) for table in self.token_rel_pos_table_list)
        return [PositionBias(itself, (table,)) for table in tables], PositionBias(cross)

    # --- decoding step by step -----------------------------------------------------------------------------------

    @torch.no_grad()
    def start(self, encoder_out: EncoderOut, *, beams: int = 1, max_length: int) -> DecoderState:
        """Prepare decoding of B sentences: everything that does not depend on the target is computed here, once.

        Args:
            encoder_out: the encoder's dictionary for B sentences.
            beams: hypotheses K per sentence.
            max_length: number of target positions that will be decoded at most.
        """
        source = encoder_out["encoder_out"][0].transpose(0, 1)  # B, S, C
        padding = encoder_out["encoder_padding_mask"][0]
        self_biases, cross_bias = self._biases(max_length, encoder_out["position_embeddings"][0])
        head_width = source.shape[-1] // self.heads
        shape = (len(self.layers), 2, len(source) * beams, self.heads, max_length, head_width)
        # Contiguous: every step reads them.
        memory = [tuple(t.contiguous() for t in layer.encoder_attn.keys_values(source)) for layer in self.layers]
        return DecoderState(
            beams=beams,
            position=0,
            cache=memory[0][0].new_empty(shape),  # in the precision of keys
            memory=memory,
            encoder_padding_mask=padding if padding.any() else None,
            self_biases=[position_bias(bias) for bias in self_biases],
            cross_bias=position_bias(cross_bias),
        )

    @torch.no_grad()
    def step(self, tokens: Tensor, state: DecoderState) -> Tensor:
        """Decode the next T positions of every hypothesis and store them in ``state``.

        Args:
            tokens: (B, K, T) int64, the decoder's input at positions ``state.position`` … + T - 1. T > 1 reads a
                prefix at once, or scores a known target.
            state: from :meth:`start`.

        Returns:
            (B, K, T, C) features for :meth:`output_layer`.

        Raises:
            ConfigError: more positions than :meth:`start` was told.
        """
        begin, end = state.position, state.position + tokens.shape[2]
        if end > state.max_length:
            raise ConfigError(
                f"decoding {end} positions in a state that was started with max_length {state.max_length}"
            )
        x = self._embed(tokens.flatten(0, 1), slice(begin, end))  # B * K, T, C
        for index, layer in enumerate(self.layers):
            x = layer.step(
                x,
                state.memory[index],
                self_bias=state.self_biases[index][:, begin:end, :end],
                cross_bias=state.cross_bias[:, begin:end],
                encoder_padding_mask=state.encoder_padding_mask,
                extend=partial(state.extend, index),
            )
        state.position = end
        return self.layer_norm(x).unflatten(0, tokens.shape[:2])

    @torch.no_grad()
    def read_trees(self, tokens: Tensor, parents: Tensor, state: DecoderState, sentences: Tensor) -> Tensor:
        """Features of many prefixes of targets, of which those with the same beginning share its computation.

        The prefixes of one sentence are the nodes of a tree; a node sees itself and its ancestors, and its position is
        its depth. All nodes are positions of one sequence.

        Args:
            tokens: (B', N) int64, the decoder's input at each node; node 0 is the root.
            parents: (B', N) int64, the parent of each node; the root's is itself, and so may be that of nodes which
                fill up a smaller tree.
            state: from :meth:`start`, for as many positions as the deepest tree has levels; it stays as it is.
            sentences: (B',) int64, whose tree each is, among the sentences of ``state``.

        Returns:
            (B', N, C) features for :meth:`head`.
        """
        shared = bool((parents == parents[:1]).all())
        ancestors = _ancestors(parents[:1] if shared else parents, levels=state.max_length)  # B' or 1, N, N
        depth = ancestors.sum(-1) - 1  # B' or 1, N
        memory, padding = state.of(sentences)
        cross_bias = _of_nodes(state.cross_bias[:, depth])
        x = self._embed(tokens, depth)
        for index, layer in enumerate(self.layers):
            bias = state.self_biases[index][:, depth[:, :, None], depth[:, None, :]]  # H, B' or 1, N, N
            x = layer.step(
                x,
                memory[index],
                self_bias=_of_nodes(bias.masked_fill(~ancestors, -torch.inf)),
                cross_bias=cross_bias,
                encoder_padding_mask=padding,
                causal=False,
            )
        return self.layer_norm(x)

    # --- fairseq's incremental decoding, for its own SequenceGenerator -------------------------------------------

    FIRST_LENGTH = 32  # positions for which a cache is made before the length of the target is known

    def _incremental_features(self, tokens: Tensor, encoder_out: EncoderOut, incremental_state: dict) -> Tensor:
        """(B, T) prefixes -> (B, T', C) features of the positions that were not decoded before."""
        saved = self.get_incremental_state(incremental_state, "decoding")
        state = None if saved is None else saved["state"]
        length = tokens.shape[1]
        if state is None or length > state.max_length:
            longer = max(length, self.FIRST_LENGTH if state is None else 2 * state.max_length)
            state = self._continue(state, self.start(encoder_out, max_length=min(longer, self.max_positions())))
            self.set_incremental_state(incremental_state, "decoding", {"state": state})
        return self.step(tokens[:, None, state.position :], state).squeeze(1)

    @staticmethod
    def _continue(old: DecoderState | None, new: DecoderState) -> DecoderState:
        """A fresh, longer state that takes over what was decoded."""
        if old is not None:
            new.cache[..., : old.position, :] = old.cache[..., : old.position, :]
            new.position = old.position
        return new

    def reorder_incremental_state(self, incremental_state: dict, new_order: Tensor) -> None:
        """fairseq's hook: row i continues row ``new_order[i]`` (N,) int64; rows may be dropped."""
        saved = self.get_incremental_state(incremental_state, "decoding")
        if saved is not None:
            saved["state"].select(new_order)


def _ancestors(parents: Tensor, levels: int) -> Tensor:
    """Which nodes each node of a tree sees, itself among them: (B, N) parents -> (B, N, N) bool."""
    node = torch.arange(parents.shape[1], device=parents.device).expand_as(parents)
    seen = torch.zeros(*parents.shape, parents.shape[1], dtype=torch.bool, device=parents.device)
    for _ in range(levels):
        seen.scatter_(2, node[:, :, None], True)
        node = parents.gather(1, node)
    return seen


def _of_nodes(bias: Tensor) -> Tensor:
    """(H, B or 1, N, L) as the attention takes it: (B, H, N, L), or (H, N, L) for all sentences alike."""
    return bias[:, 0] if bias.shape[1] == 1 else bias.transpose(0, 1)
