"""What is checked before a run begins."""

import functools
import importlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from ofa_mi import hub, precision
from ofa_mi.errors import ConfigError
from ofa_mi.fairseq_compat import charts, save_dir, small_part
from ofa_mi.fairseq_compat.save_dir import LAST
from ofa_mi.instances.open import has_split
from ofa_mi.packaged import checkpoint_path, parts_of
from ofa_mi.precision import on_cpu

logger = logging.getLogger(__name__)

# Options that name a file to read, by the part of fairseq's settings that holds them. The task checks its own.
FILES = (
    ("checkpoint", "finetune_from_model"),
    ("checkpoint", "continue_once"),
    ("ema", "ema_seed_model"),
    ("common", "quantization_config_path"),
)
HALF = ("memory_efficient_fp16", "memory_efficient_bf16", "fp16", "bf16", "amp")
RESETS = ("reset_optimizer", "reset_lr_scheduler", "reset_meters", "reset_dataloader")
# Of fairseq's own criterions; all others expect models and samples of another kind.
CRITERIONS = ("cross_entropy", "label_smoothed_cross_entropy")
OURS = "adjust_label_smoothed_cross_entropy"
LOWER_IS_BETTER = ("loss", "nll_loss", "ppl")  # of what a validation reports


def wrap_starting(distributed_utils: ModuleType, checkpoint_utils: ModuleType) -> None:
    """Let fairseq's commands check a run first, and training once more when the validation sets are there."""
    call, load = distributed_utils.call_main, checkpoint_utils.load_checkpoint

    @functools.wraps(call)
    def call_main(cfg, main, **kwargs):
        if getattr(cfg.task, "_name", None) == "multiinstruct":
            check_run(cfg)
            if on_cpu(cfg.common):
                for section in filter(None, (cfg.common, cfg.distributed_training, cfg.optimizer)):
                    if "tpu" in section:  # which fairseq turns on with --bf16 where it has no GPU
                        section.tpu = False
            launch = cfg.distributed_training
            if launch.distributed_init_method is None:
                distributed_utils.infer_init_method(launch)  # which knows the rank
            if cfg.common_eval.path is None and launch.distributed_rank == 0:
                with save_dir.owned(cfg, os.path.join(cfg.checkpoint.save_dir, _with_suffix(LAST, cfg))):
                    return call(cfg, main, **kwargs)
        return call(cfg, main, **kwargs)

    @functools.wraps(load)
    def load_checkpoint(cfg, trainer, **passthrough_args):  # the first thing after model and validation sets are there
        if isinstance(trainer.task, importlib.import_module("ofa_mi.tasks").MultiInstructTask):
            check_data(trainer.cfg)
            check_best_metric(trainer)
            charts.remember(set(trainer.task.scored_tasks()))
        return load(cfg, trainer, **passthrough_args)

    distributed_utils.call_main = call_main
    checkpoint_utils.load_checkpoint = load_checkpoint


def wrap_parsing(options: ModuleType) -> None:
    """Let a training without ``--arch`` say so, where fairseq raises an error without a text."""
    parse = options.parse_args_and_arch

    @functools.wraps(parse)
    def parse_args_and_arch(*args, **kwargs):
        try:
            return parse(*args, **kwargs)
        except RuntimeError as error:
            if error.args:
                raise
            sizes = ", ".join(name for name in importlib.import_module("ofa_mi.models.sizes").SIZES)
            raise ConfigError(f"--arch is missing: give the size of the model, one of {sizes}") from None

    options.parse_args_and_arch = parse_args_and_arch


def check_run(cfg: Any) -> None:
    """Refuse what would end in a traceback later, or be ignored in silence, before anything is made or written.

    Args:
        cfg: fairseq's settings of a command for the task ``multiinstruct``.

    Raises:
        ConfigError: Names the option and what to do.
    """
    check_inputs(cfg)
    check_needed(cfg)
    check_precision(cfg.common)
    check_criterion(cfg)
    check_averaging(cfg)
    small_part.check(cfg)
    charts.check(cfg.common)


# -- inputs


def check_inputs(cfg: Any) -> None:
    """Refuse files that are named and are not there; only the default ``checkpoint_last.pt`` may be absent."""
    options = cfg.checkpoint
    if options.finetune_from_model is not None:
        start = checkpoint_path(options.finetune_from_model)
        config = os.path.join(start, hub.CONFIG)  # stands for a folder of the hub's format where fairseq wants a file
        options.finetune_from_model = config if os.path.isfile(config) else start
    if options.finetune_from_model is not None and (given := [name for name in RESETS if getattr(options, name)]):
        raise ConfigError(f"--finetune-from-model resets everything: leave {_flag(given[0])} out")
    if options.finetune_from_model is not None and options.restore_file != LAST:
        raise ConfigError("--finetune-from-model and --restore-file both name a start: give one of them")
    for option, path in _named_files(cfg):
        if os.path.isdir(path):
            raise ConfigError(f"{option} {path}: is a folder; name the file in it")
        if len(parts_of(path)) > 1:
            raise ConfigError(
                f"{option} {path}: a run begins with one file: `ofa-mi checkpoint merge` makes one of both"
            )
        if not os.path.isfile(path):
            raise ConfigError(f"{option} {path}: no such file")


def check_needed(cfg: Any) -> None:
    """Refuse a training that lacks an option for which fairseq has no default."""
    if cfg.common_eval.path is not None:  # a model that is trained, to validate
        return
    if cfg.optimizer is None:
        raise ConfigError("--optimizer is missing: give --optimizer adam")
    if cfg.dataset.batch_size is None and cfg.dataset.max_tokens is None:
        raise ConfigError("--batch-size is missing: give the number of instances per batch")


def check_data(cfg: Any) -> None:
    """Refuse a data directory that holds none of the splits that the run reads: it would count as empty."""
    subsets = [cfg.dataset.train_subset]
    if not cfg.dataset.disable_validation:
        subsets += cfg.dataset.valid_subset.split(",")
    for directory in cfg.task.data.split(":"):
        if directory and not any(has_split(Path(directory), subset) for subset in subsets):
            raise ConfigError(f"{directory}: holds neither {' nor '.join(f'{name}.jsonl' for name in subsets)}")


def _named_files(cfg: Any) -> Iterator[tuple[str, str]]:
    """Option and file of every input that must exist. Addresses (``s3://``) are left to fairseq's file handlers."""
    last = os.path.join(cfg.checkpoint.save_dir, _with_suffix(LAST, cfg))
    if cfg.checkpoint.restore_file != LAST:
        found = [("restore_file", _with_suffix(cfg.checkpoint.restore_file, cfg))]
    else:  # a link to a file that was moved, or a folder, is no run that has not begun
        found = [("restore_file", last)] if os.path.lexists(last) else []
    found += [(name, getattr(cfg[section], name)) for section, name in FILES]
    found += [("path", path) for path in (cfg.common_eval.path or "").split(os.pathsep)]
    return ((_flag(name), path) for name, path in found if path and "://" not in path)


def _with_suffix(name: str, cfg: Any) -> str:
    """A checkpoint's name as a run reads it, which may have a suffix, and a file for every shard."""
    launch = cfg.distributed_training
    shard = "-shard0" if launch.ddp_backend == "fully_sharded" and launch.use_sharded_state else ""
    return name.replace(".pt", f"{cfg.checkpoint.checkpoint_suffix or ''}{shard}.pt")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


# -- what can be computed


def check_precision(common: Any) -> None:
    """Refuse the precisions that this machine cannot train in: without a GPU there are fp32 and, on some, bf16."""
    if not on_cpu(common):
        return
    if common.bf16:
        precision.check_precision("bf16", torch.device("cpu"), "--bf16")
    for name in HALF:
        if getattr(common, name) and name != "bf16":
            why = "and --cpu leaves it out" if common.cpu else "and there is none"
            raise ConfigError(f"{_flag(name)} needs a GPU, {why}: on a CPU leave {_flag(name)} out, or give --bf16")


def check_criterion(cfg: Any) -> None:
    """Refuse criterions of fairseq that cannot read our samples, and options that a criterion would ignore."""
    name = getattr(cfg.criterion, "_name", None)
    if name is None or name == OURS:
        return
    criterion = importlib.import_module("fairseq.criterions").CRITERION_REGISTRY.get(name)
    if criterion is not None and criterion.__module__.startswith("fairseq.") and name not in CRITERIONS:
        raise ConfigError(f"--criterion {name} does not work with this task: use {OURS}, or {' or '.join(CRITERIONS)}")
    if getattr(cfg.criterion, "ignore_prefix_size", 0):
        raise ConfigError(f"--ignore-prefix-size is not supported by --criterion {name}: leave it out")
    if cfg.task.restrict_to_options:
        raise ConfigError(f"--restrict-to-options needs --criterion {OURS}; {name} does not know of options")


def check_averaging(cfg: Any) -> None:
    """Refuse settings of ``--store-ema`` that cannot work."""
    ema = cfg.ema
    if not ema.store_ema:
        if cfg.task.uses_ema:
            raise ConfigError("--uses-ema validates with the average that --store-ema keeps: give that, too")
        return
    if not 0 <= ema.ema_decay <= 1:
        raise ConfigError(f"--ema-decay must lie in [0, 1], found {ema.ema_decay}")
    if ema.ema_update_freq < 1:
        raise ConfigError(f"--ema-update-freq must be at least 1, found {ema.ema_update_freq}")
    if cfg.distributed_training.ddp_backend == "fully_sharded":
        raise ConfigError("--store-ema does not work with --ddp-backend fully_sharded: leave one of them out")
    half = not on_cpu(cfg.common) and any(getattr(cfg.common, name) for name in HALF if name != "amp")
    if half and not ema.ema_fp32:
        logger.warning(
            "--store-ema without --ema-fp32 keeps the average in half precision, which rounds its steps away"
        )


def check_best_metric(trainer: Any) -> None:
    """Refuse a ``--best-checkpoint-metric`` that a validation will not report, or whose worst value would be kept.

    Args:
        trainer: fairseq's trainer, whose task has loaded the validation sets.

    Raises:
        ConfigError: Names what will be reported.
    """
    data, options = trainer.cfg.dataset, trainer.cfg.checkpoint
    metric = options.best_checkpoint_metric
    if data.disable_validation:
        return
    for subset in data.valid_subset.split(","):
        names = trainer.task.validation_names(subset, trainer.get_criterion())
        if metric not in names:
            raise ConfigError(
                f"--best-checkpoint-metric {metric}: validation on {subset} reports {', '.join(sorted(names))}"
            )
    if options.maximize_best_checkpoint_metric == (metric in LOWER_IS_BETTER):
        better, action = ("lower", "leave out") if metric in LOWER_IS_BETTER else ("higher", "give")
        raise ConfigError(
            f"--best-checkpoint-metric {metric}: a {better} value is better, or the worst checkpoint would be kept; "
            f"{action} --maximize-best-checkpoint-metric"
        )
