"""Decoding step by step gives the numbers of teacher forcing, whatever the beams do."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_mi.errors import ConfigError
from tests.models.helpers import images, small_model, tokens

MODEL = small_model().eval()
BATCH, LENGTH = 3, 7


@pytest.fixture(scope="module")
def encoder_out():
    with torch.no_grad():
        masks = torch.tensor([True, False, True])
        return MODEL.encoder(tokens(BATCH, 6, padded=1), patch_images=images(BATCH), patch_masks=masks)


def teacher_forcing(hypotheses, encoder_out):
    """(B, K, T) tokens -> (B, K, T, V) logits, every hypothesis on its own copy of the sentence."""
    batch, beams, _ = hypotheses.shape
    rows = torch.arange(batch).repeat_interleave(beams)
    copies = MODEL.encoder.reorder_encoder_out(encoder_out, rows)
    with torch.no_grad():
        logits, _ = MODEL.decoder(hypotheses.flatten(0, 1), encoder_out=copies)
    return logits.unflatten(0, (batch, beams))


def assert_close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(cuts=st.sets(st.integers(1, LENGTH - 1)), beams=st.integers(1, 3))
def test_steps_of_any_size_equal_teacher_forcing(encoder_out, cuts, beams):
    hypotheses = tokens(BATCH * beams, LENGTH).unflatten(0, (BATCH, beams))
    state = MODEL.decoder.start(encoder_out, beams=beams, max_length=LENGTH + 2)
    bounds = [0, *sorted(cuts), LENGTH]
    features = [MODEL.decoder.step(hypotheses[..., a:b], state) for a, b in pairwise(bounds)]
    assert state.position == LENGTH
    assert_close(MODEL.decoder.output_layer(torch.cat(features, dim=2)), teacher_forcing(hypotheses, encoder_out))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000))
def test_beam_search_like_use(encoder_out, seed):
    """Random parents at every step, and sentences that drop out on the way."""
    generator = torch.Generator().manual_seed(seed)
    beams, sentences = 3, torch.arange(BATCH)
    state = MODEL.decoder.start(encoder_out, beams=beams, max_length=LENGTH)
    history = torch.empty(BATCH, beams, 0, dtype=torch.long)
    for step in range(LENGTH):
        new = torch.randint(4, 50, (len(sentences), beams, 1), generator=generator)
        history = torch.cat([history, new], dim=2)
        logits = MODEL.decoder.output_layer(MODEL.decoder.step(new, state))[:, :, -1]
        selected = MODEL.encoder.reorder_encoder_out(encoder_out, sentences)
        assert_close(logits, teacher_forcing(history, selected)[:, :, -1])
        parents = torch.randint(beams, (len(sentences), beams), generator=generator)
        state.reorder(parents)
        history = history.gather(1, parents[..., None].expand_as(history))
        if step in (2, 4):
            keep = torch.randperm(len(sentences), generator=generator)[: len(sentences) - 1]
            state.select(keep)
            history, sentences = history[keep], sentences[keep]


def test_head_restricted_to_some_rows_of_the_vocabulary(encoder_out):
    features = torch.randn(2, 3, 32)
    ids = torch.tensor([7, 4, 30])
    assert_close(MODEL.decoder.head()(features), MODEL.decoder.output_layer(features))
    assert_close(MODEL.decoder.head(ids)(features), MODEL.decoder.output_layer(features)[..., ids])


def test_a_tree_gives_the_features_of_its_prefixes(encoder_out):
    """Two trees of different size and form, and both of one sentence."""
    words = torch.tensor([[0, 7, 8, 9, 7], [0, 9, 0, 0, 0]])
    parents = torch.tensor([[0, 0, 1, 1, 2], [0, 0, 0, 0, 0]])
    for sentences in ([0, 1], [1, 1]):
        state = MODEL.decoder.start(encoder_out, max_length=4)
        features = MODEL.decoder.read_trees(words, parents, state, torch.tensor(sentences))
        for tree, nodes in enumerate((5, 2)):
            for node in range(nodes):
                path = [node]
                while path[0]:
                    path.insert(0, int(parents[tree, path[0]]))
                alone = MODEL.decoder.start(encoder_out, max_length=4)
                read = MODEL.decoder.step(words[tree, path].expand(BATCH, 1, -1), alone)
                assert_close(features[tree, node], read[sentences[tree], 0, -1])


def test_a_state_has_the_length_it_was_started_with(encoder_out):
    state = MODEL.decoder.start(encoder_out, beams=1, max_length=2)
    with pytest.raises(ConfigError, match=r"3 positions .* max_length 2"):
        MODEL.decoder.step(tokens(BATCH, 3)[:, None], state)
    with pytest.raises(ConfigError, match="1025 tokens exceeds --max-target-positions 1024"):
        MODEL.decoder.start(encoder_out, beams=1, max_length=1025)


def test_cross_attention_keys_are_kept_once_per_sentence(encoder_out):
    state = MODEL.decoder.start(encoder_out, beams=4, max_length=5)
    assert all(k.shape[0] == BATCH for k, _ in state.memory)
    assert state.cross_bias.dim() == 3 and all(bias.dim() == 3 for bias in state.self_biases)


def test_fairseqs_incremental_state(encoder_out):
    """Whole prefixes in, only the last position out; rows reordered and dropped; longer than the first cache."""
    length = MODEL.decoder.FIRST_LENGTH + 3
    prefix, rows, incremental_state = tokens(BATCH, length), torch.arange(BATCH), {}
    with torch.no_grad():
        for end in range(1, length + 1):
            current = MODEL.encoder.reorder_encoder_out(encoder_out, rows)
            logits, extra = MODEL.decoder(prefix[:, :end], current, incremental_state=incremental_state)
            assert logits.shape[1] == 1 and extra["attn"] == [None]
            assert_close(logits, MODEL.decoder(prefix[:, :end], current)[0][:, -1:])
            if end in (3, 20):
                order = torch.tensor([2, 0, 0]) if end == 3 else torch.tensor([1, 0])
                MODEL.decoder.reorder_incremental_state_scripting(incremental_state, order)
                prefix, rows = prefix[order], rows[order]


def test_padded_and_left_padded_targets_are_finite(encoder_out):
    model = small_model()
    target = tokens(2, 5, padded=2)
    target[0, :2] = 1
    logits, _ = model(tokens(2, 4), None, target)
    assert logits.isfinite().all()
    logits.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_causality():
    target = tokens(1, 6)
    changed = target.clone()
    changed[0, 4] = 5 if target[0, 4] != 5 else 6
    with torch.no_grad():
        a, b = (MODEL(tokens(1, 4), None, t)[0] for t in (target, changed))
    assert a[:, :4].equal(b[:, :4]) and not a[:, 4].equal(b[:, 4])


def test_hidden_states_and_features():
    features, extra = MODEL.extract_features(tokens(2, 4), None, tokens(2, 3), return_all_hiddens=True)
    assert features.shape == (2, 3, 32)
    assert [s.shape for s in extra["inner_states"]] == [(3, 2, 32)] * 3
    assert_close(MODEL.decoder.output_layer(features), MODEL(tokens(2, 4), None, tokens(2, 3))[0])


def test_output_mask_selects_positions():
    mask = torch.tensor([[True, False, True], [True, True, False]])
    logits, _ = MODEL(tokens(2, 4), None, tokens(2, 3))
    assert_close(MODEL(tokens(2, 4), None, tokens(2, 3), output_mask=mask)[0], logits[mask])
