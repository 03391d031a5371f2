"""Tile sizes of the attention kernels, chosen from what they compile to (``python -m ofa_mi.kernels.resources``)."""

from typing import NamedTuple

import torch


class Tiles(NamedTuple):
    """Tile of the scores, and what the compiler is told.

    Attributes:
        block_m: Queries of a tile.
        block_n: Keys of a tile.
        num_warps: Warps of a program.
        num_stages: Loads in flight.
    """

    block_m: int
    block_n: int
    num_warps: int
    num_stages: int


# kernel -> (bytes of an element, head_dim rounded up to a power of 2) -> tiles
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


def tiles(kernel: str, dtype: torch.dtype, block_d: int, seqlen_q: int, *, causal: bool, dropout: bool) -> Tiles:
    """Tiles of a kernel.

    Args:
        kernel: A key of TILES.
        dtype: Of the inputs.
        block_d: The head_dim, rounded up to a power of 2.
        seqlen_q: Queries of a sample.
        causal: The kernel masks later keys.
        dropout: The kernel drops weights.
    """
    chosen = TILES[kernel][dtype.itemsize, max(32, block_d)]
    if kernel == "d_kv" and (causal or dropout):  # which need registers: tiles of 64 queries would spill
        chosen = chosen._replace(block_m=32)
    if kernel == "d_q" and dropout:  # and so would tiles of 64 keys
        chosen = chosen._replace(block_n=min(chosen.block_n, 32))
    block_m = min(chosen.block_m, max(SMALLEST, 1 << (seqlen_q - 1).bit_length()))
    if block_m < 64 <= chosen.block_m and kernel != "d_kv":  # whose queries are columns
        chosen = chosen._replace(num_warps=4)
    return chosen._replace(block_m=block_m)
