"""Decoding with the real model: the released implementation's beams, fairseq's search, teacher forcing."""

import pytest
import torch
from fairseq.data import Dictionary
from fairseq.sequence_generator import SequenceGenerator

from ofa_mi.decoding.beam import GenerationConfig, generate
from ofa_mi.decoding.ranking import rank_options
from ofa_mi.decoding.trie import RegionGrammar, Trie
from tests.golden.cases import RELEASED_FORM, build_model, dictionary, load_case

VOCABULARY = 120
EOS = 2


@pytest.fixture(scope="module", params=[False, True], ids=["released", "entangled"])
def model(request):
    """A small model whose random weights are large enough for outputs of different lengths."""
    torch.manual_seed(14 if request.param else 1)  # weights that give outputs of different lengths
    positions = {"entangle_position_embedding": request.param, "disable_entangle": not request.param}
    model = build_model("ofa_nano", VOCABULARY, init_std=0.02, **{**RELEASED_FORM, **positions}).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "image" not in name:
                parameter.mul_(8 if "embed_tokens" in name else 6)
            elif "decoder.layers" in name and name.endswith("_ln.weight"):
                parameter.mul_(10)
    return model


@pytest.fixture(scope="module")
def batch():
    """Five sentences of different lengths, three of them with an image."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([9, 4, 12, 6, 7])
    src_tokens = torch.full((5, 12), 1)
    for row, length in zip(src_tokens, lengths.tolist(), strict=True):
        row[:length] = torch.randint(4, VOCABULARY, (length,), generator=generator)
    return {
        "src_tokens": src_tokens,
        "src_lengths": lengths,
        "patch_images": torch.randn(3, 3, 32, 32, generator=generator),
        "patch_masks": torch.tensor([True, False, True, False, True]),
    }


def one_of(batch, row):
    """The sentence ``row`` alone, without its padding."""
    image = batch["patch_masks"][:row].sum()
    has_image = bool(batch["patch_masks"][row])
    length = batch["src_lengths"][row]
    return {
        "src_tokens": batch["src_tokens"][row : row + 1, :length],
        "src_lengths": batch["src_lengths"][row : row + 1],
        "patch_images": batch["patch_images"][image : image + 1] if has_image else None,
        "patch_masks": torch.tensor([has_image]),
    }


def teacher_forced(model, inputs, tokens):
    """Log-probabilities (T, V) at every position of ``tokens``, by the plain forward."""
    prev = torch.tensor([[0, *tokens[:-1]]])
    with torch.no_grad():
        return model(**inputs, prev_output_tokens=prev)[0][0].log_softmax(-1)


@pytest.mark.parametrize("name", ["image_text", "mixed_modality", "text_only", "medium_128px"])
def test_golden_beams(name):
    case = load_case(name)
    settings = case.info["beam"]["generation"]
    config = GenerationConfig(beam=settings["beam_size"], min_len=settings["min_len"], max_len=settings["max_len_b"])
    results = generate(case.model, case.inputs, config)
    for found, expected in zip(results, case.info["beam"]["hypotheses"], strict=True):
        assert [h.tokens for h in found] == [h["tokens"] for h in expected]
        assert [h.score for h in found] == pytest.approx([h["score"] for h in expected], rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(
    ("beam", "settings"),
    [
        (1, {}),
        (5, {}),
        (4, {"lenpen": 2.0, "min_len": 3}),
        (5, {"lenpen": 0.2, "max_len": 5}),
        (5, {"normalize": False}),
        (3, {"min_len": 4, "max_len": 4}),
    ],
    ids=str,
)
def test_equals_fairseq(model, batch, beam, settings):
    config = GenerationConfig(beam=beam, **{"max_len": 12, **settings})
    theirs = SequenceGenerator(
        [model],
        dictionary(VOCABULARY),
        beam_size=config.beam,
        max_len_a=0,
        max_len_b=config.max_len,
        min_len=config.min_len,
        len_penalty=config.lenpen,
        normalize_scores=config.normalize,
    ).generate([model], {"net_input": batch}, bos_token=Dictionary().bos())
    ours = generate(model, batch, config)
    if config.min_len < config.max_len:
        assert len({len(h.tokens) for found in ours for h in found}) > 1, "all outputs are equally long"
    for found, expected in zip(ours, theirs, strict=True):
        assert [h.tokens for h in found] == [h["tokens"].tolist() for h in expected]
        assert [h.score for h in found] == pytest.approx([h["score"].item() for h in expected], abs=1e-4)


def test_scores_are_those_of_teacher_forcing_and_batch_mates_do_not_matter(model, batch):
    config = GenerationConfig(beam=4, max_len=8, no_repeat_ngram=2)
    for row, found in enumerate(generate(model, batch, config)):
        inputs = one_of(batch, row)
        assert [h.tokens for h in found] == [h.tokens for h in generate(model, inputs, config)[0]]
        for hypothesis in found[:2]:
            log_probs = teacher_forced(model, inputs, hypothesis.tokens)
            total = log_probs.gather(1, torch.tensor(hypothesis.tokens)[:, None]).sum().item()
            assert hypothesis.score == pytest.approx(total / len(hypothesis.tokens), abs=1e-4)


OPTIONS = [[5, 6, EOS], [7, EOS], [5, 8, 9, 10, EOS], [60, 61, 62, EOS]]


@pytest.mark.parametrize("normalize", [True, False])
def test_ranking_equals_teacher_forcing(model, batch, normalize):
    options = [OPTIONS, OPTIONS[:1], OPTIONS[1:], [], OPTIONS[::-1]]
    for row, (choices, scores) in enumerate(
        zip(options, rank_options(model, batch, options, normalize=normalize), strict=True)
    ):
        assert len(scores) == len(choices)
        for option, score in zip(choices, scores, strict=True):
            log_probs = teacher_forced(model, one_of(batch, row), option)
            total = log_probs.gather(1, torch.tensor(option)[:, None]).sum().item()
            assert score == pytest.approx(total / len(option) if normalize else total, abs=1e-4)


def test_constrained_scores_are_normalised_over_what_is_allowed(model, batch):
    """Equal to the plain forward with all other logits at -inf, whether or not the head was restricted."""
    tries = [Trie(OPTIONS), RegionGrammar(range(80, 120)), Trie(OPTIONS[:2]), Trie(OPTIONS[1:]), Trie(OPTIONS)]
    config = GenerationConfig(beam=4)
    for allowed in (tries, [None, *tries[1:]]):
        for row, found in enumerate(generate(model, batch, config, allowed=allowed)):
            if allowed[row] is None:
                continue
            for hypothesis in found:
                log_probs = teacher_forced(model, one_of(batch, row), hypothesis.tokens)
                total = 0.0
                for place, token in enumerate(hypothesis.tokens):
                    following = allowed[row].next(hypothesis.tokens[:place])
                    assert token in following
                    total += (log_probs[place, token] - log_probs[place, following].logsumexp(0)).item()
                assert hypothesis.score == pytest.approx(total / len(hypothesis.tokens), abs=1e-4)
            if isinstance(allowed[row], Trie):
                assert len(found) == min(4, len({tuple(h.tokens) for h in found}))


def test_cross_attention_is_not_repeated_per_beam(model, batch, monkeypatch):
    """The encoder runs once, and its keys and values are made once, for B sentences and not B x K beams."""
    sizes = []
    for layer in model.decoder.layers:
        original = layer.encoder_attn.keys_values
        monkeypatch.setattr(layer.encoder_attn, "keys_values", lambda x, f=original: sizes.append(len(x)) or f(x))
    generate(model, batch, GenerationConfig(beam=5, max_len=6))
    assert sizes == [5] * len(model.decoder.layers)
