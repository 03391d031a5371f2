"""The attention kernels as they are launched, for :mod:`ofa_mi.kernels.resources`."""

from collections.abc import Iterator

import torch

from ..resources import Configuration
from . import backward, forward
from .configs import TILES, Tiles, tiles

KERNELS = {
    "forward": forward.attention_forward,
    "d_q": backward.attention_d_q,
    "d_kv": backward.attention_d_kv,
    "d_bias": backward.attention_d_bias,
}
NAMES = {torch.float16: "fp16", torch.bfloat16: "bf16", torch.float32: "fp32"}
INTEGERS = ("samples", "heads", "queries", "keys", "width", "threshold", "summed")
WIDTHS = (32, 64, 128)  # 80 runs in the code of 128


def configurations() -> Iterator[Configuration]:
    """Every kernel, head width and format; bias and padding as in training, and the plainest form of the forward."""
    for kernel in TILES:
        for dtype in NAMES:
            for width in WIDTHS:
                yield configuration(kernel, dtype, width)
        yield configuration(kernel, torch.bfloat16, 64, causal=True)
        yield configuration(kernel, torch.bfloat16, 64, dropout=True)
        for queries in (1, 32):  # a step of decoding, and a target
            yield configuration(kernel, torch.bfloat16, 64, queries=queries)
    yield configuration("forward", torch.bfloat16, 64, bias=False, padding=False)


def configuration(
    kernel: str,
    dtype: torch.dtype,
    width: int,
    *,
    causal: bool = False,
    bias: bool = True,
    padding: bool = True,
    dropout: bool = False,
    queries: int = 1028,
    sizes: Tiles | None = None,
) -> Configuration:
    """One of them, as it is launched for this number of queries; ``sizes`` tries other tiles than those that ship."""
    function = KERNELS[kernel]
    padded = 1 << (width - 1).bit_length()
    chosen = sizes or tiles(kernel, dtype, padded, queries, causal=causal, dropout=dropout)
    constants = {
        "BLOCK_QUERIES": chosen.queries,
        "BLOCK_KEYS": chosen.keys,
        "WIDTH": padded,
        "HAS_BIAS": bias,
        "HAS_PADDING": padding,
        "CAUSAL": causal,
        "DROPOUT": dropout,
        "PRECISION": "ieee",
        "UPCAST": False,
        "STAGES": chosen.stages,
    }
    constants = {name: value for name, value in constants.items() if name in function.arg_names}
    absent = {"bias_ptr": not bias, "padding_ptr": not padding, "ranges_ptr": not padding, "seed_ptr": not dropout}
    constants |= {name: None for name, missing in absent.items() if missing and name in function.arg_names}
    signature = {name: _type(name, dtype) for name in function.arg_names if name not in constants}
    flags = [name for name, on in (("causal", causal), ("dropout", dropout), ("no bias or mask", not bias)) if on]
    label = f"{kernel} {NAMES[dtype]} D={width} {chosen.queries}x{chosen.keys}"
    return Configuration(
        ", ".join([label, f"{chosen.warps} warps", f"{chosen.stages} stages", *flags]),
        function,
        signature,
        constants,
        chosen.warps,
        chosen.stages,
        # queries and keys are no multiples in the model: 1028 with patches of 480 pixels and 128 tokens
        frozenset(n for n in signature if n.endswith(("_ptr", "_row", "_head", "_sample")) or n == "width"),
    )


def _type(name: str, dtype: torch.dtype) -> str:
    pointers = {
        "bias_ptr": "fp32" if dtype == torch.float32 else "fp16",
        "padding_ptr": "u8",
        "ranges_ptr": "i32",
        "seed_ptr": "i64",
        "lse_ptr": "fp32",
        "delta_ptr": "fp32",
        "d_bias_ptr": "fp32",
    }
    if name.endswith("_ptr"):
        return "*" + pointers.get(name, NAMES[dtype])
    return "i32" if name in INTEGERS or name.endswith(("_sample", "_head", "_row")) else "fp32"
