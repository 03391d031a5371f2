"""`ofa-mi evaluate`, `score` and `report`, as the command line calls them."""

import argparse
import json
from pathlib import Path

import pytest

from ofa_mi.commands import compare, evaluate, report, score
from ofa_mi.commands.options import named_path
from ofa_mi.decoding.predictor import Predictor
from ofa_mi.errors import ConfigError, DataError
from ofa_mi.evaluation.predictions import read_predictions
from ofa_mi.evaluation.scoring.scores import read_run, read_scores
from ofa_mi.evaluation.scoring.tables import format_table
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
    assert "nlvr: scores do not compare, since some runs were evaluated on other languages" in format_table(runs)
    runs["run"]["tasks"]["nlvr"] |= {"mode": "rank"}
    assert "nlvr: scores do not compare, since some runs were evaluated in other modes" in format_table(runs)


def test_conditions_are_options_and_marked(checkpoint, data_dir, tmp_path, capsys):
    common = ("--checkpoint", checkpoint, "--data", data_dir, "--tasks", "nlvr")
    call(evaluate, *common, "--out", tmp_path / "run", "--perturb", "typos", "--image", "none")
    assert capsys.readouterr().out.endswith("not a normal run: typos, image none.\n")
    call(score, f"mine={tmp_path / 'run'}")
    assert capsys.readouterr().out.endswith("mine: not a normal run: typos, image none.\n")
    with pytest.raises(ConfigError, match=r"options\.image is 'none' there and 'given' now"):
        call(evaluate, *common, "--out", tmp_path / "run", "--perturb", "typos")
    call(evaluate, *common, "--out", tmp_path / "options", "--prompt-style", "options-only")
    assert "options-only" in capsys.readouterr().out


def test_compare(checkpoint, data_dir, tmp_path, capsys):
    common = ("--checkpoint", checkpoint, "--data", data_dir, "--tasks", "nlvr", "grounded_vqa")
    call(evaluate, *common, "--out", tmp_path / "a")
    call(evaluate, *common, "--out", tmp_path / "b", "--perturb", "paraphrase")
    capsys.readouterr()
    file = tmp_path / "comparisons" / "ab.json"
    assert call(compare, tmp_path / "a", tmp_path / "b", "--out", file) == 0
    shown = capsys.readouterr().out
    assert "The runs were asked under different conditions: A as usual, B paraphrase." in shown
    comparison = json.loads(file.read_text())
    assert comparison["a"]["run"] == str(tmp_path / "a") and comparison["b"]["conditions"]["perturb"] == "paraphrase"
    scores = [read_scores(tmp_path / name)["zero_shot"]["aggregated"] for name in "ab"]
    total = comparison["zero_shot"]["aggregated"]
    assert [total["a"], total["b"]] == pytest.approx(scores)
    (line,) = (line for line in shown.splitlines() if line.startswith("aggregated"))
    assert line.split()[1:4] == [f"{scores[0]:.2f}", f"{scores[1]:.2f}", f"{scores[1] - scores[0]:+.2f}"]
    with pytest.raises(DataError, match="cannot be read"):
        call(compare, tmp_path / "a", tmp_path / "c")


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


def test_names_of_runs_and_places_on_curves():
    assert [(name, str(path)) for name, path in map(named_path, ["a=x/y", "runs/b", "runs/c=d"])] == [
        ("a", "x/y"),
        ("b", "runs/b"),
        ("c=d", "runs/c=d"),
    ]
    assert report.point("groups=+ a, b:runs/x=1") == ("groups", "+ a, b", Path("runs/x=1"))
    with pytest.raises(ConfigError, match="must be CURVE=X:DIRECTORY"):
        report.point("groups=runs/x")
