"""Tile sizes of the attention kernels, chosen from what they compile to (``python -m ofa_mi.kernels.resources``)."""

from typing import NamedTuple

import torch


class Tiles(NamedTuple):
    """Tile of the scores, and what the compiler is told.

    Attributes:
        queries: queries of a tile.
        keys: keys of a tile.
        warps: warps of a program.
        stages: loads in flight.
    """

    queries: int
    keys: int
    warps: int
    stages: int


# kernel -> (bytes of an element, padded head width) -> tiles
TILES = {
    "forward": {
        (2, 32): Tiles(128, 64, 8, 3),
        (2, 64): Tiles(128, 64, 8, 3),
        (2, 128): Tiles(128, 64, 8, 2),
        (4, 32): Tiles(64, 32, 4, 2),
        (4, 64): Tiles(32, 32, 8, 2),
        (4, 128): Tiles(32, 32, 8, 1),
    },
    "d_q": {
        (2, 32): Tiles(64, 64, 4, 3),
        (2, 64): Tiles(64, 64, 4, 3),
        (2, 128): Tiles(128, 64, 8, 2),
        (4, 32): Tiles(32, 32, 8, 2),
        (4, 64): Tiles(32, 32, 8, 2),
        (4, 128): Tiles(16, 16, 8, 1),
    },
    "d_kv": {
        (2, 32): Tiles(64, 128, 8, 2),
        (2, 64): Tiles(64, 128, 8, 2),
        (2, 128): Tiles(32, 128, 8, 3),
        (4, 32): Tiles(32, 32, 8, 2),
        (4, 64): Tiles(32, 32, 8, 2),
        (4, 128): Tiles(32, 32, 8, 2),
    },
    "d_bias": {
        (2, 32): Tiles(128, 64, 8, 2),
        (2, 64): Tiles(128, 64, 8, 2),
        (2, 128): Tiles(64, 128, 8, 2),
        (4, 32): Tiles(32, 32, 8, 2),
        (4, 64): Tiles(32, 32, 8, 2),
        (4, 128): Tiles(32, 32, 8, 2),
    },
}
SMALLEST = 16  # side of a tile that tensor cores take


def tiles(kernel: str, dtype: torch.dtype, width: int, queries: int, *, causal: bool, dropout: bool) -> Tiles:
    """Tiles of a kernel for inputs of ``dtype`` and padded head width ``width``."""
    chosen = TILES[kernel][dtype.itemsize, max(32, width)]
    if kernel == "d_kv" and (causal or dropout):  # which need registers: tiles of 64 queries would spill
        chosen = chosen._replace(queries=32)
    if kernel == "d_q" and dropout:  # and so would tiles of 64 keys
        chosen = chosen._replace(keys=min(chosen.keys, 32))
    rows = min(chosen.queries, max(SMALLEST, 1 << (queries - 1).bit_length()))
    if rows < 64 <= chosen.queries and kernel != "d_kv":  # whose queries are columns
        chosen = chosen._replace(warps=4)
    return chosen._replace(queries=rows)
