"""Every script at its smallest on generated data: a few updates, a few questions. They share one folder of results.

The tests of a file run in its order, and each needs the files of those before it, as reproduce.sh does.
"""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ofa_mi import checkpoint
from tests.run_scripts.helpers import FOLDER, run_script

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
TINY = {
    "PROFILE": "cpu",
    "SEEDS": "1",
    "EVAL_TASKS": "eval",
    "SCENES": 60,
    "TEXT_INSTANCES": 20,
    "PRETRAIN_UPDATES": 2,
    "MAX_UPDATE": 3,
    "BATCH_SIZE": 4,
    "GLOBAL_BATCH": 4,
    "PATCH_IMAGE_SIZE": 32,
    "VALID_INSTANCES": 1,
    "EVAL_INSTANCES": 2,
    "NI_INSTANCES": 4,
    "EVAL_MAX_LEN": 4,
    "EVAL_BEAM": 1,
    "ATTENTION_INSTANCES": 2,
}


@pytest.fixture(scope="session")
def out(tmp_path_factory):
    """Folder of results, with the data and a model to start from."""
    folder = tmp_path_factory.mktemp("out")
    run(folder, "data/prepare.sh")
    run(folder, "pretrain/small.sh")
    return folder


def settings_of(out, **settings):
    """Of a run into a folder: without easy-VQA, whose conversion tests/test_quickstart.py runs."""
    return {**TINY, "OUT": out, "DATA": out / "data" / "scenes", **settings}


def run(out, name, **settings):
    """Run a script to its end; returns what it said."""
    done = run_script(name, **settings_of(out, **settings))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stderr


def run_both(out, one, other, **settings):
    """Run two scripts at once, for there are two cores."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: run(out, name, **settings), (one, other)))


def trained(out, name, seed=1):
    """State of a finished training."""
    folder = out / "checkpoints" / name / f"seed{seed}"
    assert (folder / "done").exists()
    return checkpoint.read(folder / "checkpoint_last.pt")


def evaluated(out, name, what="zero_shot", seed=1):
    """Settings and predictions of a finished evaluation."""
    folder = out / "evaluation" / name / f"seed{seed}" / what
    assert (folder / "scores.json").exists()
    predictions = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    return json.loads((folder / "run.json").read_text())["settings"]["options"], predictions


def test_a_script_whose_needs_are_missing_says_which_script_makes_them(tmp_path):
    done = run_script("finetune/multiinstruct.sh", **settings_of(tmp_path, JOBS=1))
    assert done.returncode == 1
    assert "data/scenes/train.jsonl does not exist: run_scripts/data/prepare.sh makes" in done.stderr.splitlines()[-1]


def test_untuned(out):
    run(out, "evaluate/untuned.sh")
    assert {line["task"] for line in evaluated(out, "OFA", "natural_instructions")[1]} == {"natural_instructions_test"}
    assert {"nlvr", "visual_entailment"} <= {line["task"] for line in evaluated(out, "OFA")[1]}


def test_strategies_of_two_seeds_at_once(out):
    said = run(out, "finetune/multiinstruct.sh", SEEDS="1 2", JOBS=2)
    one, two = (trained(out, "MultiInstruct", seed)["model"] for seed in (1, 2))
    assert any((one[name] != two[name]).any() for name in one)
    lines = said.splitlines()
    assert all(line.startswith("[ofa-mi] ") for line in lines), "nothing but lines of its own"
    assert sum("MultiInstruct, seed 2: validation: loss" in line for line in lines) == 1
    before = (out / "checkpoints/MultiInstruct/seed1/checkpoint_last.pt").stat().st_mtime_ns
    assert "MultiInstruct, seed 1: already trained" in run(out, "finetune/multiinstruct.sh")
    assert (out / "checkpoints/MultiInstruct/seed1/checkpoint_last.pt").stat().st_mtime_ns == before


def test_results_of_other_settings_are_not_taken_for_these(out):
    done = run_script("finetune/multiinstruct.sh", **settings_of(out, LR="2e-3"))
    assert done.returncode == 1
    assert "was made with other settings: was --lr 1e-3, is --lr 2e-3; remove it or set another OUT" in done.stderr


def test_sequential_keeps_the_model_only(out):
    said = run(out, "transfer/sequential.sh")
    assert said.index("NaturalInstruct, seed 1: training") < said.index("SeqInstruct, seed 1: training")
    first, second = trained(out, "NaturalInstruct"), trained(out, "SeqInstruct")
    # Three updates, not six: the optimiser, the schedule and the data begin anew.
    assert first["optimizer_history"][-1]["num_updates"] == second["optimizer_history"][-1]["num_updates"] == 3
    assert second["last_optimizer_state"]["state"][0]["step"] == 3
    log = (out / "checkpoints/SeqInstruct/seed1/train.log").read_text()
    assert "loading pretrained model from " in log and "NaturalInstruct/seed1/checkpoint_last.pt" in log
    # It starts from the text-only model: three small updates away from it, not as far as from the model before that.
    start, before = first["model"], trained(out, "pretrained")["model"]
    name = "encoder.layers.0.fc1.weight"
    assert (second["model"][name] - start[name]).abs().max() < 3.1e-3
    assert (second["model"][name] - before[name]).abs().max() > (second["model"][name] - start[name]).abs().max()


def test_task_name_and_mixed(out):
    run_both(out, "transfer/task_name.sh", "transfer/mixed.sh")
    assert trained(out, "TaskName")["cfg"]["task"]["prompt_style"] == "task-name"
    assert trained(out, "MixedInstruct")["cfg"]["task"]["task_shares"] == "natural_instructions=0.3"


def test_zero_shot_as_each_was_trained(out):
    run(out, "evaluate/zero_shot.sh", MODELS="TaskName NaturalInstruct")
    settings, predictions = evaluated(out, "TaskName")
    assert settings["prompt_style"] == "task-name" and {line["instruction"] for line in predictions} == {0}
    assert any("[Options]:" in line["prompt"] for line in predictions)
    settings, predictions = evaluated(out, "NaturalInstruct")
    assert settings["prompt_style"] == "instruction" and len({line["instruction"] for line in predictions}) == 5
    assert not any("[Options]:" in line["prompt"] for line in predictions)
    said = run(out, "evaluate/zero_shot.sh", MODELS="TaskName")
    assert "TaskName, seed 1: zero_shot already evaluated" in said


def test_natural_instructions_and_robustness(out):
    scripts = ("evaluate/natural_instructions.sh", "evaluate/robustness.sh")
    run_both(out, *scripts, MODELS="MultiInstruct")
    assert len(evaluated(out, "MultiInstruct", "natural_instructions")[1]) == 4
    settings, predictions = evaluated(out, "MultiInstruct", "options_only")
    assert settings["image"] == "none" and settings["prompt_style"] == "options-only"
    assert all(line["prompt"].startswith("[Options]:") for line in predictions)


def test_ablations(out):
    run_both(out, "ablation/num_instructions.sh", "ablation/task_groups.sh", POINTS="1")
    assert trained(out, "num_instructions-1")["cfg"]["task"]["num_instructions"] == 1
    for name in ("num_instructions-1", "task_groups-1"):
        assert {"nlvr", "visual_entailment"} <= {line["task"] for line in evaluated(out, name)[1]}


def test_attention_and_report(out):
    run(out, "analysis/attention.sh", MODELS="NaturalInstruct MultiInstruct")
    run(out, "report.sh", TITLE="All of it, tiny")
    page = (out / "report" / "index.html").read_text()
    for expected in ("All of it, tiny", "MultiInstruct", "NaturalInstruct", "num_instructions", "task_groups"):
        assert expected in page


def test_stopping_a_script_stops_what_it_started(out, tmp_path):
    here = tmp_path / "out"
    settings = settings_of(here, SEEDS="1 2", MAX_UPDATE=100000, JOBS=2, OFA_MI_PYTHON=sys.executable)
    settings |= {"NI_DATA": out / "data/text", "BPE_DIR": out / "data/vocabulary"}
    settings["CHECKPOINT"] = out / "checkpoints/pretrained/seed1/checkpoint_last.pt"
    environment = {**os.environ, **{key: str(value) for key, value in settings.items()}}
    script = str(FOLDER / "transfer" / "natural_instructions.sh")
    process = subprocess.Popen(["bash", script], env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: len(trainings(here)) == 2 or process.poll() is not None)
        assert len(trainings(here)) == 2
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    wait_until(lambda: not trainings(here))
    assert trainings(here) == []


def wait_until(condition, seconds=60):
    """Come back when the condition holds, or after some time."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)


def trainings(out):
    """Command lines of the processes that train into a folder."""
    ps = ["ps", "-e", "-ww", "-o", "args"]
    found = subprocess.run(ps, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in found if "ofa-mi train" in line and f"--save-dir {out}" in line]
