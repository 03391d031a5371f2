"""What fairseq 0.12.3 needs on today's PyTorch, NumPy and Hydra; `plugin` calls `apply` when both are imported.

Every change is made from our side, is as small as it can be, and says what breaks without it:

- `torch.load` reads weights only since PyTorch 2.6 and refuses fairseq's checkpoints, so that a run cannot even
  resume: the types that they hold are allowed, and nothing else is (`ALLOWED_TYPES`).
- A checkpoint of bare weights and settings, as models are released, lacks the training state that fairseq reads
  first: it is completed with that of an untrained run (`complete_state`).
- fairseq stores the task's state and never compares it: a run continued with another vocabulary would train on, each
  row of the embedding now standing for another token. It is refused (`check_vocabulary`).
- checkpoint_last.pt is written by copying: a run killed meanwhile would leave half a file, and could not resume. The
  copy gets its name when it is whole (`_wrap_copying`).
- Batching drops the last batch without a word when its size is no multiple of --required-batch-size-multiple (8
  unless given): up to 7 instances of every epoch and validation, or all of a small set. It is kept (`_wrap_batching`).
- Distributed training waits for the gradient of every parameter and stops at the second update when one has none. OFA
  always has some: those of image-code targets, and the image tower's in a batch of texts. It is told so
  (`_wrap_distribution`); fairseq's option --find-unused-parameters need not be given.
- Under torchrun fairseq counts the GPUs of this machine before it reads torchrun's own numbers: with one GPU per node
  every node trains alone, and without a GPU it divides by zero. torchrun's numbers come first (`_wrap_launching`).
  Without fairscale, --ddp-backend fully_sharded ends there in one line.
- A learning-rate schedule cannot ask how long an epoch is: ours is told (`_wrap_training`).
- A refused or damaged checkpoint ends in one line that names the file and the reason (`load_checkpoint_to_cpu`).
- fairseq's commands end with a traceback whatever went wrong: an error that a user can act on ends in its one line
  (`_wrap_excepthook`).
- Deprecation notices that fairseq causes in Hydra and PyTorch, and that its user can do nothing about, are silenced
  one by one, by their text.
"""

import argparse
import collections
import functools
import importlib
import importlib.util
import logging
import os
import sys
import typing
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import omegaconf
import torch

from ofa_mi import checkpoint
from ofa_mi.errors import CheckpointError, ConfigError, root_error

# Text at the beginning of each notice that is silenced (regular expressions), by category.
SILENCED: tuple[tuple[str, type[Warning]], ...] = (
    (r"`torch\.jit\.script` is deprecated", FutureWarning),
    (r"`torch\.cuda\.amp\.(autocast|GradScaler|custom_fwd|custom_bwd)\(args\.\.\.\)` is deprecated", FutureWarning),
    (r"`torch\.distributed\._(all_gather|reduce_scatter)_base` is a private function", FutureWarning),
    (r"TypedStorage is deprecated", UserWarning),
    (r"`broadcast_buffers` is deprecated", FutureWarning),
    (r"CUDA is not available or torch_xla is imported\. Disabling autocast", UserWarning),
    (r"'pin_memory' argument is set as true but no accelerator is found", UserWarning),
    (r"hydra\.experimental\.\w+\(\) is no longer experimental", UserWarning),
    (r"\s*The version_base parameter is not specified", UserWarning),
    (r"In 'config': Usage of deprecated keyword in package header", UserWarning),
    (r"\s*'config' is validated against ConfigStore schema with the same name", UserWarning),
    (r"\s*The strict flag in the compose API is deprecated", UserWarning),
)


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


def apply() -> None:
    """Make fairseq ready; calling it again changes nothing."""
    with importing_fairseq():
        checkpoint_utils = importlib.import_module("fairseq.checkpoint_utils")
        distributed_utils = importlib.import_module("fairseq.distributed.utils")
    torch.serialization.add_safe_globals([*ALLOWED_TYPES, distributed_utils._TensorPlaceholder])
    if not hasattr(checkpoint_utils.load_checkpoint_to_cpu, "__wrapped__"):
        _wrap_loading(checkpoint_utils)
        _wrap_copying(checkpoint_utils.PathManager)
        _wrap_batching(importlib.import_module("fairseq.data.data_utils"))
        _wrap_distribution(importlib.import_module("fairseq.models"))
        _wrap_launching(distributed_utils)
        _wrap_training(importlib.import_module("fairseq.trainer").Trainer)
        if _runs_fairseq(sys.argv[0] if sys.argv else ""):
            _wrap_excepthook()


@contextmanager
def importing_fairseq() -> Iterator[None]:
    """Silence what fairseq makes libraries say, and undo what its speech modules, which come along, do to logging.

    One sets the root logger to DEBUG with a handler, one advises at once to install tensorboardX.
    """
    for message, category in SILENCED:
        warnings.filterwarnings("ignore", message=message, category=category)
    root, speech = logging.getLogger(), logging.getLogger("fairseq.tasks.text_to_speech")
    levels, handlers = (root.level, speech.level), root.handlers[:]
    speech.setLevel(logging.WARNING)
    try:
        yield
    finally:
        root.setLevel(levels[0])
        speech.setLevel(levels[1])
        root.handlers[:] = handlers


def complete_state(state: dict) -> dict:
    """Complete a released checkpoint to what fairseq reads of its own, in place.

    Weights and settings alone are given the training state of a run that has not begun; settings of a task that is
    not known here (OFA's own), which fairseq could not convert, are kept as they are.
    """
    if "optimizer_history" not in state and "best_loss" not in state:  # the latter: fairseq's oldest format
        state["optimizer_history"] = [
            {"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0}
        ]
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


def _wrap_loading(checkpoint_utils: ModuleType) -> None:
    upgrade = checkpoint_utils._upgrade_state_dict
    load = checkpoint_utils.load_checkpoint_to_cpu
    load_into = checkpoint_utils.load_checkpoint
    task: Any = None  # of the trainer that a checkpoint is being read for

    @functools.wraps(upgrade)
    def upgrade_state_dict(state: dict) -> dict:
        return upgrade(complete_state(state))

    @functools.wraps(load)
    def load_checkpoint_to_cpu(path, arg_overrides=None, load_on_all_ranks=False):
        if str(path).endswith(".safetensors"):
            state = checkpoint.read(path)
            state = upgrade_state_dict({**state, "cfg": _config(state["cfg"])})
        else:
            with checkpoint.reading(path):
                state = load(path, arg_overrides, load_on_all_ranks)
        check_vocabulary(state, task, path)
        return state

    @functools.wraps(load_into)
    def load_checkpoint(cfg, trainer, **passthrough_args):
        nonlocal task
        task = trainer.task
        try:
            return load_into(cfg, trainer, **passthrough_args)
        finally:
            task = None

    checkpoint_utils._upgrade_state_dict = upgrade_state_dict
    checkpoint_utils.load_checkpoint_to_cpu = load_checkpoint_to_cpu
    checkpoint_utils.load_checkpoint = load_checkpoint


def _wrap_copying(path_manager: type) -> None:
    copy = path_manager.copy

    @functools.wraps(copy)
    def copy_whole(src_path: str, dst_path: str, overwrite: bool = False) -> bool:
        if not path_manager.supports_rename(dst_path):
            return copy(src_path, dst_path, overwrite)
        copy(src_path, f"{dst_path}.tmp", overwrite=True)
        path_manager.rename(f"{dst_path}.tmp", dst_path)
        return True

    path_manager.copy = staticmethod(copy_whole)


def _wrap_batching(data_utils: ModuleType) -> None:
    batch = data_utils.batch_by_size

    @functools.wraps(batch)
    def batch_by_size(indices, *args, fixed_shapes=None, **kwargs):
        batches = batch(indices, *args, fixed_shapes=fixed_shapes, **kwargs)
        if fixed_shapes is not None:
            return batches
        # Batches are consecutive pieces of the indices, so that what was dropped is the rest.
        rest = indices[sum(map(len, batches)) :]
        return [*batches, rest] if len(rest) else batches

    data_utils.batch_by_size = batch_by_size


def _runs_fairseq(program: str) -> bool:
    """Whether a program is one of fairseq's commands: `fairseq-train`, or `fairseq_cli/train.py` as `-m` runs it."""
    return Path(program).name.startswith("fairseq-") or Path(program).parent.name == "fairseq_cli"


def _wrap_excepthook() -> None:
    hook = sys.excepthook

    @functools.wraps(hook)
    def excepthook(kind, error, traceback):
        if (found := root_error(error)) is None:
            hook(kind, error, traceback)  # a bug keeps its traceback
        else:
            print(f"{Path(sys.argv[0]).stem}: error: {found}", file=sys.stderr)

    sys.excepthook = excepthook


def _wrap_distribution(models: ModuleType) -> None:
    wrap = models.DistributedFairseqModel

    @functools.wraps(wrap)
    def distributed_fairseq_model(args, model, *others, **named):
        if isinstance(model, importlib.import_module("ofa_mi.models").OFAModel):
            args.find_unused_parameters = True
        return wrap(args, model, *others, **named)

    models.DistributedFairseqModel = distributed_fairseq_model


def _wrap_launching(distributed_utils: ModuleType) -> None:
    infer = distributed_utils.infer_init_method

    @functools.wraps(infer)
    def infer_init_method(cfg, force_distributed=False):
        if cfg.ddp_backend == "fully_sharded" and importlib.util.find_spec("fairscale") is None:
            raise ConfigError("--ddp-backend fully_sharded needs fairscale: pip install fairscale==0.4.13")
        torchrun = all(name in os.environ for name in ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK"))
        if cfg.distributed_init_method is None and torchrun:
            cfg.distributed_world_size = int(os.environ["WORLD_SIZE"])
            if not torch.cuda.is_available() and cfg.distributed_world_size > 1:
                cfg.distributed_init_method, cfg.distributed_no_spawn = "env://", True
                cfg.distributed_rank = int(os.environ["RANK"])
                cfg.distributed_backend = "gloo"
                if cfg.ddp_backend in ("c10d", "pytorch_ddp"):  # which takes GPUs only, as fairseq calls it
                    cfg.ddp_backend = "legacy_ddp"
        infer(cfg, force_distributed)

    distributed_utils.infer_init_method = infer_init_method


def _wrap_training(trainer: type) -> None:
    get = trainer.get_train_iterator

    @functools.wraps(get)
    def get_train_iterator(self, *args, **named):
        iterator = get(self, *args, **named)
        if hasattr(self.lr_scheduler, "set_epoch_length"):
            self.lr_scheduler.set_epoch_length(len(iterator), self.cfg.optimization.update_freq)
        return iterator

    trainer.get_train_iterator = get_train_iterator
