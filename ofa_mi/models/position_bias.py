"""Buckets and ids of positions: which row of a relative table belongs to a pair of positions."""

import math

import torch
from torch import Tensor, nn

from ofa_mi.kernels import RelativePositions
from ofa_mi.models.sizes import Config

RELEASED_POSITIONS = 1024  # the released buckets reach from -1023 to 1023


def token_buckets(bucket_size: int, positions: int) -> Tensor:
    """Rows of the text table for all pairs of positions: (positions, positions) int64.

    Distances up to half of ``bucket_size`` have their own row, larger ones share rows whose width grows with the
    logarithm of the distance (as in T5, arXiv 1910.10683). Distances beyond the released 1023 share the last row.
    """
    index = torch.arange(positions)
    distance = index[:, None] - index[None, :]
    middle = bucket_size // 2
    # In fp32 and in this order: another rounding would move distances to a neighbouring row.
    logarithm = torch.log(distance.abs().clamp(min=middle) / middle) / math.log((RELEASED_POSITIONS - 1) / middle)
    far = (torch.ceil(logarithm * (middle - 1)).long() + middle).clamp(max=bucket_size - 1)
    return torch.where(distance.abs() <= middle, distance, distance.sign() * far) + bucket_size - 1


def image_table_rows(bucket_size: int) -> int:
    """Rows of the image table: one for every (row, column) offset of a grid, and three for position 0."""
    return (2 * bucket_size - 1) ** 2 + 3


def image_buckets(bucket_size: int) -> Tensor:
    """Rows of the image table for all pairs of position ids: (n, n) int64 with n = bucket_size^2 + 1.

    Id 0 stands for the position before the first image code; its three rows are the last of the table.
    """
    rows = image_table_rows(bucket_size)
    index = torch.arange(bucket_size**2)
    row, column = index // bucket_size, index % bucket_size
    span = 2 * bucket_size - 1
    row_offset = row[:, None] - row[None, :] + bucket_size - 1
    column_offset = column[:, None] - column[None, :] + bucket_size - 1
    buckets = torch.empty(bucket_size**2 + 1, bucket_size**2 + 1, dtype=torch.long)
    buckets[1:, 1:] = row_offset * span + column_offset
    buckets[0, :] = rows - 3
    buckets[:, 0] = rows - 2
    buckets[0, 0] = rows - 1
    return buckets


def patch_position_ids(height: int, width: int, bucket_size: int, device: torch.device | None = None) -> Tensor:
    """Position ids ``row * bucket_size + column + 1`` of a patch grid, row by row: (height * width,) int64."""
    rows = torch.arange(height, device=device)[:, None] * bucket_size
    return (rows + torch.arange(width, device=device) + 1).flatten()


def patch_offsets(buckets: Tensor, ids: Tensor) -> RelativePositions:
    """Rows of the image table for all pairs of patches, from :func:`image_buckets` and position ids (P,), none 0.

    The row is linear in the offset, so that it is the difference of two numbers, one of each patch.
    """
    row = buckets[ids, 1]  # of the offset to the first patch, whose id is 1
    side = math.isqrt(len(buckets) - 1)
    return RelativePositions(row, row - buckets[1, 1], span=side * (2 * side - 1))


def code_position_ids(code_image_size: int, bucket_size: int) -> Tensor:
    """Position ids of image-code targets: 0, the grid of codes, and id 1024 up to the released length of 1026."""
    side = code_image_size // 8
    ids = torch.cat([torch.zeros(1, dtype=torch.long), patch_position_ids(side, side, bucket_size)])
    return torch.cat([ids, torch.full((769,), 1024)])


def index_tables(config: Config) -> dict[str, Tensor]:
    """All tables that follow from the settings, by their names in a released state dict."""
    tables = {
        f"{side}.token_rp_bucket": token_buckets(config.token_bucket_size, positions)
        for side, positions in (("encoder", config.max_source_positions), ("decoder", config.max_target_positions))
    }
    tables |= dict.fromkeys(
        ("encoder.image_rp_bucket", "decoder.image_rp_bucket"), image_buckets(config.image_bucket_size)
    )
    side = config.image_bucket_size
    return tables | {"decoder.image_position_idx": code_position_ids(config.code_image_size, side)}


def project_positions(linear: nn.Linear, positions: Tensor, heads: int) -> Tensor:
    """Position embeddings (L, C) -> (H, L, C / H)."""
    return linear(positions).unflatten(-1, (heads, -1)).transpose(0, 1)
