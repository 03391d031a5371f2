"""``ofa-mi report``: one HTML page that shows and compares runs, with tables as Markdown and CSV beside it.

ofa-mi report OFA=runs/untuned MultiInstruct=runs/tuned-1 MultiInstruct=runs/tuned-2 --published --out report
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ofa_mi.commands.options import named_path
from ofa_mi.errors import ConfigError

HELP = "make a report of runs: index.html, report.md and report.csv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "runs",
        nargs="*",
        metavar="RUN",
        help="run directory, or NAME=DIRECTORY; the same NAME for the seeds of a strategy, for runs on further tasks, "
        "and for runs under changed conditions",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="where to write the report")
    parser.add_argument(
        "--published",
        action="store_true",
        help="show the results of the paper, and of InstrAug (both OFA-large), beside",
    )
    parser.add_argument(
        "--ablation",
        action="append",
        default=[],
        metavar="CURVE=X:DIRECTORY",
        help="a point of a curve over numbers or, in the order given, over names; the same X for several seeds; repeat",
    )
    parser.add_argument(
        "--attention", action="append", default=[], metavar="FILE", help="attention.json of ofa-mi attention; repeat"
    )
    parser.add_argument(
        "--compare", action="append", default=[], metavar="FILE", help="JSON file of ofa-mi compare; repeat"
    )
    parser.add_argument(
        "--log",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="output of fairseq-train --log-format json, for the training curves; repeat",
    )
    parser.add_argument("--title", default="Evaluation report", help="heading")
    parser.add_argument(
        "--note", action="append", default=[], metavar="TEXT", help="paragraph under the heading; repeat"
    )
    parser.add_argument(
        "--examples", type=int, default=2, metavar="N", help="N examples of each kind per task; 0 for none"
    )


def run(args: argparse.Namespace) -> int:
    """Write the report and print the table; the exit status."""
    from ofa_mi.evaluation.report import ReportOptions, build_report
    from ofa_mi.evaluation.report.study import read_strategies
    from ofa_mi.evaluation.scoring.tables import format_table

    if args.examples < 0:
        raise ConfigError(f"--examples {args.examples}: must be 0 or more")
    options = ReportOptions(
        runs=[named_path(value) for value in args.runs],
        ablations=[point(value) for value in args.ablation],
        published=args.published,
        attention=args.attention,
        comparisons=args.compare,
        logs=[named_path(value) for value in args.log],
        title=args.title,
        notes=args.note,
        examples=args.examples,
    )
    out = build_report(options, args.out)
    if plain := {strategy.name: strategy.scores for strategy in read_strategies(options.runs) if strategy.seeds}:
        print(f"{format_table(plain)}\n")
    print(out)
    return 0


def point(value: str) -> tuple[str, str, Path]:
    """Curve, place and path of ``CURVE=X:PATH``.

    Raises:
        ConfigError: The value has another form.
    """
    curve, equals, rest = value.partition("=")
    place, colon, path = rest.partition(":")
    if not (equals and colon and curve.strip() and place.strip() and path):
        raise ConfigError(f"--ablation {value}: must be CURVE=X:DIRECTORY, such as num_instructions=5:runs/five")
    return curve.strip(), place.strip(), Path(path)
