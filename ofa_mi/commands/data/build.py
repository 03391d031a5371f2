"""``ofa-mi data build``: raw data sets into one data directory.

ofa-mi data build --raw RAW --out DATA --workers 8
ofa-mi data build --raw RAW --out DATA --tasks eval --max-eval 1000 --skip-missing
"""

from __future__ import annotations

import argparse

from ofa_mi.commands.data.shared import add_out, print_counts, print_notes

HELP = "build a data directory from raw data sets"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the sub-command."""
    parser.add_argument(
        "--raw", required=True, metavar="DIR", help="folder of the raw data sets; see `ofa-mi data download`"
    )
    add_out(parser)
    parser.add_argument("--tasks", nargs="+", default=["all"], metavar="TASK", help="tasks, groups, train, eval or all")
    parser.add_argument("--exclude-tasks", nargs="+", default=[], metavar="TASK", help="the same, to leave out")
    parser.add_argument("--sources", nargs="+", metavar="NAME", help="source data sets to use (default: all)")
    parser.add_argument(
        "--max-train", type=int, default=0, metavar="N", help="most training instances of a task; 0: all"
    )
    parser.add_argument(
        "--max-eval", type=int, default=0, metavar="N", help="most validation or test instances of a task; 0: all"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of everything that is drawn")
    parser.add_argument("--workers", type=int, default=1, help="processes; the output does not depend on it")
    parser.add_argument("--copy-images", action="store_true", help="copy images even where a hard link would do")
    parser.add_argument("--skip-missing", action="store_true", help="leave out sources whose raw files are missing")
    parser.add_argument("--skip-bad", action="store_true", help="leave out and count instances that cannot be used")
    parser.add_argument(
        "--exclude-eval-images",
        action="store_true",
        help="leave out training instances whose image is also that of an evaluation instance",
    )


def run(args: argparse.Namespace) -> int:
    """Build; the exit status."""
    from ofa_mi.data_prep.building.build import BuildOptions, build

    options = BuildOptions(
        tasks=tuple(args.tasks),
        exclude_tasks=tuple(args.exclude_tasks),
        sources=args.sources,
        max_train=args.max_train,
        max_eval=args.max_eval,
        seed=args.seed,
        workers=args.workers,
        copy_images=args.copy_images,
        skip_missing=args.skip_missing,
        skip_bad=args.skip_bad,
        exclude_eval_images=args.exclude_eval_images,
    )
    manifest = build(args.raw, args.out, options)
    print_counts(args.out, manifest)
    print_notes(manifest)
    return 0
