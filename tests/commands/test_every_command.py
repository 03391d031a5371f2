"""What holds of every command: it explains itself, works, and ends in one line where it cannot.

The commands with most options have files of their own beside this one.
"""

import pytest

from ofa_mi import cli

WRONG = {
    "data": "data check ABSENT",
    "vocabulary": "vocabulary ABSENT --out OUT",
    "tasks": "tasks --show absent",
    "lint": "lint --instruction-dir ABSENT",
    "instructions": "instructions augment --from ABSENT --out OUT",
    "train": "train ABSENT --task multiinstruct --user-dir x",
    "checkpoint": "checkpoint info ABSENT",
    "predict": "predict --checkpoint ABSENT --instruction x",
    "serve": "serve --checkpoint ABSENT --port 0",
    "evaluate": "evaluate --checkpoint ABSENT --data ABSENT --out OUT",
    "score": "score ABSENT",
    "compare": "compare ABSENT ABSENT",
    "attention": "attention ABSENT --data ABSENT --out OUT",
    "report": "report ABSENT --out OUT",
}


@pytest.mark.parametrize("name", [name for name in cli.COMMANDS if name != "train"])
def test_help_says_how_it_is_used(name, capsys):
    """`train` shows fairseq's options (test_train.py)."""
    with pytest.raises(SystemExit) as end:
        cli.main([name, "--help"])
    assert end.value.code == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"usage: ofa-mi {name}") and printed.err == ""


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_an_error_is_one_line_that_names_its_cause(name, tmp_path, capsys):
    absent, out = tmp_path / "absent", tmp_path / "out"
    words = [word.replace("ABSENT", str(absent)).replace("OUT", str(out)) for word in WRONG[name].split()]
    assert cli.main(words) == cli.BAD_INPUT
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith(f"ofa-mi {name}: error: ") and printed.out == ""
    assert "absent" in line or "--user-dir" in line
    assert not absent.exists() and not out.exists(), "nothing is made"


def test_tasks(capsys):
    assert cli.main(["tasks"]) == 0
    listed = capsys.readouterr().out
    assert "visual_entailment" in listed and "image_captioning" in listed
    assert cli.main(["tasks", "--show", "visual_entailment"]) == 0
    assert "visual_entailment/5" in capsys.readouterr().out


def test_lint(capsys):
    assert cli.main(["lint"]) == 0
    assert capsys.readouterr().err == ""


def test_attention(data_dir, tmp_path, capsys):
    few = ("--tasks", "visual_entailment", "--instructions", "1", "--max-instances", "2")
    assert cli.main(["attention", "nano", "--data", str(data_dir), "--out", str(tmp_path / "out"), *few]) == 0
    printed = capsys.readouterr().out
    assert "nano" in printed and "2 instances with an image" in printed
    assert list((tmp_path / "out").iterdir())
