"""Checkpoints as fairseq reads them."""

import argparse
import collections
import functools
import importlib
import logging
import typing
from types import ModuleType
from typing import Any

import numpy as np
import omegaconf

from ofa_mi import checkpoint, hub
from ofa_mi.errors import CheckpointError, ConfigError
from ofa_mi.fairseq_compat import small_part
from ofa_mi.small_part import check_whole
from ofa_mi.tensor_files import SAFETENSORS, reading

logger = logging.getLogger(__name__)


def numpy_scalar(dtype: np.dtype, data: bytes) -> np.generic:
    """Rebuild a pickled NumPy number from its bytes; any other dtype (objects above all) is refused."""
    if dtype.kind not in "biuf":
        raise TypeError(f"a NumPy scalar of dtype {dtype} has no place in a checkpoint")
    return np.frombuffer(data, dtype)[0]


# Everything that checkpoints of fairseq hold besides tensors and plain containers. None of these runs code that the
# file brings: they are records of values.
ALLOWED_TYPES: tuple[Any, ...] = (
    argparse.Namespace,  # `args` of older checkpoints, `cfg["model"]` of newer ones
    # The settings as OmegaConf nodes: in some older files, and whenever ranks share a checkpoint that one has read.
    omegaconf.DictConfig,
    omegaconf.ListConfig,
    omegaconf.base.ContainerMetadata,
    omegaconf.base.Metadata,
    omegaconf.nodes.AnyNode,
    omegaconf.nodes.BooleanNode,
    omegaconf.nodes.FloatNode,
    omegaconf.nodes.IntegerNode,
    omegaconf.nodes.StringNode,
    typing.Any,
    collections.defaultdict,
    dict,
    list,
    int,
    float,
    str,
    bool,
    # NumPy numbers, which metrics computed with NumPy leave among the meters. `numpy.core` is NumPy 1's name.
    np.dtype,
    *(type(np.dtype(code)) for code in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")),
    (numpy_scalar, "numpy.core.multiarray.scalar"),
    (numpy_scalar, "numpy._core.multiarray.scalar"),
)


def complete_state(state: dict) -> dict:
    """Complete a released checkpoint to what fairseq reads of its own, in place.

    Weights and settings alone are given the training state of a run that has not begun; settings of a task that is
    not known here (OFA's own), which fairseq could not convert, are kept as they are.
    """
    if "optimizer_history" not in state and "best_loss" not in state:  # the latter: fairseq's oldest format
        state["optimizer_history"] = [
            {"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0}
        ]
    checkpoint.unwrap_names(state)
    extra_state = state.setdefault("extra_state", {})
    extra_state.setdefault("train_iterator", {"version": 2, "epoch": 1, "iterations_in_epoch": 0, "shuffle": True})
    tasks = importlib.import_module("fairseq.tasks").TASK_REGISTRY
    if state.get("args") is not None and getattr(state["args"], "task", None) not in tasks:
        state["cfg"] = _config(checkpoint.portable(state)["cfg"])
        state["args"] = None
    return state


def check_vocabulary(state: dict, task: Any, path: str) -> None:
    """Refuse a checkpoint whose vocabulary is not that of the task that is to continue it; either may have none.

    Raises:
        CheckpointError: The vocabularies differ.
    """
    kept = (state.get("task_state") or {}).get("vocabulary")
    own = getattr(task, "vocabulary", None)
    if kept is not None and own is not None and kept != own.state():
        raise CheckpointError(
            f"{path}: was trained with another vocabulary than this run's; give that one as --bpe-dir"
        )


def _config(cfg: dict) -> omegaconf.DictConfig:
    """Settings as fairseq makes them of those in a file; the model's stay a namespace."""
    return omegaconf.OmegaConf.create(cfg, flags={"allow_objects": True})


def wrap_loading(checkpoint_utils: ModuleType) -> None:
    """Let fairseq read what it would refuse, and refuse in one line what it would misread."""
    upgrade = checkpoint_utils._upgrade_state_dict
    load = checkpoint_utils.load_checkpoint_to_cpu
    load_into = checkpoint_utils.load_checkpoint
    trainer: Any = None  # that a checkpoint is being read for

    @functools.wraps(upgrade)
    def upgrade_state_dict(state: dict) -> dict:
        return upgrade(complete_state(state))

    @functools.wraps(load)
    def load_checkpoint_to_cpu(path, arg_overrides=None, load_on_all_ranks=False):
        if str(path).endswith(SAFETENSORS) or hub.folder_of(path) is not None:
            state = checkpoint.read(path)
            state = upgrade_state_dict({**state, "cfg": _config(state["cfg"])})
        else:
            with reading(path):
                state = load(path, arg_overrides, load_on_all_ranks)
        if trainer is not None:
            check_vocabulary(state, trainer.task, path)
            state = small_part.complete(state, trainer, str(path))
            complete_average(state, trainer.cfg.ema.store_ema, path)
            complete_place(state, trainer.task)
            check_shards(state, trainer.cfg)
        else:
            check_whole(state, path)
        return state

    @functools.wraps(load_into)
    def load_checkpoint(cfg, trainer_, **passthrough_args):
        nonlocal trainer
        trainer = trainer_
        try:
            return load_into(cfg, trainer, **passthrough_args)
        finally:
            trainer = None

    checkpoint_utils._upgrade_state_dict = upgrade_state_dict
    checkpoint_utils.load_checkpoint_to_cpu = load_checkpoint_to_cpu
    checkpoint_utils.load_checkpoint = load_checkpoint


def complete_average(state: dict, wanted: bool, path: str) -> None:
    """Give a run with ``--store-ema`` the average that its start lacks, the weights themselves, in place.

    Of a checkpoint whose average the run does not use, it is said how to use it.
    """
    averaged, extra = checkpoint.has_average(state), state["extra_state"]
    if wanted:
        extra.setdefault("ema", extra.get("ema_fp32_params", state["model"]))
        if not averaged:
            logger.info("%s holds no average (EMA): it begins with the checkpoint's weights", path)
    elif averaged:
        logger.warning(
            "%s also holds averaged weights (EMA), which are not used: --store-ema goes on averaging, and "
            "`ofa-mi checkpoint convert --weights ema` makes a checkpoint of them",
            path,
        )


def complete_place(state: dict, task: Any) -> None:
    """Add to a place in the data, in place, what checkpoints from before places were kept say in their settings."""
    place, cfg = state["extra_state"]["train_iterator"], checkpoint.plain(state.get("cfg"))
    if "settings" in place or not hasattr(task, "origin") or cfg.get("task", {}).get("_name") != "multiinstruct":
        return
    if not {"distributed_training", "optimization"} <= set(cfg):  # a model without a run, to start from
        return
    batches = importlib.import_module("ofa_mi.data.batches")
    place["processes"] = cfg["distributed_training"]["distributed_world_size"]
    place["update_freq"] = cfg["optimization"]["update_freq"]
    try:
        chosen = task.chosen_tasks(cfg["task"]["tasks"], cfg["task"]["exclude_tasks"])
    except ConfigError:  # tasks that are not known any more
        chosen = ()
    place["settings"] = batches.settings_of(cfg, chosen)


def check_shards(state: dict, cfg: Any) -> None:
    """Refuse the part of a checkpoint that was written by another number of processes, one part each.

    Raises:
        ConfigError: Their numbers differ.
    """
    launch, processes = cfg.distributed_training, state["extra_state"]["train_iterator"].get("processes")
    sharded = launch.ddp_backend == "fully_sharded" and launch.use_sharded_state
    if sharded and processes not in (None, launch.distributed_world_size):
        raise ConfigError(
            f"--use-sharded-state: the checkpoint is in {processes} parts, one of each process: start {processes} "
            f"processes instead of {launch.distributed_world_size}"
        )
