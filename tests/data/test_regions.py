"""Boxes to location bins and back."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ofa_mi.data.regions import RegionCodec
from ofa_mi.errors import ConfigError, DataError

SIZES = st.tuples(st.integers(1, 4000), st.integers(1, 4000))


@st.composite
def boxes(draw):
    """An image size and a box inside it, at least a pixel wide and high."""
    size = draw(SIZES)
    coordinates = []
    for side in size:
        low = draw(st.floats(0, side - 1))
        high = draw(st.floats(min(low + 1, side), side))
        assume(high - low >= 1)  # adding 1 may round down
        coordinates.append((low, high))
    (x0, x1), (y0, y1) = coordinates
    return size, (x0, y0, x1, y1)


@given(boxes(), st.sampled_from([16, 64, 224, 384, 480, 512]))
def test_round_trip_is_off_by_half_a_bin_at_most(sized_box, patch_image_size):
    size, box = sized_box
    codec = RegionCodec(patch_image_size=patch_image_size)
    bins = codec.quantise(box, size)
    assert all(type(k) is int and 0 <= k <= 999 for k in bins)
    restored = codec.restore(bins, size)
    for i, (before, after) in enumerate(zip(box, restored, strict=True)):
        half_bin = 0.5 / 999 * 512 * size[i % 2] / patch_image_size  # in pixels of the original
        assert abs(before - after) <= half_bin * (1 + 1e-9)
        assert 0 <= after <= size[i % 2]


def test_numbers_of_the_specification():
    at_512, at_480 = (RegionCodec(patch_image_size=side) for side in (512, 480))
    assert at_512.quantise((0, 0, 640, 480), (640, 480)) == (0, 0, 999, 999)
    assert at_512.quantise((100, 120, 320, 240), (640, 480)) == tuple(
        round(c / side * 999) for c, side in [(100, 640), (120, 480), (320, 640), (240, 480)]
    )
    assert at_480.quantise((0, 0, 640, 480), (640, 480)) == (0, 0, 937, 937)
    assert at_480.restore((0, 0, 937, 937), (640, 480)) == pytest.approx((0, 0, 640, 480), abs=0.4)


def test_generated_bins_are_clipped_to_the_image_and_otherwise_kept():
    codec = RegionCodec(patch_image_size=480)
    assert codec.restore((999, 0, 10, 999), (100, 50)) == pytest.approx((100, 0, 10 / 999 * 512 / 480 * 100, 50))


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((10, 0, 5, 10), "empty or reversed"),
        ((5, 5, 5, 10), "empty or reversed"),
        ((0, 0, 101, 10), "outside the 100x50 image"),
        ((-1, 0, 10, 10), "outside"),
        ((3, 3, 3.9, 10), r"less than a pixel wide or high$"),
        ((3, 3, 10, 3.5), r"less than a pixel wide or high$"),
        ((0.1, 0.2, 0.5, 0.9), "less than a pixel wide or high; boxes are in pixels, not in shares of the image"),
        ((0, 0, math.nan, 10), "not finite"),
    ],
)
def test_a_bad_box_names_its_instance(box, message):
    with pytest.raises(DataError, match=rf"train\.jsonl:3.*{message}"):
        RegionCodec(patch_image_size=512).quantise(box, (100, 50), name="train.jsonl:3: instance 'a'")


def test_an_image_larger_than_the_bins_reach_is_an_error():
    with pytest.raises(ConfigError, match="patch image size 640"):
        RegionCodec(patch_image_size=640)
