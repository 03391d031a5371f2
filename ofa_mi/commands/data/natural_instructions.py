"""``ofa-mi data natural-instructions``: import the task files of Natural Instructions v2 as text-only instances."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ofa_mi.commands.data.shared import add_out, print_counts
from ofa_mi.commands.options import fraction
from ofa_mi.errors import ConfigError

HELP = "import the task files of Natural Instructions v2 as text-only instances"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the sub-command."""
    parser.add_argument(
        "--raw", required=True, metavar="DIR", help="raw folder of all data sets, or the release (with tasks/, splits/)"
    )
    add_out(parser)
    parser.add_argument(
        "--test-tasks",
        default="official",
        metavar="SET",
        help="tasks to evaluate on: official (the test split), paper (MultiInstruct's 20 of them), or a file of names",
    )
    parser.add_argument("--allow-missing", action="store_true", help="list the tasks that have no file, and go on")
    parser.add_argument("--max-per-task", type=int, default=100, help="at most N training instances a task; 0: all")
    parser.add_argument("--eval-per-task", type=int, default=100, help="the first N instances of a test task; 0: all")
    parser.add_argument(
        "--valid-fraction",
        type=fraction,
        default=0.02,
        help="share of the training instances held out to validate",
    )
    parser.add_argument("--positive-examples", type=int, default=0, metavar="K", help="positive examples in a prompt")
    parser.add_argument("--negative-examples", type=int, default=0, metavar="K", help="negative examples in a prompt")
    parser.add_argument("--explanations", action="store_true", help="say why an example is right or wrong")
    parser.add_argument("--seed", type=int, default=0, help="seed of the choice of training and validation instances")
    parser.add_argument("--workers", type=int, default=1, help="processes; the output does not depend on it")


def run(args: argparse.Namespace) -> int:
    """Import; the exit status."""
    from ofa_mi.data_prep.imports import natural_instructions

    options = natural_instructions.ImportOptions(
        test_tasks=_test_tasks(args.test_tasks),
        allow_missing=args.allow_missing,
        max_per_task=args.max_per_task,
        eval_per_task=args.eval_per_task,
        valid_fraction=args.valid_fraction,
        positive_examples=args.positive_examples,
        negative_examples=args.negative_examples,
        explanations=args.explanations,
        seed=args.seed,
    )
    manifest = natural_instructions.convert(args.raw, args.out, options, workers=args.workers)
    print_counts(args.out, manifest)
    _print_remarks(manifest)
    return 0


def _test_tasks(value: str) -> str | tuple[str, ...]:
    """A named set of test tasks, or what a file lists."""
    from ofa_mi.data_prep.imports.natural_instructions.release import OFFICIAL, PAPER, read_list

    if value in (OFFICIAL, PAPER):
        return value
    if not Path(value).is_file():
        raise ConfigError(f"--test-tasks {value}: is neither {OFFICIAL} nor {PAPER} nor a file of names")
    return tuple(read_list(Path(value)))


def _print_remarks(manifest: dict[str, Any]) -> None:
    """Print which tasks were imported, and one line for each kind of thing that was left out."""
    from ofa_mi.data_prep.imports.natural_instructions.release import summary

    print(f"training tasks: {len(manifest['tasks']['train'])}, {manifest['train_from']}")
    print(f"test tasks: {len(manifest['tasks']['test'])}")
    for key, what in (
        ("missing", "without a file"),
        ("not_english", "left out, not in English"),
        ("lacks_examples", "with fewer examples than asked for"),
        ("no_answer", f"with instances left out for want of an answer, {sum(manifest['no_answer'].values())} in all"),
        (
            "repeated",
            f"with inputs that come again, {sum(manifest['repeated'].values())} in all, each kept on one side of "
            "training and validation",
        ),
        ("repaired", f"with control characters removed, in {sum(manifest['repaired'].values())} instances"),
    ):
        if manifest[key]:
            print(f"{len(manifest[key])} tasks {what}: {summary(manifest[key])}")
