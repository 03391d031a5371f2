"""The attention kernels as they are launched."""

from collections.abc import Iterator

import torch

from ..attention import backward, forward
from ..attention.configs import TILES, Tiles, tiles
from ..common import tile_side
from . import compiler
from .compiler import FORMATS, Configuration

KERNELS = {
    "forward": forward.attention_forward,
    "d_q": backward.attention_d_q,
    "d_kv": backward.attention_d_kv,
    "d_bias": backward.attention_d_bias,
}
POINTERS = {"padding_ptr": "u8", "ranges_ptr": "i32", "seed_ptr": "i64"}
POINTERS |= dict.fromkeys(("lse_ptr", "delta_ptr", "d_bias_ptr"), "fp32")
HEAD_DIMS = (32, 64, 128)  # 80 runs in the code of 128


def configurations() -> Iterator[Configuration]:
    """Every kernel, head_dim and format; bias and padding as in training, and the plainest form of the forward."""
    for kernel in TILES:
        for dtype in FORMATS:
            for head_dim in HEAD_DIMS:
                yield configuration(kernel, dtype, head_dim)
        yield configuration(kernel, torch.bfloat16, 64, causal=True)
        yield configuration(kernel, torch.bfloat16, 64, dropout=True)
        for seqlen_q in (1, 32):  # a step of decoding, and a target
            yield configuration(kernel, torch.bfloat16, 64, seqlen_q=seqlen_q)
    yield configuration("forward", torch.bfloat16, 64, bias=False, padding=False)


def configuration(
    kernel: str,
    dtype: torch.dtype,
    head_dim: int,
    *,
    causal: bool = False,
    bias: bool = True,
    padding: bool = True,
    dropout: bool = False,
    seqlen_q: int = 1028,
    sizes: Tiles | None = None,
) -> Configuration:
    """One of them, as it is launched for this number of queries; ``sizes`` tries other tiles than those that ship."""
    block_d = tile_side(head_dim)
    chosen = sizes or tiles(kernel, dtype, block_d, seqlen_q, causal=causal, dropout=dropout)
    constants = {
        "BLOCK_M": chosen.block_m,
        "BLOCK_N": chosen.block_n,
        "BLOCK_D": block_d,
        "HAS_BIAS": bias,
        "HAS_PADDING": padding,
        "CAUSAL": causal,
        "DROPOUT": dropout,
        "PRECISION": "ieee",
        "UPCAST": False,
        "STAGES": chosen.num_stages,
    }
    there = {"bias_ptr": bias, "padding_ptr": padding, "ranges_ptr": padding, "seed_ptr": dropout}
    constants |= {name: None for name, is_there in there.items() if not is_there}
    flags = [name for name, on in (("causal", causal), ("dropout", dropout), ("no bias or mask", not bias)) if on]
    label = f"{kernel} {FORMATS[dtype]} D={head_dim} {chosen.block_m}x{chosen.block_n}"
    return compiler.configuration(
        ", ".join([label, f"{chosen.num_warps} warps", f"{chosen.num_stages} stages", *flags]),
        KERNELS[kernel],
        dtype,
        constants,
        POINTERS | {"bias_ptr": "fp32" if dtype == torch.float32 else "fp16"},
        num_warps=chosen.num_warps,
        num_stages=chosen.num_stages,
    )
