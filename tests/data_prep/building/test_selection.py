"""Which candidates are kept: capped, balanced, and by nothing but their hashes."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_mi.data_prep.building.selection import CANDIDATE, select


def candidates(*rows):
    """Rows of (group, labels, label, stratum); priorities are a fixed shuffle."""
    table = np.zeros(len(rows), dtype=CANDIDATE)
    for name, column in zip(("group", "labels", "label", "stratum"), zip(*rows, strict=True), strict=True):
        table[name] = column
    table["priority"] = np.random.default_rng(0).permutation(len(rows)) + 1
    return table


def test_unbalanced_candidates_are_kept_by_priority_up_to_the_cap():
    table = candidates(*[(0, 0, 0, 0)] * 10, *[(1, 0, 0, 0)] * 4)
    kept = select(table, np.array([3, 0]))
    assert sorted(table["priority"][:10][kept[:10]]) == sorted(table["priority"][:10])[:3]
    assert kept[10:].all()


def test_every_label_of_a_stratum_is_kept_equally_often():
    table = candidates(*[(0, 2, 0, 7)] * 9, *[(0, 2, 1, 7)] * 4, *[(0, 2, 0, 8)] * 3)
    kept = select(table, np.array([0]))
    assert Counter(table["label"][kept].tolist()) == {0: 4, 1: 4}
    assert set(table["stratum"][kept]) == {7}, "a stratum in which a label is missing cannot be balanced"
    capped = select(table, np.array([5]))
    assert Counter(table["label"][capped].tolist()) == {0: 2, 1: 2}, "sets stay whole"


def test_nothing_to_choose_from():
    assert select(np.zeros(0, dtype=CANDIDATE), np.array([1])).shape == (0,)
    assert not select(candidates((0, 2, 1, 5)), np.array([0])).any()


ROWS = st.lists(st.tuples(st.integers(0, 2), st.just(3), st.integers(0, 2), st.integers(0, 2)), max_size=40)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.lists(st.integers(0, 9), min_size=3, max_size=3))
def test_balance_and_caps_hold_whatever_the_order(rows, caps):
    if not rows:
        return
    table, caps = candidates(*rows), np.array(caps)
    kept = select(table, caps)
    for group in range(3):
        labels = Counter(table["label"][kept & (table["group"] == group)].tolist())
        assert len(set(labels.values())) <= 1 and len(labels) in (0, 3)
        assert caps[group] == 0 or sum(labels.values()) <= caps[group]
    order = np.random.default_rng(1).permutation(len(table))
    assert (select(table[order], caps) == kept[order]).all()


@pytest.mark.parametrize("cap", [1, 2, 3, 4, 5, 6, 7])
def test_a_larger_cap_keeps_what_a_smaller_one_keeps(cap):
    table = candidates(*[(0, 0, 0, 0)] * 8)
    small, large = (select(table, np.array([limit])) for limit in (cap, cap + 1))
    assert small.sum() == cap and large.sum() == cap + 1 and (large >= small).all()
