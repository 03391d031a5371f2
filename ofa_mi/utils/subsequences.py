"""Longest common subsequences by whole rows of the usual table: the differences along a row are the bits of an integer.

Hyyrö 2004, "Bit-parallel LCS-length computation revisited": from one row of the table to the next are an addition and
three bitwise operations, which take 64 columns at once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

BLOCK = 1 << 14  # columns of one integer; of longer sequences the integers of all different items would fill the memory


class CommonSubsequences:
    """How long the longest common subsequences of one sequence with others are.

    Args:
        items: The sequence, which is prepared once for all the others.
    """

    def __init__(self, items: Sequence[Hashable]) -> None:
        # Of each block of columns: an integer with all their bits, and by item one with the bits of its places.
        self._blocks: list[tuple[int, dict[Hashable, int]]] = []
        for start in range(0, len(items), BLOCK):
            block, places = items[start : start + BLOCK], {}
            for place, item in enumerate(block):
                places[item] = places.get(item, 0) | 1 << place
            self._blocks.append(((1 << len(block)) - 1, places))

    def length(self, other: Iterable[Hashable]) -> int:
        """Items of a longest common subsequence with ``other``, in O(len(other) x len(items) / 64)."""
        other, length = list(other), 0
        carried = [False] * len(other)  # by row: from the block before
        for columns, places in self._blocks:
            row = columns  # a bit is 0 where the table grows by one along its row
            for number, item in enumerate(other):
                here = places.get(item, 0)
                if here or carried[number]:
                    matched = row & here
                    total = row + matched + carried[number]
                    row = (total | row - matched) & columns
                    carried[number] = total > columns
            length += (row ^ columns).bit_count()
        return length
