"""Checkpoints: reading them safely, building their model, and writing them.

Four formats hold the same things, `{"model": …, "cfg" or "args": …, "task_state": …}`:

- fairseq's own, which `fairseq-train` writes (with the optimizer's state);
- the released OFA's, which is an older fairseq's (weights and settings, no vocabulary);
- safetensors, with the settings and the vocabulary as JSON in its metadata;
- a folder of the model hub's format (`ofa_mi.hub`).

A file may hold a small part of a model's weights, and belong to another (:mod:`ofa_mi.small_part`).

A file is never trusted: `torch.load` reads weights only, so that a pickle that would run code is refused
(`fairseq_compat.loading.ALLOWED_TYPES` lists what else a file may hold).
"""

import json
import logging
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from ofa_mi import hub
from ofa_mi.data.vocabulary import MOST_SPECIALS, Vocabulary
from ofa_mi.errors import CheckpointError, ConfigError, DataError, shown
from ofa_mi.packaged import parts_of
from ofa_mi.small_part import AVERAGES, BASE, check_whole, combined, described
from ofa_mi.state_dict import GROWING, without_tables
from ofa_mi.tensor_files import (
    SAFETENSORS,
    check_weights,
    read_safetensors,
    read_torch,
    reading,
    write_safetensors,
    writing,
)

if TYPE_CHECKING:
    from ofa_mi.models import OFAModel

logger = logging.getLogger(__name__)

# How deep a setting of a model may be nested: those that exist are numbers, words and lists of them.
SETTING_LEVELS = 8
# The numbers of a task's settings and what they may be, and its other settings.
TASK_NUMBERS = {
    "patch_image_size": (16, 1 << 12),
    "max_image_size": (16, 1 << 16),
    "num_bins": (2, MOST_SPECIALS),
    "max_src_length": (1, 1 << 20),
    "max_tgt_length": (1, 1 << 20),
}
MOST_POSITIONS, MOST_PATCHES = 4096, 64  # of a model that is made: in a text, and per side of an image
TASK_CHOICES = {"text_case": ("lower", "keep"), "option_markers": ("on", "off"), "black_image": (True, False)}
# Prefixes of names in files that were written of a wrapped model: data parallelism, sharding, compilation.
WRAPPERS = ("module.", "_fsdp_wrapped_module.", "_fpw_module.", "_orig_mod.")
# Settings of a task that using its model depends on.
TASK_SETTINGS = frozenset(
    [
        *("_name", "task", "patch_image_size", "max_image_size", "num_bins", "max_src_length", "max_tgt_length"),
        *("text_case", "black_image", "option_markers", "prompt_style"),
    ]
)


# -- reading


def read(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU; the tensors stay in the file until they are used, where the format allows it.

    `BASE+SMALL` is read as one whole checkpoint; of a small part by itself, `"base"` says what it belongs to.

    Returns:
        `"model"` (name to tensor), `"cfg"` or `"args"` (the settings), and what else the file holds.

    Raises:
        CheckpointError: The file is missing, damaged or not a checkpoint, or holds a type that is not allowed.
    """
    import fairseq  # noqa: F401, after which torch.load knows the types that a file may hold (`fairseq_compat`)

    base, *small = parts_of(str(path))
    if small:
        return combined(read(base), read(small[0]), base, small[0])
    path = Path(path)
    with reading(path):
        state = _read(path)
        if not isinstance(state, dict) or not isinstance(state.get("model"), dict):
            raise CheckpointError(f'{path}: not a checkpoint of fairseq or OFA: it has no "model"')
        if hub.folder_of(path) is None:  # of a folder each file was checked
            check_weights(state["model"], '"model"', path)
        for name in ("cfg", "task_state"):
            if not isinstance(state.get(name) or {}, dict | DictConfig):
                raise CheckpointError(f'{path}: its "{name}" is no table of settings')
            plain(state.get(name))  # a damaged one may refuse to be read
        history = state.get("optimizer_history")
        if not isinstance(history or [], list) or not all(isinstance(entry, dict) for entry in history or []):
            raise CheckpointError(f'{path}: its "optimizer_history" is no list of tables')
        unwrap_names(state)
        described(state, path)
    return state


def files_of(path: str | Path) -> list[Path]:
    """The files that a checkpoint is read from: one, those of a folder, or those of a base and its small part."""
    folders = {part: hub.folder_of(part) for part in parts_of(str(path))}
    return [
        file for part, folder in folders.items() for file in ([Path(part)] if folder is None else hub.files_of(folder))
    ]


def unwrap_names(state: dict[str, Any]) -> None:
    """Take the prefixes of data-parallel wrappers off the names of a checkpoint's weights and averages, in place."""
    extra = state.get("extra_state")
    for part, names in ((state, ("model",)), (extra, AVERAGES)):
        for name in names:
            weights = part.get(name) if isinstance(part, dict) else None
            while isinstance(weights, dict) and weights and all(str(key).startswith(WRAPPERS) for key in weights):
                weights = part[name] = {key.partition(".")[2]: weight for key, weight in weights.items()}


def has_average(state: dict[str, Any]) -> bool:
    """Whether a checkpoint holds averaged weights beside the last ones."""
    extra = state.get("extra_state")
    return isinstance(extra, dict) and any(isinstance(extra.get(name), dict) for name in AVERAGES)


def select_weights(state: dict[str, Any], weights: str, path: str | Path) -> None:
    """Make `state["model"]` the weights that are wanted, in place; averages that are not are mentioned in the log.

    Args:
        state: As :func:`read` returns it.
        weights: `"model"`, those of the last update, or `"ema"`, their exponential moving average, which
            `--store-ema` keeps; that in single precision (`--ema-fp32`) if there are two.
        path: The file.

    Raises:
        CheckpointError: There is no average, or it is damaged.
        ValueError: `weights` is neither.
    """
    if weights not in ("model", "ema"):
        raise ValueError(f"weights must be 'model' or 'ema', found {weights!r}")
    if weights == "model":
        if has_average(state):
            logger.info("%s also holds averaged weights (EMA): --weights ema uses them", path)
        return
    if not has_average(state):
        raise CheckpointError(f"{path}: holds no averaged weights (EMA), which --store-ema keeps; leave --weights out")
    extra = state["extra_state"]
    averages = next(extra[name] for name in AVERAGES if isinstance(extra.get(name), dict))
    check_weights(averages, "average", path, files_of(path))
    state["model"] = averages


def _read(path: Path) -> Any:
    """A file, or a folder of the hub's format, which its `config.json` stands for, too."""
    if (folder := hub.folder_of(path)) is not None:
        return hub.read_folder(folder)
    return _read_safetensors(path) if path.suffix == SAFETENSORS else read_torch(path)


def _read_safetensors(path: Path) -> dict[str, Any]:
    model, metadata = read_safetensors(path)
    try:
        settings = json.loads(metadata.get("ofa_mi", "{}"))
        model |= {name: model[other] for name, other in settings.pop("tied", {}).items()}
        cfg = settings.get("cfg") or {}
        if "model" in cfg:  # as in fairseq's own files
            cfg["model"] = Namespace(**cfg["model"])
        state = {"model": model, "args": None, "cfg": cfg, "task_state": settings.get("task_state") or {}}
        return {**state, BASE: settings[BASE]} if BASE in settings else state
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise CheckpointError(f"{path}: its metadata is damaged: {shown(error)}") from None


def model_args(state: dict[str, Any], path: str | Path = "checkpoint") -> Namespace:
    """The model's settings, `arch` among them, from `cfg["model"]` or, in older files, from `args`.

    Raises:
        CheckpointError: The checkpoint does not say which model it is, or a setting is no setting.
    """
    settings = plain(plain(state.get("cfg")).get("model")) or plain(state.get("args")) or {}
    arch = settings.get("arch") or settings.get("_name")
    if not arch:
        raise CheckpointError(f'{path}: neither its "cfg" nor its "args" names the architecture')
    for name, value in settings.items():
        if _nested_deeper(value, SETTING_LEVELS):  # which Python could not copy
            raise CheckpointError(f"{path}: its setting {shown(name)} has more than {SETTING_LEVELS} levels")
    return Namespace(**{str(name): value for name, value in settings.items()} | {"arch": arch})


def _nested_deeper(value: Any, levels: int) -> bool:
    """Whether lists and tables lie within one another more than so many levels deep."""
    level = [value]
    for _ in range(levels + 1):
        tables = [held for held in level if isinstance(held, dict | list | tuple)]
        level = [part for table in tables for part in (table.values() if isinstance(table, dict) else table)]
    return bool(level)


def task_config(state: dict[str, Any], path: str | Path = "checkpoint") -> dict[str, Any]:
    """The settings of the task `multiinstruct` that wrote the checkpoint.

    Of another task (OFA's own), only those of images and bins: its lengths, say, are limits of its data, not of
    the model. What the settings leave open (None) is left out.

    Raises:
        CheckpointError: A number or a choice cannot be what it says.
    """
    settings = plain(plain(state.get("cfg")).get("task")) or plain(state.get("args")) or {}
    settings = {name: value for name, value in settings.items() if value is not None}
    for name, (least, most) in TASK_NUMBERS.items():
        value = settings.get(name, least)
        if type(value) is not int or not least <= value <= most:
            raise CheckpointError(f"{path}: its {name} must be a number from {least} to {most:,}, found {shown(value)}")
    for name, choices in TASK_CHOICES.items():
        if name in settings and settings[name] not in choices:
            known = " or ".join(map(str, choices))
            raise CheckpointError(f"{path}: its {name} must be {known}, found {shown(settings[name])}")
    if "multiinstruct" in (settings.get("_name"), settings.get("task")):
        return settings
    return {name: settings[name] for name in ("patch_image_size", "max_image_size", "num_bins") if settings.get(name)}


def vocabulary(state: dict[str, Any], bpe_dir: str | Path | None = None, path: str | Path = "checkpoint") -> Vocabulary:
    """The checkpoint's own vocabulary, or that of `bpe_dir` where it has none.

    Raises:
        CheckpointError: There is neither, or there are two that differ.
    """
    kept = plain(state.get("task_state")).get("vocabulary")
    if kept is None:
        if bpe_dir is None:
            raise CheckpointError(f"{path}: holds no vocabulary (released models do not): give its files by --bpe-dir")
        return Vocabulary.load(bpe_dir)
    try:
        own = Vocabulary.from_state(kept)
    except DataError as error:
        raise CheckpointError(f"{path}: {error}") from None
    if bpe_dir is not None and Vocabulary.load(bpe_dir).key != own.key:
        raise CheckpointError(f"{path}: holds a vocabulary that differs from --bpe-dir {bpe_dir}: leave the option out")
    return own


def plain(settings: Any) -> dict[str, Any]:
    """Settings in any of their forms (namespace, OmegaConf node, dictionary) as a new dictionary.

    What OmegaConf would look up elsewhere (``${…}``) stays as it is written: it could ask for an environment variable.
    """
    if OmegaConf.is_config(settings):
        settings = OmegaConf.to_container(settings, resolve=False, enum_to_str=True)
    if isinstance(settings, Namespace):
        settings = vars(settings)
    return dict(settings) if isinstance(settings, dict) else {}


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A model ready for use and what is needed to feed it.

    Attributes:
        model: In evaluation mode, on the CPU, in single precision.
        vocabulary: The checkpoint's own, or that of `bpe_dir`.
        model_args: The settings that the model was built from, `arch` among them.
        task_config: See :func:`task_config`.
    """

    model: "OFAModel"
    vocabulary: Vocabulary
    model_args: Namespace
    task_config: dict[str, Any]


# Options of OFA that say where weights came from or how they were trained, not what the model is.
TRAINING_ONLY = ("resnet_model_path", "encoder_embed_path", "decoder_embed_path", "sync_bn")


def load(path: str | Path, *, bpe_dir: str | Path | None = None, weights: str = "model") -> LoadedCheckpoint:
    """Build the model of a checkpoint and load its weights.

    Args:
        path: A file of `fairseq-train`, of the released OFA, or safetensors; a folder of the hub's format; or
            `BASE+SMALL`.
        bpe_dir: The vocabulary's files, for a checkpoint that does not hold its vocabulary.
        weights: See :func:`select_weights`.

    Raises:
        CheckpointError: The file cannot be read, does not name a known architecture, or does not fit.
        ConfigError: Its settings ask for a model that is not supported.
        DataError: A file of `bpe_dir` is missing or wrong.
    """
    from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY

    state = read(path)
    check_whole(state, path)
    select_weights(state, weights, path)
    args = model_args(state, path)
    known = [arch for arch in ARCH_MODEL_REGISTRY if arch.startswith("ofa_")]
    if args.arch not in known:
        raise CheckpointError(f"{path}: its architecture {shown(args.arch)} is none of {', '.join(known)}")
    words, task_settings = vocabulary(state, bpe_dir, path), task_config(state, path)
    if task_settings.get("num_bins", 0) > words.num_bins:
        raise CheckpointError(f"{path}: has {task_settings['num_bins']} location bins, its vocabulary {words.num_bins}")
    for name in TRAINING_ONLY:
        vars(args).pop(name, None)
    ARCH_CONFIG_REGISTRY[args.arch](args)
    _check_size(args, state["model"], path)
    task = SimpleNamespace(source_dictionary=words.dictionary, target_dictionary=words.dictionary)
    try:
        model = ARCH_MODEL_REGISTRY[args.arch].build_model(args, task)
    except (TypeError, ValueError, RuntimeError, ArithmeticError, ConfigError) as error:  # settings of something else
        raise CheckpointError(f"{path}: its settings make no model: {shown(error)}") from error
    try:
        model.load_state_dict(state["model"])
    except (CheckpointError, RuntimeError) as error:
        raise CheckpointError(f"{path}: {shown(error)}") from None
    return LoadedCheckpoint(model.eval(), words, args, task_settings)


def _check_size(args: Namespace, weights: dict[str, Tensor], path: str | Path) -> None:
    """Refuse settings of a larger model than the weights are of, before its memory is taken."""
    for side in ("encoder", "decoder"):
        layers = {name.split(".")[2] for name in weights if name.startswith(f"{side}.layers.")}
        positions = "max_source_positions" if side == "encoder" else "max_target_positions"
        most = {
            f"{side}_layers": len(layers),
            f"{side}_ffn_embed_dim": _rows(weights, f"{side}.layers.0.fc1.weight"),
            f"{side}_embed_dim": _rows(weights, f"{side}.layer_norm.weight"),
            # Tables that may grow; the model keeps the square of the first, the fourth power of the last.
            positions: max(MOST_POSITIONS, _rows(weights, f"{side}.embed_positions.weight")),
            "token_bucket_size": MOST_POSITIONS,
            "image_bucket_size": MOST_PATCHES,
        }
        for name, number in most.items():
            said = getattr(args, name, None)
            if said is not None and (type(said) is not int or said > number):
                raise CheckpointError(
                    f"{path}: its settings make no model: {name} is {shown(said)}, its weights allow {number:,}"
                )


def _rows(weights: dict[str, Tensor], name: str) -> int:
    return weights[name].shape[0] if name in weights and weights[name].dim() else 0


# -- writing


def portable(state: dict[str, Any], words: Vocabulary | None = None) -> dict[str, Any]:
    """The part of a checkpoint that is needed to use the model or to fine-tune it: weights, settings, vocabulary.

    Paths, addresses and other settings of the machine that trained it stay behind.

    Args:
        state: As :func:`read` returns it.
        words: A vocabulary to keep in place of the checkpoint's own.
    """
    from ofa_mi.models.sizes import MODEL_SETTINGS  # not above: it registers the model, before fairseq is ready

    cfg = {name: plain(settings) for name, settings in plain(state.get("cfg")).items() if name in ("model", "task")}
    if not cfg.get("model"):
        settings = plain(state.get("args"))
        cfg = {"model": settings, "task": {**settings, "_name": settings.get("task")}}
    for part, names in (("model", MODEL_SETTINGS), ("task", TASK_SETTINGS)):
        cfg[part] = {name: value for name, value in cfg.get(part, {}).items() if name in names}
    kept = (state.get("task_state") or {}).get("vocabulary") if words is None else words.state()
    return {
        "args": None,
        "cfg": {**cfg, "model": Namespace(**cfg["model"])},
        "model": state["model"],
        "task_state": {} if kept is None else {"vocabulary": kept},
        **({BASE: state[BASE]} if BASE in state else {}),
    }


def halved(model: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights for a small file: matrices and larger tensors in fp16, and no index tables, which the model computes.

    Vectors, such as BatchNorm's statistics, keep their precision.
    """
    return {
        name: weight.half() if weight.is_floating_point() and weight.dim() > 1 else weight
        for name, weight in without_tables(model).items()
    }


def with_tables(state: dict[str, Any], path: str | Path = "checkpoint") -> dict[str, Tensor]:
    """The weights of a checkpoint of a known architecture with the index tables that the released code expects.

    Raises:
        CheckpointError: Its settings make no model.
    """
    from ofa_mi.models.position_bias import index_tables  # not above, as in `portable`
    from ofa_mi.models.sizes import SIZES, Config, complete

    args = model_args(state, path)
    if args.arch not in SIZES:
        return state["model"]
    complete(args, args.arch)
    _check_size(args, state["model"], path)
    try:
        return index_tables(Config.from_args(args)) | state["model"]
    except (TypeError, ValueError, RuntimeError, ArithmeticError, ConfigError) as error:
        raise CheckpointError(f"{path}: its settings make no model: {shown(error)}") from error


def save(state: dict[str, Any], path: str | Path) -> None:
    """Write a checkpoint, all of it or nothing; the ending of `path` chooses safetensors or PyTorch's format.

    Safetensors holds what :func:`portable` keeps, without index tables; equal tables (tied parameters) are written
    once.

    Raises:
        CheckpointError: A setting cannot be written as JSON, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix != SAFETENSORS:
        with writing(path) as file:
            torch.save(state, file)
        return
    state = portable(state)
    model, tied = _untie(without_tables(state["model"]))
    cfg = {**state["cfg"], "model": vars(state["cfg"]["model"])}
    try:
        base = {BASE: state[BASE]} if BASE in state else {}
        settings = json.dumps({"cfg": cfg, "task_state": state["task_state"], "tied": tied, **base})
        with writing(path) as file:
            write_safetensors(model, {"format": "pt", "ofa_mi": settings}, file)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: a setting or weight cannot be written to safetensors: {error}") from None


def _untie(model: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Split a state dict into distinct tensors, and the names of further ones with their equals."""
    kept: dict[str, Tensor] = {}
    tied: dict[str, str] = {}
    for name, tensor in model.items():
        equals = (
            other
            for other, seen in kept.items()
            if GROWING.search(name)
            and GROWING.search(other)
            and seen.shape == tensor.shape
            and torch.equal(seen, tensor)
        )
        if (equal := next(equals, None)) is not None:
            tied[name] = equal
        else:
            kept[name] = tensor
    return kept, tied
