"""``ofa-mi score``: compute all scores of runs again, from their predictions alone.

ofa-mi score runs/tuned runs/untuned
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ofa_mi.errors import ConfigError, shown

HELP = "compute all scores of runs again from their predictions.jsonl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run directory, or LABEL=DIRECTORY")


def run(args: argparse.Namespace) -> int:
    """Score, write scores.json and scores.csv of every run, and print the table; the exit status."""
    from ofa_mi.evaluation.scoring.scores import condition_label, score_run
    from ofa_mi.evaluation.scoring.tables import format_table

    directories = labelled(args.runs)
    for directory in directories.values():
        if not directory.is_dir():  # scoring would make it, to write the scores
            raise ConfigError(f"{directory}: no such run directory")
    runs = {label: score_run(directory) for label, directory in directories.items()}
    print(format_table(runs))
    for label, scores in runs.items():
        if conditions := condition_label(scores):
            print(f"{label}: not a normal run: {conditions}.")
    return 0


def labelled(values: list[str]) -> dict[str, Path]:
    """Paths by label: ``LABEL=PATH``, or the last part of a plain path as its label.

    Raises:
        ConfigError: Two have the same label.
    """
    paths: dict[str, Path] = {}
    for value in values:
        label, equals, path = value.partition("=")
        if not equals or "/" in label:
            label, path = Path(value).resolve().name, value
        if label in paths:
            raise ConfigError(f"{value}: another one is called {shown(label)}, too; write LABEL=PATH")
        paths[label] = Path(path)
    return paths
