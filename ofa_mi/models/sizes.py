"""The sizes of OFA and every setting of the model, as one dataclass.

The field names are OFA's option names. A field's default is its value in the released checkpoints, so that a bare
architecture loads them; the fields that differ between sizes are set in ``SIZES``.
"""

from argparse import Namespace
from dataclasses import dataclass, field, fields
from typing import Any

from ofa_mi.errors import ConfigError, shown

# The linear layers that --lora-modules names.
LORA_MODULES = {"attention": ("q_proj", "k_proj", "v_proj", "out_proj"), "feed-forward": ("fc1", "fc2")}


def setting(default: Any, help: str, *, aliases: tuple[str, ...] = ()) -> Any:
    """Dataclass field with its ``help`` text and further names (``aliases``) on the command line."""
    return field(default=default, metadata={"help": help, "aliases": aliases})


@dataclass(frozen=True, kw_only=True)
class Config:
    """Every setting of the model. Encoder and decoder share width, FFN width and token embedding."""

    encoder_embed_dim: int = setting(768, "width of encoder and decoder")
    encoder_ffn_embed_dim: int = setting(3072, "width of the feed-forward layers of encoder and decoder")
    encoder_layers: int = setting(6, "number of encoder layers")
    encoder_attention_heads: int = setting(12, "attention heads of an encoder layer")
    decoder_layers: int = setting(6, "number of decoder layers")
    decoder_attention_heads: int = setting(12, "attention heads of a decoder layer")
    resnet_type: str = setting("resnet101", "image tower: conv_nano, resnet_nano, resnet50, resnet101 or resnet152")

    max_source_positions: int = setting(1024, "longest source in tokens, patches not counted")
    max_target_positions: int = setting(1024, "longest target in tokens")
    token_bucket_size: int = setting(256, "distances of text tokens that have their own row in the relative table")
    image_bucket_size: int = setting(42, "largest patch grid: patches per side")
    code_image_size: int = setting(128, "size in pixels of images that are made of code tokens, 8 pixels each")
    attn_scale_factor: float = setting(2.0, "attention scores are scaled by (head width * this)^-0.5")
    interpolate_position: bool = setting(
        False, "resize the patch positions of the original grid to a larger grid, instead of using its own rows"
    )
    orig_patch_image_size: int = setting(256, "image size in pixels of the original grid of --interpolate-position")

    entangle_position_embedding: bool = setting(
        False, "add its position to the embedding of every patch and source token, beside the position bias"
    )
    disable_entangle: bool = setting(True, "do not add its position to the embedding of a target token")

    scale_attn: bool = setting(True, "LayerNorm after every attention")
    scale_fc: bool = setting(True, "LayerNorm inside every feed-forward layer")
    scale_heads: bool = setting(True, "a learned factor for every attention head")
    scale_resids: bool = setting(False, "a learned vector that scales the residual of every feed-forward layer")

    init_std: float = setting(0.02, "standard deviation of the initial weights of linear layers and the tied embedding")
    sinusoidal_init: bool = setting(
        False, "begin with positions, and with location bins, as sines of their place, so that neighbours are alike"
    )
    dropout: float = setting(0.0, "dropout of embeddings and of every layer's output")
    attention_dropout: float = setting(0.0, "dropout of attention weights")
    activation_dropout: float = setting(0.0, "dropout after the activation", aliases=("--relu-dropout",))
    encoder_drop_path_rate: float = setting(0.0, "stochastic depth of the last encoder layer (rising from 0)")
    decoder_drop_path_rate: float = setting(0.0, "stochastic depth of the last decoder layer (rising from 0)")
    resnet_drop_path_rate: float = setting(0.0, "stochastic depth of the last block of each ResNet stage")

    freeze_resnet: bool = setting(False, "freeze statistics and affine parameters of the ResNet's BatchNorm layers")
    freeze_encoder_embedding: bool = setting(False, "freeze the token embedding (encoder and decoder share it)")
    freeze_decoder_embedding: bool = setting(False, "freeze the token embedding (encoder and decoder share it)")
    checkpoint_activations: bool = setting(False, "recompute the activations in backward to save memory")
    min_params_to_wrap: int = setting(100_000_000, "fewest parameters of a layer that is wrapped by a sharded backend")

    lora_rank: int = setting(
        0, "train changes of this rank beside the weights of --lora-modules, and nothing else (LoRA); 0: none"
    )
    lora_alpha: float = setting(16.0, "these changes are scaled by this / --lora-rank")
    lora_dropout: float = setting(0.0, "dropout of what these changes see")
    lora_modules: str = setting("attention", "which weights have them: attention, feed-forward, or both with a comma")
    adapter: bool = setting(False, "train an adapter at the end of every feed-forward part, and nothing else")
    adapter_dim: int = setting(200, "width of the adapters")
    bitfit: bool = setting(False, "train biases of feed-forward layers and LayerNorms, and nothing else")

    @property
    def tunes_part(self) -> bool:
        """Whether only a small part of the weights is trained, and saved."""
        return bool(self.lora_rank or self.adapter or self.bitfit)

    def __post_init__(self) -> None:
        self._check_tuning()
        for heads in (self.encoder_attention_heads, self.decoder_attention_heads):
            if self.encoder_embed_dim % heads:
                raise ConfigError(f"--encoder-embed-dim {self.encoder_embed_dim} is not a multiple of {heads} heads")

    def _check_tuning(self) -> None:
        """Bounds that no use exceeds: the settings of a file must not take any amount of memory."""
        if not 0 <= self.lora_rank <= self.encoder_embed_dim:
            raise ConfigError(f"--lora-rank must lie between 0 and the width {self.encoder_embed_dim}")
        if not 0 <= self.lora_dropout < 1:
            raise ConfigError(f"--lora-dropout must lie in [0, 1), found {self.lora_dropout}")
        modules = self.lora_modules.split(",") if isinstance(self.lora_modules, str) else [self.lora_modules]
        if unknown := [name for name in modules if name not in LORA_MODULES]:
            raise ConfigError(f"--lora-modules {shown(unknown[0])} is none of {', '.join(LORA_MODULES)}")
        if self.adapter and not 0 < self.adapter_dim <= self.encoder_ffn_embed_dim:
            raise ConfigError(f"--adapter-dim must lie between 1 and the width {self.encoder_ffn_embed_dim}")

    @classmethod
    def from_args(cls, args: Namespace) -> "Config":
        """Settings out of a (possibly sparse) namespace; what it lacks, or holds as None, takes the default.

        Raises:
            ConfigError: an option of OFA asks for something that no released model has.
        """
        _refuse_other_models(args)
        given = {f.name: getattr(args, f.name, None) for f in fields(cls)}
        return cls(**{name: value for name, value in given.items() if value is not None})


SIZES: dict[str, dict[str, Any]] = {
    "ofa_nano": {
        "encoder_embed_dim": 128,
        "encoder_ffn_embed_dim": 512,
        "encoder_layers": 3,
        "decoder_layers": 3,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "resnet_type": "conv_nano",
        "image_bucket_size": 8,
        "code_image_size": 64,
        "max_target_positions": 512,
        "token_bucket_size": 64,
        "entangle_position_embedding": True,
        "disable_entangle": False,
        "sinusoidal_init": True,
        # About width^-0.5. With BERT's 0.02 so narrow a model starts with nearly uniform attention and weak layers: it
        # needs several times as many updates to make any use of an image.
        "init_std": 0.08,
    },
    "ofa_tiny": {
        "encoder_embed_dim": 256,
        "encoder_ffn_embed_dim": 1024,
        "encoder_layers": 4,
        "decoder_layers": 4,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "resnet_type": "resnet50",
    },
    "ofa_medium": {
        "encoder_embed_dim": 512,
        "encoder_ffn_embed_dim": 2048,
        "encoder_layers": 4,
        "decoder_layers": 4,
        "encoder_attention_heads": 8,
        "decoder_attention_heads": 8,
        "resnet_type": "resnet101",
    },
    "ofa_base": {},
    "ofa_large": {
        "encoder_embed_dim": 1024,
        "encoder_ffn_embed_dim": 4096,
        "encoder_layers": 12,
        "decoder_layers": 12,
        "encoder_attention_heads": 16,
        "decoder_attention_heads": 16,
        "resnet_type": "resnet152",
    },
    "ofa_huge": {
        "encoder_embed_dim": 1280,
        "encoder_ffn_embed_dim": 5120,
        "encoder_layers": 24,
        "decoder_layers": 12,
        "encoder_attention_heads": 16,
        "decoder_attention_heads": 16,
        "resnet_type": "resnet152",
    },
}

# Switches of OFA that every released model has on: part of the model here, accepted for OFA's command lines.
ALWAYS_ON = (
    "encoder_normalize_before",
    "decoder_normalize_before",
    "encoder_learned_pos",
    "decoder_learned_pos",
    "share_all_embeddings",
    "share_decoder_input_output_embed",
    "no_scale_embedding",
    "layernorm_embedding",
    "patch_layernorm_embedding",
    "code_layernorm_embedding",
    "add_type_embedding",
)
# Options of OFA that no released model uses; a value that differs would change the model silently.
ALWAYS_OFF = (
    "no_token_positional_embeddings",
    "no_cross_attention",
    "cross_self_attention",
    "adaptive_softmax_cutoff",
    "adaptive_input",
    "encoder_layerdrop",
    "decoder_layerdrop",
    "encoder_layers_to_keep",
    "decoder_layers_to_keep",
    "encoder_embed_path",
    "decoder_embed_path",
    "resnet_model_path",
    "quant_noise_pq",
    "sync_bn",
    "encoder_prompt",
    "decoder_prompt",
)
# Widths that OFA lets the decoder choose, and what they equal in every released model.
EQUAL_WIDTHS = {
    "decoder_embed_dim": "encoder_embed_dim",
    "decoder_input_dim": "encoder_embed_dim",
    "decoder_output_dim": "encoder_embed_dim",
    "decoder_ffn_embed_dim": "encoder_ffn_embed_dim",
}

# Everything that says what a model is, and nothing of how, where and from which files it was trained.
MODEL_SETTINGS = frozenset(
    {"arch", "_name", "activation_fn", *(f.name for f in fields(Config)), *ALWAYS_ON, *ALWAYS_OFF, *EQUAL_WIDTHS}
) - {"encoder_embed_path", "decoder_embed_path", "resnet_model_path"}


def complete(args: Namespace, arch: str) -> None:
    """Give every setting that ``args`` lacks (or holds as None) its value in the architecture ``arch``, in place."""
    for f in fields(Config):
        if getattr(args, f.name, None) is None:
            setattr(args, f.name, SIZES[arch].get(f.name, f.default))


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _refuse_other_models(args: Namespace) -> None:
    for name in ALWAYS_ON:
        if getattr(args, name, None) is False:
            raise ConfigError(f"{_option(name)} is part of every OFA model and cannot be turned off")
    for name in ALWAYS_OFF:
        if getattr(args, name, None):
            raise ConfigError(f"{_option(name)} is not part of any released OFA model and not supported: leave it out")
    for name, other in EQUAL_WIDTHS.items():
        value, expected = getattr(args, name, None), getattr(args, other, None)
        if None not in (value, expected) and value != expected:
            raise ConfigError(f"{_option(name)} {value} must equal {_option(other)} {expected}")
    if getattr(args, "activation_fn", None) not in (None, "gelu"):
        raise ConfigError(f"--activation-fn {args.activation_fn} is not supported: OFA uses gelu")
