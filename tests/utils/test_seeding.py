"""Randomness depends on (seed, epoch, index) only."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_mi.utils.seeding import draw, generator

INTEGERS = st.integers(-(2**63), 2**63 - 1)


@settings(max_examples=50, deadline=None)
@given(INTEGERS, INTEGERS, st.lists(st.integers(0, 2**62), min_size=1, max_size=20), st.integers(1, 2**32 - 1))
def test_each_draw_is_the_same_alone_and_among_others(seed, epoch, indices, n):
    together = draw(seed, epoch, np.array(indices), n)
    alone = [draw(seed, epoch, np.array([index]), n)[0] for index in indices]
    assert together.tolist() == alone
    assert (together >= 0).all() and (together < n).all()


def test_draws_are_fixed_for_ever():
    """A change here changes the course of every run that is resumed."""
    assert draw(1, 1, np.arange(10), 5).tolist() == [3, 1, 1, 2, 0, 4, 3, 3, 4, 3]
    assert generator(1, 2, 3).integers(1000, size=3).tolist() == [964, 670, 872]


def test_choices_are_uniform_and_independent_between_seeds_epochs_and_streams():
    indices = np.arange(20_000)
    first = draw(1, 1, indices, 5)
    assert np.abs(np.bincount(first, minlength=5) / len(indices) - 0.2).max() < 0.02
    for other in (draw(2, 1, indices, 5), draw(1, 2, indices, 5), draw(1, 1, indices, 5, stream=1)):
        assert abs((first == other).mean() - 0.2) < 0.02


def test_number_of_choices_may_differ_by_index():
    n = np.array([1, 2, 3, 1000])
    assert (draw(1, 1, np.arange(4), n) < n).all()
    with pytest.raises(ValueError, match="at least 1"):
        draw(1, 1, np.arange(2), np.array([1, 0]))


def test_generators_differ_by_every_number():
    values = {
        generator(*numbers).integers(2**62) for numbers in ((1, 2, 3), (1, 2, 4), (1, 3, 3), (2, 2, 3), (-1, 2, 3))
    }
    assert len(values | {generator(1, 2, 3, stream=1).integers(2**62)}) == 6
    assert generator(1, 2, 3).integers(2**62) in values
