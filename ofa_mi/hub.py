"""OFA in the model hub's format: the folder that OFA-Sys's port of OFA to `transformers` reads and writes.

It holds `config.json`, the weights under the port's names (`pytorch_model.bin` or safetensors, in one file or in
several with an index), and a tokenizer (:mod:`ofa_mi.data.vocabulary_files`). What the format has no place for, such as
the image size, stands in `config.json` under `ofa_mi`, which the port ignores.
"""

import hashlib
import json
import logging
import re
from argparse import Namespace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import torch
from torch import Tensor

from ofa_mi.data.vocabulary import Vocabulary
from ofa_mi.data.vocabulary_files import ADDED, TOKENIZER, TOKENIZER_MERGES, holds_tokenizer, tokenizer_files
from ofa_mi.errors import CheckpointError, DataError, shown
from ofa_mi.tensor_files import SAFETENSORS, check_weights, read_safetensors, read_torch, reading, writing
from ofa_mi.utils.json_files import AnyObject, read_json

logger = logging.getLogger(__name__)

CONFIG, CARD = "config.json", "README.md"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that is there counts
INDEX = ".index.json"  # what the name of an index adds
# Of the vocabulary that OFA's encoder.json, vocab.bpe and dict.txt give: `Vocabulary.key`.
OFA_KEY = "58f6fae3a669b0631b32eb0b0196be421e8026d17d35d94aba5976b60d320010"
# Image sizes in pixels that the released models were trained with, by their width: the port's config has none.
IMAGE_SIZES = {256: 256, 512: 256, 768: 384, 1024: 480, 1280: 480}
# Buffers that fairseq keeps and the port does not, with fairseq's value.
VERSIONS = {"encoder.version": 3.0, "decoder.version": 3.0}
# An index table that is one shorter in the port; both compute it.
COMPUTED_APART = "decoder.image_position_idx"

# -- names

# Within a layer: our name (fairseq's), the port's.
RENAMED = {
    "encoder": {"attn_ln": "self_attn_mid_layer_norm", "ffn_layernorm": "ffn_layer_norm"},
    "decoder": {
        "self_attn_ln": "self_attn_mid_layer_norm",
        "cross_attn_ln": "cross_attn_mid_layer_norm",
        "ffn_layernorm": "ffn_layer_norm",
        "encoder_attn": "cross_attn",
        "encoder_attn_layer_norm": "cross_attn_layer_norm",
    },
}
_LAYER = re.compile(r"((encoder|decoder)\.layers\.[0-9]+)\.(\w+)(\..+)?")


def _renamed(name: str, table: dict[str, dict[str, str]]) -> str:
    if found := _LAYER.fullmatch(name):
        layer, side, part, rest = found.groups()
        return f"{layer}.{table[side].get(part, part)}{rest or ''}"
    return name


def to_hub(model: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the port's names; the tensors themselves are shared."""
    apart = {*VERSIONS, COMPUTED_APART}
    return {_renamed(name, RENAMED): tensor for name, tensor in model.items() if name not in apart}


def from_hub(weights: dict[str, Tensor], path: str | Path) -> dict[str, Tensor]:
    """Weights under fairseq's names; the tensors themselves are shared.

    Raises:
        CheckpointError: An entry is there under both names.
    """
    back = {side: {theirs: ours for ours, theirs in names.items()} for side, names in RENAMED.items()}
    model: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if (ours := _renamed(name, back)) in model:
            raise CheckpointError(f"{path}: has two entries for {shown(ours)}")
        model[ours] = tensor
    model.pop(COMPUTED_APART, None)
    return {name: torch.tensor([number]) for name, number in VERSIONS.items()} | model


# -- settings

Size = Annotated[int, msgspec.Meta(ge=1, le=1 << 16)]
Rate = Annotated[float, msgspec.Meta(ge=0, le=1)]


class OwnSettings(msgspec.Struct):
    """What this package adds to `config.json`.

    Attributes:
        model: The model's settings, `arch` among them.
        task: The task's.
        vocabulary: `Vocabulary.key` of the vocabulary that the tokenizer gives.
    """

    model: AnyObject
    task: AnyObject
    vocabulary: str


class PortConfig(msgspec.Struct):
    """The fields of the port's `config.json` that say what the model is, with the port's defaults."""

    model_type: str = "ofa"
    d_model: Size = 512
    encoder_layers: Size = 4
    decoder_layers: Size = 4
    encoder_ffn_dim: Size = 2048
    decoder_ffn_dim: Size = 2048
    encoder_attention_heads: Size = 8
    decoder_attention_heads: Size = 8
    max_position_embeddings: Size = 1024
    resnet_type: str = "resnet101"
    token_bucket_size: Size = 256
    image_bucket_size: Size = 42
    code_image_size: Size = 128
    attn_scale_factor: Annotated[float, msgspec.Meta(gt=0, le=1 << 16)] = 2.0
    init_std: Rate = 0.02
    dropout: Rate = 0.1
    attention_dropout: Rate = 0.0
    activation_dropout: Rate = 0.0
    encoder_drop_path_rate: Rate = 0.0
    decoder_drop_path_rate: Rate = 0.0
    resnet_drop_path_rate: Rate = 0.0
    activation_function: str = "gelu"
    normformer: bool = True
    add_type_embedding: bool = True
    layernorm_embedding: bool = True
    patch_layernorm_embedding: bool = True
    code_layernorm_embedding: bool = True
    encoder_normalize_before: bool = True
    decoder_normalize_before: bool = True
    share_decoder_input_output_embed: bool = True
    entangle_position_embedding: bool = False
    scale_embedding: bool = False
    encoder_layerdrop: Rate = 0.0
    decoder_layerdrop: Rate = 0.0
    ofa_mi: OwnSettings | None = None


# Our settings by the port's names, where both have one.
SETTINGS = {
    "d_model": "encoder_embed_dim",
    "encoder_ffn_dim": "encoder_ffn_embed_dim",
    **{
        name: name
        for name in (
            *("encoder_layers", "decoder_layers", "encoder_attention_heads", "decoder_attention_heads"),
            *("resnet_type", "token_bucket_size", "image_bucket_size", "code_image_size", "attn_scale_factor"),
            *("init_std", "dropout", "attention_dropout", "activation_dropout", "entangle_position_embedding"),
            *("encoder_drop_path_rate", "decoder_drop_path_rate", "resnet_drop_path_rate"),
        )
    },
}
# Fields whose value is the same in every released model, and part of what a model is here.
FIXED = (
    *("model_type", "activation_function", "normformer", "add_type_embedding", "layernorm_embedding"),
    *("patch_layernorm_embedding", "code_layernorm_embedding", "encoder_normalize_before", "decoder_normalize_before"),
    *("share_decoder_input_output_embed", "entangle_position_embedding", "scale_embedding"),
    *("encoder_layerdrop", "decoder_layerdrop"),
)
# Our settings that the port does not have, and their value in every model of its own.
ABSENT = {
    "entangle_position_embedding": False,
    "disable_entangle": True,
    "interpolate_position": False,
    "scale_attn": True,
    "scale_fc": True,
    "scale_heads": True,
    "scale_resids": False,
}
TOWERS = ("resnet50", "resnet101", "resnet152")  # image towers of the port
_DECODER = msgspec.json.Decoder(PortConfig)


def _read_config(path: Path) -> PortConfig:
    """`config.json`, of a model of OFA.

    Raises:
        CheckpointError: It is missing, is not what it should be, or asks for what no released model has.
    """
    try:
        config = read_json(path, _DECODER, "not the config of an OFA in the hub's format", largest=1 << 20)
    except DataError as error:
        raise CheckpointError(str(error)) from None
    for name in FIXED:
        found, usual = getattr(config, name), getattr(PortConfig(), name)
        if found != usual:
            raise CheckpointError(f"{path}: its {name} is {shown(found)}; every released OFA has {shown(usual)}")
    if config.decoder_ffn_dim != config.encoder_ffn_dim:
        raise CheckpointError(f"{path}: its decoder_ffn_dim must equal its encoder_ffn_dim")
    return config


def _settings(config: PortConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of model and task that a config stands for."""
    from ofa_mi.models.sizes import SIZES

    if config.ofa_mi is not None:
        return config.ofa_mi.model, config.ofa_mi.task
    of_width = [arch for arch, size in SIZES.items() if size.get("encoder_embed_dim") == config.d_model]
    model = {"arch": of_width[0] if of_width else "ofa_base"}  # all that it would choose is given
    model |= {ours: getattr(config, theirs) for theirs, ours in SETTINGS.items()} | ABSENT
    model |= dict.fromkeys(("max_source_positions", "max_target_positions"), config.max_position_embeddings)
    size = IMAGE_SIZES.get(config.d_model)
    return model, {} if size is None else {"patch_image_size": size}


def _port_config(settings: dict[str, Any], path: str | Path) -> PortConfig:
    """The port's config for a model's settings.

    Raises:
        CheckpointError: The port has no such model; the message names the option.
    """
    from ofa_mi.models.sizes import SIZES, complete

    if settings.get("arch") not in SIZES:
        raise CheckpointError(f"{path}: its architecture {shown(settings.get('arch'))} is none of {', '.join(SIZES)}")
    args = Namespace(**settings)
    complete(args, args.arch)
    for name, usual in (ABSENT | {"max_target_positions": args.max_source_positions}).items():
        if getattr(args, name) != usual:
            raise CheckpointError(
                f"{path}: the hub's OFA has no such model: --{name.replace('_', '-')} must be {usual}, "
                f"found {shown(getattr(args, name))}"
            )
    if args.resnet_type not in TOWERS:
        raise CheckpointError(
            f"{path}: the hub's OFA has no such model: --resnet-type must be one of {', '.join(TOWERS)}, "
            f"found {shown(args.resnet_type)}"
        )
    fields = {theirs: getattr(args, ours) for theirs, ours in SETTINGS.items()}
    return PortConfig(
        **fields, decoder_ffn_dim=fields["encoder_ffn_dim"], max_position_embeddings=args.max_source_positions
    )


# -- reading


def folder_of(path: str | Path) -> Path | None:
    """The folder that a checkpoint's path means: itself, or that of its `config.json`; None if it is another file."""
    path = Path(path)
    return path if path.is_dir() else path.parent if path.name == CONFIG else None


def files_of(folder: Path) -> list[Path]:
    """The files that make the model, those of the weights first.

    Raises:
        CheckpointError: One is missing, or the index names one outside the folder.
    """
    names = [*_weight_files(folder)[0], CONFIG, TOKENIZER, TOKENIZER_MERGES, ADDED]
    return [folder / name for name in names if (folder / name).exists()]


def digest(folder: Path) -> str:
    """What tells two models apart: a hash of the names and contents of their files."""
    content = hashlib.sha256()
    for path in files_of(folder):
        with path.open("rb") as file:
            content.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\0".encode())
    return content.hexdigest()


def read_folder(folder: Path) -> dict[str, Any]:
    """A folder as a checkpoint: `"model"`, `"cfg"`, `"args"` (None) and `"task_state"`, as fairseq's files have them.

    The tensors stay in their files. A tokenizer that does not give the ids of OFA's `dict.txt`, or for a folder of
    this package's those that it was written for, is said in the log and left out.

    Raises:
        CheckpointError: A file is missing, damaged or refused; the message names it.
    """
    if not (folder / CONFIG).exists():
        raise CheckpointError(f"{folder}: is a folder without {CONFIG}: no checkpoint of the hub's format")
    config = _read_config(folder / CONFIG)
    model, task = _settings(config)
    words = _proved_vocabulary(folder, config)
    return {
        "model": from_hub(_read_weights(folder), folder),
        "args": None,
        "cfg": {"model": Namespace(**model), "task": task},
        "task_state": {} if words is None else {"vocabulary": words.state()},
    }


def _proved_vocabulary(folder: Path, config: PortConfig) -> Vocabulary | None:
    if not holds_tokenizer(folder):
        return None
    try:
        words = Vocabulary.load(folder)
    except DataError as error:
        logger.warning("%s; the tokenizer is not used", error)
        return None
    if words.key == (OFA_KEY if config.ofa_mi is None else config.ofa_mi.vocabulary):
        return words
    logger.warning(
        "%s: its tokenizer does not give the ids of %s, and is not used",
        folder,
        "OFA's dict.txt" if config.ofa_mi is None else "its model",
    )
    return None


def _weight_files(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Names of the files of weights, and which entry is in which of them if there is an index."""
    for name in WEIGHTS:
        if (folder / name).exists():
            return [name], {}
        if (index := folder / f"{name}{INDEX}").exists():
            places = _read_index(index)
            return sorted(set(places.values())), places
    raise CheckpointError(f"{folder}: is a folder without {' and without '.join(WEIGHTS)}: no checkpoint")


class Index(msgspec.Struct):
    """The index of weights in several files."""

    weight_map: dict[str, str]


_INDEX_DECODER = msgspec.json.Decoder(Index)


def _read_index(path: Path) -> dict[str, str]:
    try:
        places = read_json(path, _INDEX_DECODER, "not an index of weights").weight_map
    except DataError as error:
        raise CheckpointError(str(error)) from None
    for name in set(places.values()):
        if "\0" in name or Path(name).name != name or Path(name).suffix not in (SAFETENSORS, ".bin"):
            raise CheckpointError(f"{path}: names {shown(name)}, which is no file of weights beside it")
    return places


def _read_weights(folder: Path) -> dict[str, Tensor]:
    """All weights under the port's names."""
    files, places = _weight_files(folder)
    weights: dict[str, Tensor] = {}
    for name in files:
        path = folder / name
        with reading(path):
            found = read_safetensors(path)[0] if path.suffix == SAFETENSORS else read_torch(path)
            if not isinstance(found, dict):
                raise CheckpointError(f"{path}: holds no table of weights")
            check_weights(found, "table of weights", path)
        if missing := {entry for entry, place in places.items() if place == name} - found.keys():
            raise CheckpointError(f"{path}: lacks {shown(min(missing))}, which the index says is in it")
        if twice := weights.keys() & found.keys():
            raise CheckpointError(f"{path}: has {shown(min(twice))} again, which is in another file, too")
        weights |= found
    return weights


# -- writing


def write_folder(state: dict[str, Any], folder: Path) -> None:
    """Write a folder that the port, and :func:`read_folder`, read; `config.json` comes last, and makes it a checkpoint.

    Args:
        state: Weights, settings and vocabulary, as :func:`ofa_mi.checkpoint.portable` returns them.
        folder: Made if it does not exist.

    Raises:
        CheckpointError: The folder holds a checkpoint, a file cannot be written, there is no vocabulary, or the port
            has no such model.
    """
    if (folder / CONFIG).exists():
        raise CheckpointError(f"{folder}: holds a checkpoint; name another folder")
    settings = vars(state["cfg"]["model"])
    config = _port_config(settings, folder)
    if "vocabulary" not in state["task_state"]:
        raise CheckpointError(f"{folder}: the source holds no vocabulary: give its files by --bpe-dir")
    words = Vocabulary.from_state(state["task_state"]["vocabulary"])
    for name, content in tokenizer_files(words.parts).items():
        _write(folder / name, content)
    config.ofa_mi = OwnSettings(settings, state["cfg"].get("task", {}), _written_key(folder, words))
    content = _config_text(config, len(words), folder)
    weights = to_hub(state["model"])
    with writing(folder / WEIGHTS[1]) as file:
        torch.save(weights, file)
    _write(folder / CARD, _card(config, weights, words).encode())
    _write(folder / CONFIG, content)


def _write(path: Path, content: bytes) -> None:
    with writing(path) as file:
        file.write(content)


def _written_key(folder: Path, words: Vocabulary) -> str:
    """`Vocabulary.key` of the tokenizer that was written, after a check that it gives the same ids."""
    again = Vocabulary.load(folder)
    if (again.texts, again.merges, len(again)) != (words.texts, words.merges, len(words)):
        raise CheckpointError(f"{folder}: the hub's tokenizer cannot give the ids of this vocabulary")
    return again.key


def _config_text(config: PortConfig, entries: int, folder: Path) -> bytes:
    """`config.json`, with further fields that the port's classes read."""
    try:
        fields = msgspec.to_builtins(config)
    except TypeError as error:
        raise CheckpointError(f"{folder}: a setting cannot be written to {CONFIG}: {shown(error)}") from None
    fields |= {
        "architectures": ["OFAModel"],
        "vocab_size": entries,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
        "decoder_start_token_id": 0,
        "forced_eos_token_id": 2,
        "is_encoder_decoder": True,
        "num_hidden_layers": config.encoder_layers,
        "use_cache": True,
    }
    return (json.dumps(fields, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _card(config: PortConfig, weights: dict[str, Tensor], words: Vocabulary) -> str:
    """The model card."""
    own = config.ofa_mi
    assert own is not None  # the caller has just set it
    size = own.task.get("patch_image_size")
    distinct = {(tensor.data_ptr(), tensor.shape): tensor for tensor in weights.values() if tensor.is_floating_point()}
    rows = {
        "architecture": own.model["arch"],
        "parameters and statistics": f"{sum(tensor.numel() for tensor in distinct.values()):,}",
        "width, layers of encoder and decoder": f"{config.d_model}, {config.encoder_layers}, {config.decoder_layers}",
        "image tower": config.resnet_type,
        "image size in pixels": size if type(size) is int else "not recorded",
        "vocabulary": f"{len(words):,} entries, {words.num_codes:,} image codes and {words.num_bins:,} location bins "
        "among them" + (" (OFA's own)" if own.vocabulary == OFA_KEY else ""),
        "precision of the file": ", ".join(sorted({str(t.dtype).removeprefix("torch.") for t in weights.values()})),
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"""---
tags:
- ofa
- multimodal
- instruction-tuning
---

# {own.model["arch"]}

A checkpoint of OFA (Wang et al., [arXiv 2202.03052](https://arxiv.org/abs/2202.03052)), written by
`ofa-mi checkpoint convert --to hub`.

| | |
|---|---|
{table}

What it was trained on, what it is good for and its licence are not recorded in the checkpoint: add them here before you
publish it.

## Use

With OFA-MI, which reads this folder as a checkpoint:

    ofa-mi predict --checkpoint FOLDER --image photo.jpg --instruction "what does the image describe?"
    ofa-mi checkpoint convert FOLDER model.safetensors

With OFA-Sys's port of OFA to `transformers`:

    from transformers import OFAModel, OFATokenizer

    tokenizer = OFATokenizer.from_pretrained("FOLDER")
    model = OFAModel.from_pretrained("FOLDER", use_cache=False)
"""
