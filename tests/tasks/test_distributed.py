"""Training with several processes: two under torchrun (gloo, CPU) do what one does that accumulates two batches."""

import importlib.util
import os
import shutil
import subprocess
import sys

import pytest
import torch

from ofa_mi import checkpoint
from ofa_mi.state_dict import without_tables
from tests.conftest import REPOSITORY
from tests.tasks.test_training import data, losses  # noqa: F401 (data is a fixture)

# BatchNorm's statistics, which only evaluation uses, are those of the first process's batches.
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")

pytestmark = pytest.mark.slow


def start(data, save_dir, *extra, launcher=(), module="ofa_mi.cli", **variables):  # noqa: F811
    """Twelve updates on batches of 4, as `ofa-mi train` or under a launcher; returns the finished process."""
    command = [
        *(sys.executable, *launcher, "-m", module, "train", str(data), "--save-dir", str(save_dir)),
        *("--task", "multiinstruct", "--arch", "ofa_nano", "--criterion", "adjust_label_smoothed_cross_entropy"),
        *("--patch-image-size", "32", "--batch-size", "4", "--num-workers", "0", "--seed", "3", "--clip-norm", "1.0"),
        *("--optimizer", "adam", "--lr", "1e-3", "--lr-scheduler", "linear_decay", "--max-epoch", "2"),
        *("--log-format", "json", "--log-interval", "1", "--disable-validation", "--no-epoch-checkpoints", "--cpu"),
        *extra,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(REPOSITORY)}
    environment |= variables
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def two(data, tmp_path_factory):  # noqa: F811
    """Save directory and output of a run of two processes."""
    folder = tmp_path_factory.mktemp("two")
    done = start(data, folder, "--save-interval-updates", "4", launcher=TORCHRUN)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return folder, done.stdout + done.stderr


@pytest.fixture(scope="module")
def one(data, tmp_path_factory):  # noqa: F811
    """The same of one process that accumulates over two batches."""
    folder = tmp_path_factory.mktemp("one")
    done = start(data, folder, "--update-freq", "2", "--distributed-world-size", "1")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return folder, done.stdout + done.stderr


@pytest.mark.timeout(300)
def test_two_processes_train_as_one_that_accumulates(one, two):
    (folder_one, log_one), (folder_two, log_two) = one, two
    # 12 batches an epoch, of which an update takes two. The losses are logged with four decimals.
    assert sorted(losses(log_one)) == list(range(1, 13))
    for update, loss in losses(log_one).items():
        assert float(losses(log_two)[update]) == pytest.approx(float(loss), abs=2e-4)
    assert float(losses(log_one)[12]) < float(losses(log_one)[1]) - 1
    weights_one, weights_two = (checkpoint.read(f / "checkpoint_last.pt")["model"] for f in (folder_one, folder_two))
    assert weights_one.keys() == weights_two.keys()
    for name, weight in weights_one.items():
        if not name.endswith(STATISTICS):
            torch.testing.assert_close(weights_two[name], weight, rtol=1e-4, atol=1e-5, msg=name)


def test_schedule_ends_with_the_run_whatever_the_number_of_processes(one, two):
    for _, log in (one, two):
        assert '"num_updates": "12", "lr": "0"' in log


@pytest.mark.timeout(300)
def test_one_process_goes_on_where_two_stopped(data, one, two, tmp_path):  # noqa: F811
    """In the middle of an epoch, on the same instances: the losses are those of a run that was never stopped."""
    shutil.copyfile(two[0] / "checkpoint_1_4.pt", tmp_path / "checkpoint_last.pt")
    place = checkpoint.read(tmp_path / "checkpoint_last.pt")["extra_state"]["train_iterator"]
    assert (place["epoch"], place["processes"], place["batches"], place["instances"]) == (1, 2, 8, 32)
    done = start(data, tmp_path, "--update-freq", "2", "--distributed-world-size", "1")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    expected, found = losses(one[1]), losses(done.stdout + done.stderr)
    assert sorted(found) == list(range(5, 13))
    for update, loss in found.items():
        assert float(loss) == pytest.approx(float(expected[update]), abs=5e-4)
    assert "batches now" not in done.stdout, "as many batches in an update as before"


@pytest.mark.timeout(300)
def test_two_processes_train_in_bf16(data, two, tmp_path):  # noqa: F811
    done = start(data, tmp_path, "--bf16", "--max-update", "3", launcher=TORCHRUN)
    if done.returncode and "does not compute in bf16" in done.stderr:
        pytest.skip("this processor does not compute in bf16")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    found, expected = losses(done.stdout + done.stderr), losses(two[1])
    assert sorted(found) == [1, 2, 3]
    assert [float(found[1])] == pytest.approx([float(expected[1])], rel=2**-7)


def test_two_processes_write_one_log_and_one_checkpoint(two):
    folder, log = two
    assert log.count('"num_updates": "3"') == 1
    assert [path.name for path in folder.glob("checkpoint_last*")] == ["checkpoint_last.pt"]


@pytest.mark.timeout(600)
def test_two_processes_with_the_kernels_train_as_one_without(data, tmp_path):  # noqa: F811
    """The first update from the same weights, the second from what the first one's gradients made of them."""
    pytest.importorskip("triton")
    short = ("--max-update", "2")
    kernels = {"OFA_MI_KERNELS": "triton", "TRITON_INTERPRET": "1"}
    one = start(data, tmp_path / "one", *short, "--update-freq", "2", "--distributed-world-size", "1")
    two = start(data, tmp_path / "two", *short, launcher=TORCHRUN, **kernels)
    for done in (one, two):
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    expected, found = (losses(done.stdout + done.stderr) for done in (one, two))
    assert sorted(expected) == sorted(found) == [1, 2]
    for update, loss in expected.items():
        assert float(found[update]) == pytest.approx(float(loss), abs=2e-3)
    weights_one, weights_two = (checkpoint.read(tmp_path / f / "checkpoint_last.pt")["model"] for f in ("one", "two"))
    for name, weight in weights_one.items():
        # Adam turns the gradients of key biases, which are rounding errors, into whole steps
        if weight.is_floating_point() and weight.dim() > 1:
            assert (weights_two[name] - weight).norm() <= 0.01 * weight.norm(), name


@pytest.mark.skipif(importlib.util.find_spec("fairscale") is None, reason="fairscale is not installed")
@pytest.mark.timeout(300)
def test_two_processes_with_shards_train_as_one_and_resume(data, one, tmp_path):  # noqa: F811
    folder_one, log_one = one
    options = ("--ddp-backend", "fully_sharded", "--min-params-to-wrap", "1000", "--save-interval-updates", "8")
    sharded = {"launcher": TORCHRUN, "module": "tests.tasks.sharded_on_cpu"}
    done = start(data, tmp_path / "whole", *options, **sharded)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    expected, found = losses(log_one), losses(done.stdout + done.stderr)
    assert sorted(found) == sorted(expected) == list(range(1, 13))
    for update, loss in expected.items():
        assert float(found[update]) == pytest.approx(float(loss), abs=2e-4)
    weights_one, weights = (
        without_tables(checkpoint.read(folder / "checkpoint_last.pt")["model"])
        for folder in (folder_one, tmp_path / "whole")
    )
    assert weights.keys() == weights_one.keys()
    for name, weight in weights_one.items():
        if weight.is_floating_point() and weight.dim() > 1:
            assert (weights[name] - weight).norm() <= 1e-4 * weight.norm(), name

    (tmp_path / "resumed").mkdir()
    (tmp_path / "whole" / "checkpoint_2_8.pt").rename(tmp_path / "resumed" / "checkpoint_last.pt")
    done = start(data, tmp_path / "resumed", *options, **sharded)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert losses(done.stdout + done.stderr) == {update: found[update] for update in range(9, 13)}


def test_sharding_without_fairscale_is_one_line(data, tmp_path):  # noqa: F811
    (tmp_path / "sitecustomize.py").write_text('import sys\nsys.modules["fairscale"] = None\n')
    path = os.pathsep.join((str(tmp_path), str(REPOSITORY)))
    done = start(data, tmp_path / "run", "--ddp-backend", "fully_sharded", PYTHONPATH=path)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].endswith("needs fairscale: pip install fairscale==0.4.13")
    assert "Traceback" not in done.stderr
