"""``ofa-mi report``: one HTML page that shows and compares runs, with tables as Markdown and CSV beside it.

ofa-mi report untuned=runs/untuned tuned=runs/tuned --out reports/first
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ofa_mi.errors import ConfigError

HELP = "make a report of runs: report.html, report.md and report.csv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="run directory, or LABEL=DIRECTORY; examples are those of the last"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="where to write the report")
    parser.add_argument("--title", default="Evaluation report", help="heading")
    parser.add_argument("--note", action="append", default=[], metavar="TEXT", help="paragraph under the heading")
    parser.add_argument(
        "--log",
        action="append",
        default=[],
        metavar="LABEL=FILE",
        help="output of fairseq-train --log-format json, for the training curves",
    )
    parser.add_argument("--examples", type=int, default=2, metavar="N", help="N right and N wrong answers per task")


def run(args: argparse.Namespace) -> int:
    """Write the report and print the table; the exit status."""
    from ofa_mi.evaluation.report import build_report, format_table
    from ofa_mi.evaluation.scoring import read_scores

    runs = labelled(args.runs)
    out = Path(args.out) / "report.html"
    build_report(
        runs,
        out,
        title=args.title,
        notes=args.note,
        training_curves=labelled(args.log),
        examples_per_task=args.examples,
    )
    print(format_table({label: read_scores(directory) for label, directory in runs.items()}))
    print(f"\n{out}")
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
            raise ConfigError(f"{value}: another one is called {label!r}, too; write LABEL=PATH")
        paths[label] = Path(path)
    return paths
