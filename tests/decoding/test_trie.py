"""The sets of outputs that decoding can be restricted to."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ofa_mi.decoding.trie import OptionSetGrammar, RegionGrammar, Trie, TrieTable
from ofa_mi.errors import DataError

EOS = 2


def language(automaton, prefix=()):
    """Every sequence that the automaton accepts."""
    following = automaton.next(prefix)
    assert following == sorted(set(following))
    return {sequence for token in following for sequence in language(automaton, (*prefix, token))} or {tuple(prefix)}


@given(st.lists(st.lists(st.integers(3, 6), max_size=4), min_size=1, max_size=12))
def test_a_trie_accepts_its_sequences_and_no_other(bodies):
    sequences = [(*body, EOS) for body in bodies]
    trie = Trie(sequences)
    assert language(trie) == set(sequences)
    assert trie.max_len == max(map(len, sequences))


def test_a_prefix_that_leads_nowhere():
    trie = Trie([[4, 5, EOS], [4, EOS]])
    assert trie.next([4]) == [EOS, 5]
    assert trie.next([5]) == [] and trie.next([4, EOS]) == [] and trie.next([4, EOS, 4]) == []


def test_impossible_tries():
    with pytest.raises(DataError, match="at least one"):
        Trie([])
    with pytest.raises(DataError, match="beginning"):
        Trie([[4], [4, 5]])


@pytest.mark.parametrize("max_regions", [1, 2])
def test_region_grammar(max_regions):
    grammar = RegionGrammar(range(10, 12), max_regions=max_regions)
    accepted = language(grammar)
    assert len(accepted) == sum(2 ** (4 * n) for n in range(1, max_regions + 1))
    assert {len(sequence) for sequence in accepted} == {4 * n + 1 for n in range(1, max_regions + 1)}
    assert grammar.max_len == 4 * max_regions + 1


def test_option_sets_with_options_that_begin_alike():
    first, following = [[5], [5, 6], [7]], [[9, 5], [9, 5, 6], [9, 7]]
    expected = {
        (*head, *(token for part in tail for token in part), EOS)
        for head in map(tuple, first)
        for tail in [(), *((a,) for a in following), *((a, b) for a in following for b in following)]
    }
    expected.add((8, 8, EOS))
    grammar = OptionSetGrammar(first, following, [8, 8])
    assert language(grammar) == expected
    assert grammar.max_len >= max(map(len, expected))


def test_a_table_follows_every_automaton():
    automata = [Trie([[4, 5, EOS], [4, EOS]]), RegionGrammar(range(10, 13)), Trie([[7, 4, EOS]])]
    automata = [*automata, *automata[:1]]
    table = TrieTable(automata, torch.device("cpu"))
    vocabulary = table.ids.tolist()
    assert vocabulary == [EOS, 4, 5, 7, 10, 11, 12]
    nodes, prefix = table.start, [[] for _ in automata]
    for step in range(3):
        forbidden = table.forbidden(nodes, len(vocabulary))
        for row, automaton in enumerate(automata):
            permitted = [token for token, no in zip(vocabulary, forbidden[row].tolist(), strict=True) if not no]
            assert permitted == automaton.next(prefix[row])
            prefix[row].append(permitted[-1] if permitted else EOS)
        if step < 2:
            columns = torch.tensor([vocabulary.index(tokens[-1]) for tokens in prefix])
            nodes = table.follow(nodes, columns)
