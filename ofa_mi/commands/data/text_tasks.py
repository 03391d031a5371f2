"""``ofa-mi data text-tasks``: make small text-only tasks in the format of Natural Instructions."""

from __future__ import annotations

import argparse

HELP = "make small text-only tasks in the format of Natural Instructions"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the sub-command."""
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="folder to write; `natural-instructions --raw` reads it"
    )
    parser.add_argument("--instances", type=int, default=200, help="most instances of a task")
    parser.add_argument("--seed", type=int, default=0, help="seed of what is drawn")


def run(args: argparse.Namespace) -> int:
    """Generate; the exit status."""
    from ofa_mi.data_prep.imports import text_tasks

    counts = text_tasks.generate(args.out, instances=args.instances, seed=args.seed)
    print(f"{args.out}/tasks: {sum(counts.values()):,} instances of {len(counts)} tasks")
    return 0
