"""Beam search on a fake model, against enumeration of every output."""

import dataclasses
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_mi.decoding.beam import GenerationConfig, generate
from ofa_mi.decoding.trie import OptionSetGrammar, RegionGrammar, Trie
from ofa_mi.errors import ConfigError, OfaMiError

from .fake import FakeModel, net_input

PAD, EOS = 1, 2


def enumerate_outputs(model, source, config, vocab):
    """Every output within the limits with its score, best first."""
    tokens = [token for token in range(vocab) if token not in (PAD, EOS)]
    found = []
    for length in range(config.min_len, config.max_len + 1):
        for body in itertools.product(tokens, repeat=length):
            output = [*body, EOS]
            n = config.no_repeat_ngram
            grams = [tuple(body[i : i + n]) for i in range(len(body) - n + 1)] if n else []
            if len(set(grams)) == len(grams):
                found.append((score(model, source, output, config), output))
    return sorted(found, key=lambda item: -item[0])


def score(model, source, output, config):
    total = sum(model.log_probs(source, output[:i])[token].item() for i, token in enumerate(output))
    return total / len(output) ** config.lenpen if config.normalize else total


def allowed_score(model, source, output, automaton, config):
    """Score with the softmax over the allowed tokens only."""
    total = 0.0
    for i, token in enumerate(output):
        logits = model.log_probs(source, output[:i])
        total += (logits[token] - logits[automaton.next(output[:i])].logsumexp(0)).item()
    return total / len(output) ** config.lenpen if config.normalize else total


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"lenpen": 0.3},
        {"lenpen": 2.0},
        {"normalize": False},
        {"min_len": 2},
        {"min_len": 4, "max_len": 4},
        {"min_len": 0, "max_len": 0},
        {"no_repeat_ngram": 1},
        {"no_repeat_ngram": 2},
        {"no_repeat_ngram": 3},
    ],
    ids=str,
)
def test_a_beam_that_holds_everything_finds_every_output(changes):
    vocab = 7
    config = dataclasses.replace(GenerationConfig(beam=1600, max_len=4), **changes)
    model = FakeModel(vocab)
    for source, found in zip([3, 5], generate(model, net_input([3, 5]), config), strict=True):
        expected = enumerate_outputs(model, source, config, vocab)
        assert len(found) == len(expected)
        assert [h.tokens for h in found[:50]] == [tokens for _, tokens in expected[:50]]
        torch.testing.assert_close(
            torch.tensor([h.score for h in found]), torch.tensor([s for s, _ in expected]), rtol=1e-4, atol=1e-4
        )


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(3, 40), min_size=1, max_size=6),
    st.integers(1, 6),
    st.integers(0, 3),
    st.integers(0, 5),
    st.integers(0, 3),
    st.integers(0, 5),
)
def test_scores_limits_and_independence_of_batch_mates(sources, beam, min_len, more, ngram, seed):
    config = GenerationConfig(beam=beam, min_len=min_len, max_len=min_len + more, no_repeat_ngram=ngram)
    model = FakeModel(11, seed=seed)
    batch = generate(model, net_input(sources), config)
    for source, found in zip(sources, batch, strict=True):
        alone = generate(model, net_input([source]), config)[0]
        assert [h.tokens for h in found] == [h.tokens for h in alone]
        assert 1 <= len(found) <= beam
        assert len({tuple(h.tokens) for h in found}) == len(found)
        assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
        for hypothesis in found:
            body = hypothesis.tokens[:-1]
            assert hypothesis.tokens[-1] == EOS and EOS not in body and PAD not in body
            assert config.min_len <= len(body) <= config.max_len
            assert math.isclose(hypothesis.score, score(model, source, hypothesis.tokens, config), abs_tol=1e-4)
            grams = [tuple(body[i : i + ngram]) for i in range(len(body) - ngram + 1)] if ngram else []
            assert len(set(grams)) == len(grams)


def plain_beam_search(model, source, config, vocab):
    """The search in plain Python: (score, tokens) of the finished hypotheses, best first."""
    beams, finished = [(0.0, [])], []
    for step in range(config.max_len + 1):
        candidates = []
        for total, tokens in beams:
            for token, log_prob in enumerate(model.log_probs(source, tokens).tolist()):
                allowed = token == EOS if step == config.max_len else token != EOS or step >= config.min_len
                if allowed and token != PAD:
                    candidates.append((total + log_prob, [*tokens, token]))
        candidates = sorted(candidates, reverse=True)[: 2 * config.beam]
        ended = [c for c in candidates[: config.beam] if c[1][-1] == EOS]
        finished += ended[: config.beam - len(finished)]
        beams = [c for c in candidates if c[1][-1] != EOS][: config.beam]
        if len(finished) == config.beam or not beams:
            break
    scored = [(total / len(tokens) ** config.lenpen, tokens) for total, tokens in finished]
    return sorted(scored, reverse=True)


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 40), st.integers(1, 4), st.integers(0, 2), st.integers(1, 6), st.integers(0, 9))
def test_equals_the_search_in_plain_python(source, beam, min_len, more, seed):
    config = GenerationConfig(beam=beam, min_len=min_len, max_len=min_len + more, lenpen=0.7)
    model = FakeModel(12, seed=seed, scale=1.0)
    model.table[:, EOS] += 1.5
    (found,) = generate(model, net_input([source]), config)
    expected = plain_beam_search(model, source, config, 12)
    assert [h.tokens for h in found] == [tokens for _, tokens in expected]
    assert [h.score for h in found] == pytest.approx([total for total, _ in expected], abs=1e-4)


def test_finished_sentences_leave_the_batch():
    model = FakeModel(8)
    # After source 3 the model says </s> whenever it may; the others never do.
    model.table[:, EOS] = -30.0
    early = {int(model.row(3, torch.tensor(prefix))) for prefix in itertools.product([0], range(8))}
    model.table[list(early), EOS] = 30.0
    config = GenerationConfig(beam=2, max_len=12)
    generate(model, net_input([3, 6, 3]), config)
    assert model.decoder.states[0].calls, "no sentence ever left the batch"
    assert model.decoder.states[0].position == 13
    generate(model, net_input([3]), config)
    assert model.decoder.states[1].position < 13


OPTIONS = [[4, 5, EOS], [4, EOS], [6, 6, 6, 7, EOS], [7, EOS], [5, 4, 7, EOS], [5, 4, 4, EOS]]


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 8), st.booleans())
def test_options_are_ranked_by_their_normalised_probability(data, beam, normalize):
    """A beam as wide as the options finds all of them, whatever the limits for free text say."""
    choices = [data.draw(st.lists(st.sampled_from(OPTIONS), min_size=1, unique_by=tuple)) for _ in range(3)]
    config = GenerationConfig(beam=beam, max_len=1, no_repeat_ngram=2, normalize=normalize)
    model = FakeModel(9)
    sources, tries = [3, 5, 8], [Trie(options) for options in choices]
    results = generate(model, net_input(sources), config, allowed=tries)
    union = {token for options in choices for option in options for token in option}
    assert set(model.decoder.head_sizes) == {len(union)}
    for source, options, trie, found in zip(sources, choices, tries, results, strict=True):
        assert all(h.tokens in options for h in found)
        for h in found:
            assert math.isclose(h.score, allowed_score(model, source, h.tokens, trie, config), abs_tol=1e-4)
        if beam >= len(options):
            ranked = sorted(options, key=lambda option: -allowed_score(model, source, option, trie, config))
            assert [h.tokens for h in found] == ranked


def test_free_and_constrained_sentences_in_one_batch():
    """Each gets what it would get alone, although one output is longer than the other's limit."""
    model, config = FakeModel(30), GenerationConfig(beam=3, max_len=3, no_repeat_ngram=2)
    allowed = [None, Trie([[5, 6, 7, 8, 9, EOS], [5, 6, 7, 8, 8, EOS]]), RegionGrammar(range(20, 30)), None]
    sources = [3, 4, 5, 6]
    batch = generate(model, net_input(sources), config, allowed=allowed)
    for source, automaton, found in zip(sources, allowed, batch, strict=True):
        (alone,) = generate(model, net_input([source]), config, allowed=[automaton])
        assert [h.tokens for h in found] == [h.tokens for h in alone]
        assert [h.score for h in found] == pytest.approx([h.score for h in alone], abs=1e-5)
    assert len(batch[1]) == 2
    assert all(len(h.tokens) == 5 and all(20 <= t < 30 for t in h.tokens[:4]) for h in batch[2])


def test_several_regions_are_complete():
    model, config = FakeModel(30), GenerationConfig(beam=5)
    (found,) = generate(model, net_input([9]), config, allowed=[RegionGrammar(range(20, 30), max_regions=3)])
    assert all((len(h.tokens) - 1) % 4 == 0 and 5 <= len(h.tokens) <= 13 for h in found)
    assert len({len(h.tokens) for h in found}) > 1


def test_sets_of_options():
    model, config = FakeModel(12), GenerationConfig(beam=200)
    grammar = OptionSetGrammar([[5], [5, 6], [7]], [[9, 5], [9, 5, 6], [9, 7]], [8])
    (found,) = generate(model, net_input([3]), config, allowed=[grammar])
    assert len(found) == 3 + 9 + 27 + 1
    assert [5, 6, 9, 7, EOS] in [h.tokens for h in found]


def test_half_precision_logits_are_scored_in_fp32():
    model, config = FakeModel(9), GenerationConfig(beam=3, max_len=6)
    model.decoder.table = model.table.bfloat16()
    model.table = model.decoder.table.float()
    for hypothesis in generate(model, net_input([4]), config)[0]:
        assert hypothesis.score == pytest.approx(score(model, 4, hypothesis.tokens, config), abs=1e-5)


def test_nan_is_an_error_and_not_an_answer():
    model = FakeModel(9)
    model.decoder.table = model.table * math.nan
    with pytest.raises(OfaMiError, match="NaN"):
        generate(model, net_input([4]), GenerationConfig())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"beam": 0}, "beam"),
        ({"min_len": 5, "max_len": 4}, "max_len must be at least 5"),
        ({"no_repeat_ngram": -1}, "no_repeat_ngram"),
    ],
)
def test_impossible_settings(values, message):
    with pytest.raises(ConfigError, match=message):
        GenerationConfig(**values)


def test_more_tokens_than_positions():
    with pytest.raises(ConfigError, match="positions"):
        generate(FakeModel(9, positions=16), net_input([4]), GenerationConfig(max_len=16))
    with pytest.raises(ConfigError, match="per sentence"):
        generate(FakeModel(9), net_input([4, 5]), GenerationConfig(), allowed=[None])
