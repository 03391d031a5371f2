"""Folders of results: settings that are kept beside them, and the lock."""

import subprocess
import sys

import pytest

from ofa_mi.errors import ConfigError
from ofa_mi.experiments.folders import differences, is_finished, keep_settings, locked, settings_text
from tests.conftest import REPOSITORY

WORDS = ["/o/data/a:/o/data/b", "--lr", "1e-3", "--flag", "--tasks", "train", "eval"]


def test_settings_are_one_option_a_line_and_do_not_name_the_folder_of_all():
    assert settings_text(WORDS, "/o") == " data/a:data/b\n--lr 1e-3\n--flag\n--tasks train eval"


def test_finished_with_the_same_settings_only(tmp_path):
    folder, settings = tmp_path / "seed1", settings_text(WORDS, "/o")
    assert not is_finished(folder, "done", settings) and not folder.exists()
    folder.mkdir()
    keep_settings(folder, settings)
    assert not is_finished(folder, "done", settings)
    (folder / "done").touch()
    assert is_finished(folder, "done", settings)
    other = settings_text([*WORDS, "--seed", "2"], "/o").replace("1e-3", "2e-3")
    with pytest.raises(ConfigError) as error:
        is_finished(folder, "done", other)
    assert str(error.value) == (
        f"{folder} was made with other settings: was --lr 1e-3, is --lr 2e-3, is --seed 2; remove it or set another OUT"
    )
    keep_settings(folder, other)
    assert (folder / "settings").read_text() == f"{settings}\n", "what it was made with stays"


def test_folders_as_they_were_made_before(tmp_path):
    """By the shell, with a leading space and a line break at the end; or without settings, as by the quickstart."""
    (tmp_path / "done").touch()
    assert is_finished(tmp_path, "done", " data --lr 1")
    (tmp_path / "settings").write_text(" data/scenes:data/easy_vqa\n--lr 1e-3\n--effective-batch 32\n")
    words = ["/o/data/scenes:/o/data/easy_vqa", "--lr", "1e-3", "--effective-batch", "32"]
    assert is_finished(tmp_path, "done", settings_text(words, "/o"))


def test_differences_name_every_option_once_by_name():
    assert differences(" a\n--x 1\n--y 2\n--z", " a\n--y 3\n--z\n--w 4\n--x 0") == (
        "was --x 1, is --x 0, was --y 2, is --y 3, is --w 4"
    )
    assert differences(" a\n--x 1\n--y 2", " a\n--y 2\n--x 1") == "the same options in another order"


def test_a_second_process_waits(tmp_path):
    code = "from pathlib import Path; import sys; from ofa_mi.experiments.folders import locked\n"
    code += "with locked(Path(sys.argv[1]), lambda: sys.exit(7)): pass"
    command = [sys.executable, "-P", "-c", code, str(tmp_path / "new")]
    with locked(tmp_path / "new", lambda: None):
        assert subprocess.run(command, env={"PYTHONPATH": str(REPOSITORY)}).returncode == 7
    assert subprocess.run(command, env={"PYTHONPATH": str(REPOSITORY)}).returncode == 0
