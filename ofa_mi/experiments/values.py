"""The values of a profile, checked, and the batch arithmetic that follows from them."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from ofa_mi.errors import ConfigError

WHOLE_NUMBERS = (
    *("GPUS", "CPU_PROCESSES", "NODES", "NODE_RANK", "JOBS", "BATCH_SIZE", "GLOBAL_BATCH", "MAX_EPOCH", "MAX_UPDATE"),
    *("PATCH_IMAGE_SIZE", "MAX_IMAGE_SIZE", "MAX_SRC_LENGTH", "MAX_TGT_LENGTH", "NUM_WORKERS", "SAVE_EVERY"),
    *("VALID_INSTANCES", "EVAL_INSTANCES", "NI_INSTANCES", "EVAL_BATCH_SIZE", "EVAL_MAX_LEN", "EVAL_BEAM"),
)
FLAGS = ("DRY_RUN", "FSDP", "CHECKPOINT_ACTIVATIONS", "TENSORBOARD")
LISTS = ("SEEDS", "ABLATION_SEEDS")
POSITIVE = ("CPU_PROCESSES", "NODES", "JOBS", "BATCH_SIZE", "EVAL_BATCH_SIZE", "SAVE_EVERY")
PRECISIONS = ("PRECISION", "EVAL_PRECISION")
# What the values of each kind must be: the names, the pattern of the whole value, and the words for it.
RULES = (
    (WHOLE_NUMBERS, "[0-9]+", "a whole number"),
    (FLAGS, "[01]", "0 or 1"),
    (LISTS, "[0-9]+( [0-9]+)*", "whole numbers with a space between them"),
    (POSITIVE, "0*[1-9][0-9]*", "at least 1"),
    (PRECISIONS, "fp32|fp16|bf16", "fp32, fp16 or bf16"),
    (("EVAL_WEIGHTS",), "model|ema", "model or ema"),
)
SHARE = r"all|0?\.[0-9]*[1-9][0-9]*"


class Checked(NamedTuple):
    """What follows from the values: an update sees ``BATCH_SIZE`` x processes x ``update_freq`` instances."""

    processes: int  # of all nodes
    update_freq: int  # steps whose gradients an update adds up
    machine: tuple[str, ...]  # options of ``ofa-mi experiment run``: how this node takes part


def check(values: Mapping[str, str]) -> Checked:
    """Check every value of an experiment.

    Args:
        values: The values by name. One that is missing counts as empty; ``UPDATE_FREQ`` may be, and is then what makes
            an update of ``GLOBAL_BATCH`` instances.

    Raises:
        ConfigError: A value, or a combination of values, cannot be.
    """
    for names, pattern, expected in RULES:
        for name in names:
            if not re.fullmatch(pattern, value := values.get(name, ""), re.ASCII):
                raise ConfigError(f"{name}={value}: must be {expected}")
    if int(values["MAX_EPOCH"]) == int(values["MAX_UPDATE"]) == 0:
        raise ConfigError("MAX_EPOCH and MAX_UPDATE are 0: set one of them")
    if not re.fullmatch(SHARE, ratio := values.get("RATIO", ""), re.ASCII):
        raise ConfigError(f"RATIO={ratio}: must be a share between 0 and 1, or all (every instance once)")
    _check_machines(values)
    local = int(values["GPUS"]) or int(values["CPU_PROCESSES"])
    processes = local * int(values["NODES"])
    return Checked(processes, _update_freq(values, processes), _machine(values, local))


def _check_machines(values: Mapping[str, str]) -> None:
    nodes, rank, sharded = int(values["NODES"]), int(values["NODE_RANK"]), values["FSDP"] == "1"
    if int(values["GPUS"]) == 0:
        if nodes > 1:
            raise ConfigError(f"NODES={nodes} needs GPUS: the GPUs of each node")
        if values["PRECISION"] == "fp16":
            raise ConfigError("PRECISION=fp16 needs a GPU; on a CPU take bf16 or fp32")
        if sharded:
            raise ConfigError("FSDP=1 needs GPUs")
    if nodes > 1 and not re.fullmatch(r"\S+", values.get("MASTER_ADDR", "")):
        raise ConfigError(f"NODES={nodes}: set MASTER_ADDR to the host of node 0, and NODE_RANK")
    if not re.fullmatch("[0-9]*", port := values.get("MASTER_PORT", ""), re.ASCII):
        raise ConfigError(f"MASTER_PORT={port}: must be a whole number")
    if rank >= nodes:
        raise ConfigError(f"NODE_RANK={rank}: must be below NODES={nodes}")
    if sharded and values["PRECISION"] == "bf16":
        raise ConfigError("FSDP=1: fairseq's sharding does fp16 or fp32, not bf16")


def _update_freq(values: Mapping[str, str], processes: int) -> int:
    if given := values.get("UPDATE_FREQ", ""):
        if not re.fullmatch("[1-9][0-9]*", given, re.ASCII):
            raise ConfigError(f"UPDATE_FREQ={given}: must be a whole number from 1")
        return int(given)
    wanted, size = int(values["GLOBAL_BATCH"]), int(values["BATCH_SIZE"])
    if wanted == 0 or wanted % (size * processes):
        raise ConfigError(
            f"GLOBAL_BATCH={wanted} is no multiple of BATCH_SIZE={size} x {processes} processes; change one of them, "
            "or set UPDATE_FREQ"
        )
    return wanted // (size * processes)


def _machine(values: Mapping[str, str], local: int) -> tuple[str, ...]:
    numbers = {"--jobs": "JOBS", "--gpus": "GPUS", "--nodes": "NODES", "--node-rank": "NODE_RANK"}
    options = ["--local", str(local), *(word for name in numbers for word in (name, str(int(values[numbers[name]]))))]
    if int(values["NODES"]) > 1:
        options += ["--master-addr", values["MASTER_ADDR"], "--master-port", values.get("MASTER_PORT") or "29500"]
    return (*options, "--dry-run") if values["DRY_RUN"] == "1" else tuple(options)
