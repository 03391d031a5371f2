"""The one place that decides between Triton and plain PyTorch, by an environment variable and the tensors at hand."""

import os
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from ofa_mi.errors import ConfigError

VARIABLE = "OFA_MI_KERNELS"
CHOICES = ("auto", "reference", "triton")
DTYPES = (torch.float16, torch.bfloat16, torch.float32)  # of the Triton kernels
MAX_HEAD_DIM = 128


def mode() -> str:
    """Value of ``OFA_MI_KERNELS``: ``auto`` (default), ``reference`` or ``triton``.

    Raises:
        ConfigError: The variable holds something else.
    """
    value = os.environ.get(VARIABLE, "auto")
    if value not in CHOICES:
        raise ConfigError(f"{VARIABLE}={value!r} is not one of {', '.join(CHOICES)}")
    return value


def use_triton(tensor: Tensor, *, unsupported: str | None = None) -> bool:
    """Whether an operation on ``tensor`` runs in its Triton kernels.

    Args:
        tensor: Any input of the operation; its device decides.
        unsupported: Why the kernels cannot do this case, if they cannot: ``auto`` then takes plain PyTorch.

    Raises:
        ConfigError: ``OFA_MI_KERNELS=triton``, and the kernels cannot run here or cannot do this case.
    """
    if mode() == "reference":
        return False
    obstacle = unsupported or _obstacle(tensor.device.type)
    if obstacle is not None and mode() == "triton":
        raise ConfigError(f"{VARIABLE}=triton, but {obstacle}: use {VARIABLE}=auto")
    return obstacle is None and (tensor.is_cuda or mode() == "triton")


def interpreting() -> bool:
    """Whether Triton interprets its kernels in numpy (``TRITON_INTERPRET=1``), which needs no GPU and is for tests."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "yes", "on")


def _obstacle(device: str) -> str | None:
    if not _installed():
        return "the package triton is not installed"
    if device not in ("cuda", "cpu"):
        return f"there are no kernels for the device {device!r}"
    if device == "cpu" and not interpreting():
        return "the tensors are on a CPU and TRITON_INTERPRET=1 is not set"
    return None


@cache
def _installed() -> bool:
    return find_spec("triton") is not None
