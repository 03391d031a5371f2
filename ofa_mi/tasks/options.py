"""Options of the fairseq task ``multiinstruct``, and what they may be."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from omegaconf import II

from ofa_mi.data.transform import PATCH
from ofa_mi.errors import ConfigError
from ofa_mi.instructions.registry import Registry
from ofa_mi.utils.text import split_list

SWITCH = ChoiceEnum(["on", "off"])
AT_LEAST = {
    "max_instances_per_task": 0,
    "max_valid_instances_per_task": 0,
    "num_instructions": 0,
    "max_src_length": 2,  # <s> and </s>
    "max_tgt_length": 1,  # </s>
    "valid_beam": 1,
    "valid_max_len": 1,
}


@dataclass
class MultiInstructConfig(FairseqDataclass):
    data: Optional[str] = field(
        default=None,
        metadata={
            "help": "data directories, separated by ':', each with train.jsonl, valid.jsonl and their images, or with "
            "OFA's TSV files"
        },
    )
    bpe_dir: Optional[str] = field(
        default=None,
        metadata={
            "help": "directory of encoder.json, vocab.bpe and dict.txt: OFA's own for released checkpoints, or one "
            "made by `ofa-mi vocabulary`; without it that of --finetune-from-model, or the packaged GPT-2 BPE"
        },
    )
    instruction_dir: Optional[str] = field(
        default=None, metadata={"help": "directories of YAML files that add tasks or instructions, separated by ':'"}
    )
    instruction_language: str = field(
        default="en", metadata={"help": "language of the instructions; `ofa-mi tasks --show` names those of a task"}
    )
    tasks: str = field(
        default="all",
        metadata={"help": "tasks or task groups to use, separated by commas; also train, eval, all"},
    )
    exclude_tasks: str = field(default="", metadata={"help": "tasks or task groups to leave out, separated by commas"})
    max_instances_per_task: int = field(
        default=0, metadata={"help": "train on at most so many instances of each task, a fixed choice; 0 for all"}
    )
    mixture_temperature: float = field(
        default=1.0,
        metadata={
            "help": "T in task probabilities proportional to n^(1/T): 1 uses each instance once per epoch, a larger "
            "value evens the tasks out"
        },
    )
    task_shares: str = field(
        default="",
        metadata={
            "help": "share of an epoch for tasks or groups, e.g. 'natural_instructions=0.5', separated by commas; the "
            "other tasks have what is left"
        },
    )
    prompt_style: ChoiceEnum(["instruction", "task-name"]) = field(
        default="instruction",
        metadata={"help": "write an instruction, or the task's name and its inputs (the TaskName baseline)"},
    )
    option_markers: SWITCH = field(default="on", metadata={"help": "on writes '[Options]: a||||b', off writes 'a, b'"})
    num_instructions: int = field(
        default=0,
        metadata={
            "help": "use the first so many instructions of each task; 0 for all. Those of --extra-instructions come "
            "after the task's own"
        },
    )
    extra_instructions: Optional[str] = field(
        default=None,
        metadata={
            "help": "file of `ofa-mi instructions augment`: more instructions to train with, after each task's own; "
            "validation and evaluation never use them"
        },
    )
    max_src_length: int = field(
        default=1024, metadata={"help": "longest source in tokens; the middle of longer text is cut"}
    )
    max_tgt_length: int = field(default=512, metadata={"help": "longest target in tokens"})
    patch_image_size: int = field(
        default=480, metadata={"help": "side in pixels of the square that images are resized to; a multiple of 16"}
    )
    max_image_size: int = field(
        default=512, metadata={"help": "pixels that the location bins span; 512 in every released model"}
    )
    text_case: ChoiceEnum(["lower", "keep"]) = field(
        default="lower", metadata={"help": "lower-case prompts and targets, as OFA was pre-trained, or keep their case"}
    )
    black_image: bool = field(
        default=False, metadata={"help": "give text-only instances a black image, as the paper does, instead of none"}
    )
    restrict_to_options: bool = field(
        default=False, metadata={"help": "restrict the training loss to the tokens that lead to one of the options"}
    )
    skip_bad_instances: bool = field(
        default=False, metadata={"help": "log, count and leave out bad lines and images instead of stopping"}
    )
    valid_metrics: SWITCH = field(
        default="on", metadata={"help": "decode the validation set and report each task's metric beside the loss"}
    )
    valid_beam: int = field(default=1, metadata={"help": "beam size when decoding the validation set"})
    valid_max_len: int = field(
        default=32, metadata={"help": "most tokens to decode for a validation instance; a region has four"}
    )
    max_valid_instances_per_task: int = field(
        default=0, metadata={"help": "validate on at most so many instances of each task; 0 for all"}
    )
    uses_ema: bool = field(
        default=False, metadata={"help": "validate with the averaged weights that --store-ema keeps"}
    )
    seed: int = II("common.seed")
    cpu: bool = II("common.cpu")
    bf16: bool = II("common.bf16")
    finetune_from_model: Optional[str] = II("checkpoint.finetune_from_model")


def parse_shares(value: str, registry: Registry) -> dict[tuple[str, ...], float]:
    """``--task-shares`` as names of tasks → share.

    Raises:
        ConfigError: An entry is not SELECTION=NUMBER, a name is unknown, or a task is in two entries.
    """
    shares: dict[tuple[str, ...], float] = {}
    for entry in split_list(value):
        selection, _, number = entry.rpartition("=")
        try:
            share = float(number)
        except ValueError:
            share = -1.0
        if not selection or not 0 < share <= 1:
            raise ConfigError(f"--task-shares {entry}: must be TASK=SHARE or GROUP=SHARE, with a share up to 1")
        names = registry.select([selection])
        if twice := next((name for name in names for other in shares if name in other), None):
            raise ConfigError(f"--task-shares: {twice} is in two of its entries")
        shares[names] = share
    return shares


def check_config(cfg: MultiInstructConfig) -> None:
    """Refuse options that cannot work.

    Raises:
        ConfigError: Names the option and what it may be.
    """
    if not split_list(cfg.data, ":"):
        raise ConfigError("no data directory given")
    for directory in split_list(cfg.data, ":"):
        if not Path(directory).is_dir():
            raise ConfigError(f"{directory}: no such data directory")
    if cfg.patch_image_size <= 0 or cfg.patch_image_size % PATCH:
        raise ConfigError(f"--patch-image-size must be a positive multiple of {PATCH}, found {cfg.patch_image_size}")
    if cfg.patch_image_size > cfg.max_image_size:
        raise ConfigError(
            f"--patch-image-size {cfg.patch_image_size} exceeds --max-image-size {cfg.max_image_size}, "
            "so the location bins could not reach the right and lower edge"
        )
    for option, least in AT_LEAST.items():
        if (value := getattr(cfg, option)) < least:
            raise ConfigError(f"--{option.replace('_', '-')} must be at least {least}, found {value}")
    if not cfg.mixture_temperature > 0:
        raise ConfigError(f"--mixture-temperature must be positive, found {cfg.mixture_temperature}")
