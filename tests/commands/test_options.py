"""Options that several commands share."""

import argparse
from pathlib import Path

import pytest

from ofa_mi.commands import data, evaluate, instructions, lint, tasks, vocabulary
from ofa_mi.commands.options import by_name, named_path
from ofa_mi.errors import ConfigError


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (tasks, ()),
        (lint, ()),
        (vocabulary, ("DATA", "--out", "OUT")),
        (evaluate, ("--checkpoint", "C.pt", "--data", "A::B", "--out", "OUT")),
        (instructions, ("augment", "--per-task", "1")),
        (data, ("check", "DATA")),
    ],
)
def test_instruction_directories_are_one_list_everywhere(command, arguments):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert parser.parse_args([*arguments, "--instruction-dir", "mine:yours:"]).instruction_dir == ["mine", "yours"]
    assert parser.parse_args(list(arguments)).instruction_dir == []


def test_a_list_of_data_directories_names_one(capsys):
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--checkpoint", "C.pt", "--data", ":", "--out", "OUT"])
    assert "--data: names no directory" in capsys.readouterr().err


def test_a_path_has_its_own_name_or_the_one_before_the_sign():
    assert named_path("tuned=runs/a=b") == ("tuned", Path("runs/a=b"))
    assert named_path("runs/x=y/a") == ("a", Path("runs/x=y/a"))
    with pytest.raises(ConfigError, match=r"two runs are called a; give them names, NAME=PATH"):
        by_name(map(named_path, ["x/a", "a=b"]), "runs")
