"""Names that a data-parallel wrapper has lengthened, and averages that a run does not use."""

import json

import pytest
import torch

from ofa_mi import checkpoint, hub
from ofa_mi.data.vocabulary_files import tokenizer_files
from ofa_mi.errors import ConfigError
from ofa_mi.fairseq_compat.loading import check_shards


@pytest.fixture
def trained(run):
    return run("--max-update", "1", "--disable-validation", "--store-ema").out / "checkpoint_last.pt"


def lengthen(path, prefix):
    """Write the checkpoint as the state of a wrapped model."""
    state = torch.load(path, weights_only=True)
    extra = state["extra_state"]
    for part, name in ((state, "model"), (extra, "ema")):
        part[name] = {prefix + key: value for key, value in part[name].items()}
    torch.save(state, path)


@pytest.mark.parametrize("prefix", ["module.", "module.module.", "_orig_mod.module.", "_fsdp_wrapped_module."])
def test_prefixes_of_wrappers_are_taken_off_weights_and_averages(prefix):
    own = {"encoder.a": 1, "module_of_mine.b": 2}
    long = {prefix + name: value for name, value in own.items()}
    state = {"model": long, "extra_state": {"ema": dict(long), "ema_fp32_params": dict(long), "module.x": 3}}
    checkpoint.unwrap_names(state)
    assert state == {"model": own, "extra_state": {"ema": own, "ema_fp32_params": own, "module.x": 3}}


def test_a_wrapped_models_checkpoint_loads_and_starts_a_run(trained, run, tmp_path, caplog):
    own = checkpoint.load(trained).model.state_dict()
    average = checkpoint.load(trained, weights="ema").model.state_dict()
    lengthen(trained, "module.module.")
    caplog.clear()
    for weights, expected in (("model", own), ("ema", average)):
        found = checkpoint.load(trained, weights=weights).model.state_dict()
        assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)
    assert "not in the checkpoint" not in caplog.text
    start = ("--finetune-from-model", str(trained), "--lr", "0", "--max-update", "1", "--disable-validation")
    done = run(*start, "--store-ema", save_dir=tmp_path / "next")
    assert done.status == 0 and "not in the checkpoint" not in done.log
    after = checkpoint.read(done.out / "checkpoint_last.pt")["model"]
    assert torch.equal(after["encoder.layers.0.fc1.weight"], own["encoder.layers.0.fc1.weight"])


def test_a_name_that_only_some_entries_have_is_no_prefix():
    state = {"model": {"module.a": 1, "b": 2}, "extra_state": None}
    checkpoint.unwrap_names(state)
    assert state["model"] == {"module.a": 1, "b": 2}


def test_a_run_says_that_it_leaves_an_average_behind(trained, run, tmp_path):
    done = run("--finetune-from-model", str(trained), "--max-update", "1", save_dir=tmp_path / "next")
    assert done.status == 0
    assert f"{trained} also holds averaged weights (EMA), which are not used" in done.log
    assert "convert --weights ema" in done.log


def test_a_run_starts_from_a_folder_of_the_hubs_format(trained, run, tmp_path):
    state = checkpoint.portable(checkpoint.read(trained))
    words = checkpoint.vocabulary(state)
    folder = tmp_path / "hub"
    folder.mkdir()
    torch.save(hub.to_hub(state["model"]), folder / "pytorch_model.bin")
    own = {"model": vars(state["cfg"]["model"]), "task": state["cfg"]["task"], "vocabulary": words.key}
    (folder / "config.json").write_text(json.dumps({"ofa_mi": own}))
    for name, content in tokenizer_files(words.parts).items():
        (folder / name).write_bytes(content)
    start = ("--finetune-from-model", str(folder), "--lr", "0", "--max-update", "1", "--disable-validation")
    done = run(*start, save_dir=tmp_path / "next")
    assert done.status == 0 and "not in the checkpoint" not in done.log
    after = checkpoint.read(done.out / "checkpoint_last.pt")["model"]
    assert torch.equal(after["encoder.layers.0.fc1.weight"], state["model"]["encoder.layers.0.fc1.weight"])
    (folder / "config.json").unlink()
    assert "is a folder" in run(*start, save_dir=tmp_path / "other").error


def test_parts_of_a_checkpoint_need_as_many_processes(settings):
    state = {"extra_state": {"train_iterator": {"processes": 2}}}
    launch = settings.distributed_training
    launch.distributed_world_size = 1
    check_shards(state, settings)
    launch.ddp_backend, launch.use_sharded_state = "fully_sharded", True
    with pytest.raises(ConfigError, match=r"--use-sharded-state: .* in 2 parts.*start 2 processes instead of 1"):
        check_shards(state, settings)
    launch.distributed_world_size = 2
    check_shards(state, settings)
