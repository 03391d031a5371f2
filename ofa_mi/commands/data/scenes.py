"""``ofa-mi data scenes``: draw scenes of coloured shapes with instances of most tasks."""

from __future__ import annotations

import argparse

from ofa_mi.commands.data.shared import add_out, print_counts

HELP = "draw scenes of coloured shapes with instances of most tasks"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the sub-command."""
    add_out(parser)
    parser.add_argument("--train-scenes", type=int, default=4000, help="scenes drawn for train.jsonl")
    parser.add_argument("--valid-scenes", type=int, default=400, help="scenes drawn for valid.jsonl")
    parser.add_argument("--test-scenes", type=int, default=1000, help="scenes drawn for test.jsonl (evaluation tasks)")
    parser.add_argument("--train-per-task", type=int, default=1500, help="at most this many training instances a task")
    parser.add_argument("--valid-per-task", type=int, default=50, help="at most this many validation instances a task")
    parser.add_argument("--test-per-task", type=int, default=100, help="at most this many evaluation instances a task")
    parser.add_argument("--tasks", nargs="+", default=["all"], metavar="TASK", help="tasks, groups, train, eval or all")
    parser.add_argument("--exclude-tasks", nargs="+", default=[], metavar="TASK", help="the same, to leave out")
    parser.add_argument("--per-scene", type=int, default=1, help="at most this many instances of a task about a scene")
    parser.add_argument("--side", type=int, default=0, help="width and height of all images; 0: from 96 to 160 pixels")
    parser.add_argument(
        "--smallest-side", type=int, default=0, help="least side of a small shape in pixels, large ones grow with it"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of everything that is drawn")
    parser.add_argument("--workers", type=int, default=1, help="processes; the output does not depend on it")


def run(args: argparse.Namespace) -> int:
    """Draw; the exit status."""
    from ofa_mi.data_prep import scenes

    manifest = scenes.generate(
        args.out,
        train_scenes=args.train_scenes,
        valid_scenes=args.valid_scenes,
        test_scenes=args.test_scenes,
        train_per_task=args.train_per_task,
        valid_per_task=args.valid_per_task,
        test_per_task=args.test_per_task,
        tasks=args.tasks,
        exclude_tasks=args.exclude_tasks,
        per_scene=args.per_scene,
        side=args.side,
        smallest_side=args.smallest_side,
        seed=args.seed,
        workers=args.workers,
    )
    print_counts(args.out, manifest)
    return 0
