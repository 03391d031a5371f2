"""Encoder of OFA: patches and text in one sequence, under one position bias."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from fairseq.distributed import fsdp_wrap
from fairseq.models import FairseqEncoder
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ofa_mi.errors import ConfigError, DataError
from ofa_mi.kernels import PositionBias, RelativePositions, RelativeTable, absolute_positions
from ofa_mi.models.attention import position_scale
from ofa_mi.models.embedding import TokenEmbedding
from ofa_mi.models.image_tower import STRIDE, build_image_tower
from ofa_mi.models.layers import EncoderLayer, drop_path_rates
from ofa_mi.models.position_bias import (
    image_buckets,
    image_table_rows,
    patch_offsets,
    patch_position_ids,
    project_positions,
    token_buckets,
)
from ofa_mi.models.products import Linear
from ofa_mi.models.sizes import Config

TEXT, IMAGE = 0, 1  # rows of the type embedding


class Patches(NamedTuple):
    """Patches of a batch, P of them per sample.

    Attributes:
        x: (B, P, C) embeddings; those of a sample without an image are zero.
        padding_mask: (B, P) bool, True for samples without an image.
        positions: (P, C) position embeddings after their LayerNorm.
        ids: (P,) int64 position ids.
    """

    x: Tensor
    padding_mask: Tensor
    positions: Tensor
    ids: Tensor


class Encoder(FairseqEncoder):
    """Embeds patches and tokens and runs the encoder layers (arXiv 2202.03052, section 3).

    Args:
        config: settings of the model.
        dictionary: fairseq's dictionary of the vocabulary.
        embed_tokens: token embedding, shared with the decoder.
    """

    def __init__(self, config: Config, dictionary, embed_tokens: TokenEmbedding) -> None:
        super().__init__(dictionary)
        width, heads = config.encoder_embed_dim, config.encoder_attention_heads
        self.config = config
        self.heads = heads
        self.padding_idx = embed_tokens.padding_idx
        self.register_buffer("version", torch.tensor([3.0]))  # of fairseq's format

        self.embed_tokens = embed_tokens
        self.layernorm_embedding = nn.LayerNorm(width)
        self.type_embedding = nn.Embedding(2, width)
        self.dropout = nn.Dropout(config.dropout)

        self.embed_images = build_image_tower(
            config.resnet_type,
            drop_path_rate=config.resnet_drop_path_rate,
            freeze=config.freeze_resnet or config.tunes_part,  # statistics are no part of the small weights
            checkpoint_activations=config.checkpoint_activations,
        )
        self.image_proj = Linear(self.embed_images.out_channels, width)
        self.patch_layernorm_embedding = nn.LayerNorm(width)

        self.embed_positions = nn.Embedding(config.max_source_positions + 2, width)
        self.embed_image_positions = nn.Embedding(config.image_bucket_size**2 + 1, width)
        self.pos_ln = nn.LayerNorm(width)
        self.image_pos_ln = nn.LayerNorm(width)
        self.pos_q_linear = Linear(width, width)
        self.pos_k_linear = Linear(width, width)
        self.pos_scale = position_scale(width, heads, config.attn_scale_factor)

        rates = drop_path_rates(config.encoder_drop_path_rate, config.encoder_layers)
        wrap_from = 0 if config.checkpoint_activations else config.min_params_to_wrap
        self.layers = nn.ModuleList(fsdp_wrap(EncoderLayer(config, rate), min_num_params=wrap_from) for rate in rates)
        self.layer_norm = nn.LayerNorm(width)

        token_rows = 2 * config.token_bucket_size - 1
        image_rows = image_table_rows(config.image_bucket_size)
        self.token_rel_pos_table_list = nn.ModuleList(nn.Embedding(token_rows, heads) for _ in rates)
        self.image_rel_pos_table_list = nn.ModuleList(nn.Embedding(image_rows, heads) for _ in rates)
        self.register_buffer("token_rp_bucket", token_buckets(config.token_bucket_size, config.max_source_positions))
        self.register_buffer("image_rp_bucket", image_buckets(config.image_bucket_size))

    def max_positions(self) -> int:
        """Longest source in tokens."""
        return self.config.max_source_positions

    def forward(
        self,
        src_tokens: Tensor,
        src_lengths: Tensor | None = None,
        patch_images: Tensor | None = None,
        patch_masks: Tensor | None = None,
        return_all_hiddens: bool = False,
        patch_index: Tensor | None = None,
    ) -> dict[str, list[Tensor]]:
        """Encode a batch of texts, some or all of them with an image.

        Args:
            src_tokens: (B, S) int64, padded with ``<pad>``.
            src_lengths: (B,) unused, part of fairseq's interface.
            patch_images: (B, 3, H, W), or only the rows (N, 3, H, W) of the samples that have an image.
            patch_masks: (B,) bool, True for samples that have an image; ``None`` means all of them.
            return_all_hiddens: also return the input of every layer and the output of the last one.
            patch_index: (N,) int64, for each of the N samples that have an image its row in ``patch_images``, where
                samples share images; the image tower then runs once for each image.

        Returns:
            fairseq's dictionary of lists: ``encoder_out`` [(P + S, B, C)], ``encoder_padding_mask`` [(B, P + S)],
            ``encoder_states`` [(P + S, B, C), …] and ``position_embeddings`` [(1, P + S, C)], after their LayerNorm.
            Patches come first; a batch without any image has none (P = 0).

        Raises:
            ConfigError: the image or the text exceeds the position tables.
            DataError: ``patch_images``, ``patch_masks`` and ``patch_index`` contradict each other.
        """
        length = src_tokens.shape[1]
        if length > self.config.max_source_positions:
            raise ConfigError(
                f"a source of {length} tokens exceeds --max-source-positions {self.config.max_source_positions}: "
                "lower --max-src-length"
            )
        x, padding_mask = self._embed_text(src_tokens)
        positions = self.pos_ln(self.embed_positions.weight[:length])  # S, C
        patches = self._embed_images(patch_images, patch_masks, patch_index, len(src_tokens))
        if patches is not None:
            x = torch.cat([patches.x, x], dim=1)  # B, P + S, C
            padding_mask = torch.cat([patches.padding_mask, padding_mask], dim=1)
            positions = torch.cat([patches.positions, positions])  # P + S, C
        x = x.masked_fill(padding_mask[..., None], 0.0)

        x, states = self._run_layers(x, padding_mask, positions, patches.ids if patches else None, return_all_hiddens)
        return {
            "encoder_out": [self.layer_norm(x).transpose(0, 1)],
            "encoder_padding_mask": [padding_mask],
            "encoder_embedding": [],
            "encoder_states": states,
            "src_tokens": [],
            "src_lengths": [],
            "position_embeddings": [positions[None]],
        }

    def forward_non_torchscript(self, net_input: dict[str, Tensor]) -> dict[str, list[Tensor]]:
        """fairseq's hook of its SequenceGenerator: encode a batch's ``net_input``, whatever else is in there."""
        names = ("src_tokens", "src_lengths", "patch_images", "patch_masks", "patch_index")
        return self.forward(**{name: net_input.get(name) for name in names})

    def _embed_text(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S) -> embeddings (B, S, C) and padding mask (B, S)."""
        x = self.embed_tokens(tokens) + self.type_embedding.weight[TEXT]
        if self.config.entangle_position_embedding:
            x = x + self.embed_positions.weight[: tokens.shape[1]]
        return self.dropout(self.layernorm_embedding(x)), tokens.eq(self.padding_idx)

    def _embed_images(
        self, images: Tensor | None, masks: Tensor | None, index: Tensor | None, batch: int
    ) -> Patches | None:
        """Run the image tower on the samples that have an image, and only on them; None if there are none."""
        images, rows = _images_and_rows(images, masks, index, batch)
        if images is None:
            return None
        features = self.embed_images(images.to(self.embed_tokens.weight.dtype))  # N, channels, h, w
        height, width = features.shape[-2:]
        ids, positions = self._patch_positions(height, width)
        x = self.image_proj(features.flatten(2).transpose(1, 2)) + self.type_embedding.weight[IMAGE]
        if self.config.entangle_position_embedding:
            x = x + positions
        x = self.dropout(self.patch_layernorm_embedding(x))  # images, P, C
        if index is not None:
            x = x[index]  # N, P, C
        padding_mask = torch.zeros(batch, height * width, dtype=torch.bool, device=x.device)
        if len(rows) < batch:
            x = x.new_zeros(batch, *x.shape[1:]).index_copy(0, rows, x)  # B, P, C
            padding_mask = torch.ones_like(padding_mask).index_fill(0, rows, False)
        return Patches(x, padding_mask, self.image_pos_ln(positions), ids)

    def _patch_positions(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Position ids (P,) and embeddings (P, C) of a patch grid."""
        table, side = self.embed_image_positions.weight, self.config.image_bucket_size
        if max(height, width) > side:
            raise ConfigError(
                f"an image of {height} x {width} patches exceeds --image-bucket-size {side}: "
                f"use --patch-image-size {side * STRIDE} or less"
            )
        ids = patch_position_ids(height, width, side, table.device)
        original = self.config.orig_patch_image_size // STRIDE
        if not self.config.interpolate_position or height * width <= original**2:
            return ids, table[ids]
        grid = table[patch_position_ids(original, original, side, table.device)].unflatten(0, (original, original))
        resized = F.interpolate(
            grid.permute(2, 0, 1)[None].float(), size=(height, width), mode="bilinear", align_corners=False
        )
        return ids, resized[0].flatten(1).t().to(table.dtype)

    def _run_layers(self, x, padding_mask, positions, patch_ids, return_all_hiddens) -> tuple[Tensor, list[Tensor]]:
        """(B, L, C) -> (B, L, C) and, if asked for, the states (L, B, C) between the layers."""
        absolute = absolute_positions(
            project_positions(self.pos_q_linear, positions, self.heads),
            project_positions(self.pos_k_linear, positions, self.heads),
            scale=self.pos_scale,
        )
        patches = 0 if patch_ids is None else len(patch_ids)
        text = x.shape[1] - patches
        of_text = RelativePositions.toeplitz(self.token_rp_bucket[:text, :text])
        of_patches = patch_offsets(self.image_rp_bucket, patch_ids) if patches else None
        if not torch.is_grad_enabled() and not padding_mask.any():
            padding_mask = None  # lets the attention take its fused path

        def run(index: int, x: Tensor) -> Tensor:
            tables = [RelativeTable(self.token_rel_pos_table_list[index].weight, of_text, (patches, patches))]
            if patches:
                tables.append(RelativeTable(self.image_rel_pos_table_list[index].weight, of_patches))
            return self.layers[index](x, bias=PositionBias(absolute, tuple(tables)), padding_mask=padding_mask)

        states = [x.transpose(0, 1)] if return_all_hiddens else []
        for index in range(len(self.layers)):
            if self.config.checkpoint_activations and self.training:
                x = checkpoint(run, index, x, use_reentrant=False)  # the bias is rebuilt, too
            else:
                x = run(index, x)
            if return_all_hiddens:
                states.append(x.transpose(0, 1))
        return x, states

    def reorder_encoder_out(self, encoder_out: dict[str, list[Tensor]], new_order: Tensor) -> dict[str, list[Tensor]]:
        """The encoder's output for the samples ``new_order`` (N,) int64, which may repeat or leave out samples."""
        reordered = {key: [value.index_select(0, new_order) for value in encoder_out[key]] for key in BATCH_FIRST}
        reordered |= {key: [value.index_select(1, new_order) for value in encoder_out[key]] for key in TIME_FIRST}
        return reordered | {"position_embeddings": encoder_out["position_embeddings"]}  # shared by the batch


BATCH_FIRST = ("encoder_padding_mask", "encoder_embedding", "src_tokens", "src_lengths")
TIME_FIRST = ("encoder_out", "encoder_states")


def _images_and_rows(
    images: Tensor | None, masks: Tensor | None, index: Tensor | None, batch: int
) -> tuple[Tensor | None, Tensor | None]:
    """The images, each once if ``index`` says whose they are, and the rows (N,) of the samples that have one."""
    if images is None:
        if masks is not None and masks.any():
            raise DataError("patch_masks has samples with an image, but patch_images is missing")
        return None, None
    if masks is None:
        masks = torch.ones(batch, dtype=torch.bool, device=images.device)
    if masks.shape != (batch,):
        raise DataError(f"patch_masks has shape {tuple(masks.shape)} in a batch of {batch}")
    rows = masks.nonzero().flatten()
    if index is not None:
        if len(index) != len(rows):
            raise DataError(f"patch_index has {len(index)} entries for {len(rows)} samples with an image")
        return (images, rows) if len(rows) else (None, None)
    if len(images) == batch and len(rows) < batch:
        images = images[rows]
    if len(images) != len(rows):
        raise DataError(f"patch_images has {len(images)} images for {len(rows)} samples with an image, {batch} in all")
    return (images, rows) if len(rows) else (None, None)
