"""Options that several commands share, and how they are read."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofa_mi.decoding.modes import MODES
from ofa_mi.errors import ConfigError
from ofa_mi.packaged import checkpoint_path
from ofa_mi.precision import PRECISIONS
from ofa_mi.utils.json_files import one_line
from ofa_mi.utils.text import split_list

if TYPE_CHECKING:
    from ofa_mi.decoding.predictor import Predictor


def directories(text: str) -> list[str]:
    """The directories of a list that is joined by ``:``."""
    return split_list(text, ":")


def data_directories(text: str) -> list[str]:
    """The same where there must be one."""
    if not (found := directories(text)):
        raise argparse.ArgumentTypeError("names no directory")
    return found


def positive_number(text: str) -> int:
    """A whole number from 1; argparse calls it by the name of this function."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return value


def fraction(text: str) -> float:
    """A number between 0 and 1; argparse calls it by the name of this function."""
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def numbers_of_instructions(values: list[str]) -> tuple[int, ...] | None:
    """``--instructions``: numbers from 1 as numbers from 0; None for ``all``.

    Raises:
        ConfigError: A value is something else.
    """
    if values == ["all"]:
        return None
    if not all(value.isdigit() and int(value) > 0 for value in values):
        raise ConfigError(f"--instructions {' '.join(values)}: must be numbers from 1, or all")
    return tuple(sorted({int(value) - 1 for value in values}))


def named_path(value: str, name_of: Callable[[Path], str] = lambda path: path.resolve().name) -> tuple[str, Path]:
    """Name and path of ``NAME=PATH``; a plain path has the name that ``name_of`` gives it, by default its last part."""
    name, equals, path = value.partition("=")
    if not equals or "/" in name:
        return name_of(Path(value)), Path(value)
    return name, Path(path)


def by_name(pairs: Iterable[tuple[str, Path]], what: str) -> dict[str, Path]:
    """Paths by name.

    Raises:
        ConfigError: Two have the same name; calls them ``what``.
    """
    paths: dict[str, Path] = {}
    for name, path in pairs:
        if name in paths:
            raise ConfigError(f"two {what} are called {one_line(name)}; give them names, NAME=PATH")
        paths[name] = path
    return paths


def add_instruction_dir(group: argparse._ActionsContainer) -> None:
    """Add ``--instruction-dir``, a list of directories."""
    group.add_argument(
        "--instruction-dir",
        type=directories,
        default=[],
        metavar="DIRS",
        help="directories of YAML files that add tasks or instructions, joined by ':'",
    )


def add_instruction_options(group: argparse._ActionsContainer) -> None:
    """Add ``--instruction-dir`` and ``--instruction-language``."""
    add_instruction_dir(group)
    group.add_argument(
        "--instruction-language", default="en", metavar="CODE", help="language of the instructions (default: en)"
    )


def add_checkpoint_options(parser: argparse._ActionsContainer, *, required: bool = True) -> None:
    """Add ``--checkpoint``, which must be given unless ``required`` is False, and ``--bpe-dir``."""
    parser.add_argument(
        "--checkpoint",
        required=required,
        metavar="C",
        type=checkpoint_path,
        help="checkpoint of the model: a file, a folder of the model hub's format, or nano, which "
        "comes with this package; BASE+SMALL is a model and the small part that --lora-rank, --adapter or --bitfit has "
        "trained of it",
    )
    parser.add_argument(
        "--bpe-dir", metavar="DIR", help="vocabulary files, for a checkpoint without its own vocabulary"
    )


def add_weights_option(parser: argparse._ActionsContainer) -> None:
    """Add ``--weights``."""
    parser.add_argument(
        "--weights",
        choices=("model", "ema"),
        default="model",
        help="model: those of the last update; ema: their moving average, which training with --store-ema keeps",
    )


def add_device_option(parser: argparse._ActionsContainer) -> None:
    """Add ``--device``."""
    parser.add_argument("--device", help="where to compute, e.g. cpu or cuda:1; default: a GPU if there is one")


def add_precision_option(parser: argparse._ActionsContainer) -> None:
    """Add ``--precision``."""
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="fp32",
        help="what to compute in; bf16 is about twice as fast, on processors that have it, too (default: fp32)",
    )


def add_decoding_options(group: argparse._ActionsContainer) -> None:
    """Add ``--mode``, ``--beam`` and ``--max-len`` to a group of options."""
    group.add_argument(
        "--mode",
        choices=MODES,
        default="generate",
        help="generate: anything; constrained: only options, or complete regions; rank: score every option",
    )
    group.add_argument("--beam", type=int, default=5, help="beams of the search")
    group.add_argument("--max-len", type=int, default=64, help="longest answer in tokens")


def load_predictor(args: argparse.Namespace) -> Predictor:
    """The model that the options name."""
    # Not above: they take PyTorch.
    from ofa_mi.decoding.beam import GenerationConfig
    from ofa_mi.decoding.predictor import Predictor

    lenpen = {"lenpen": args.lenpen} if "lenpen" in args else {}  # not every command has the option
    return Predictor.from_checkpoint(
        args.checkpoint,
        bpe_dir=args.bpe_dir,
        weights=args.weights,
        device=args.device,
        generation=GenerationConfig(beam=args.beam, max_len=args.max_len, **lenpen),
        precision=args.precision,
    )


def add_question_options(group: argparse._ActionsContainer, *, instructions: str, seed_of: str) -> None:
    """Add the options that choose data, tasks, instances and instructions to a group of options.

    Args:
        group: Where they are listed.
        instructions: Default of ``--instructions``.
        seed_of: What ``--seed`` decides.
    """
    group.add_argument(
        "--data", required=True, type=data_directories, metavar="DIRS", help="data directories, joined by ':'"
    )
    group.add_argument("--split", default="test", help="which file of the data directories: SPLIT.jsonl")
    group.add_argument(
        "--tasks", nargs="+", default=["eval"], metavar="TASK", help="tasks or task groups, or eval, train or all"
    )
    group.add_argument("--exclude-tasks", nargs="+", default=[], metavar="TASK", help="the same, to leave out")
    group.add_argument(
        "--instructions",
        nargs="+",
        default=[instructions],
        metavar="N",
        help=f"numbers of instructions, from 1, or all (default: {instructions})",
    )
    add_instruction_options(group)
    group.add_argument("--max-instances", type=int, default=0, metavar="N", help="at most N instances per task; 0: all")
    group.add_argument("--seed", type=int, default=1, help=f"seed of {seed_of}")
    group.add_argument(
        "--option-markers",
        choices=("on", "off"),
        help="write options as '[Options]: a||||b' (on) or 'a, b' (off); default: as the model was trained",
    )


def asked(args: argparse.Namespace) -> dict[str, Any]:
    """What the question options choose, as fields of :class:`~ofa_mi.evaluation.asking.plan.EvaluationOptions`."""
    return {
        "tasks": tuple(args.tasks),
        "exclude_tasks": tuple(args.exclude_tasks),
        "instructions": numbers_of_instructions(args.instructions),
        "max_instances": args.max_instances,
        "seed": args.seed,
        "split": args.split,
    }
