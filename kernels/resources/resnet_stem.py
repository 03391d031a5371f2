"""The kernels of the stem as they are launched."""

from collections.abc import Iterator

import torch

from ..resnet_stem import backward, forward
from ..resnet_stem.configs import Tiles, tiles
from . import compiler
from .compiler import FORMATS, Configuration

KERNELS = {
    "fused": forward.fused_stem,
    "convolve": forward.convolve,
    "pool": forward.normalise_and_pool,
    "affine_gradient": backward.affine_gradient,
    "weight_gradient": backward.weight_gradient,
    "convolution_gradient": backward.convolution_gradient,
}
PRODUCTS = ("fused", "convolve", "weight_gradient")
POINTERS = {"index_ptr": "u8"}
POINTERS |= dict.fromkeys(("mean_ptr", "var_ptr", "squares_ptr", "count_ptr", "partial_ptr", "sums_ptr"), "fp32")


def configurations() -> Iterator[Configuration]:
    """Every kernel and format for the 64 channels of a ResNet; those with products also for a narrow image."""
    for kernel in KERNELS:
        for dtype in FORMATS:
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
    constants |= {name: None for name, there in (("index_ptr", graded), ("sums_ptr", training)) if not there}
    flags = {"no gradient": not graded, "frozen": not training, "tf32": precision == "tf32"}
    label = f"stem {kernel} {FORMATS[dtype]} {chosen.positions}x{chosen.channels}"
    return compiler.configuration(
        ", ".join([label, f"{chosen.num_warps} warps", *(flag for flag, on in flags.items() if on)]),
        KERNELS[kernel],
        dtype,
        constants,
        POINTERS,
        num_warps=chosen.num_warps,
        num_stages=1,
    )
