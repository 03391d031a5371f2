"""One run at a time writes checkpoints to a folder, and goes on from the newest one that is whole."""

import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch

from ofa_mi.data.dataset import MultiInstructDataset
from ofa_mi.fairseq_compat.save_dir import LOCK, complete_last
from ofa_mi.utils.files import lock

SHORT = ("--disable-validation", "--max-epoch", "2")
OWNER = """
import fcntl, sys
with open(sys.argv[1], "a+") as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    file.write("process 7 on node0")
    file.flush()
    print("locked", flush=True)
    sys.stdin.read()
"""


def save(path, updates, when):
    """A checkpoint as far as its place among others goes."""
    state = {
        "model": {"a": torch.zeros(9)},
        "extra_state": {"train_iterator": {}},
        "optimizer_history": [{"num_updates": updates}],
    }
    torch.save(state, path)
    os.utime(path, (when, when))


def test_a_second_training_in_a_folder_is_refused_in_one_line(run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    command = [sys.executable, "-c", OWNER, str(out / LOCK)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout.readline() == "locked\n"
        done = run(*SHORT, "--max-update", "1")
        assert done.status == 2
        assert done.error == (
            f"ofa-mi train: error: --save-dir {out}: another training writes its checkpoints there "
            "(process 7 on node0); wait for it, or choose another --save-dir"
        )
        assert [path.name for path in out.iterdir()] == [LOCK]
        owner.stdin.close()
    assert run(*SHORT, "--max-update", "1").status == 0, "the lock of a process that is no more does not count"
    assert [path.name for path in out.iterdir()] == ["checkpoint_last.pt"]


def test_what_dead_processes_left_is_removed_and_what_is_being_written_is_not(run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    left = [".checkpoint_1_2.pt.abcdefgh.tmp", "checkpoint_last.pt.tmp"]
    for name in left:
        (out / name).write_bytes(b"half")
    (out / "mine.tmp").write_bytes(b"kept")
    with (out / ".other.abcdefgh.tmp").open("wb") as other:
        assert lock(other)
        assert run(*SHORT, "--max-update", "1").status == 0
    assert sorted(path.name for path in out.iterdir()) == [".other.abcdefgh.tmp", "checkpoint_last.pt", "mine.tmp"]


def test_a_run_killed_between_a_checkpoint_and_its_copy_goes_on_from_it(run):
    short = (*SHORT, "--save-interval-updates", "1")
    out = run(*short, "--max-update", "3").out
    for number, name in enumerate(("checkpoint_last.pt", "checkpoint_1_2.pt", "checkpoint_1_3.pt")):
        if name == "checkpoint_last.pt":
            shutil.copyfile(out / "checkpoint_1_2.pt", out / name)
        os.utime(out / name, (number, number))
    (out / "checkpoint_1_4.pt").write_bytes((out / "checkpoint_1_3.pt").read_bytes()[:-1000])  # newer, and half
    done = run(*short, "--max-update", "4")
    assert done.status == 0
    assert f"{out / 'checkpoint_1_3.pt'} is the newest whole checkpoint (after update 3)" in done.log
    assert "checkpoint_last.pt (epoch 1 @ 3 updates)" in done.log


def test_the_last_checkpoint_is_the_newest_whole_one(tmp_path):
    last = tmp_path / "checkpoint_last.pt"
    complete_last(last, "")
    assert not list(tmp_path.iterdir())
    save(tmp_path / "checkpoint_best.pt", 4, 10)  # of the first save, before it was copied
    complete_last(last, "")
    assert last.read_bytes() == (tmp_path / "checkpoint_best.pt").read_bytes()
    save(last, 8, 20)
    for name, updates, when in (("checkpoint1.pt", 6, 30), ("checkpoint_1_9.pt", 9, 15), ("checkpoint_avg.pt", 99, 30)):
        save(tmp_path / name, updates, when)  # older by its updates, by its time, and none of the run's names
    before = last.read_bytes()
    complete_last(last, "")
    assert last.read_bytes() == before
    save(tmp_path / "checkpoint_1_10x.pt", 10, 30)
    complete_last(tmp_path / "checkpoint_lastx.pt", "x")
    assert (tmp_path / "checkpoint_lastx.pt").read_bytes() == (tmp_path / "checkpoint_1_10x.pt").read_bytes()


def test_a_last_checkpoint_that_cannot_be_read_is_put_aside(tmp_path, caplog):
    last = tmp_path / "checkpoint_last.pt"
    save(tmp_path / "checkpoint_1_9.pt", 9, 15)
    last.write_bytes(b"half")
    complete_last(last, "")
    assert last.read_bytes() == (tmp_path / "checkpoint_1_9.pt").read_bytes()
    assert (tmp_path / "checkpoint_last.pt.damaged").read_bytes() == b"half"
    assert f"{last} cannot be read" in caplog.text and "checkpoint_1_9.pt is the newest whole" in caplog.text


def test_settings_and_data_are_compared_within_an_epoch(run, data, tmp_path):
    """With the checkpoint of a version that kept no place, too: its settings tell."""
    out = run(*SHORT, "--max-update", "1").out
    last = out / "checkpoint_last.pt"
    new = last.read_bytes()
    state = torch.load(last, weights_only=True)
    place = state["extra_state"]["train_iterator"]
    assert place["batches"] == 1 and place["instances"] == 4 and place["processes"] == 1
    assert place["settings"]["batch_size"] == "4" and place["data"][0][0] == str(data / "train.jsonl")
    state["extra_state"]["train_iterator"] = {
        name: place[name] for name in ("version", "epoch", "iterations_in_epoch", "shuffle")
    }
    old = tmp_path / "old.pt"
    torch.save(state, old)
    for content in (new, old.read_bytes()):
        for option, value, message in (
            ("--batch-size", "2", "--batch-size is 2, and was 4"),
            ("--seed", "5", "--seed is 5, and was 1"),
            ("--tasks", "easy_vqa", "--tasks and --exclude-tasks choose otherwise about "),
        ):
            last.write_bytes(content)
            done = run(*SHORT, option, value)
            assert done.status == 2 and "\n" not in done.error
            assert f"cannot resume within epoch 1: {message}" in done.error
        done = run(*SHORT, "--update-freq", "2", "--max-update", "2")
        assert done.status == 0 and "an update is made of 2 batches now, and was of 1" in done.log


@pytest.mark.timeout(300)
def test_a_killed_data_loader_worker_is_one_line(run, monkeypatch):
    def killed(self, index):
        if torch.utils.data.get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.example(int(index))

    monkeypatch.setattr(MultiInstructDataset, "__getitem__", killed)
    done = run(*SHORT, "--num-workers", "1")
    assert done.status == 2
    assert done.error.startswith("ofa-mi train: error: a data-loader worker was lost (") and "\n" not in done.error
    assert "try a smaller --num-workers; the same command goes on from its last checkpoint" in done.error
