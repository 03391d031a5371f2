"""``ofa-mi compare``: whether one of two runs is better, or it could be luck.

    ofa-mi compare runs/multiinstruct runs/mixed --out comparison.json

Both must have answered the same instances; what does not compare is said.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

HELP = "compare two runs instance by instance: differences, intervals, significance"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("run_a", metavar="RUN_A", help="directory of the run to compare with")
    parser.add_argument("run_b", metavar="RUN_B", help="directory of the other run; differences are B - A")
    parser.add_argument("--out", metavar="FILE", help="write the comparison to this file, as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the comparison and write it; the exit status."""
    from ofa_mi.evaluation.scoring.comparison import compare_runs, format_comparison
    from ofa_mi.utils.files import atomic_write

    comparison = compare_runs(Path(args.run_a), Path(args.run_b))
    print(format_comparison(comparison))
    if args.out:
        atomic_write(Path(args.out), (json.dumps(comparison, indent=1, ensure_ascii=False) + "\n").encode())
    return 0
