"""The kernels of the position bias as they are launched."""

from collections.abc import Iterator

import torch

from ..position_bias import backward, forward, op
from .compiler import FORMATS, Configuration, configuration


def configurations() -> Iterator[Configuration]:
    """The bias with both tables for every format, and the gradient of a table."""
    indices = dict.fromkeys(("queries0_ptr", "keys0_ptr", "queries1_ptr", "keys1_ptr"), "i64")
    for dtype, name in FORMATS.items():
        pointers = indices | {"bias_ptr": "fp32" if dtype == torch.float32 else "fp16"}
        block, num_warps = op.TILES[dtype.itemsize]
        for head_dim in (32, 64, 128):
            constants = {"TABLES": 2, "BLOCK": block, "BLOCK_D": head_dim, "PRECISION": "ieee", "UPCAST": False}
            label = f"position_bias {name} D={head_dim}"
            launch = {"num_warps": num_warps, "num_stages": 3}
            yield configuration(label, forward.position_bias, dtype, constants, pointers, **launch)
    pointers = {"queries_ptr": "i64", "key_index_ptr": "i64"}
    launch = {"num_warps": 4, "num_stages": 3}
    yield configuration("table gradient", backward.table_gradient, torch.float32, op.GRADIENT_TILE, pointers, **launch)
