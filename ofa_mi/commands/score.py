"""``ofa-mi score``: compute all scores of runs again, from their predictions alone.

ofa-mi score runs/tuned runs/untuned
"""

from __future__ import annotations

import argparse

from ofa_mi.commands.options import by_name, named_path
from ofa_mi.errors import ConfigError

HELP = "compute all scores of runs again from their predictions.jsonl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run directory, or NAME=DIRECTORY")


def run(args: argparse.Namespace) -> int:
    """Score, write scores.json and scores.csv of every run, and print the table; the exit status."""
    from ofa_mi.evaluation.scoring.scores import condition_label, score_run
    from ofa_mi.evaluation.scoring.tables import format_table

    directories = by_name(map(named_path, args.runs), "runs")
    for directory in directories.values():
        if not directory.is_dir():  # scoring would make it, to write the scores
            raise ConfigError(f"{directory}: no such run directory")
    runs = {label: score_run(directory) for label, directory in directories.items()}
    print(format_table(runs))
    for label, scores in runs.items():
        if conditions := condition_label(scores):
            print(f"{label}: not a normal run: {conditions}.")
    return 0
