"""Checkpoints that hold only what a tuning of a small part has trained, and name the base which they belong to.

Such a file has an entry ``base``: the name of the file that the tuning began with, for people, and the SHA-256 of its
weights. It is used together with that base, as ``BASE+SMALL`` wherever a checkpoint is named; the base may be in
another format, or have another name, as long as its weights are the same.
"""

import hashlib
import math
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ofa_mi.errors import CheckpointError, shown
from ofa_mi.state_dict import COMPUTED, with_low_rank

BASE = "base"  # the entry that makes a checkpoint a small part
AVERAGES = ("ema_fp32_params", "ema")  # in a checkpoint's `extra_state`, as fairseq and OFA write them; the finer first


# What a format may leave out of the same weights: counters, and further names of the token embedding.
FURTHER = re.compile(r"\.(version|num_batches_tracked)$|^decoder\.(embed_tokens|output_projection)\.weight$")


def digest(weights: dict[str, Tensor]) -> str:
    """SHA-256 of weights by name, kind, shape and bytes; whatever follows from others or the settings is left out."""
    total = hashlib.sha256()
    for name in sorted(weights):
        if COMPUTED.search(name) or FURTHER.search(name):
            continue
        tensor = weights[name].detach().cpu().contiguous()
        total.update(f"{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()


def identity(weights: dict[str, Tensor], path: str | Path) -> dict[str, str]:
    """What a small part says of its base."""
    return {"name": Path(path).name, "sha256": digest(weights)}


def keep(state: dict[str, Any], names: set[str], base: dict[str, str]) -> None:
    """Leave of a whole training checkpoint's weights and averages only those called ``names``, in place."""
    state[BASE] = base
    extra = state.get("extra_state") or {}
    for part, key in ((state, "model"), *((extra, key) for key in AVERAGES)):
        if key in part:
            part[key] = {name: weight for name, weight in part[key].items() if name in names}


def described(state: dict[str, Any], path: str | Path) -> dict[str, str] | None:
    """What a checkpoint says of its base; None if it is whole.

    Raises:
        CheckpointError: It is no such description.
    """
    base = state.get(BASE)
    if base is None:
        return None
    if not isinstance(base, dict) or not all(isinstance(base.get(key), str) for key in ("name", "sha256")):
        raise CheckpointError(f'{path}: its "{BASE}" does not name the checkpoint that it belongs to')
    return base


def check_whole(state: dict[str, Any], path: str | Path) -> None:
    """Refuse a small part where a whole model is needed.

    Raises:
        CheckpointError: Says how to name both.
    """
    if (base := described(state, path)) is not None:
        raise CheckpointError(
            f"{path}: holds only the small part that a tuning of {_name(base)} has trained: name both, as BASE+SMALL"
        )


def combined(base: dict[str, Any], small: dict[str, Any], base_path: str | Path, path: str | Path) -> dict[str, Any]:
    """A whole checkpoint of a base and the small part of its tuning, whose settings and training state it has.

    Raises:
        CheckpointError: One of them is the other kind of file, or they do not belong together.
    """
    wanted = described(small, path)
    if wanted is None:
        raise CheckpointError(f"{path}: is a whole model, and no small part of one: leave {base_path}+ out")
    check_whole(base, base_path)
    if wanted["sha256"] != (found := digest(base["model"])):
        raise CheckpointError(
            f"{path}: belongs to {_name(wanted)}; {base_path} has other weights (sha256 {found[:12]}…)"
        )
    state = {name: value for name, value in small.items() if name != BASE}
    state["model"] = base["model"] | small["model"]
    extra = small.get("extra_state")
    if isinstance(extra, dict):
        averages = {key: base["model"] | extra[key] for key in AVERAGES if isinstance(extra.get(key), dict)}
        state["extra_state"] = extra | averages
    return state


def _name(base: dict[str, str]) -> str:
    return f"{shown(base['name'])} (sha256 {shown(base['sha256'][:12])}…)"


def merge_low_rank(weights: dict[str, Tensor], alpha: float, path: str | Path) -> None:
    """Add changes of low rank to the weights that they change, and leave them out, in place.

    Raises:
        CheckpointError: A change does not fit its weight.
    """
    if not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise CheckpointError(f"{path}: its lora_alpha is {shown(alpha)}")
    for name in [name for name in weights if name.endswith(".lora_A")]:
        layer = name.removesuffix(".lora_A")
        a, b, weight = weights.pop(name), weights.pop(f"{layer}.lora_B", None), weights.get(f"{layer}.weight")
        fits = weight is not None and b is not None and a.dim() == b.dim() == weight.dim() == 2 and len(a) > 0
        if not fits or (len(b), a.shape[1], b.shape[1]) != (*weight.shape, len(a)):
            raise CheckpointError(f"{path}: {shown(name)} does not fit the weight that it changes")
        weights[f"{layer}.weight"] = with_low_rank(weight, a, b, alpha / len(a))
