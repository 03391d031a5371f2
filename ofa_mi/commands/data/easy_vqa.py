"""``ofa-mi data easy-vqa``: convert the data of the package easy-vqa."""

from __future__ import annotations

import argparse

from ofa_mi.commands.data.shared import add_out, print_counts
from ofa_mi.commands.options import fraction

HELP = "convert the data of the package easy-vqa"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the sub-command."""
    add_out(parser)
    parser.add_argument(
        "--valid-fraction", type=fraction, default=0.05, help="share of the training images held out for validation"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the choice of validation images")


def run(args: argparse.Namespace) -> int:
    """Convert; the exit status."""
    from ofa_mi.data_prep.imports import easy_vqa

    print_counts(args.out, easy_vqa.convert(args.out, valid_fraction=args.valid_fraction, seed=args.seed))
    return 0
