"""The values of a profile; as a user meets them: tests/run_scripts/test_dry_run.py."""

import pytest

from ofa_mi.errors import ConfigError
from ofa_mi.experiments.values import check

CPU = {
    **dict.fromkeys(("JOBS", "CPU_PROCESSES", "NODES", "MAX_UPDATE", "PATCH_IMAGE_SIZE", "MAX_IMAGE_SIZE"), "1"),
    **dict.fromkeys(("MAX_SRC_LENGTH", "MAX_TGT_LENGTH", "SAVE_EVERY", "EVAL_BATCH_SIZE", "EVAL_MAX_LEN"), "1"),
    **dict.fromkeys(("GPUS", "NODE_RANK", "MAX_EPOCH", "NUM_WORKERS", "VALID_INSTANCES", "EVAL_INSTANCES"), "0"),
    **dict.fromkeys(("NI_INSTANCES", "DRY_RUN", "FSDP", "CHECKPOINT_ACTIVATIONS", "TENSORBOARD"), "0"),
    "EVAL_WEIGHTS": "model",
    **dict.fromkeys(("PRECISION", "EVAL_PRECISION"), "fp32"),
    **{
        "EVAL_BEAM": "1",
        "SEEDS": "1 2",
        "ABLATION_SEEDS": "1",
        "BATCH_SIZE": "8",
        "GLOBAL_BATCH": "32",
        "RATIO": "all",
    },
}


def machine(checked):
    """Options and their values."""
    return dict(zip(checked.machine[::2], checked.machine[1::2], strict=True))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, (1, 4)),
        ({"CPU_PROCESSES": "2"}, (2, 2)),
        ({"GPUS": "2", "CPU_PROCESSES": "3"}, (2, 2)),
        ({"GPUS": "2", "NODES": "2", "MASTER_ADDR": "a"}, (4, 1)),
        ({"UPDATE_FREQ": "3", "GLOBAL_BATCH": "0"}, (1, 3)),
        ({"UPDATE_FREQ": ""}, (1, 4)),
        ({"BATCH_SIZE": "08"}, (1, 4)),
    ],
)
def test_processes_and_accumulation(values, expected):
    assert check({**CPU, **values})[:2] == expected


def test_options_of_the_machine():
    assert machine(check(CPU)) == {
        **{"--local": "1", "--jobs": "1", "--gpus": "0", "--nodes": "1", "--node-rank": "0"},
    }
    values = {"GPUS": "4", "NODES": "2", "NODE_RANK": "1", "MASTER_ADDR": "node7", "UPDATE_FREQ": "1"}
    expected = {"--local": "4", "--gpus": "4", "--nodes": "2", "--node-rank": "1", "--master-addr": "node7"}
    assert (expected | {"--master-port": "29500"}).items() <= machine(check(CPU | values)).items()
    assert check({**CPU, "DRY_RUN": "1"}).machine[-1] == "--dry-run"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"JOBS": "00"}, "JOBS=00: must be at least 1"),
        ({"SEEDS": "1 2 "}, "SEEDS=1 2 : must be whole numbers"),
        ({"SEEDS": "1\n2"}, "SEEDS=1\n2: must be whole numbers"),
        ({"GPUS": "²"}, "GPUS=²: must be a whole number"),
        ({"UPDATE_FREQ": "0"}, "UPDATE_FREQ=0: must be a whole number from 1"),
        ({"NODES": "2", "MASTER_ADDR": "a"}, "NODES=2 needs GPUS"),
        ({"FSDP": "1"}, "FSDP=1 needs GPUs"),
        ({"NODE_RANK": "1"}, "NODE_RANK=1: must be below NODES=1"),
        ({"GPUS": "1", "NODES": "2", "MASTER_ADDR": "a b"}, "NODES=2: set MASTER_ADDR"),
        ({"GPUS": "1", "NODES": "2", "MASTER_ADDR": "a", "MASTER_PORT": "x"}, "MASTER_PORT=x: must be a whole number"),
        ({"GLOBAL_BATCH": "0"}, "GLOBAL_BATCH=0 is no multiple of BATCH_SIZE=8 x 1 processes"),
    ],
)
def test_what_cannot_be(values, message):
    with pytest.raises(ConfigError) as error:
        check({**CPU, **values})
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("name", sorted(CPU))
def test_a_profile_that_lacks_a_value(name):
    """Such as one of the user's own."""
    with pytest.raises(ConfigError, match=f"{name}=: must be"):
        check({key: value for key, value in CPU.items() if key != name})
