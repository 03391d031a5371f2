"""Training a small part of a model: what is saved, and what a run that goes on needs."""

import functools
import logging
from typing import Any

from ofa_mi import checkpoint, small_part
from ofa_mi.errors import CheckpointError, ConfigError
from ofa_mi.fairseq_compat.save_dir import LAST

logger = logging.getLogger(__name__)

OPTIONS = ("lora_rank", "adapter", "bitfit")


def tunes_part(cfg: Any) -> bool:
    """Whether fairseq's settings ask for a tuning of a small part."""
    return any(getattr(cfg.model, name, None) for name in OPTIONS)


def check(cfg: Any) -> None:
    """Refuse settings of a tuning that cannot work.

    Raises:
        ConfigError: There is nothing to begin with, or the weights will be in shards.
    """
    if cfg.model is None or not tunes_part(cfg):
        return
    option = "--" + next(name for name in OPTIONS if getattr(cfg.model, name, None)).replace("_", "-")
    if cfg.checkpoint.finetune_from_model is None and cfg.checkpoint.restore_file == LAST:
        raise ConfigError(f"{option} tunes a small part of a model: name the whole by --finetune-from-model")
    if cfg.distributed_training.ddp_backend == "fully_sharded":
        raise ConfigError(f"{option} does not work with --ddp-backend fully_sharded: leave one of them out")


def wrap_state(trainer: type) -> None:
    """Let a trainer save only what it trains, and the name of its base."""
    get = trainer.state_dict

    @functools.wraps(get)
    def state_dict(self):
        state = get(self)
        if (base := getattr(self, "base_of_tuning", None)) is not None:
            small_part.keep(state, trained(self), base)
        return state

    trainer.state_dict = state_dict


def trained(trainer: Any) -> set[str]:
    """Names of the parameters that a trainer trains."""
    return {name for name, parameter in trainer.get_model().named_parameters() if parameter.requires_grad}


def complete(state: dict, trainer: Any, path: str) -> dict:
    """A checkpoint that a run begins or goes on with, as a whole; the run learns which its base is.

    Args:
        state: As it was read.
        trainer: fairseq's trainer, which remembers the base.
        path: The file.

    Raises:
        CheckpointError: It is of the other kind than the run's checkpoints, of another tuning or of another base.
    """
    options = trainer.cfg.checkpoint
    start = options.finetune_from_model
    tuning = tunes_part(trainer.cfg)
    base = small_part.described(state, path)
    if base is None:
        if tuning:
            if path not in (start, options.restore_file, options.continue_once):
                raise CheckpointError(
                    f"{path}: was trained as a whole, and not a small part: choose another --save-dir"
                )
            trainer.base_of_tuning = small_part.identity(state["model"], path)
            logger.info("%d tensors are trained, and saved without the others", len(trained(trainer)))
        return state
    if not tuning or state["model"].keys() != trained(trainer):
        raise CheckpointError(
            f"{path}: is the small part of another tuning than these options ask for: give the --lora-…, --adapter and "
            "--bitfit options of the run that wrote it, or begin with what `ofa-mi checkpoint merge` makes of it"
        )
    if start is None:
        raise CheckpointError(f"{path}: holds a small part only: name the whole model by --finetune-from-model")
    trainer.base_of_tuning = base
    return small_part.combined(checkpoint.read(start), state, start, path)
