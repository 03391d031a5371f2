"""The length of a longest common subsequence is that of the textbook's table."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_mi.utils import subsequences
from ofa_mi.utils.subsequences import CommonSubsequences

SEQUENCES = st.integers(1, 12).flatmap(lambda kinds: st.lists(st.integers(1, kinds), max_size=150))


def plain_length(first, second):
    """By dynamic programming, cell by cell."""
    row = [0] * (len(second) + 1)
    for a in first:
        above, row = row, [0]
        for j, b in enumerate(second):
            row.append(above[j] + 1 if a == b else max(above[j + 1], row[j]))
    return row[-1]


@given(SEQUENCES, st.lists(SEQUENCES, max_size=3), st.sampled_from([1, 2, 7, 64, 1 << 14]))
@settings(max_examples=150, deadline=None)
def test_lengths_are_those_of_the_plain_table(first, others, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subsequences, "BLOCK", block)
        prepared = CommonSubsequences(first)
    assert [prepared.length(iter(other)) for other in others] == [plain_length(first, other) for other in others]


def test_lengths_by_hand():
    assert CommonSubsequences("").length("abc") == CommonSubsequences("abc").length("") == 0
    assert CommonSubsequences("abcbdab").length("bdcaba") == 4
    assert CommonSubsequences("ab" * 100).length("ba" * 100) == 199
