"""Runs of a real, small model: conditions reach it, and stopping in the middle changes nothing."""

import pytest
import torch

from ofa_mi.data.encoding import PromptEncoder
from ofa_mi.data.regions import RegionCodec
from ofa_mi.data.transform import ImageTransform
from ofa_mi.data.vocabulary import Vocabulary, build_compact
from ofa_mi.decoding.beam import GenerationConfig
from ofa_mi.decoding.predictor import Predictor
from ofa_mi.errors import ConfigError
from ofa_mi.evaluation.asking.plan import EvaluationOptions
from ofa_mi.evaluation.asking.run import evaluate
from ofa_mi.evaluation.predictions import read_predictions
from tests.evaluation.fake import COLOURS
from tests.golden.cases import build_model

SIDE = 64


@pytest.fixture(scope="module")
def make_predictor(data_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bpe")
    texts = [line.lower() for line in (data_dir / "test.jsonl").read_text().splitlines()]
    build_compact([*texts, *(f" {colour}" for colour in COLOURS), " yes no not sure [options]: ||||"], folder)
    vocabulary = Vocabulary.load(folder, num_codes=4)
    torch.manual_seed(2)
    model = build_model("ofa_nano", len(vocabulary), init_std=0.3)

    def make(text_case="lower"):
        encoder = PromptEncoder(vocabulary, RegionCodec(patch_image_size=SIDE), text_case=text_case)
        return Predictor(model, encoder, ImageTransform(SIDE), generation=GenerationConfig(beam=2, max_len=6))

    return make


def run(predictor, data_dir, out, **options):
    options = EvaluationOptions(**{"tasks": ("nlvr", "grounded_vqa"), "mode": "rank"} | options)
    scores = evaluate(predictor, [data_dir], out, options, progress=False)
    return scores, {record.key: record for record in read_predictions(out / "predictions.jsonl")}


def option_scores(records):
    return [score for key in sorted(records) for score in records[key].option_scores]


def test_images_reach_the_model_or_do_not(make_predictor, data_dir, tmp_path):
    predictor = make_predictor()
    seen = {}
    for image in ("given", "none", "gray", "shuffled"):
        scores, records = run(predictor, data_dir, tmp_path / image, image=image)
        assert scores["conditions"]["image"] == image
        seen[image] = option_scores(records)
    assert len({tuple(values) for values in seen.values()}) == 4


def test_without_an_image_the_image_tower_does_not_run(make_predictor, data_dir, tmp_path):
    predictor = make_predictor()
    calls = []
    handle = predictor.model.encoder.embed_images.register_forward_pre_hook(lambda _, args: calls.append(len(args[0])))
    run(predictor, data_dir, tmp_path / "none", image="none", tasks=("nlvr",))
    assert calls == []
    run(predictor, data_dir, tmp_path / "given", tasks=("nlvr",), batch_size=10)
    handle.remove()
    assert calls == [2, 2, 2, 2], "ten questions about two images each"


def test_options_only(make_predictor, data_dir, tmp_path):
    _, records = run(make_predictor(), data_dir, tmp_path / "run", prompt_style="options-only", image="none")
    prompts = {record.prompt for record in records.values() if record.task == "nlvr"}
    assert prompts == {"[Options]: yes||||no"}
    nlvr = [record.option_scores for record in records.values() if record.task == "nlvr"]
    assert all(scores == pytest.approx(nlvr[0], abs=1e-5) for scores in nlvr), "there is nothing to tell them apart"


def test_upper_case_is_for_models_that_keep_case(make_predictor, data_dir, tmp_path):
    with pytest.raises(ConfigError, match="reads all text in lower case"):
        run(make_predictor(), data_dir, tmp_path / "lower", perturb="upper-case")


@pytest.mark.parametrize("mode", ["generate", "constrained", "rank"])
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(make_predictor, data_dir, tmp_path, monkeypatch, mode):
    predictor = make_predictor()
    settings = {"mode": mode, "batch_size": 6, "max_instances": 3}
    run(predictor, data_dir, tmp_path / "whole", **settings)
    predict, batches = Predictor.predict, []

    def stopping(self, queries, mode):
        batches.append(len(queries))
        if len(batches) == 4:
            raise KeyboardInterrupt
        return predict(self, queries, mode)

    monkeypatch.setattr(Predictor, "predict", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(predictor, data_dir, tmp_path / "stopped", **settings)
    run(predictor, data_dir, tmp_path / "stopped", **settings)
    assert sum(batches) == 30 + batches[3]
    for name in ("run.json", "predictions.jsonl", "scores.json", "scores.csv"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
