"""What a step needs to be there, and which script makes it."""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from ofa_mi.errors import ConfigError
from ofa_mi.packaged import checkpoint_path, parts_of

Needs: TypeAlias = list[tuple[str, str]]  # a file or the name of a packaged checkpoint, and where it comes from


def data_needs(directories: str, split: str) -> Needs:
    """The split of each of some data directories, which ``:`` joins."""
    origin = "run_scripts/data/prepare.sh makes the data of PROFILE=cpu, or set DATA and NI_DATA (docs/experiments.md)"
    return [(f"{directory}/{split}.jsonl", origin) for directory in directories.split(":")]


def training_needs(data: str, vocabulary: str, start: str) -> Needs:
    """Data, and what is not empty of a vocabulary's folder and the checkpoint to start from."""
    needs = data_needs(data, "train")
    if vocabulary:
        origin = "run_scripts/data/prepare.sh makes the vocabulary of PROFILE=cpu, or set BPE_DIR"
        needs.append((f"{vocabulary}/dict.txt", origin))
    if start:
        needs.append((start, "run_scripts/pretrain/small.sh trains a model to start from, or set CHECKPOINT"))
    return needs


def evaluation_needs(data: str, checkpoint: str, origin: str) -> Needs:
    """Data, and the checkpoint, which ``origin`` makes."""
    return [*data_needs(data, "test"), (checkpoint, f"it comes from {origin}")]


def check_needs(needs: Iterable[tuple[str, str]]) -> None:
    """See to it that everything is there.

    Raises:
        ConfigError: Something is not; the message says where it comes from.
    """
    for path, origin in needs:
        if not all(Path(part).exists() for part in parts_of(checkpoint_path(path))):
            raise ConfigError(f"{path} does not exist: {origin}")
