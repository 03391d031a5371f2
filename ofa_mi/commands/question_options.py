"""Options of which questions a model is asked, shared by the commands that ask evaluation instances."""

import argparse
import os


def add_question_options(group: argparse._ArgumentGroup, *, instructions: str, seed_of: str) -> None:
    """Add the options that choose data, tasks, instances and instructions to a group of options.

    Args:
        group: Where they are listed.
        instructions: Default of ``--instructions``.
        seed_of: What ``--seed`` decides.
    """
    group.add_argument("--data", required=True, metavar="DIRS", help=f"data directories, joined by '{os.pathsep}'")
    group.add_argument("--split", default="test", help="which file of the data directories: SPLIT.jsonl")
    group.add_argument(
        "--tasks", nargs="+", default=["eval"], metavar="TASK", help="tasks or task groups, or eval, train or all"
    )
    group.add_argument("--exclude-tasks", nargs="+", default=[], metavar="TASK", help="the same, to leave out")
    group.add_argument(
        "--instructions",
        nargs="+",
        default=[instructions],
        metavar="N",
        help=f"numbers of instructions, from 1, or all (default: {instructions})",
    )
    group.add_argument(
        "--instruction-dir", metavar="DIRS", help=f"YAML files of your own tasks, joined by '{os.pathsep}'"
    )
    group.add_argument("--instruction-language", default="en", metavar="CODE", help="language of the instructions")
    group.add_argument("--max-instances", type=int, default=0, metavar="N", help="at most N instances per task; 0: all")
    group.add_argument("--seed", type=int, default=1, help=f"seed of {seed_of}")
    group.add_argument(
        "--option-markers",
        choices=("on", "off"),
        help="write options as '[Options]: a||||b' (on) or 'a, b' (off); default: as the model was trained",
    )
