"""OFA as a fairseq model: registration, command line, construction and checkpoints."""

import argparse
import math
from dataclasses import fields
from functools import partial

import torch
from fairseq.models import FairseqEncoderDecoderModel, register_model, register_model_architecture
from torch import Tensor, nn

from ofa_mi.models.decoder import Decoder
from ofa_mi.models.embedding import TokenEmbedding
from ofa_mi.models.encoder import Encoder
from ofa_mi.models.image_tower import TOWERS
from ofa_mi.models.sizes import ALWAYS_ON, SIZES, Config, complete
from ofa_mi.models.tuning import prepare
from ofa_mi.state_dict import begin_added, fit_state_dict


@register_model("ofa")
class OFAModel(FairseqEncoderDecoderModel):
    """OFA (Wang et al., arXiv 2202.03052): one encoder-decoder for text, images and regions.

    State-dict names, shapes and numbers equal those of the released checkpoints.
    """

    def __init__(self, config: Config, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__(encoder, decoder)
        self.config = config

    @classmethod
    def add_args(cls, parser: argparse.ArgumentParser) -> None:
        """One option per field of :class:`Config`; an option that is not given takes the architecture's value."""
        for f in fields(Config):
            names = ("--" + f.name.replace("_", "-"), *f.metadata["aliases"])
            kind = {"action": argparse.BooleanOptionalAction} if f.type is bool else {"type": f.type}
            if f.name == "resnet_type":
                kind["choices"] = TOWERS
            parser.add_argument(*names, dest=f.name, default=argparse.SUPPRESS, help=f.metadata["help"], **kind)
        for name in ALWAYS_ON:
            parser.add_argument(
                "--" + name.replace("_", "-"),
                action="store_true",
                default=argparse.SUPPRESS,
                help="always on; accepted for OFA's command lines",
            )

    @classmethod
    def build_model(cls, args: argparse.Namespace, task) -> "OFAModel":
        """Build the model for ``args``, which the architecture function has completed, and the task's dictionary."""
        config = Config.from_args(args)
        dictionary = task.source_dictionary
        embed_tokens = TokenEmbedding(len(dictionary), config.encoder_embed_dim, padding_idx=dictionary.pad())
        model = cls(
            config, Encoder(config, dictionary, embed_tokens), Decoder(config, task.target_dictionary, embed_tokens)
        )
        model.apply(partial(_init_weights, linear_std=config.init_std))
        if config.sinusoidal_init:
            _init_places(model, dictionary)
        nn.init.zeros_(embed_tokens.weight[embed_tokens.padding_idx])  # last: the output projection shares it
        if config.freeze_encoder_embedding or config.freeze_decoder_embedding:
            embed_tokens.weight.requires_grad_(False)
        prepare(model, config)
        return model

    def forward(
        self,
        src_tokens: Tensor,
        src_lengths: Tensor | None,
        prev_output_tokens: Tensor,
        patch_images: Tensor | None = None,
        patch_masks: Tensor | None = None,
        output_mask: Tensor | None = None,
        features_only: bool = False,
        return_all_hiddens: bool = False,
    ) -> tuple[Tensor, dict[str, list]]:
        """Teacher forcing.

        Args:
            src_tokens: (B, S) int64.
            src_lengths: (B,) unused, part of fairseq's interface.
            prev_output_tokens: (B, T) int64, the target shifted to the right.
            patch_images: (B, 3, H, W), or only the rows (N, 3, H, W) whose ``patch_masks`` is True.
            patch_masks: (B,) bool, True for samples that have an image; ``None`` means all of them.
            output_mask: (B, T) bool, True at the N target positions whose logits are wanted; ``None`` means all.
            features_only: return the decoder's features, C wide, instead of the logits.
            return_all_hiddens: also return what lies between the layers.

        Returns:
            (B, T, V) logits, or (N, V) with an ``output_mask``; and the decoder's dictionary, with the encoder's
            under ``encoder_out``.
        """
        with self.decoder.embed_tokens.one_gradient():
            encoder_out = self.encoder(
                src_tokens,
                src_lengths,
                patch_images=patch_images,
                patch_masks=patch_masks,
                return_all_hiddens=return_all_hiddens,
            )
            x, extra = self.decoder.extract_features(
                prev_output_tokens, encoder_out, return_all_hiddens=return_all_hiddens
            )
            if output_mask is not None:
                x = x[output_mask]  # B, T, C -> N, C
            return (x if features_only else self.decoder.output_layer(x)), extra | {"encoder_out": encoder_out}

    def extract_features(self, *args, **kwargs) -> tuple[Tensor, dict[str, list]]:
        """As :meth:`forward`, without the output projection."""
        return self(*args, **kwargs, features_only=True)

    def get_targets(self, sample: dict, net_output: tuple) -> Tensor:
        """Targets that belong to the logits, for fairseq's criterions: (N,) with an ``output_mask``, else (B, T)."""
        mask = sample["net_input"].get("output_mask")
        return sample["target"] if mask is None else sample["target"][mask]

    def load_state_dict(self, state_dict: dict, strict: bool = True, model_cfg=None, args=None):
        """Load a checkpoint of this or a smaller vocabulary or position table, and log every entry that does not fit.

        See :func:`ofa_mi.state_dict.fit_state_dict`. The caller's dictionary stays as it is.
        """
        state_dict = dict(state_dict)
        begin_added(state_dict, self)
        fit_state_dict(state_dict, self)
        return super().load_state_dict(state_dict, strict, model_cfg, args)


def _init_weights(module: nn.Module, linear_std: float) -> None:
    """BERT's initialisation (arXiv 1810.04805); the ResNet keeps its own.

    Linear layers have the scale of the model's size, and so has the token embedding: its weight is the output
    projection's.
    """
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=linear_std)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def _init_places(model: OFAModel, dictionary) -> None:
    """Positions and location bins as sines of their place (arXiv 1706.03762), so that neighbours begin alike.

    A patch has its column in the first half of its embedding and its row in the second; a bin, which may be either,
    has its place in both. Bins are taken to span the largest patch grid. Scaled as the embedding of tokens.
    """
    config, encoder, decoder = model.config, model.encoder, model.decoder
    width, side = config.encoder_embed_dim, config.image_bucket_size
    std = config.init_std

    def spread(sines: Tensor) -> Tensor:
        return sines * (std * 2**0.5)  # the mean square of a sine is one half

    with torch.no_grad():
        for table in (encoder.embed_positions, decoder.embed_positions):
            table.weight.copy_(spread(sines(torch.arange(len(table.weight)).float(), width, fastest=1.0)))
        halves = sines(torch.arange(side) + 0.5, width // 2, fastest=4.0)  # side, C / 2
        grid = torch.cat([halves.repeat(side, 1), halves.repeat_interleave(side, dim=0)], dim=1)  # side * side, C
        for table in (encoder.embed_image_positions, decoder.embed_image_positions):
            table.weight[1:] = spread(grid)
        if "<bin_0>" in dictionary.indices:
            first = dictionary.indices["<bin_0>"]
            bins = len(dictionary) - first
            places = sines(torch.linspace(0, side, bins), width // 2, fastest=4.0)
            encoder.embed_tokens.weight[first:] = spread(torch.cat([places, places], dim=1))


def sines(places: Tensor, width: int, *, fastest: float) -> Tensor:
    """Sines and cosines of places (N,), at rates from ``fastest`` radians per unit down to 0.01: (N, width)."""
    rates = torch.logspace(math.log10(fastest), -2, width // 2)
    angles = places[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


for _arch in SIZES:
    register_model_architecture("ofa", _arch)(partial(complete, arch=_arch))
