"""How alike two instructions are, and which pairs of many are alike at all.

*Words* are the letters and digits between placeholders, in lower case. Two instructions are compared by two measures:

- *shared words*: words in both, as a share of the words in either (Jaccard);
- *order*: twice the number of words in matching runs, as a share of all words of the two
  (:class:`difflib.SequenceMatcher`).

To measure every pair of ten thousand instructions takes minutes. Neither measure is high where few words are the same,
and that is counted for one instruction and all others at once, 64 of them in a machine word (:func:`sharing`).
"""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence

from ofa_mi.utils.subsequences import CommonSubsequences

Pair = tuple[int, int]  # numbers of two instructions, the lower one first
_ROUNDING = 1e-9  # of a share of all words; a candidate too many does no harm


def words(instruction: str) -> tuple[str, ...]:
    """The words of an instruction in lower case, placeholders left out."""
    return tuple(re.findall(r"[^\W_]+", re.sub(r"\{\{|\}\}|\{\w+\}", " ", instruction.lower())))


def shared_words(first: Sequence[str], second: Sequence[str]) -> float:
    """Words that two instructions share, from 0 (none) to 1 (all)."""
    return len({*first} & {*second}) / (len({*first} | {*second}) or 1)


def order(first: Sequence[str], second: Sequence[str]) -> float:
    """How far two instructions have the same words in the same order, from 0 to 1."""
    return difflib.SequenceMatcher(None, first, second, autojunk=False).ratio()


# -- candidates


def perhaps_shared(instructions: Iterable[Sequence[str]], least: float) -> Iterator[Pair]:
    """All pairs of which :func:`shared_words` can be ``least`` or more; those without words share none."""
    # Of |A and B| >= least x |A or B|, and |A or B| = |A| + |B| - |A and B|.
    yield from sharing([(*{*instruction},) for instruction in instructions], least / (1 + least))


def perhaps_in_order(instructions: Sequence[Sequence[str]], least: float) -> Iterator[Pair]:
    """All pairs of which :func:`order` can be ``least`` or more."""
    yield from order_allowed(sharing(instructions, least / 2), instructions, least)


def order_allowed(pairs: Iterable[Pair], instructions: Sequence[Sequence[str]], least: float) -> Iterator[Pair]:
    """Those of some pairs of which :func:`order` can be ``least`` or more.

    Its matching runs are a common subsequence, and the length of the longest one is found much sooner.

    Args:
        pairs: Pairs, quickest in an order by the second one.
        instructions: The words of all instructions.
        least: From 0 to 1.
    """
    last, subsequences = None, CommonSubsequences(())
    for first, second in pairs:
        if second != last:
            last, subsequences = second, CommonSubsequences(instructions[second])
        in_all = len(instructions[first]) + len(instructions[second])
        if 2 * subsequences.length(instructions[first]) >= least * in_all - _ROUNDING:
            yield first, second


def sharing(bags: Sequence[Sequence[Hashable]], share: float) -> Iterator[Pair]:
    """Pairs of bags with at least a share of all their items in common; an item counts as often as both have it.

    For one bag and all before it the items in common are added up by bitwise operations: bit ``j`` of the integers
    ``counts[0], counts[1], …`` are the digits of a number for bag ``j``. It starts so far below a power of two as
    there are items needed, so that its highest digit is the answer. All pairs of n bags take O(n²) steps for their
    items, but 64 pairs a step.

    Args:
        bags: Items of each; two empty bags have everything in common.
        share: Above 0, at most 0.5, which is what two equal bags have in common.

    Returns:
        The pairs, ordered by the second one and then by the first.
    """
    numbered = [_numbered(bag) for bag in bags]
    of_length: dict[int, int] = defaultdict(int)  # bit j: bag j has so many items
    for place, items in enumerate(numbered):
        of_length[len(items)] |= 1 << place
    starts: dict[int, list[int]] = {}
    holders: dict[Hashable, int] = defaultdict(int)  # bit j: bag j has the item
    for place, items in enumerate(numbered):
        if len(items) not in starts:
            starts[len(items)] = _starts(len(items), of_length, share)
        counts = starts[len(items)].copy()
        for item in items:
            _add(counts, holders[item])
            holders[item] |= 1 << place
        yield from ((other, place) for other in _bits(counts[-1]))


class Index:
    """Instructions that are added one after the other, and those of them that a further one is perhaps like.

    Args:
        least: Least :func:`shared_words` that is asked for.
    """

    def __init__(self, least: float) -> None:
        self._share = least / (1 + least)  # as in perhaps_shared
        self._of_length: dict[int, int] = defaultdict(int)
        self._holders: dict[Hashable, int] = defaultdict(int)
        self._size = 0

    def add(self, said: Sequence[str]) -> None:
        """Add the words of an instruction; its place is the number of those before it."""
        items = _numbered((*{*said},))
        self._of_length[len(items)] |= 1 << self._size
        for item in items:
            self._holders[item] |= 1 << self._size
        self._size += 1

    def perhaps_shared(self, said: Sequence[str]) -> Iterator[int]:
        """Places of all instructions of which :func:`shared_words` with this one can be ``least`` or more."""
        items = _numbered((*{*said},))
        self._of_length[len(items)] |= 0  # so that there are digits enough for its own length
        counts = _starts(len(items), self._of_length, self._share)
        for item in items:
            _add(counts, self._holders.get(item, 0))
        yield from _bits(counts[-1])


def _numbered(bag: Sequence[Hashable]) -> list[Hashable]:
    """Different items for the first, second, … time that one occurs, and one that only empty bags have."""
    seen: Counter[Hashable] = Counter()
    items: list[Hashable] = []
    for item in bag:
        seen[item] += 1
        items.append((item, seen[item]))
    return items or [None]


def _starts(length: int, of_length: dict[int, int], share: float) -> list[int]:
    """Digits of 2^k less the number of items that a bag of ``length`` needs in common with every other one."""
    digits = max(of_length).bit_length()  # k: no bag has 2^k items
    starts = [0] * (digits + 1)
    for other, places in of_length.items():
        needed = max(1, math.ceil(share * (length + other) - _ROUNDING))
        start = (1 << digits) - needed
        for digit in range(digits):
            if start >> digit & 1:
                starts[digit] |= places
    return starts


def _add(counts: list[int], carry: int) -> None:
    """Add 1 to the numbers at the places of the bits in ``carry``."""
    digit = 0
    while carry:
        counts[digit], carry = counts[digit] ^ carry, counts[digit] & carry
        digit += 1


def _bits(number: int) -> Iterator[int]:
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest
