"""A checkpoint that cannot be written: one line, nothing is left behind, and the next start works."""

import pytest
import torch
from fairseq import checkpoint_utils

from ofa_mi import checkpoint
from ofa_mi.commands.checkpoint import convert
from ofa_mi.errors import CheckpointError
from ofa_mi.models.position_bias import index_tables
from ofa_mi.state_dict import COMPUTED, without_tables
from tests.conftest import full_disk
from tests.models.helpers import small_model

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


def test_index_tables_are_not_written_and_loading_computes_them(run):
    done = run("--max-update", "1", "--store-ema", "--ema-fp32", "--ema-decay", "0.5", "--disable-validation")
    assert done.status == 0
    path = done.out / "checkpoint_last.pt"
    state = checkpoint.read(path)
    extra = state["extra_state"]
    for weights in (state["model"], extra["ema"], extra["ema_fp32_params"]):
        assert weights and not any(COMPUTED.search(name) for name in weights)
    model = checkpoint.load(path).model
    own = model.state_dict()
    for name, table in index_tables(model.config).items():
        assert own[name].equal(table)
    done = run("--max-update", "2", "--store-ema", "--ema-fp32", "--ema-decay", "0.5", "--disable-validation")
    assert done.status == 0 and "not in the checkpoint" not in done.log


def test_a_converted_checkpoint_has_what_the_released_code_expects(tmp_path):
    model = small_model()
    whole, args = model.state_dict(), {**vars(model.config), "arch": "ofa_nano"}
    state = {"model": without_tables(whole), "args": None, "cfg": {"model": args, "task": {}}}
    checkpoint.save(state, tmp_path / "own.safetensors")
    convert(tmp_path / "own.safetensors", tmp_path / "released.pt")
    found = checkpoint.read(tmp_path / "released.pt")["model"]
    assert found.keys() == whole.keys() and all(found[name].equal(tensor) for name, tensor in whole.items())
    convert(tmp_path / "released.pt", tmp_path / "again.safetensors")
    assert checkpoint.read(tmp_path / "again.safetensors")["model"].keys() == without_tables(whole).keys()
