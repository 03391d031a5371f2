"""Files of version 0.1.0, made before its packages were put in order (`make.sh`), are read as they were then.

Everything goes through commands, so that the tests hold wherever the code lies.
"""

import json
import logging
import lzma
import os
import shutil
import sys
from pathlib import Path

import pytest

from ofa_mi import cli

FILES = Path(__file__).parent / "files"
CHANGED = 1_700_000_000 * 10**9  # nanoseconds; what the sidecars know of their data files' time of change
TRAIN = (
    *(
        "train",
        "data",
        "--task",
        "multiinstruct",
        "--arch",
        "ofa_nano",
        "--bpe-dir",
        "vocabulary",
        "--save-dir",
        "resumed",
    ),
    *("--patch-image-size", "48", "--max-image-size", "96", "--resnet-type", "resnet_nano", "--freeze-resnet"),
    *("--encoder-embed-dim", "8", "--encoder-ffn-embed-dim", "16", "--encoder-layers", "1", "--decoder-layers", "1"),
    *("--encoder-attention-heads", "2", "--decoder-attention-heads", "2", "--max-source-positions", "160"),
    *("--max-target-positions", "96", "--max-src-length", "128", "--max-tgt-length", "64", "--token-bucket-size", "8"),
    *("--image-bucket-size", "4", "--criterion", "adjust_label_smoothed_cross_entropy", "--label-smoothing", "0.1"),
    *("--optimizer", "adam", "--adam-betas", "(0.9,0.98)", "--lr-scheduler", "linear_decay", "--clip-norm", "1"),
    *("--batch-size", "2", "--num-workers", "0", "--seed", "1", "--valid-metrics", "off", "--no-epoch-checkpoints"),
    *("--log-format", "json", "--log-interval", "1", "--cpu", "--lr", "1e-2", "--max-update", "5"),
)
EVALUATE = (
    *("evaluate", "--checkpoint", "model.safetensors", "--data", "data", "--tasks", "visual_entailment"),
    *("--instructions", "1", "2", "3", "--mode", "constrained", "--out", "stopped", "--device", "cpu"),
)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """A copy of the files, unpacked."""
    folder = tmp_path_factory.mktemp("old") / "files"
    shutil.copytree(FILES, folder)
    for path in folder.glob("*.xz"):
        path.with_suffix("").write_bytes(lzma.decompress(path.read_bytes()))
    for path in folder.glob("data/*.jsonl"):
        os.utime(path, ns=(CHANGED, CHANGED))
    return folder


@pytest.fixture
def files(unpacked, monkeypatch):
    """The same as working directory, because the commands that made the files gave relative names."""
    monkeypatch.chdir(unpacked)
    monkeypatch.setattr(sys, "argv", ["ofa-mi"])
    return unpacked


def sidecars(files):
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in (files / "data/.ofa_mi").glob("*.npy")}


def test_a_training_goes_on_in_the_middle_of_its_epoch(files, caplog):
    """With the same batches and the optimiser's moments, on what the data's sidecars say."""
    (files / "resumed").mkdir()
    shutil.copy("checkpoint.pt", "resumed/checkpoint_last.pt")
    before = sidecars(files)
    caplog.set_level(logging.INFO)
    assert cli.main(TRAIN) == 0
    found = [json.loads(record.message) for record in caplog.records if record.name == "train_inner"]
    expected = [json.loads(line) for line in (files / "losses.jsonl").read_text().splitlines()]
    for key in ("epoch", "num_updates", "lr"):
        assert [line[key] for line in found] == [line[key] for line in expected]
    for one, other in zip(found, expected, strict=True):
        assert float(one["loss"]) == pytest.approx(float(other["loss"]), abs=2e-3)
    assert sidecars(files) == before, "no index and no lengths were made again"


def test_a_checkpoint_describes_itself(files, capsys):
    for name in ("checkpoint.pt", "model.safetensors"):
        assert cli.main(["checkpoint", "info", name]) == 0
        shown = capsys.readouterr().out
        assert all(fact in shown for fact in ("ofa_nano", "310 x 8", "310 entries", "168 float32")), shown


@pytest.mark.parametrize("name", ["checkpoint.pt", "model.safetensors"])
def test_a_checkpoint_answers_as_it_did(files, capsys, name):
    expected = json.loads((files / "answer.json").read_text())
    question = ("--instruction", "what does the image show?", "--options", *expected["options"], "--mode", "rank")
    image = ("--image", "data/images/test/00000.png")
    assert cli.main(["predict", "--checkpoint", name, "--device", "cpu", *image, *question, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.pop("option_scores") == pytest.approx(expected.pop("option_scores"), abs=1e-3)
    assert found.pop("score") == pytest.approx(expected.pop("score"), abs=1e-3)
    assert expected.items() <= found.items(), "fields may be added"


def test_data_are_checked_and_found_good(files, capsys):
    assert cli.main(["data", "check", "data", "--out", "card"]) == 0
    assert "6 instances" in capsys.readouterr().out
    assert (files / "card" / "card.html").exists()


def test_a_run_is_scored_compared_and_reported(files, capsys):
    scores = (files / "evaluation" / "scores.json").read_bytes()
    assert cli.main(["score", "evaluation"]) == 0
    assert "33.33 ± 0.00 (33.33)" in capsys.readouterr().out
    assert json.loads((files / "evaluation" / "scores.json").read_bytes()) == json.loads(scores)
    assert cli.main(["compare", "evaluation", "evaluation"]) == 0
    assert cli.main(["report", "Old=evaluation", "--out", "report"]) == 0
    page = (files / "report" / "index.html").read_text()
    assert "Old" in page and "visual entailment" in page and "33.3" in page


def test_a_run_that_stopped_goes_on(files):
    shutil.copytree("evaluation", "stopped")
    predictions = files / "stopped" / "predictions.jsonl"
    expected = predictions.read_text()
    predictions.write_text("".join(expected.splitlines(keepends=True)[:4]))
    assert cli.main(EVALUATE) == 0
    assert predictions.read_text() == expected
