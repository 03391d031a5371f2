"""What every converter makes passes the checks, trains, and is evaluated."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from ofa_mi.data_prep.building.build import BuildOptions, build
from ofa_mi.data_prep.check.checking import check
from ofa_mi.data_prep.sources import MODULES, all_sources
from ofa_mi.decoding.predictor import Predictor
from ofa_mi.evaluation.asking.plan import EvaluationOptions
from ofa_mi.evaluation.asking.run import evaluate
from ofa_mi.instructions.registry import default_registry
from tests.data_prep.sources.examples import example_raw

REPOSITORY = Path(__file__).resolve().parents[2]
REGISTRY = default_registry()
PER_TASK = 3  # instances that are trained on
UPDATES = 3


def sources_of(module):
    return {name: source for name, source in all_sources().items() if source.__module__.endswith(f".{module}")}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Module of sources → data directory and manifest, built from the raw folder that its tests write."""
    root = tmp_path_factory.mktemp("every_source")
    made = {}
    for module in MODULES:
        raw, out = example_raw(module, root / "raw" / module), root / "data" / module
        made[module] = out, build(raw, out, BuildOptions(sources=list(sources_of(module))))
    return made


@pytest.fixture(scope="module")
def directories(built):
    return [str(out) for out, _ in built.values()]


@pytest.fixture(scope="module")
def trained(directories, tmp_path_factory):
    """Checkpoint and log of three updates that see some instances of every training task: one epoch."""
    folder = tmp_path_factory.mktemp("trained")
    instances = sum(min(PER_TASK, number) for number in counts_of(directories, "train").values())
    batch_size = -(-instances // UPDATES)
    command = [
        *(sys.executable, "-m", "fairseq_cli.train", ":".join(directories), "--user-dir", str(REPOSITORY / "ofa_mi")),
        *("--task", "multiinstruct", "--arch", "ofa_nano", "--criterion", "adjust_label_smoothed_cross_entropy"),
        *("--patch-image-size", "32", "--max-instances-per-task", str(PER_TASK), "--batch-size", str(batch_size)),
        *("--required-batch-size-multiple", "1", "--optimizer", "adam", "--lr", "1e-3", "--save-dir", str(folder)),
        *("--log-format", "json", "--log-interval", "1", "--max-update", str(UPDATES), "--num-workers", "0", "--cpu"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return folder / "checkpoint_last.pt", done.stdout + done.stderr


def records(directory, split):
    return [json.loads(line) for line in (Path(directory) / f"{split}.jsonl").read_bytes().splitlines()]


def counts_of(directories, split):
    """Task → instances of a split."""
    return Counter(record["task_name"] for directory in directories for record in records(directory, split))


def test_every_task_of_the_benchmark_has_a_source():
    made = {task for source in all_sources().values() for task in source.tasks}
    assert {name for name, spec in REGISTRY.items() if spec.benchmark} - made == set()
    assert made <= set(REGISTRY)


@pytest.mark.parametrize("module", MODULES)
def test_every_source_makes_every_task_that_it_names(built, module):
    out, manifest = built[module]
    made = {name: set() for name in sources_of(module)}
    for record in (record for split in ("train", "test") for record in records(out, split)):
        made[record["unique_id"].split("/")[0]].add(record["task_name"])
    assert made == {name: set(source.tasks) for name, source in sources_of(module).items()}
    assert not manifest["left_out"]


@pytest.mark.parametrize("module", MODULES)
def test_the_check_finds_nothing(built, module, tmp_path):
    out, _ = built[module]
    findings = check([out], tmp_path / "card", REGISTRY, with_guess=False, examples=1).findings
    assert list(findings) == [] and len(findings) == 0


@pytest.mark.slow
def test_every_training_task_trains(directories, trained):
    made = {task for source in all_sources().values() for task in source.tasks}
    assert set(counts_of(directories, "train")) == {task for task in made if REGISTRY[task].split == "train"}
    _, log = trained
    updates = [json.loads(line[line.find("{") :]) for line in log.splitlines() if "| train_inner |" in line]
    assert [int(update["num_updates"]) for update in updates] == list(range(1, UPDATES + 1))
    assert "end of epoch 1 " in log
    assert all(0 < float(update["loss"]) < 100 for update in updates)


@pytest.mark.slow
def test_every_task_with_test_instances_is_evaluated(directories, trained, tmp_path):
    checkpoint, _ = trained
    tested = counts_of(directories, "test")
    eval_tasks = {name for name, spec in REGISTRY.items() if spec.split == "eval" and spec.benchmark}
    assert eval_tasks <= set(tested)
    options = EvaluationOptions(tasks=("all",), instructions=(0,), max_instances=2, batch_size=32)
    predictor = Predictor.from_checkpoint(checkpoint, device="cpu")
    scores = evaluate(predictor, directories, tmp_path / "run", options, progress=False)
    assert set(scores["tasks"]) == set(tested)
