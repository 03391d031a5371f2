"""`ofa-mi experiment`: plans, what a dry run prints, trainings and evaluations with a stand-in for the programs."""

import os
import subprocess
import sys

import pytest

from ofa_mi import cli
from ofa_mi.errors import ConfigError
from ofa_mi.experiments.plan import quoted, read_plan
from ofa_mi.experiments.steps import Evaluation, Shell, Training
from tests.conftest import REPOSITORY


def plan(*groups):
    return [word for group in groups for word in (str(len(group)), *group)]


def training(folder, data="", *, vocabulary="", start="", recipe=("--lr", "1"), how=("--save", "x")):
    head = ["training", str(folder), "A, seed 1", "trained", str(data), vocabulary, start, "4", "2"]
    return plan(head, [str(data), *recipe], how)


def evaluation(folder, data, checkpoint, *, what="zero_shot"):
    head = ["evaluation", str(folder), "A, seed 1", what, str(data), str(checkpoint), "run_scripts/a.sh"]
    return plan(head, ["ofa-mi", "evaluate", "--out", str(folder)], ["--batch-size", "3"])


# -- plans


def test_steps_belong_to_the_job_before_them():
    words = [*training("f"), *plan(["job"]), *training("g"), *evaluation("e", "d", "c"), *plan(["job"])]
    words += plan(["command", "bash", "job"])
    jobs = read_plan(words)
    assert [[type(step) for step in job] for job in jobs] == [[Training], [Training, Evaluation], [Shell]]
    assert jobs[2][0].words == ["bash", "job"] and jobs[1][0].recipe == ["", "--lr", "1"]
    assert read_plan([]) == []


@pytest.mark.parametrize(
    "words", [["x"], ["0"], ["2", "job"], plan(["swim"]), plan(["training", "f"]), training("f")[:-3]]
)
def test_what_is_no_plan(words):
    with pytest.raises(ConfigError, match="no plan of jobs: "):
        read_plan(words)


def test_quoted_for_a_shell():
    words = ["a", "", "it's", "$HOME b", "(0.9,0.999)", "--x=1@%+"]
    assert quoted(words) == "a '' 'it'\\''s' '$HOME b' '(0.9,0.999)' --x=1@%+"
    done = subprocess.run(["bash", "-c", f"printf '%s\\n' {quoted(words)}"], capture_output=True, text=True)
    assert done.stdout.split("\n")[:-1] == words


def test_nothing_but_pythons_own_library_is_imported():
    """So that a script starts fast, and shows its commands before anything is installed."""
    words = ["run", "--out", "/o", "--jobs", "2", "--dry-run", "--", *training("f", "d"), *evaluation("e", "d", "c")]
    code = "import sys; from ofa_mi.cli import main; status = main(['experiment', *sys.argv[1:]])\n"
    code += "own = {name.split('.')[0] for name in sys.modules} - {'ofa_mi', '__main__'}\n"
    code += "print(status, *sorted(own - sys.stdlib_module_names))"
    command = [sys.executable, "-S", "-P", "-c", code, *words]
    environment = {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    *commands, last = done.stdout.splitlines()
    assert last == "0"
    assert commands == [
        "ofa-mi train d --lr 1 --batch-size 4 --update-freq 2 --save x --distributed-world-size 1 --cpu",
        "ofa-mi evaluate --out e --batch-size 3 --device cpu",
    ]


def test_it_is_no_command_of_the_overview(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "experiment" not in capsys.readouterr().out


# -- trainings and evaluations

PROGRAM = """#!/usr/bin/env bash
echo "$@" >> "$CALLS"
[[ -z "$FAIL" || "$*" != *"$FAIL"* ]] || { echo "ofa-mi $1: error: $FAIL is bad"; exit 2; }
if [[ "$1" == evaluate ]]; then touch "$3/scores.json"; exit; fi
echo ' | train_inner | {"loss": "2", "ups": "3", "num_updates": "4"}'
"""


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Command lines of `ofa-mi`, in the place of which a program writes them down; it fails where they contain FAIL."""
    program, log = tmp_path / "bin" / "ofa-mi", tmp_path / "calls"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(log))
    monkeypatch.setenv("FAIL", "")
    monkeypatch.setattr("ofa_mi.experiments.processes.SIGNALS", ())  # of the tests' own process
    return lambda: log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for split in ("train", "test"):
        (folder / f"{split}.jsonl").touch()
    return folder


def run(words, capsys, *options):
    """Exit status, and lines on standard error."""
    status = cli.main(["experiment", "run", "--out", "/o", *options, "--", *words])
    return status, capsys.readouterr().err.splitlines()


def test_a_training_is_run_once(calls, data, tmp_path, capsys):
    folder = tmp_path / "seed1"
    words = training(folder, data, recipe=("--max-update", "8"))
    status, lines = run(words, capsys)
    assert status == 0 and len(calls()) == 1
    assert lines == [
        f"[ofa-mi] A, seed 1: training; log in {folder}/train.log",
        "[ofa-mi] A, seed 1: update 4 of 8, loss 2, 3 updates/s",
    ]
    assert (folder / "settings").read_text() == f" {data}\n--max-update 8\n--effective-batch 8\n"
    assert "train_inner" in (folder / "train.log").read_text()
    assert run(words, capsys) == (0, ["[ofa-mi] A, seed 1: already trained"]) and len(calls()) == 1
    status, lines = run(training(folder, data, recipe=("--max-update", "9")), capsys)
    assert status == 1 and len(calls()) == 1
    (line,) = lines
    assert "was made with other settings: was --max-update 8, is --max-update 9; remove it" in line
    status, (line,) = run(words, capsys, "--local", "2")
    assert status == 1 and "was --effective-batch 8, is --effective-batch 16" in line


def test_a_training_that_stopped_goes_on(calls, data, tmp_path, capsys, monkeypatch):
    words = training(tmp_path / "f", data)
    monkeypatch.setenv("FAIL", "--lr")
    status, lines = run(words, capsys)
    assert status == 1 and lines[-1] == (
        f"[ofa-mi] error: A, seed 1 stopped: ofa-mi train: error: --lr is bad ({tmp_path}/f/train.log); run the same "
        "command again to continue"
    )
    assert not (tmp_path / "f" / "done").exists()
    monkeypatch.setenv("FAIL", "")
    assert run(words, capsys)[0] == 0 and (tmp_path / "f" / "done").exists()


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ({"data": "no"}, "no/train.jsonl does not exist: run_scripts/data/prepare.sh makes the data"),
        ({"vocabulary": "no"}, "no/dict.txt does not exist: run_scripts/data/prepare.sh makes the vocabulary"),
        ({"start": "no.pt"}, "no.pt does not exist: run_scripts/pretrain/small.sh trains a model to start from"),
    ],
)
def test_what_a_training_needs(missing, message, calls, data, tmp_path, capsys):
    status, (line,) = run(training(tmp_path / "f", **{"data": data, **missing}), capsys)
    assert status == 1 and line.startswith(f"[ofa-mi] error: {message}") and calls() == []
    # What has never begun was made with no settings: with what was missing, or other options, it begins.
    assert run(training(tmp_path / "f", data, start="nano", recipe=()), capsys)[0] == 0


def test_an_evaluation_is_run_once_and_again_for_no_newer_checkpoint(calls, data, tmp_path, capsys):
    checkpoint, folder = tmp_path / "c.pt", tmp_path / "e"
    words = evaluation(folder, data, checkpoint)
    status, (line,) = run(words, capsys)
    assert status == 1 and line.endswith("c.pt does not exist: it comes from run_scripts/a.sh")
    checkpoint.touch()
    os.utime(checkpoint, (1, 1))
    assert run(words, capsys) == (
        0,
        ["[ofa-mi] A, seed 1: evaluating zero_shot", "[ofa-mi] A, seed 1: evaluated zero_shot"],
    )
    assert calls() == [f"evaluate --out {folder} --batch-size 3 --device cpu"]
    assert run(words, capsys) == (0, ["[ofa-mi] A, seed 1: zero_shot already evaluated"])
    os.utime(folder / "scores.json", (0, 0))
    status, (line,) = run(words, capsys)
    assert status == 1 and line == f"[ofa-mi] error: {folder} is older than {checkpoint}: remove it"


def test_an_evaluation_in_parts(calls, data, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "e"
    words = evaluation(folder, data, "nano", what="")
    monkeypatch.setenv("FAIL", "--shard 3/4")
    nodes = ("--local", "2", "--gpus", "2", "--nodes", "2", "--node-rank")
    assert run(words, capsys, *nodes, "0")[1] == ["[ofa-mi] A, seed 1: evaluating", "[ofa-mi] A, seed 1: evaluated"]
    assert sorted(call.split("--batch-size 3 ")[1] for call in calls()) == [
        "--device cuda:0 --shard 0/4",
        "--device cuda:1 --shard 1/4",
    ]
    (folder / "scores.json").unlink()
    status, lines = run(words, capsys, *nodes, "1")
    assert status == 1 and lines[-1] == (
        f"[ofa-mi] error: A, seed 1 stopped: ofa-mi evaluate: error: --shard 3/4 is bad ({folder}/evaluate.part3.log); "
        "run the same command again to continue"
    )


def test_every_step_of_a_job_waits_for_the_one_before(calls, data, tmp_path, capsys):
    job = [*plan(["job"]), *training(tmp_path / "f", data), *evaluation(tmp_path / "e", data, "nano")]
    assert run(job, capsys, "--jobs", "2")[0] == 0
    assert [call.split()[0] for call in calls()] == ["train", "evaluate"]


def test_data_and_errors_by_hand(data, tmp_path, capsys):
    assert cli.main(["experiment", "need-data", str(data), "test"]) == 0
    assert cli.main(["experiment", "need-data", f"{data}:{tmp_path}", "test"]) == 1
    assert f"[ofa-mi] error: {tmp_path}/test.jsonl does not exist: " in capsys.readouterr().err
    (tmp_path / "log").write_text("ValueError: x\n")
    assert cli.main(["experiment", "why", str(tmp_path / "log")]) == 0
    assert cli.main(["experiment", "why", str(data / "train.jsonl")]) == 0
    assert capsys.readouterr().out == "ValueError: x\nno error in its output\n"
    assert cli.main(["experiment", "why", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err == f"[ofa-mi] error: {tmp_path}/none: No such file or directory\n"
