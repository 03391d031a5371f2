"""Buckets against the formulas, written out pair by pair."""

import math

import pytest
import torch

from ofa_mi.models.position_bias import code_position_ids, image_buckets, patch_position_ids, token_buckets


def token_row(distance, size=256):
    middle = size // 2
    if abs(distance) <= middle:
        return distance + size - 1
    logarithm = math.log(abs(distance) / middle) / math.log(1023 / middle)
    return int(math.copysign(math.ceil(logarithm * (middle - 1)) + middle, distance)) + size - 1


def test_token_buckets():
    buckets = token_buckets(256, 1024)
    assert buckets.shape == (1024, 1024) and buckets.dtype == torch.int64
    assert buckets.min() == 0 and buckets.max() == 510
    for distance in [0, 1, -1, 127, 128, -128, 129, 200, -500, 1000, -1022]:
        row = max(distance, 0)
        assert buckets[row, row - distance] == token_row(distance), distance
    assert (buckets.diagonal(-7) == 7 + 255).all()


def test_token_buckets_beyond_the_released_length_share_the_last_row():
    buckets = token_buckets(256, 1500)
    assert buckets[:1024, :1024].equal(token_buckets(256, 1024))
    assert buckets[1499, 0] == 510 and buckets[0, 1499] == 0


def test_image_buckets():
    size = 42
    buckets = image_buckets(size)
    assert buckets.shape == (1765, 1765) and buckets.dtype == torch.int64
    for first, second in [((0, 0), (0, 0)), ((3, 5), (40, 1)), ((41, 41), (0, 0)), ((0, 41), (41, 0))]:
        i, j = (row * size + column + 1 for row, column in (first, second))
        assert buckets[i, j] == (first[0] - second[0] + 41) * 83 + first[1] - second[1] + 41
    assert buckets[0, 5] == 6889 and buckets[5, 0] == 6890 and buckets[0, 0] == 6891


def test_patch_position_ids_go_row_by_row():
    assert patch_position_ids(2, 3, 42).tolist() == [1, 2, 3, 43, 44, 45]


def test_code_position_ids_of_the_released_models():
    ids = code_position_ids(128, 42)
    assert ids.shape == (1026,)
    assert ids[0] == 0 and ids[1 + 16 * 3 + 5] == 3 * 42 + 5 + 1
    assert (ids[257:] == 1024).all()


@pytest.mark.parametrize("distance", [129, 300, 900])
def test_far_buckets_are_antisymmetric(distance):
    buckets = token_buckets(256, 1024)
    assert buckets[distance, 0] - 255 == 255 - buckets[0, distance]
