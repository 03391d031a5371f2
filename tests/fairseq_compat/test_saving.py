"""A checkpoint that cannot be written: one line, nothing is left behind, and the next start works."""

import pytest
import torch
from fairseq import checkpoint_utils

from ofa_mi import checkpoint
from ofa_mi.errors import CheckpointError
from tests.conftest import full_disk

STATE = {"model": {"a": torch.arange(100_000)}, "args": None, "cfg": {"model": {"arch": "ofa_nano"}}}


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
@pytest.mark.parametrize(
    "save", [checkpoint.save, lambda state, path: checkpoint_utils.torch_persistent_save(state, str(path))]
)
def test_a_full_disk_is_one_line_and_keeps_the_old_file(tmp_path, save, name):
    path = tmp_path / name
    save(STATE, path)
    before = path.read_bytes()
    with full_disk(), pytest.raises(CheckpointError, match=r"cannot be written \(.*File too large") as error:
        save(STATE, path)
    assert "\n" not in str(error.value) and str(error.value).startswith(str(path))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_copy_that_does_not_fit_is_one_line_and_removed(tmp_path):
    new, last = tmp_path / "new.pt", tmp_path / "checkpoint_last.pt"
    new.write_bytes(bytes(100_000))
    last.write_bytes(b"old")
    with (
        full_disk(),
        pytest.raises(CheckpointError, match=r"checkpoint_last\.pt: cannot be written \(File too large\)"),
    ):
        checkpoint_utils.PathManager.copy(str(new), str(last), overwrite=True)
    assert last.read_bytes() == b"old" and sorted(tmp_path.iterdir()) == [last, new]


def test_a_run_on_a_full_disk_goes_on_when_there_is_space(run):
    short = ("--disable-validation", "--save-interval-updates", "1")
    assert run(*short, "--max-update", "1").status == 0
    with full_disk():
        done = run(*short, "--max-update", "2")
    assert done.status == 2
    assert done.error.endswith("checkpoint_1_2.pt: cannot be written (File too large)") and "\n" not in done.error
    assert sorted(path.name for path in done.out.iterdir()) == ["checkpoint_1_1.pt", "checkpoint_last.pt"]
    done = run(*short, "--max-update", "2")
    assert done.status == 0 and "(epoch 1 @ 1 updates)" in done.log
