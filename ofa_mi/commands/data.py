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
        "--valid-fraction", type=_fraction, default=0.05, help="share of the training images held out for validation"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the choice of validation images")


def _run_easy_vqa(args: argparse.Namespace) -> int:
    from ofa_mi.data_prep import easy_vqa

    _print_counts(args.out, easy_vqa.convert(args.out, valid_fraction=args.valid_fraction, seed=args.seed))
    return 0


def _print_counts(out: str, manifest: dict[str, Any]) -> None:
    for split, counts in manifest["counts"].items():
        print(f"{out}/{split}.jsonl: {sum(counts.values()):,} instances of {len(counts)} tasks")


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


SUBCOMMANDS = {
    "easy-vqa": Subcommand("convert the data of the package easy-vqa", _add_easy_vqa, _run_easy_vqa),
}
