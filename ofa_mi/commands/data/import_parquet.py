"""``ofa-mi data import-parquet``: Parquet files of ``ofa-mi data export`` as a data directory.

ofa-mi data import-parquet FOLDER --out DATA
"""

from __future__ import annotations

import argparse

from ofa_mi.commands.data.shared import add_out, print_counts

HELP = "import Parquet files that `ofa-mi data export` has written"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the sub-command."""
    parser.add_argument("folder", metavar="FOLDER", help="folder of SPLIT.parquet or SPLIT-NNNNN.parquet")
    add_out(parser)


def run(args: argparse.Namespace) -> int:
    """Import; the exit status."""
    from ofa_mi.data_prep.imports.parquet import import_parquet

    print_counts(args.out, import_parquet(args.folder, args.out))
    return 0
