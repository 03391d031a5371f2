"""``ofa-mi data``: make, fetch and check data directories, each ``DIR/{train,valid,test}.jsonl`` with ``DIR/images``.

A sub-command is a module of this package with ``HELP`` (one line), ``add_arguments(parser)`` and ``run(args) -> int``;
its name is the module's with dashes. Only the module of the sub-command that is called does its work's imports.
"""

from __future__ import annotations

import argparse
import importlib
from types import ModuleType

HELP = "make, fetch and check data directories"
SUBCOMMANDS = (
    "download",
    "build",
    "check",
    "import-release",
    "import-parquet",
    "export",
    "scenes",
    "easy-vqa",
    "natural-instructions",
    "text-tasks",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one sub-parser per sub-command."""
    subparsers = parser.add_subparsers(dest="data_command", required=True, metavar="SUBCOMMAND")
    for name in SUBCOMMANDS:
        module = _module(name)
        subparser = subparsers.add_parser(
            name, help=module.HELP, description=module.HELP, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        module.add_arguments(subparser)


def run(args: argparse.Namespace) -> int:
    """Run the sub-command that was chosen; the exit status."""
    return _module(args.data_command).run(args)


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
