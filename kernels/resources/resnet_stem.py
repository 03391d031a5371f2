"""The kernels of the stem as they are launched, for :mod:`ofa_mi.kernels.resources`."""

from collections.abc import Iterator

import torch

from ..resources import Configuration
from . import backward, forward
from .configs import Tiles, tiles

KERNELS = {
    "fused": forward.fused_stem,
    "convolve": forward.convolve,
    "pool": forward.normalise_and_pool,
    "affine_gradient": backward.affine_gradient,
    "weight_gradient": backward.weight_gradient,
    "convolution_gradient": backward.convolution_gradient,
}
PRODUCTS = ("fused", "convolve", "weight_gradient")
NAMES = {torch.float16: "fp16", torch.bfloat16: "bf16", torch.float32: "fp32"}
FORMATS = {"index_ptr": "u8", "mean_ptr": "fp32", "var_ptr": "fp32", "squares_ptr": "fp32", "count_ptr": "fp32"}
FORMATS |= {"partial_ptr": "fp32", "sums_ptr": "fp32"}

ALIGNED = ("packed_row", "packed_sample", "channels")


def configurations() -> Iterator[Configuration]:
    """Every kernel and format for the 64 channels of a ResNet; those with products also for a narrow image."""
    for kernel in KERNELS:
        for dtype in NAMES:
            yield configuration(kernel, dtype)
        if kernel in PRODUCTS:
            yield configuration(kernel, torch.bfloat16, columns=16)
            yield configuration(kernel, torch.float32, precision="tf32")
    yield configuration("fused", torch.bfloat16, graded=False)
    for kernel in ("weight_gradient", "convolution_gradient"):
        yield configuration(kernel, torch.bfloat16, training=False)


def configuration(
    kernel: str,
    dtype: torch.dtype,
    *,
    columns: int = 120,
    graded: bool = True,
    training: bool = True,
    precision: str = "ieee",
    sizes: Tiles | None = None,
) -> Configuration:
    """One of them, as it is launched for rows of ``columns``; ``sizes`` tries other tiles than those that ship."""
    function = KERNELS[kernel]
    chosen = sizes or tiles(kernel, dtype, columns, 64)
    constants = {
        "ROWS": chosen.rows,
        "BLOCK": chosen.positions,
        "BLOCK_CHANNELS": chosen.channels,
        "INDEX": graded,
        "STATISTICS": training,
        "TRAINING": training,
        "PRECISION": precision,
        "UPCAST": False,
    }
    constants = {name: value for name, value in constants.items() if name in function.arg_names}
    if not graded and "index_ptr" in function.arg_names:
        constants["index_ptr"] = None
    if not training and "sums_ptr" in function.arg_names:
        constants["sums_ptr"] = None
    signature = {name: _type(name, dtype) for name in function.arg_names if name not in constants}
    flags = {"no gradient": not graded, "frozen": not training, "tf32": precision == "tf32"}
    label = f"stem {kernel} {NAMES[dtype]} {chosen.positions}x{chosen.channels}"
    return Configuration(
        ", ".join([label, f"{chosen.warps} warps", *(flag for flag, on in flags.items() if on)]),
        function,
        signature,
        constants,
        chosen.warps,
        stages=1,
        aligned=frozenset(
            n for n in signature if n.endswith("_ptr") or n in ("packed_row", "packed_sample", "channels")
        ),
    )


def _type(name: str, dtype: torch.dtype) -> str:
    if name.endswith("_ptr"):
        return "*" + FORMATS.get(name, NAMES[dtype])
    return "fp32" if name == "eps" else "i32"
