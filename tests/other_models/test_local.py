"""A model of `transformers` in a folder: the answers of its own generation, from safe files only."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

# It may be there and not importable, such as beside a torchaudio for another PyTorch.
pytest.importorskip("tests.other_models.tiny", reason="transformers cannot be imported", exc_type=ImportError)

from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from ofa_mi import cli
from ofa_mi.decoding.predictor import Query
from ofa_mi.errors import CheckpointError, ConfigError
from ofa_mi.evaluation.asking.plan import EvaluationOptions
from ofa_mi.evaluation.asking.run import evaluate
from ofa_mi.evaluation.predictions import read_predictions
from ofa_mi.evaluation.scoring.scores import read_run
from ofa_mi.instructions.prompt import TextSegment
from ofa_mi.other_models.local import LocalModel
from ofa_mi.other_models.model import Sampling
from tests.other_models.tiny import save_tiny_model

OPTIONS = EvaluationOptions(tasks=("nlvr", "grounded_vqa"), instructions=(0,), max_instances=3)
SHORT = Sampling(max_len=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def model(folder):
    return LocalModel(folder, generation=SHORT, device="cpu", batch_size=3)


def query(text, seed=None):
    image = None
    if seed is not None:
        pixels = torch.randint(256, (30, 40, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
        image = Image.fromarray(pixels.numpy())
    return Query((TextSegment(text),), image, image and image.size)


QUERIES = [query("is it?", 1), query("a longer question, is it?", 2), query("text only"), query("is it?", 3)]


def test_answers_are_those_of_greedy_generation(folder, model):
    """Of each question alone, and with the messages written out here."""
    found = dict(model.answers(QUERIES))
    processor = AutoProcessor.from_pretrained(folder)
    reference = AutoModelForImageTextToText.from_pretrained(folder).eval()
    for number, asked in enumerate(QUERIES):
        text = f"user: {'<image>' if asked.image else ''}{asked.prompt[0].text}\nassistant: "
        inputs = processor(text=text, images=asked.image, return_tensors="pt")
        said = reference.generate(**inputs, do_sample=False, max_new_tokens=SHORT.max_len)
        expected = processor.decode(said[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        assert found[number].reply == expected, number
    assert len({prediction.reply for prediction in found.values()}) > 1


def test_answers_that_reach_the_longest_length_are_cut_off(model, monkeypatch):
    ((_, prediction),) = model.answers(QUERIES[:1])
    assert prediction.trouble == "cut off"
    monkeypatch.setattr(model.model.generation_config, "eos_token_id", list(range(len(model.processor.tokenizer))))
    ((_, ended),) = model.answers(QUERIES[:1])
    assert ended.trouble != "cut off" and len(ended.reply) <= 1


def test_what_looks_like_a_control_token_in_a_question_is_text(model):
    """Otherwise there would be more places for images than images."""
    found = dict(model.answers([query("is <image> </s> it?", 1), query("or <image>")]))
    assert sorted(found) == [0, 1]


def test_a_run_from_the_command_line(folder, data_dir, tmp_path, capsys):
    common = ["--data", str(data_dir), "--tasks", "nlvr", "grounded_vqa", "--max-instances", "2", "--max-len", "6"]
    command = ["evaluate", "--model", f"transformers:{folder}", "--device", "cpu", *common]
    assert cli.main([*command, "--out", str(tmp_path / "run"), "--regions", "drawn"]) == 0
    assert "of 10 answers were cut off at the longest length" in capsys.readouterr().out
    records = list(read_predictions(tmp_path / "run" / "predictions.jsonl"))
    assert len(records) == 20 and all(record.reply is not None for record in records)
    run = read_run(tmp_path / "run")
    assert run["settings"]["model"]["kind"] == "transformers" and run["settings"]["model"]["regions"] == "drawn"
    assert run["settings"]["generation"] == {"temperature": 0.0, "seed": None, "max_len": 6}
    assert run["notes"]["checkpoint"] == str(folder) and str(folder) not in json.dumps(run["settings"])


def test_another_models_files_are_refused_in_the_same_directory(folder, model, data_dir, tmp_path):
    evaluate(model, [data_dir], tmp_path / "run", OPTIONS, progress=False)
    other = save_tiny_model(tmp_path / "other", seed=1)
    with pytest.raises(ConfigError, match=r"other settings: model\.files is "):
        evaluate(LocalModel(other, generation=SHORT), [data_dir], tmp_path / "run", OPTIONS, progress=False)
    moved = LocalModel(shutil.copytree(folder, tmp_path / "moved"), generation=SHORT, batch_size=2)
    evaluate(moved, [data_dir], tmp_path / "run", OPTIONS, progress=False)
    with pytest.raises(ConfigError, match="--mode rank needs --checkpoint"):
        evaluate(model, [data_dir], tmp_path / "ranked", replace(OPTIONS, mode="rank"), progress=False)


def _without_a_template(folder):
    (folder / "chat_template.jinja").unlink()


def _with_weights_to_unpickle(folder):
    weights = folder / "model.safetensors"
    torch.save({}, folder / "pytorch_model.bin")
    weights.unlink()


def _with_code_of_its_own(folder):
    (folder / "evil.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n")
    config = json.loads((folder / "config.json").read_text())
    names = {
        "AutoConfig": "evil.Config",
        "AutoModelForImageTextToText": "evil.Model",
        "AutoProcessor": "evil.Processor",
    }
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "evil", "auto_map": names}))


def _truncated(folder):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    "change",
    [_without_a_template, _with_weights_to_unpickle, _with_code_of_its_own, _truncated],
    ids=lambda f: f.__name__,
)
def test_what_cannot_be_used_is_refused_in_one_line(folder, tmp_path, change):
    copied = shutil.copytree(folder, tmp_path / "model")
    change(copied)
    with pytest.raises(CheckpointError, match=r"tmp.*model: ") as error:
        LocalModel(copied, device="cpu")
    assert len(str(error.value).splitlines()) == 1
    assert not (copied / "ran").exists()


def test_what_is_no_folder_of_a_model(tmp_path):
    for place in (tmp_path, tmp_path / "absent"):
        with pytest.raises(CheckpointError, match=r"has no config\.json"):
            LocalModel(place)
    with pytest.raises(ConfigError, match="--batch-size"):
        LocalModel(tmp_path, batch_size=0)
