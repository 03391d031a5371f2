"""``ofa-mi data export``: a data directory in the form that other tools read.

ofa-mi data export --to parquet DIR OUT              images inside, one row an instance
ofa-mi data export --to llava --regions pixels DIR OUT   conversations for LLaVA's and similar trainers
"""

from __future__ import annotations

import argparse

from ofa_mi.commands.options import add_instruction_options
from ofa_mi.errors import ConfigError
from ofa_mi.instructions.spec import ENGLISH
from ofa_mi.other_models import REGION_FORMS

HELP = "write a data directory as Parquet files or as conversations for other trainers"
FORMS = ("parquet", "llava")
OF_CONVERSATIONS = ("regions", "instructions", "seed", "option_markers")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the sub-command."""
    parser.add_argument("data", metavar="DIR", help="data directory")
    parser.add_argument("out", metavar="OUT", help="folder to write, with a description of it, croissant.json")
    parser.add_argument(
        "--to", required=True, choices=FORMS, help="parquet: images inside, can be imported; llava: conversation JSON"
    )
    group = parser.add_argument_group("conversations (--to llava)")
    group.add_argument(
        "--regions",
        choices=REGION_FORMS,
        help="how regions are written, as in `ofa-mi evaluate --model` (pixels unless given)",
    )
    group.add_argument(
        "--instructions",
        choices=("all", "random"),
        help="every instance with all instructions of its task, or with one of them (all unless given)",
    )
    group.add_argument("--seed", type=int, help="seed of that choice (1 unless given)")
    group.add_argument(
        "--option-markers",
        choices=("on", "off"),
        help="write options as '[Options]: a||||b' (on, unless given) or 'a, b' (off)",
    )
    add_instruction_options(group)


def run(args: argparse.Namespace) -> int:
    """Export; the exit status."""
    if args.to == "parquet":
        given = [name for name in OF_CONVERSATIONS if getattr(args, name) is not None]
        if given:
            raise ConfigError(f"--{given[0].replace('_', '-')} is for --to llava: Parquet files hold the instances")
        if args.instruction_dir or args.instruction_language != ENGLISH:
            raise ConfigError("instructions are for --to llava: Parquet files hold the instances")
        from ofa_mi.exports import parquet

        counts = parquet.export(args.data, args.out)
    else:
        from ofa_mi.exports import llava
        from ofa_mi.instructions.registry import load_registry

        given = {name: getattr(args, name) for name in OF_CONVERSATIONS if getattr(args, name) is not None}
        if "option_markers" in given:
            given["option_markers"] = given["option_markers"] == "on"
        registry = load_registry(*args.instruction_dir, language=args.instruction_language)
        counts = llava.export(args.data, args.out, llava.LlavaOptions(**given), registry)
    for split, count in counts.items():
        print(f"{args.out}: {count:,} {'instances' if args.to == 'parquet' else 'conversations'} of {split}")
    return 0
