"""`ofa-mi train`: its options, and training from released weights."""

import json
import logging
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch

import ofa_mi
from ofa_mi import checkpoint, cli
from ofa_mi.data.vocabulary import Vocabulary, build_compact


def test_help_of_train_has_the_options_of_task_criterion_and_model(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", sys.argv)
    assert cli.main(["train", "--task", "multiinstruct", "--help"]) == 0
    out = capsys.readouterr().out
    assert {"--skip-bad-instances", "--label-smoothing", "--max-epoch"} <= set(out.split())
    assert "the middle of longer text is cut" in " ".join(out.split())


def test_train_fills_in_the_user_directory(capsys):
    for arguments in (["--user-dir", "x"], ["--user-dir=x"]):
        assert cli.main(["train", "data", *arguments]) == 2
        assert "--user-dir is filled in" in capsys.readouterr().err


def train_arguments(directory, bpe_dir, *extra):
    """Arguments of `ofa-mi train` for one update at a learning rate of 0 on 4 instances without images."""
    data = directory / "data"
    data.mkdir()
    for split, count in (("train", 4), ("valid", 2)):
        lines = (
            json.dumps(
                {"unique_id": str(i), "task_name": "easy_vqa", "question": "what colour?", "target_txt": "white"}
            )
            for i in range(count)
        )
        (data / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return [
        *(str(data), "--task", "multiinstruct", "--arch", "ofa_nano", "--bpe-dir", str(bpe_dir), "--cpu"),
        *("--criterion", "adjust_label_smoothed_cross_entropy", "--batch-size", "4", "--patch-image-size", "64"),
        *("--optimizer", "adam", "--lr", "0", "--max-update", "1", "--save-dir", str(directory / "out")),
        *("--num-workers", "0", "--log-format", "simple", "--valid-metrics", "off", *extra),
    ]


@pytest.mark.parametrize(
    "options",
    [
        ("--restore-file", "{}", "--reset-optimizer", "--reset-dataloader", "--reset-meters", "--reset-lr-scheduler"),
        ("--restore-file", "{}"),
        ("--finetune-from-model", "{}"),
    ],
    ids=["restore-reset", "restore", "finetune"],
)
def test_training_starts_from_released_weights(tmp_path, monkeypatch, caplog, bpe_dir, released, options):
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)
    options = [option.format(released) for option in options]
    assert cli.main(["train", *train_arguments(tmp_path, bpe_dir, *options)]) == 0
    assert f"Loaded checkpoint {released} (epoch 1 @ 0 updates)" in caplog.text
    before, after = (checkpoint.read(path)["model"] for path in (released, tmp_path / "out" / "checkpoint_last.pt"))
    weights = [name for name in before if before[name].is_floating_point() and "running_" not in name]
    assert all(torch.equal(before[name], after[name]) for name in weights)
    assert checkpoint.load(tmp_path / "out" / "checkpoint_last.pt").task_config["patch_image_size"] == 64


def test_training_on_with_another_vocabulary_is_refused(tmp_path, monkeypatch, capsys, bpe_dir, released):
    """Its table would fit, or grow, and every row of it would stand for another token."""
    monkeypatch.setattr(sys, "argv", [])
    build_compact([" words of quite another vocabulary"], tmp_path / "other")
    own = tmp_path / "own.pt"
    checkpoint.save(checkpoint.portable(checkpoint.read(released), Vocabulary.load(bpe_dir)), own)
    assert cli.main(["train", *train_arguments(tmp_path, tmp_path / "other", "--restore-file", str(own))]) == 2
    assert "own.pt: was trained with another vocabulary" in capsys.readouterr().err


class Payload:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def test_training_from_a_malicious_file_ends_in_one_line(tmp_path, bpe_dir):
    """In a process of its own, from another directory, with nothing else on stderr: no warning of fairseq's."""
    marker = tmp_path / "ran"
    torch.save({"model": {}, "args": Namespace(payload=Payload(marker))}, tmp_path / "evil.pt")
    command = [sys.executable, "-m", "ofa_mi.cli", "train"]
    command += train_arguments(tmp_path, bpe_dir, "--restore-file", str(tmp_path / "evil.pt"))
    environment = {**os.environ, "PYTHONPATH": str(Path(ofa_mi.__file__).parents[1])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 2
    assert not marker.exists()
    assert "fairseq_cli.train" in done.stdout and "tensorboardX" not in done.stdout and "DEBUG" not in done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"ofa-mi train: error: {tmp_path / 'evil.pt'}: refused")
