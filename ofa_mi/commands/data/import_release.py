"""``ofa-mi data import-release``: the public release's own files as a data directory.

ofa-mi data import-release train.jsonl test.jsonl --images raw_datasets --out DATA
"""

from __future__ import annotations

import argparse

from ofa_mi.commands.data.shared import add_out, print_counts, print_notes

HELP = "import train.jsonl and test.jsonl of the public MultiInstruct release"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the sub-command."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="train.jsonl, test.jsonl or both")
    parser.add_argument("--images", nargs="+", required=True, metavar="DIR", help="folders of the source data sets")
    add_out(parser)
    parser.add_argument("--max-train", type=int, default=0, help="most training instances of a task; 0: all")
    parser.add_argument("--max-eval", type=int, default=0, help="most validation or test instances of a task; 0: all")
    parser.add_argument("--seed", type=int, default=0, help="seed of the choice of these instances")
    parser.add_argument("--workers", type=int, default=1, help="processes; the output does not depend on it")
    parser.add_argument("--skip-bad", action="store_true", help="leave out and list instances that cannot be used")


def run(args: argparse.Namespace) -> int:
    """Import; the exit status."""
    from ofa_mi.data_prep.imports.release import import_release

    manifest = import_release(
        args.files,
        args.images,
        args.out,
        workers=args.workers,
        max_train=args.max_train,
        max_eval=args.max_eval,
        seed=args.seed,
        skip_bad=args.skip_bad,
    )
    print_counts(args.out, manifest)
    print_notes(manifest)
    return 0
