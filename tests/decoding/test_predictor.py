"""From a query to an answer."""

from argparse import Namespace
from dataclasses import replace

import pytest
import torch
from PIL import ImageOps

from ofa_mi.checkpoint import save
from ofa_mi.data.regions import RegionCodec
from ofa_mi.decoding.beam import GenerationConfig
from ofa_mi.decoding.predictor import Predictor, Query
from ofa_mi.decoding.ranking import rank_options
from ofa_mi.errors import ConfigError
from ofa_mi.instances.instance import Instance
from ofa_mi.instructions.prompt import OptionsSegment, RegionSegment, TextSegment
from ofa_mi.instructions.registry import default_registry
from ofa_mi.instructions.rendering import render_target
from tests.golden.cases import RELEASED_FORM

OPTIONS = (("a red circle",), ("blue square",), ("a red",), ("green triangle",))
BOX = (10.0, 10.0, 40.0, 40.0)
REGION_OPTIONS = ((BOX,), ((50.0, 20.0, 90.0, 70.0),))


def ask(words, image=None, **kinds):
    prompt = [TextSegment(words)]
    if kinds.get("options"):
        prompt.append(OptionsSegment(kinds["options"]))
    return Query(tuple(prompt), image, image.size if image else None, **kinds)


@pytest.fixture
def queries(image):
    """Text and image questions of every kind of output."""
    return [
        ask("what is in the image?", image),
        ask("which is red?", image, options=REGION_OPTIONS, output="option"),
        ask("is a square red?", options=(("yes",), ("no",)), output="option"),
        ask("where is the circle?", image, output="region"),
        ask("where are the squares?", image, output="regions"),
        ask("what is in it?", image, options=OPTIONS, output="options"),
        Query((TextSegment("what is in"), RegionSegment(BOX), TextSegment("?")), image, image.size),
        ask("what is a circle?"),
    ]


@pytest.mark.parametrize("mode", ["generate", "constrained"])
def test_a_question_is_answered_as_it_is_alone(predictor, queries, mode):
    for query, together in zip(queries, predictor.predict(queries, mode), strict=True):
        (alone,) = predictor.predict([query], mode)
        assert together.tokens == alone.tokens
        assert together.score == pytest.approx(alone.score, abs=1e-4)
        assert together.option_scores is None


def test_free_regions_are_four_tokens_of_any_kind(predictor, queries):
    predictions = predictor.predict(queries)
    assert len(predictions[3].tokens) == 5
    assert {len(p.tokens) for i, p in enumerate(predictions) if i != 3} != {5}


def test_regions_with_words_are_decoded_freely_in_every_mode(predictor, image):
    query = ask("what is where?", image, output="labeled_regions")
    (constrained,), (free,) = predictor.predict([query], "constrained"), predictor.predict([query])
    assert constrained.tokens == free.tokens


def test_constrained_answers_are_answers(predictor, queries, image):
    predictions = predictor.predict(queries, "constrained")
    assert [round(c) for c in predictions[1].boxes[0]] in [[round(c) for c in option[0]] for option in REGION_OPTIONS]
    assert predictions[1].text == ""
    assert predictions[2].text in ("yes", "no") and predictions[2].boxes == ()
    assert len(predictions[3].boxes) == 1 and predictions[3].text == ""
    assert 1 <= len(predictions[4].boxes) <= 3 and predictions[4].text == ""
    assert set(predictions[5].text.split("||||")) <= {option[0] for option in OPTIONS}
    for prediction in predictions:
        for box in prediction.boxes:
            assert all(0 <= c <= side for c, side in zip(box, image.size * 2, strict=True))


def test_location_bins_outside_the_image_are_never_said(predictor, vocabulary):
    """At 64 of 512 pixels only the first 126 of 1000 bins lie inside."""
    inside = {vocabulary.bin_id(k) for k in range(126)}
    assert set(predictor._region.next([])) == inside


@pytest.mark.parametrize("options", [OPTIONS, REGION_OPTIONS, (*OPTIONS[:1], REGION_OPTIONS[0])])
def test_sets_are_written_as_targets_are(predictor, image, options):
    """Every target of a set, of one, of two and of no options, is a path of the grammar."""
    spec = next(spec for spec in default_registry().values() if spec.output == "options")
    grammar = predictor._automaton(ask("which?", image, options=options, output="options"))
    for chosen in ((), options[:1], options[:2], options[::-1]):
        instance = Instance("i", spec.name, image_size=image.size, options=options, target_set=chosen)
        tokens = predictor.encoder.target(render_target(spec, instance), image.size)
        for place, token in enumerate(tokens):
            assert token in grammar.next(tokens[:place])
        assert grammar.next(tokens) == []


def test_rank_scores_every_option(predictor, queries):
    asked = [queries[i] for i in (1, 2, 5)]
    predictions = predictor.predict(asked, "rank")
    for query, prediction in zip(asked, predictions, strict=True):
        assert len(prediction.option_scores) == len(query.options)
        assert prediction.score == max(prediction.option_scores)
        best = query.options[prediction.option_scores.index(prediction.score)]
        assert prediction.tokens == tuple(predictor.encoder.option(best, query.image_size))
        options = [predictor.encoder.option(option, query.image_size) for option in query.options]
        (alone,) = rank_options(predictor.model, predictor.net_input([query]), [options])
        assert prediction.option_scores == pytest.approx(alone, abs=1e-4)


def test_unnormalised_ranking(predictor, queries):
    summing = Predictor(
        predictor.model,
        predictor.encoder,
        predictor.transform,
        generation=replace(predictor.generation, normalize=False),
    )
    (mean,), (total,) = predictor.predict([queries[5]], "rank"), summing.predict([queries[5]], "rank")
    lengths = [len(predictor.encoder.option(option, None)) for option in OPTIONS]
    assert total.option_scores == pytest.approx([s * n for s, n in zip(mean.option_scores, lengths, strict=True)])


def test_only_questions_with_an_image_carry_pixels(predictor, queries):
    different = [replace(query, image=query.image and query.image.copy()) for query in queries]
    inputs = predictor.net_input(different)
    assert inputs["patch_masks"].tolist() == [True, True, False, True, True, True, True, False]
    assert inputs["patch_images"].shape == (6, 3, 64, 64) and "patch_index" not in inputs
    assert predictor.net_input([queries[2]])["patch_images"] is None


def test_questions_about_one_image_share_it_and_are_answered_the_same(predictor, queries):
    other = ImageOps.mirror(queries[0].image)
    asked = [replace(queries[3], image=other), *queries, replace(queries[1], image=other)]
    inputs = predictor.net_input(asked)
    assert inputs["patch_images"].shape == (2, 3, 64, 64)
    assert inputs["patch_index"].tolist() == [0, 1, 1, 1, 1, 1, 1, 0]
    apart = [replace(query, image=query.image and query.image.copy()) for query in asked]
    for shared, alone in zip(predictor.predict(asked), predictor.predict(apart), strict=True):
        assert shared.tokens == alone.tokens and shared.score == pytest.approx(alone.score, abs=1e-4)


def test_the_image_tower_runs_once_for_an_image(predictor, queries):
    seen = []
    handle = predictor.model.encoder.embed_images.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    predictor.predict([queries[0], queries[4], queries[6]])
    handle.remove()
    assert seen == [1]


def test_black_images_for_models_that_were_trained_with_them(predictor, queries):
    black = Predictor(predictor.model, predictor.encoder, predictor.transform, black_image=True)
    inputs = black.net_input([queries[2]])
    assert inputs["patch_masks"].tolist() == [True]
    torch.testing.assert_close(inputs["patch_images"], torch.full((1, 3, 64, 64), -1.0))


def test_questions_that_cannot_be_answered(predictor, queries):
    with pytest.raises(ConfigError, match="unknown mode 'guess'"):
        predictor.predict(queries, "guess")
    with pytest.raises(ConfigError, match="the question: mode rank needs options"):
        predictor.predict(queries[:1], "rank")
    assert predictor.predict([], "rank") == predictor.predict([]) == []


def test_a_checkpoint_holds_all_that_it_takes(predictor, model, queries, vocabulary, tmp_path):
    """Image size, bins, text case and markers come from the task that wrote it, the vocabulary from its state."""
    task = {
        "_name": "multiinstruct",
        "patch_image_size": 64,
        "max_image_size": 256,
        "max_src_length": 100,
        "text_case": "keep",
        "black_image": True,
        "option_markers": "off",
    }
    state = {
        "model": model.state_dict(),
        "cfg": {"model": Namespace(arch="ofa_nano", **RELEASED_FORM), "task": task},
        "task_state": {"vocabulary": vocabulary.state()},
    }
    save(state, tmp_path / "checkpoint.pt")
    loaded = Predictor.from_checkpoint(tmp_path / "checkpoint.pt", device="cpu", generation=GenerationConfig(beam=2))
    assert loaded.encoder.regions == RegionCodec(patch_image_size=64, max_image_size=256)
    assert (loaded.encoder.max_src_length, loaded.encoder.text_case) == (100, "keep")
    assert loaded.black_image and not loaded.option_markers and loaded.generation.beam == 2
    assert not loaded.model.training

    state["cfg"]["task"] = {"_name": "caption", "patch_image_size": 64}  # OFA's own
    save(state, tmp_path / "ofa.pt")
    loaded = Predictor.from_checkpoint(tmp_path / "ofa.pt", device="cpu", generation=predictor.generation)
    assert loaded.option_markers and not loaded.black_image
    for found, expected in zip(loaded.predict(queries), predictor.predict(queries), strict=True):
        assert found.tokens == expected.tokens


def test_a_device_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="device 'abacus' cannot be used"):
        Predictor.from_checkpoint(tmp_path / "checkpoint.pt", device="abacus")
