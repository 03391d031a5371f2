"""The kernels of the position bias as they are launched, for :mod:`ofa_mi.kernels.resources`."""

from collections.abc import Iterator

from ..resources import Configuration
from . import triton_kernels

FLOATS = ("scale", "limit")


def configurations() -> Iterator[Configuration]:
    """The plane with both tables for every format, and the gradient of a table."""
    for dtype, plane in (("fp16", "fp16"), ("bf16", "fp16"), ("fp32", "fp32")):
        block, warps = triton_kernels.TILES[4 if dtype == "fp32" else 2]
        for width in (32, 64, 128):
            constants = {
                "TABLES": 2,
                "BLOCK": block,
                "WIDTH": width,
                "PRECISION": "ieee",
                "UPCAST": False,
            }
            pointers = {"plane_ptr": plane} | {f"{name}{n}_ptr": "i64" for name in ("queries", "keys") for n in (0, 1)}
            yield _configuration(
                f"plane {dtype} D={width}", triton_kernels.position_plane, constants, pointers, dtype, warps
            )
    constants = {name: getattr(triton_kernels, name) for name in ("DIFFERENCES", "DIAGONAL_ROWS", "CHUNK")}
    pointers = {"queries_ptr": "i64", "key_index_ptr": "i64"}
    yield _configuration("table gradient", triton_kernels.table_gradient, constants, pointers, "fp32", 4)


def _configuration(name, kernel, constants, pointers, dtype, warps) -> Configuration:
    signature = {}
    for argument in kernel.arg_names:
        if argument.endswith("_ptr"):
            signature[argument] = "*" + pointers.get(argument, dtype)
        elif argument not in constants:
            signature[argument] = "fp32" if argument in FLOATS else "i32"
    aligned = frozenset(a for a in signature if a.endswith(("_ptr", "_row", "_head")) or a == "width")
    return Configuration(name, kernel, signature, constants, warps=warps, stages=3, aligned=aligned)
