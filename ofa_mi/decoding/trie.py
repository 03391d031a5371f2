"""What a decoder may say: sets of token sequences as automata that beam search can follow.

A :class:`Trie` holds the options of one instance; a :class:`RegionGrammar` says "four location tokens" without
listing the 10^12 boxes. Both are lists of nodes with labelled edges, so a whole batch of them is packed into two
tensors (:class:`TrieTable`) and beam search follows every beam with two gathers a step, whatever the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from ofa_mi.data.encoding import REGION_TOKENS
from ofa_mi.data.vocabulary import EOS
from ofa_mi.errors import DataError


class Automaton:
    """Node 0 is the start; ``tokens[n]`` and ``children[n]`` are the edges that leave node n.

    A sequence is accepted when its last token, ``</s>``, leads to a node without edges.

    Attributes:
        tokens: Sorted token ids that may follow at each node.
        children: The node that each of these tokens leads to.
        max_len: Tokens of the longest sequence, ``</s>`` included.
    """

    tokens: list[Sequence[int]]
    children: list[Sequence[int]]
    max_len: int

    def next(self, prefix: Sequence[int]) -> list[int]:
        """Sorted ids of the tokens that may follow ``prefix`` (without ``<s>``); empty if it leads nowhere."""
        node = 0
        for token in prefix:
            if token not in self.tokens[node]:
                return []
            node = self.children[node][self.tokens[node].index(token)]
        return list(self.tokens[node])


class Trie(Automaton):
    """Prefix tree of token sequences.

    Args:
        sequences: Token ids of every allowed output, each with its final ``</s>``; order and repetitions are
            irrelevant.

    Raises:
        DataError: No sequence, an empty one, or one that continues another beyond its end.
    """

    def __init__(self, sequences: Iterable[Sequence[int]]) -> None:
        sequences = [tuple(sequence) for sequence in sequences]
        if not sequences or not all(sequences):
            raise DataError("a trie needs at least one sequence, and none of them empty")
        edges: list[dict[int, int]] = [{}]
        ends = set()
        for sequence in sequences:
            node = 0
            for token in sequence:
                if token not in edges[node]:
                    edges[node][token] = len(edges)
                    edges.append({})
                node = edges[node][token]
            ends.add(node)
        if any(edges[node] for node in ends):
            raise DataError("a sequence of a trie is the beginning of another one; they must all end in </s>")
        self.tokens = [sorted(node) for node in edges]
        self.children = [[node[token] for token in sorted(node)] for node in edges]
        self.max_len = max(map(len, sequences))


class RegionGrammar(Automaton):
    """Exactly four location tokens per region, then ``</s>``.

    Args:
        bins: Ids of the location tokens.
        eos: Id of ``</s>``.
        max_regions: From one to so many regions; every region is complete.
    """

    def __init__(self, bins: range, *, eos: int = EOS, max_regions: int = 1) -> None:
        inside = tuple(bins)
        with_end = (eos, *inside)  # sorted: the special symbols precede the location tokens
        last = REGION_TOKENS * max_regions
        end = last + 1
        self.tokens, self.children = [], []
        for node in range(last):
            may_end = node > 0 and node % REGION_TOKENS == 0
            self.tokens.append(with_end if may_end else inside)
            self.children.append(((end,) if may_end else ()) + (node + 1,) * len(inside))
        self.tokens += [(eos,), ()]
        self.children += [(end,), ()]
        self.max_len = last + 1


class OptionSetGrammar(Automaton):
    """One or several options, joined by a separator, then ``</s>``: the answer of a task whose output is a set.

    Options come in any order and at most as many as there are. Saying one twice is not forbidden (that would take a
    node for every subset); the set of what was said is what counts.

    Args:
        first: Token ids of every option as it begins an answer, without ``</s>``.
        following: Token ids of every option with the separator before it, without ``</s>``.
        empty: Token ids that stand for the empty set, without ``</s>``.
        eos: Id of ``</s>``.
    """

    def __init__(
        self,
        first: Sequence[Sequence[int]],
        following: Sequence[Sequence[int]],
        empty: Sequence[int],
        *,
        eos: int = EOS,
    ) -> None:
        places = [first] + [following] * (len(first) - 1) + [[empty]]
        # Subset construction: a node is the set of all (place, option, position) that explain the tokens so far.
        start = frozenset([*((0, option, 0) for option in range(len(first))), (len(first), 0, 0)])
        node_of, queue = {start: 0}, [start]
        self.tokens, self.children = [], []
        for items in queue:  # grows while it is read
            edges: dict[int, set] = {}
            for place, option, position in items:
                sequence = places[place][option]
                if position < len(sequence):
                    edges.setdefault(sequence[position], set()).add((place, option, position + 1))
                else:
                    edges.setdefault(eos, set())
            targets = {token: self._close(reached, places) for token, reached in edges.items()}
            for target in targets.values():
                if target not in node_of:
                    node_of[target] = len(queue)
                    queue.append(target)
            self.tokens.append(sorted(targets))
            self.children.append([node_of[targets[token]] for token in sorted(targets)])
        self.max_len = max(sum(max(map(len, options)) for options in places[:-1]), len(empty)) + 1

    @staticmethod
    def _close(items: set[tuple[int, int, int]], places: Sequence[Sequence[Sequence[int]]]) -> frozenset:
        """Add the beginnings of the next place to every item that has reached the end of its option."""
        closed = set()
        for place, option, position in items:
            if position < len(places[place][option]):
                closed.add((place, option, position))
                continue
            # Which option has ended no longer matters: one item for all keeps the nodes few.
            closed.add((place, 0, len(places[place][0])))
            if place + 2 < len(places):  # the last place is the empty set's
                closed.update((place + 1, following, 0) for following in range(len(places[place + 1])))
        return frozenset(closed)


class TrieTable:
    """The automata of a batch as tensors.

    Args:
        automata: One per sentence.
        device: Where the tensors live.

    Attributes:
        ids: int64 (N,), sorted union of all allowed tokens: columns of the logits are these instead of the vocabulary.
        start: int64 (B,), start node of every sentence.
        max_len: int64 (B,), tokens of the longest sequence with ``</s>``.
    """

    def __init__(self, automata: Sequence[Automaton], device: torch.device) -> None:
        # Node 0 belongs to finished beams; sentences that share an automaton share its nodes.
        tokens, children, first_node = [()], [()], {}
        for automaton in automata:
            if id(automaton) not in first_node:
                offset = first_node[id(automaton)] = len(tokens)
                tokens += automaton.tokens
                children += [[offset + child for child in row] for row in automaton.children]
        union = sorted({token for row in tokens for token in row})
        column = {token: index for index, token in enumerate(union)}

        self.ids = torch.tensor(union, device=device)
        self.start = torch.tensor([first_node[id(automaton)] for automaton in automata], device=device)
        self.max_len = torch.tensor([automaton.max_len for automaton in automata], device=device)
        width = max(1, *map(len, tokens))
        self._columns = _padded([[column[token] for token in row] for row in tokens], width, -1).to(device)  # nodes, F
        self._children = _padded(children, width, 0).to(device)  # nodes, F

    def forbidden(self, nodes: torch.Tensor, num_columns: int) -> torch.Tensor:
        """What may not follow: bool (..., num_columns) for nodes (...); at node 0 nothing is forbidden."""
        columns = self._columns[nodes]  # ..., F
        columns = torch.where(columns < 0, num_columns, columns)  # padding goes to a column that is cut off
        mask = torch.ones(*nodes.shape, num_columns + 1, dtype=torch.bool, device=nodes.device)
        return mask.scatter_(-1, columns, False)[..., :num_columns] & (nodes > 0).unsqueeze(-1)

    def follow(self, nodes: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """Nodes (...) reached from ``nodes`` (...) by the edge of ``columns`` (...); 0 where there is no such edge."""
        match = self._columns[nodes] == columns.unsqueeze(-1)  # ..., F
        return (self._children[nodes] * match).sum(-1)


def _padded(rows: Sequence[Sequence[int]], width: int, value: int) -> torch.Tensor:
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows])
