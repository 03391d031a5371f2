"""``ofa-mi lint``: what is wrong with tasks and instructions.

    ofa-mi lint                                  the packaged ones
    ofa-mi lint --instruction-dir my_tasks       your own
    ofa-mi lint --instruction-dir my_tasks --update

A finding is a line ``file: task X: instruction 3: what is wrong``; the exit status is 1 if there is one.
"""

from __future__ import annotations

import argparse

from ofa_mi.commands.options import add_instruction_dir

HELP = "check tasks and instructions, and whether versions rose with changes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add_instruction_dir(parser)
    parser.add_argument(
        "--instruction-language", metavar="CODE", help="only instructions in this language, e.g. de; default: all"
    )
    parser.add_argument(
        "--update",
        action="store_true",
        help="record the version of every task in versions.json, from which changes without a new version are told",
    )


def run(args: argparse.Namespace) -> int:
    """Print the findings; 1 if there are any."""
    from ofa_mi.instructions.lint import lint

    findings = lint(*args.instruction_dir, language=args.instruction_language, update=args.update)
    for finding in findings:
        print(finding)
    print(f"{len(findings)} findings" if len(findings) != 1 else "1 finding")
    return 1 if findings else 0
