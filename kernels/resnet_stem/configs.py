"""Tile sizes of the stem's kernels, chosen from what they compile to (``python -m ofa_mi.kernels.resources``)."""

from typing import NamedTuple

import torch


class Tiles(NamedTuple):
    """Tile of positions and channels, and what the compiler is told.

    Attributes:
        positions: Columns of a tile.
        channels: Channels of a tile.
        rows: Rows that a program goes through.
        num_warps: Warps of a program.
    """

    positions: int
    channels: int
    rows: int
    num_warps: int


SMALLEST = 16  # side of a tile that tensor cores take

# kernel -> bytes of an element -> tiles
TILES = {
    "fused": {2: Tiles(128, 64, 8, 8), 4: Tiles(32, 32, 8, 8)},
    "convolve": {2: Tiles(64, 64, 8, 4), 4: Tiles(32, 32, 8, 8)},
    "pool": {2: Tiles(32, 64, 1, 4), 4: Tiles(32, 64, 1, 4)},
    "affine_gradient": {2: Tiles(32, 64, 16, 4), 4: Tiles(32, 64, 16, 4)},
    "weight_gradient": {2: Tiles(64, 64, 16, 8), 4: Tiles(16, 32, 16, 8)},
    "convolution_gradient": {2: Tiles(32, 64, 1, 4), 4: Tiles(32, 64, 1, 4)},
}


def tiles(kernel: str, dtype: torch.dtype, columns: int, channels: int) -> Tiles:
    """Tiles of a kernel.

    Args:
        kernel: A key of TILES.
        dtype: Of the images.
        columns: Positions of a row.
        channels: C.
    """
    chosen = TILES[kernel][dtype.itemsize]
    positions, width = (max(SMALLEST, 1 << (n - 1).bit_length()) for n in (columns, channels))
    return chosen._replace(positions=min(chosen.positions, positions), channels=min(chosen.channels, width))
