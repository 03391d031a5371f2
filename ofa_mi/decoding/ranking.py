"""Log-probability of given outputs, by teacher forcing: how well does each option answer?

The encoder runs once per sentence, and so do its keys and values for the decoder. The options of a sentence are the
paths of a tree: what several of them begin with is computed once, in the decoder as in the output layer, whose logits
at a node serve all tokens that follow it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ofa_mi.data.collation import pad_right
from ofa_mi.data.vocabulary import BOS
from ofa_mi.decoding.beam import encode
from ofa_mi.errors import ConfigError

# Nodes of one tree, whose attention grows with the square; nodes that go through the decoder together; and of those,
# through the output layer together: as many as make a product of full speed, with logits that stay in a cache.
MAX_TREE = 256
MAX_NODES = 2048
MAX_ROWS = 64


@torch.no_grad()
def rank_options(
    model,
    net_input: dict,
    options: Sequence[Sequence[Sequence[int]]],
    *,
    normalize: bool = True,
) -> list[list[float]]:
    """Score every option of every sentence.

    Args:
        model: Model in evaluation mode with the decoding interface.
        net_input: Arguments of the encoder, B sentences.
        options: For each sentence its options, any number, each as token ids with the final ``</s>``.
        normalize: True returns the mean log-probability of the option's tokens, ``</s>`` included, False the sum.
            Log-probabilities are normalised over the whole vocabulary.

    Returns:
        Scores in the order of the options.

    Raises:
        ConfigError: ``options`` does not fit the batch, an option is empty, or longer than the decoder's positions.
    """
    if len(options) != len(net_input["src_tokens"]):
        raise ConfigError(f"options of {len(options)} sentences for a batch of {len(net_input['src_tokens'])}")
    lengths = [len(option) for choices in options for option in choices]
    if not all(lengths):
        raise ConfigError("an option to rank has no tokens; it must at least be </s>")
    longest = max(lengths, default=0)
    if longest > model.max_decoder_positions():
        raise ConfigError(
            f"an option of {longest} tokens cannot be ranked: the decoder has {model.max_decoder_positions()} positions"
        )
    scores = [[0.0] * len(choices) for choices in options]
    if not lengths:
        return scores
    state = model.decoder.start(encode(model, net_input), beams=1, max_length=longest)
    head = model.decoder.head()
    for trees in _chunks(_trees(options)):
        for tree, log_probs in zip(trees, _edge_scores(model.decoder, head, trees, state), strict=True):
            for place, path in tree.paths.items():
                total = sum(log_probs[edge] for edge in path)
                scores[tree.sentence][place] = total / len(path) if normalize else total
    return scores


@dataclass
class _Tree:
    """Options of one sentence.

    Attributes:
        sentence: Whose they are.
        tokens: What the decoder reads at each node; the root reads ``<s>``.
        parents: The node before each; the root's is itself.
        edges: (node, token) of every token that any option says.
        paths: For each option, by its place among the sentence's, the edges of its tokens.
    """

    sentence: int
    tokens: list[int] = field(default_factory=lambda: [BOS])
    parents: list[int] = field(default_factory=lambda: [0])
    edges: list[tuple[int, int]] = field(default_factory=list)
    paths: dict[int, list[int]] = field(default_factory=dict)
    _known: dict[tuple[int, int], int] = field(default_factory=dict)  # number of an edge
    _child: dict[int, int] = field(default_factory=dict)  # node that an edge leads to

    def add(self, place: int, option: Sequence[int]) -> None:
        """Put in one option, with its final ``</s>``."""
        path, node = [], 0
        for position, token in enumerate(option):
            edge = self._known.setdefault((node, token), len(self.edges))
            if edge == len(self.edges):
                self.edges.append((node, token))
            path.append(edge)
            if position + 1 < len(option):
                node = self._follow(edge)
        self.paths[place] = path

    def _follow(self, edge: int) -> int:
        if edge not in self._child:
            self._child[edge] = len(self.tokens)
            parent, token = self.edges[edge]
            self.tokens.append(token)
            self.parents.append(parent)
        return self._child[edge]


def _trees(options: Sequence[Sequence[Sequence[int]]]) -> Iterator[_Tree]:
    """Trees of all options, none much larger than ``MAX_TREE`` nodes."""
    for sentence, choices in enumerate(options):
        # Sorted: what begins alike comes into the same tree.
        places = sorted(range(len(choices)), key=lambda place: tuple(choices[place]))
        tree = _Tree(sentence)
        for place in places:
            if tree.paths and len(tree.tokens) + len(choices[place]) - 1 > MAX_TREE:
                yield tree
                tree = _Tree(sentence)
            tree.add(place, choices[place])
        if tree.paths:
            yield tree


def _chunks(trees: Iterator[_Tree]) -> Iterator[list[_Tree]]:
    """Trees in their order, as many at once as ``MAX_NODES`` has room for."""
    chunk: list[_Tree] = []
    for tree in trees:
        largest = max(len(t.tokens) for t in [*chunk, tree])
        if chunk and largest * (len(chunk) + 1) > MAX_NODES:
            yield chunk
            chunk = []
        chunk.append(tree)
    yield chunk


def _edge_scores(decoder, head, trees: Sequence[_Tree], state) -> list[list[float]]:
    """Log-probability of every edge of every tree."""
    device = state.device
    tokens = pad_right([tree.tokens for tree in trees], BOS).to(device)
    parents = pad_right([tree.parents for tree in trees], 0).to(device)
    sentences = torch.tensor([tree.sentence for tree in trees], device=device)
    features = decoder.read_trees(tokens, parents, state, sentences)  # B', N, C
    sizes = [len(tree.tokens) for tree in trees]
    rows = torch.cat([feature[:size] for feature, size in zip(features, sizes, strict=True)])  # nodes, C
    first = [sum(sizes[:number]) for number in range(len(sizes))]
    edges = torch.tensor(
        [(start + node, token) for start, tree in zip(first, trees, strict=True) for node, token in tree.edges],
        device=device,
    )  # edges, 2
    found = _log_probs(head, rows, edges).tolist()
    counts = [len(tree.edges) for tree in trees]
    ends = [sum(counts[: number + 1]) for number in range(len(counts))]
    return [found[end - count : end] for end, count in zip(ends, counts, strict=True)]


def _log_probs(head, rows: Tensor, edges: Tensor) -> Tensor:
    """Log-probabilities (E,) of tokens at rows, ``edges`` (E, 2), of features (N, C)."""
    scores = torch.empty(len(edges), device=rows.device)
    for first in range(0, len(rows), MAX_ROWS):
        log_probs = head(rows[first : first + MAX_ROWS]).log_softmax(-1)
        here = (edges[:, 0] >= first) & (edges[:, 0] < first + MAX_ROWS)
        scores[here] = log_probs[edges[here, 0] - first, edges[here, 1]]
    return scores
