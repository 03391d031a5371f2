"""Beam search over a decoder with a static cache.

The search is the one of fairseq's `SequenceGenerator` (Wu et al. 2016, arXiv 1609.08144, without coverage): keep the
2K best continuations of K beams, move those that end in ``</s>`` among the best K to the finished hypotheses, go on
with the best K others, and stop a sentence when it has K finished hypotheses. What differs is the cost:

- Cross-attention keys and values and all position biases exist once per sentence, not per beam and step
  (`decoder.start`); a change of beams moves the self-attention cache only (`state.reorder`).
- A sentence that is done leaves the batch (`state.select`).
- Over the vocabulary, a step finds the best 2K of every beam through the largest of each group of columns
  (:func:`_best`). Nothing is sorted, and there is one synchronisation with the host.
- Constrained sentences are searched apart from free ones: for them the output layer computes the columns of the
  allowed tokens only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ofa_mi.data.vocabulary import BOS, EOS, PAD
from ofa_mi.decoding.trie import Automaton, TrieTable
from ofa_mi.errors import ConfigError, OfaMiError

GROUP = 64  # columns of which only the largest is looked at first
ENCODER_INPUTS = ("src_tokens", "src_lengths", "patch_images", "patch_masks", "patch_index")


@dataclass(frozen=True)
class GenerationConfig:
    """How to search.

    Attributes:
        beam: Number of beams K, and of hypotheses returned at most.
        lenpen: Exponent of the length by which a score is divided; above 1 favours long outputs.
        min_len: Least number of tokens before ``</s>``.
        max_len: Largest number of tokens before ``</s>``.
        no_repeat_ngram: No n-gram of this size occurs twice in an output; 0 allows repetition.
        normalize: False returns the plain sum of log-probabilities ("unnormalised", as OFA does for VQA).

    Raises:
        ConfigError: A value that cannot work.
    """

    beam: int = 5
    lenpen: float = 1.0
    min_len: int = 1
    max_len: int = 64
    no_repeat_ngram: int = 0
    normalize: bool = True

    def __post_init__(self) -> None:
        if self.beam < 1:
            raise ConfigError(f"beam must be at least 1, not {self.beam}")
        if self.min_len < 0:
            raise ConfigError(f"min_len must be at least 0, not {self.min_len}")
        if self.max_len < self.min_len:
            raise ConfigError(f"max_len must be at least {self.min_len}, the least length, not {self.max_len}")
        if self.no_repeat_ngram < 0:
            raise ConfigError(f"no_repeat_ngram must be 0 (off) or positive, not {self.no_repeat_ngram}")


@dataclass
class Hypothesis:
    """A finished output.

    Attributes:
        tokens: Token ids with the final ``</s>``, without ``<s>``.
        score: Sum of the tokens' log-probabilities, ``</s>`` included, divided by ``len(tokens) ** lenpen`` unless
            unnormalised.
    """

    tokens: list[int]
    score: float


def encode(model, net_input: dict) -> dict:
    """Run the model's encoder on a batch; what else ``net_input`` holds, for training, is ignored."""
    return model.encoder(**{name: net_input[name] for name in ENCODER_INPUTS if name in net_input})


@torch.no_grad()
def generate(
    model,
    net_input: dict,
    config: GenerationConfig,
    *,
    allowed: Sequence[Automaton | None] | None = None,
) -> list[list[Hypothesis]]:
    """Find the best outputs of every sentence of a batch.

    A sentence with an automaton in ``allowed`` says only what the automaton accepts; length limits and
    ``no_repeat_ngram`` do not apply to it. Its log-probabilities are normalised over the tokens that are allowed at
    that place (all other logits are -inf before the softmax, as OFA does), so a forced token costs nothing.

    Args:
        model: Model in evaluation mode with the decoding interface (`encoder`, `decoder.start`, `decoder.step`,
            `decoder.head`).
        net_input: ``src_tokens`` (B, S), ``src_lengths`` (B,), and ``patch_images``, ``patch_masks`` if there are any.
        config: Settings of the search.
        allowed: One automaton or None per sentence.

    Returns:
        For every sentence its hypotheses, best first: ``config.beam`` of them, or fewer if it cannot say more.

    Raises:
        ConfigError: ``allowed`` does not fit the batch, or outputs would be longer than the decoder's positions.
        OfaMiError: The model's logits are NaN, so that nothing can be chosen.
    """
    num_sentences = len(net_input["src_tokens"])
    if allowed is None:
        allowed = [None] * num_sentences
    if len(allowed) != num_sentences:
        raise ConfigError(f"{len(allowed)} automata for {num_sentences} sentences; give one, or None, per sentence")
    device = net_input["src_tokens"].device
    free = [row for row, automaton in enumerate(allowed) if automaton is None]
    constrained = [row for row, automaton in enumerate(allowed) if automaton is not None]
    searches = []
    if free:
        searches.append((free, _Search(len(free), config, None, device)))
    if constrained:
        table = TrieTable([allowed[row] for row in constrained], device)
        searches.append((constrained, _Search(len(constrained), config, table, device)))
    for _, search in searches:
        if search.num_steps > model.max_decoder_positions():
            raise ConfigError(
                f"an output of {search.num_steps} tokens was asked for, but the decoder has only "
                f"{model.max_decoder_positions()} positions; reduce max_len or shorten the options"
            )
    encoder_out = encode(model, net_input)
    results: list[list[Hypothesis]] = [[]] * num_sentences
    for rows, search in searches:
        part = encoder_out
        if len(rows) < num_sentences:
            part = model.encoder.reorder_encoder_out(encoder_out, torch.tensor(rows, device=device))
        for row, hypotheses in zip(rows, _run(model.decoder, part, search), strict=True):
            results[row] = hypotheses
    return results


def _run(decoder, encoder_out: dict, search: _Search) -> list[list[Hypothesis]]:
    """Carry out a search over sentences that are encoded."""
    state = decoder.start(encoder_out, beams=search.config.beam, max_length=search.num_steps)
    head = decoder.head(search.ids)
    for step in range(search.num_steps):
        features = decoder.step(search.tokens[:, :, step : step + 1], state)  # B, K, 1, C
        parents, remaining = search.advance(step, head(features[:, :, 0]))
        if remaining is not None:
            if len(remaining) == 0:
                break
            state.select(remaining)
        state.reorder(parents)
    return search.hypotheses()


@dataclass
class _Finished:
    """Up to K finished hypotheses per sentence of the original batch.

    There are K + 1 places: the last one takes what is not to be kept, so that nothing depends on how much that is.
    """

    tokens: Tensor  # B, K + 1, L: with </s>, then <pad>
    scores: Tensor  # B, K + 1
    count: Tensor  # B

    def add(self, sentences: Tensor, ended: Tensor, tokens: Tensor, scores: Tensor) -> None:
        """Append where ``ended`` (B', K), in the order of the beams, until a sentence is full.

        Args:
            sentences: Rows of the original batch that the B' sentences are.
            ended: bool (B', K).
            tokens: (B', K, length), with ``</s>``.
            scores: (B', K).
        """
        beams = ended.shape[1]
        place = self.count[sentences, None] + ended.cumsum(1) - 1  # B', K
        place = torch.where(ended & (place < beams), place, beams)
        self.tokens[sentences[:, None], place, : tokens.shape[2]] = tokens
        self.scores[sentences[:, None], place] = scores
        self.count[sentences] = (self.count[sentences] + ended.sum(1)).clamp_(max=beams)


class _Search:
    """The beams of the sentences that are not done (B' of B), and the finished hypotheses of all.

    Attributes:
        num_steps: Decoder steps at most: the longest output, ``</s>`` included.
        tokens: int64 (B', K, num_steps + 1), ``<s>`` and what each beam has said.
    """

    def __init__(self, num_sentences: int, config: GenerationConfig, table: TrieTable | None, device) -> None:
        self.config, self.table = config, table
        shape = num_sentences, config.beam
        self.sentences = torch.arange(num_sentences, device=device)  # rows of the original batch
        # Tokens before </s>; where an output is in the automaton; and the columns of the logits: the vocabulary, or the
        # allowed tokens only.
        if table is None:
            self.limit = torch.full((num_sentences,), config.max_len, device=device)
            self.nodes = self.ids = None
        else:
            self.limit, self.ids = table.max_len - 1, table.ids
            self.nodes = table.start[:, None].expand(shape)
        self.num_steps = int(self.limit.max()) + 1

        self.tokens = torch.full((*shape, self.num_steps + 1), PAD, device=device)
        self.tokens[:, :, 0] = BOS
        # All beams begin alike: only the first may have children in the first step.
        self.scores = torch.full(shape, -torch.inf, device=device)
        self.scores[:, 0] = 0.0
        places = num_sentences, config.beam + 1
        self.finished = _Finished(
            tokens=torch.full((*places, self.num_steps), PAD, device=device),
            scores=torch.full(places, -torch.inf, device=device),
            count=torch.zeros(num_sentences, dtype=torch.long, device=device),
        )

    def advance(self, step: int, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        """Choose the next token of every beam.

        Args:
            step: Number of tokens said so far, without ``<s>``.
            logits: fp32 (B', K, N), overwritten.

        Returns:
            Parent beam of every new beam (B'', K), and the places (B'',) among the B' sentences that go on; None
            instead of the places if all of them do.
        """
        scores, columns, parents = self._candidates(step, logits)  # B', C each
        tokens = columns if self.ids is None else self.ids[columns]
        alive = scores > -torch.inf
        ends = (tokens == EOS) & alive

        beam = self.config.beam
        self._finish(step, ends[:, :beam], parents[:, :beam], scores[:, :beam])

        # The best K that do not end go on; if there are fewer, the rest is dead (-inf).
        num_candidates = scores.shape[1]
        order = torch.arange(num_candidates, device=scores.device) + num_candidates * ends
        chosen = order.topk(beam, largest=False).indices  # B', K
        self.scores = scores.masked_fill(ends, -torch.inf).gather(1, chosen)
        parents, tokens, columns = (values.gather(1, chosen) for values in (parents, tokens, columns))
        self.tokens = self.tokens.gather(1, parents[:, :, None].expand_as(self.tokens))
        self.tokens[:, :, step + 1] = tokens
        if self.nodes is not None:
            nodes = self.table.follow(self.nodes.gather(1, parents), columns)
            self.nodes = nodes.masked_fill(self.scores == -torch.inf, 0)

        done = (self.finished.count[self.sentences] == beam) | (step >= self.limit)
        done |= ~(self.scores > -torch.inf).any(1)
        if not done.any():  # the step's only synchronisation with the host
            return parents, None
        remaining = (~done).nonzero()[:, 0]
        self._select(remaining)
        return parents[remaining], remaining

    def hypotheses(self) -> list[list[Hypothesis]]:
        """Everything that was finished, best first."""
        tokens, scores, count = (getattr(self.finished, name).tolist() for name in ("tokens", "scores", "count"))
        if min(count, default=1) == 0:
            raise OfaMiError(
                f"sentence {count.index(0)} of the batch has no output: the model's logits are NaN or infinite "
                "(fp16 may overflow: use fp32 or bf16), or no_repeat_ngram and the vocabulary leave no token to say"
            )
        results = []
        for sentence_tokens, sentence_scores, n in zip(tokens, scores, count, strict=True):
            found = [
                Hypothesis(row[: row.index(EOS) + 1], score)
                for row, score in zip(sentence_tokens[:n], sentence_scores[:n], strict=True)
            ]
            results.append(sorted(found, key=lambda hypothesis: -hypothesis.score))
        return results

    def _candidates(self, step: int, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cumulative score, column and parent beam of the best 2K continuations, best first: (B', C) each."""
        if self.nodes is not None:
            logits.masked_fill_(self.table.forbidden(self.nodes, logits.shape[-1]), -torch.inf)
        log_probs = logits.log_softmax(-1)  # B', K, N
        if self.nodes is None:
            self._rule_out(step, log_probs)
        # The best 2K of a sentence are among the best 2K of each of its beams.
        best, columns = _best(log_probs, 2 * self.config.beam)  # B', K, 2K
        scores = (best + self.scores[:, :, None]).flatten(1)  # B', K * 2K
        scores, place = scores.topk(min(2 * self.config.beam, scores.shape[1]))  # B', 2K
        return scores, columns.flatten(1).gather(1, place), place // columns.shape[2]

    def _rule_out(self, step: int, log_probs: Tensor) -> None:
        """Set to -inf, after normalisation, what the limits of the search forbid."""
        log_probs[:, :, PAD] = -torch.inf
        if step < self.config.min_len:
            log_probs[:, :, EOS] = -torch.inf
        if step >= self.config.max_len:
            end = log_probs[:, :, EOS].clone()
            log_probs.fill_(-torch.inf)
            log_probs[:, :, EOS] = end
        elif 0 < self.config.no_repeat_ngram <= step:
            log_probs.scatter_(2, _repeated(self.tokens[:, :, 1 : step + 1], self.config.no_repeat_ngram), -torch.inf)

    def _finish(self, step: int, ended: Tensor, parents: Tensor, scores: Tensor) -> None:
        """Store the beams (B', K) that have just said ``</s>``."""
        tokens = self.tokens[:, :, 1 : step + 2].gather(1, parents[:, :, None].expand(-1, -1, step + 1))
        tokens[:, :, step] = EOS
        if self.config.normalize:
            scores = scores / (step + 1) ** self.config.lenpen
        self.finished.add(self.sentences, ended, tokens, scores)

    def _select(self, sentences: Tensor) -> None:
        """Keep only these of the B' sentences."""
        for name in ("sentences", "limit", "tokens", "scores", "nodes"):
            values = getattr(self, name)
            if values is not None:
                setattr(self, name, values[sentences])


def _repeated(tokens: Tensor, n: int) -> Tensor:
    """Tokens that would complete an n-gram for the second time: (B, K, t - n + 1), ``<pad>`` for none.

    Args:
        tokens: int64 (B, K, t), what has been said, t >= n.
        n: Size of the n-grams.
    """
    grams = tokens.unfold(2, n, 1)  # B, K, t - n + 1, n
    last = tokens[:, :, tokens.shape[2] - n + 1 :]  # B, K, n - 1
    match = (grams[..., :-1] == last[:, :, None]).all(-1)
    return torch.where(match, grams[..., -1], PAD)


def _best(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` largest of (…, N), and their places, best first, as ``topk``: (…, count or N) each.

    They lie in the ``count`` groups of columns that have the largest maxima, or in the few columns that are in none.
    A maximum over groups takes a tenth of the time of ``topk`` over a vocabulary.
    """
    groups = values.shape[-1] // GROUP
    if groups <= 2 * count:  # hardly fewer candidates
        return values.topk(min(count, values.shape[-1]))
    # Neighbouring columns are in neighbouring groups, so that the maximum is one over whole rows.
    maxima = values[..., : groups * GROUP].unflatten(-1, (GROUP, groups)).amax(-2)  # …, groups
    members = torch.arange(GROUP, device=values.device) * groups
    columns = (maxima.topk(count).indices[..., None] + members).flatten(-2)  # …, count * GROUP
    others = torch.arange(groups * GROUP, values.shape[-1], device=values.device)
    columns = torch.cat([columns, others.expand(*columns.shape[:-1], -1)], dim=-1)
    best, place = values.gather(-1, columns).topk(count)
    return best, columns.gather(-1, place)
