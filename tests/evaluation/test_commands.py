"""`ofa-mi evaluate`, `score` and `report`, as the command line calls them."""

import argparse

import pytest

from ofa_mi.commands import evaluate, report, score
from ofa_mi.decoding.predictor import Predictor
from ofa_mi.errors import ConfigError
from ofa_mi.evaluation.predictions import read_predictions
from ofa_mi.evaluation.scoring import read_run, read_scores
from ofa_mi.evaluation.tables import format_table
from tests.evaluation.fake import FakePredictor


def call(command, *args):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(list(map(str, args))))


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """A file that stands for a checkpoint; the model is a fake."""
    path = tmp_path / "model.pt"
    path.write_bytes(b"weights")
    monkeypatch.setattr(Predictor, "from_checkpoint", lambda *args, **kwargs: FakePredictor())
    return path


def test_evaluate_score_and_report(checkpoint, data_dir, tmp_path, capsys):
    out = tmp_path / "run"
    common = ("--checkpoint", checkpoint, "--data", data_dir, "--out", out)
    assert call(evaluate, *common, "--tasks", "commonsense", "--instructions", 1, 5, "--max-instances", 3) == 0
    table = capsys.readouterr().out
    assert "visual_entailment" in table
    records = list(read_predictions(out / "predictions.jsonl"))
    assert {r.instruction_id for r in records if r.task == "nlvr"} == {"nlvr/1", "nlvr/5"}
    assert len(records) == 2 * 2 * 3
    before = (out / "scores.json").read_bytes()
    assert call(score, out) == 0
    assert capsys.readouterr().out == table
    assert (out / "scores.json").read_bytes() == before
    assert call(report, f"mine={out}", "--out", tmp_path / "report", "--note", "hello") == 0
    assert str(tmp_path / "report" / "index.html") in capsys.readouterr().out
    assert "hello" in (tmp_path / "report" / "index.html").read_text()


def test_german_instructions(checkpoint, data_dir, tmp_path, capsys):
    common = ("--checkpoint", checkpoint, "--data", data_dir, "--instruction-language", "de")
    call(evaluate, *common, "--out", tmp_path / "run", "--tasks", "nlvr", "--instructions", 1)
    records = list(read_predictions(tmp_path / "run" / "predictions.jsonl"))
    assert {r.instruction_id for r in records} == {"nlvr/de/1"} and {r.language for r in records} == {"de"}
    assert records[0].prompt.startswith("trifft die folgende aussage auf das bild zu? „")
    assert read_run(tmp_path / "run")["settings"]["instruction_language"] == "de"
    assert read_scores(tmp_path / "run")["tasks"]["nlvr"]["language"] == "de"
    with pytest.raises(ConfigError, match="task color_understanding has no instructions in language 'de', only in en"):
        call(evaluate, *common, "--out", tmp_path / "other", "--tasks", "color_understanding")
    english = ("--checkpoint", checkpoint, "--data", data_dir, "--tasks", "nlvr", "--instructions", 1)
    with pytest.raises(ConfigError, match="instruction_language is 'de' there and 'en' now"):
        call(evaluate, *english, "--out", tmp_path / "run")
    call(evaluate, *english, "--out", tmp_path / "english")
    capsys.readouterr()
    runs = {name: read_scores(tmp_path / name) for name in ("run", "english")}
    assert "nlvr: the runs were evaluated on different languages, so their scores do not compare." in format_table(runs)


def test_parts(checkpoint, data_dir, tmp_path, capsys):
    common = ("--checkpoint", checkpoint, "--data", data_dir, "--out", tmp_path / "run", "--tasks", "nlvr")
    call(evaluate, *common, "--shard", "1/2")
    assert "other parts are not" in capsys.readouterr().out
    call(evaluate, *common, "--shard", "0/2")
    assert "nlvr" in capsys.readouterr().out
    assert len(list(read_predictions(tmp_path / "run" / "predictions.jsonl"))) == 40


@pytest.mark.parametrize(
    "options", [("--shard", "2/2"), ("--shard", "one"), ("--instructions", "0"), ("--instructions", "all", "1")]
)
def test_options_that_cannot_work(checkpoint, data_dir, tmp_path, options):
    with pytest.raises(ConfigError, match=options[0]):
        call(evaluate, "--checkpoint", checkpoint, "--data", data_dir, "--out", tmp_path / "run", *options)


def test_labels():
    assert {label: str(path) for label, path in score.labelled(["a=x/y", "runs/b", "runs/c=d"]).items()} == {
        "a": "x/y",
        "b": "runs/b",
        "c=d": "runs/c=d",
    }
    with pytest.raises(ConfigError, match="another one is called 'b'"):
        score.labelled(["x/b", "y/b"])
