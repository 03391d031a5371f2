"""Charts of a training: ``--tensorboard-logdir`` and ``--wandb-project``."""

import functools
import importlib.util
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from ofa_mi.errors import ConfigError

MEAN = "score"  # of a validation: the mean of its tasks' scores

_scored: set[str] = set()  # names of tasks that a validation reports a score of


def check(common: Any) -> None:
    """Refuse charts whose library is not there: fairseq would train on without them.

    Raises:
        ConfigError: Says what to install.
    """
    boards = ("tensorboard", "tensorboardX")
    if common.tensorboard_logdir and not any(importlib.util.find_spec(name) for name in boards):
        raise ConfigError("--tensorboard-logdir needs tensorboard: pip install 'ofa-mi[charts]'")
    if common.wandb_project and importlib.util.find_spec("wandb") is None:
        raise ConfigError("--wandb-project needs wandb: pip install wandb")


def remember(tasks: set[str]) -> None:
    """Tell charts which values of a validation are scores of tasks."""
    _scored.clear()
    _scored.update(tasks)


def chart_names(stats: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a training or validation by the names that charts have: scores of tasks are a group of their own."""
    names = {name: f"score/{name}" for name in _scored} | {MEAN: "score/mean"}
    return {names.get(name, name): value for name, value in stats.items()}


def wrap_charts(progress_bar: ModuleType) -> None:
    """Let both kinds of charts have these names."""
    for kind, name in (
        ("TensorboardProgressBarWrapper", "_log_to_tensorboard"),
        ("WandBProgressBarWrapper", "_log_to_wandb"),
    ):
        wrapper = getattr(progress_bar, kind)
        setattr(wrapper, name, _named(getattr(wrapper, name)))


def _named(log):
    @functools.wraps(log)
    def log_named(self, stats, tag=None, step=None):
        return log(self, chart_names(stats), tag, step)

    return log_named
