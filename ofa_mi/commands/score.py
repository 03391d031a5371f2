"""``ofa-mi score``: compute all scores of runs again, from their predictions alone.

ofa-mi score runs/tuned runs/untuned
"""

from __future__ import annotations

import argparse

from ofa_mi.commands.report import labelled
from ofa_mi.evaluation.scoring import score_run
from ofa_mi.evaluation.tables import format_table

HELP = "compute all scores of runs again from their predictions.jsonl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run directory, or LABEL=DIRECTORY")


def run(args: argparse.Namespace) -> int:
    """Score, write scores.json and scores.csv of every run, and print the table; the exit status."""
    print(format_table({label: score_run(directory) for label, directory in labelled(args.runs).items()}))
    return 0
