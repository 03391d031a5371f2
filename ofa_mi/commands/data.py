"""``ofa-mi data``: make data directories, each ``DIR/{train,valid,test}.jsonl`` with ``DIR/images``.

A sub-command is one entry of :data:`SUBCOMMANDS`: a line of help, its arguments, and what it runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

HELP = "make a data directory from a source data set"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one sub-parser per sub-command."""
    subparsers = parser.add_subparsers(dest="data_command", required=True, metavar="SUBCOMMAND")
    for name, subcommand in SUBCOMMANDS.items():
        subparser = subparsers.add_parser(
            name,
            help=subcommand.help,
            description=subcommand.help,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        subcommand.add_arguments(subparser)


def run(args: argparse.Namespace) -> int:
    """Run the sub-command that was chosen; the exit status."""
    return SUBCOMMANDS[args.data_command].run(args)


@dataclass(frozen=True)
class Subcommand:
    """One sub-command.

    Attributes:
        help: One line.
        add_arguments: Adds its arguments to its parser.
        run: Runs it; returns the exit status.
    """

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def _add_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, metavar="DIR", help="data directory to write")


def _add_easy_vqa(parser: argparse.ArgumentParser) -> None:
    _add_out(parser)
    parser.add_argument(
        "--valid-fraction", type=fraction, default=0.05, help="share of the training images held out for validation"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the choice of validation images")


def _run_easy_vqa(args: argparse.Namespace) -> int:
    from ofa_mi.data_prep import easy_vqa

    _print_counts(args.out, easy_vqa.convert(args.out, valid_fraction=args.valid_fraction, seed=args.seed))
    return 0


def _add_scenes(parser: argparse.ArgumentParser) -> None:
    _add_out(parser)
    parser.add_argument("--train-scenes", type=int, default=4000, help="scenes drawn for train.jsonl")
    parser.add_argument("--valid-scenes", type=int, default=400, help="scenes drawn for valid.jsonl")
    parser.add_argument("--test-scenes", type=int, default=1000, help="scenes drawn for test.jsonl (evaluation tasks)")
    parser.add_argument("--train-per-task", type=int, default=1500, help="at most this many training instances a task")
    parser.add_argument("--valid-per-task", type=int, default=50, help="at most this many validation instances a task")
    parser.add_argument("--test-per-task", type=int, default=100, help="at most this many evaluation instances a task")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything that is drawn")
    parser.add_argument("--workers", type=int, default=1, help="processes; the output does not depend on it")


def _run_scenes(args: argparse.Namespace) -> int:
    from ofa_mi.data_prep import scenes

    manifest = scenes.generate(
        args.out,
        train_scenes=args.train_scenes,
        valid_scenes=args.valid_scenes,
        test_scenes=args.test_scenes,
        train_per_task=args.train_per_task,
        valid_per_task=args.valid_per_task,
        test_per_task=args.test_per_task,
        seed=args.seed,
        workers=args.workers,
    )
    _print_counts(args.out, manifest)
    return 0


def _print_counts(out: str, manifest: dict[str, Any]) -> None:
    for split, counts in manifest["counts"].items():
        print(f"{out}/{split}.jsonl: {sum(counts.values()):,} instances of {len(counts)} tasks")


def fraction(text: str) -> float:
    """A number between 0 and 1; argparse calls it by the name of this function."""
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


SUBCOMMANDS = {
    "scenes": Subcommand("draw scenes of coloured shapes with instances of most tasks", _add_scenes, _run_scenes),
    "easy-vqa": Subcommand("convert the data of the package easy-vqa", _add_easy_vqa, _run_easy_vqa),
}
