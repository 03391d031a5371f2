"""Precisions of computation: fp32, or a forward pass under autocast in 16 bits; weights and optimiser stay fp32."""

from __future__ import annotations

import importlib.util
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from ofa_mi.errors import ConfigError

if TYPE_CHECKING:  # imported where it is used: the options of commands name the precisions without it
    import torch

PRECISIONS = ("fp32", "bf16", "fp16")


def check_precision(precision: str, device: torch.device, option: str) -> None:
    """Refuse a precision that the device cannot compute in.

    Args:
        precision: One of ``PRECISIONS``.
        device: Where to compute.
        option: How the user asked for it, named in the error.

    Raises:
        ConfigError: There is no such precision, or the device lacks it.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"{option}: must be one of {', '.join(PRECISIONS)}")
    if device.type == "cpu" and precision == "fp16":
        raise ConfigError(f"{option} needs a GPU; on a CPU take bf16, where the processor has it, or fp32")
    if device.type == "cpu" and precision == "bf16" and not cpu_has_bf16():
        raise ConfigError(f"{option}: this processor does not compute in bf16 (AVX-512 BF16, AMX or SVE); take fp32")


def on_cpu(settings: Any) -> bool:
    """Whether a run computes on the CPU: as told, or for want of a GPU.

    Args:
        settings: fairseq's common ones, or the task's, which repeat some of them.
    """
    import torch

    tpu = getattr(settings, "tpu", False)  # fairseq turns --tpu on with --bf16; the task's settings do not repeat it
    return not (tpu and importlib.util.find_spec("torch_xla")) and (settings.cpu or not torch.cuda.is_available())


def cpu_has_bf16() -> bool:
    """Whether the processor multiplies in bf16; elsewhere PyTorch emulates it, more slowly than it computes in fp32."""
    import torch

    if not hasattr(torch.cpu, "get_capabilities"):  # PyTorch before 2.10 knows of AMD's and Intel's AVX-512 only
        return getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()
    found = torch.cpu.get_capabilities()
    return any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "sve_bf16", "bf16"))


def dtype_of(precision: str) -> torch.dtype:
    """What ``precision`` multiplies."""
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def autocast(precision: str, device: torch.device) -> AbstractContextManager:
    """A context in which a forward pass computes in ``precision``; see :func:`check_precision`."""
    if precision == "fp32":
        return nullcontext()
    import torch

    return torch.autocast(device.type, dtype_of(precision))
