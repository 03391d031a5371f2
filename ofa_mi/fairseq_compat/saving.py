"""Checkpoints as fairseq writes them."""

import functools
from types import ModuleType
from typing import Any

import torch

from ofa_mi.checkpoint import plain
from ofa_mi.state_dict import without_tables
from ofa_mi.tensor_files import writing


def wrap_saving(checkpoint_utils: ModuleType) -> None:
    """Let fairseq write a checkpoint once, and remove what it could not write."""
    save = checkpoint_utils.torch_persistent_save
    manager = checkpoint_utils.PathManager

    @functools.wraps(save)
    def torch_persistent_save(obj, filename, async_write: bool = False):
        if async_write or not manager.supports_rename(filename):
            return save(obj, filename, async_write)
        with writing(filename) as file:
            torch.save(_smaller(obj), file)

    checkpoint_utils.torch_persistent_save = torch_persistent_save


def _smaller(obj: Any) -> Any:
    """A checkpoint of fairseq without the index tables of its model and averages; anything else as it is.

    A sharded model is read by its wrapper, which wants every entry.
    """
    if not isinstance(obj, dict) or not isinstance(obj.get("model"), dict) or _is_sharded(obj):
        return obj
    extra = {**(obj.get("extra_state") or {})}
    extra |= {name: without_tables(extra[name]) for name in ("ema", "ema_fp32_params") if name in extra}
    smaller = {**obj, "model": without_tables(obj["model"])}
    return smaller | {"extra_state": extra} if "extra_state" in obj else smaller


def _is_sharded(state: dict[str, Any]) -> bool:
    training = plain(plain(state.get("cfg")).get("distributed_training"))
    return training.get("ddp_backend") == "fully_sharded"


def wrap_copying(path_manager: type) -> None:
    """Let fairseq copy a checkpoint under another name until it is whole."""
    copy = path_manager.copy

    @functools.wraps(copy)
    def copy_whole(src_path: str, dst_path: str, overwrite: bool = False) -> bool:
        if not path_manager.supports_rename(dst_path):
            return copy(src_path, dst_path, overwrite)
        with writing(dst_path) as file:
            copy(src_path, file.name, overwrite=True)
        return True

    path_manager.copy = staticmethod(copy_whole)
