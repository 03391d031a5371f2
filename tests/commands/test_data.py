"""``ofa-mi data`` as its arguments and its printed summary."""

import argparse
import json

import pytest

from ofa_mi import cli
from ofa_mi.commands import data


def run(*words):
    parser = argparse.ArgumentParser()
    data.add_arguments(parser)
    return data.run(parser.parse_args([str(word) for word in words]))


def test_scenes(tmp_path, capsys):
    numbers = ("--train-scenes", 20, "--valid-scenes", 3, "--test-scenes", 8, "--train-per-task", 4, "--seed", 9)
    assert run("scenes", "--out", tmp_path, *numbers) == 0
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["settings"]["scenes"] == {"train": 20, "valid": 3, "test": 8}
    assert manifest["settings"]["per_task"]["train"] == 4 and manifest["settings"]["seed"] == 9
    assert max(manifest["counts"]["train"].values()) == 4
    lines = (tmp_path / "train.jsonl").read_text().splitlines()
    assert f"train.jsonl: {len(lines)} instances of" in capsys.readouterr().out


def test_a_subcommand_is_needed_and_fractions_are_checked(capsys):
    with pytest.raises(SystemExit):
        run()
    with pytest.raises(SystemExit):
        run("easy-vqa", "--out", "x", "--valid-fraction", "1.5")
    assert "1.5 is not between 0 and 1" in capsys.readouterr().err


def test_a_directory_that_cannot_be_written_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert cli.main(["data", "scenes", "--out", str(tmp_path / "file"), "--train-scenes", "2"]) == 2
    assert "cannot be written" in capsys.readouterr().err
