"""The command line `ofa-mi COMMAND …`.

A command is a module in `ofa_mi/commands/` with

- `HELP`: one line;
- `add_arguments(parser)` and `run(args) -> int`, the exit status; or, for a command that hands its arguments on,
  `run_raw(arguments) -> int`.

Only the module of the command that is called is imported.
"""

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from types import ModuleType

from ofa_mi import __version__
from ofa_mi.errors import OfaMiError, root_error
from ofa_mi.utils.output import escape_what_cannot_be_written

COMMANDS = (
    "data",
    "vocabulary",
    "tasks",
    "lint",
    "instructions",
    "train",
    "checkpoint",
    "predict",
    "serve",
    "evaluate",
    "score",
    "compare",
    "attention",
    "report",
)
HIDDEN = ("experiment",)  # what the scripts of run_scripts/ call
BAD_INPUT = 2  # exit status, as argparse's
INTERRUPTED = 130  # as a shell reports Ctrl-C


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` (by default the process's arguments) names; returns the exit status."""
    escape_what_cannot_be_written()
    name, *arguments = (list(sys.argv[1:]) if argv is None else list(argv)) or ["--help"]
    if name not in (*COMMANDS, *HIDDEN):
        _overview().parse_args([name])  # --help, --version or an error: it does not come back
    module = importlib.import_module(f"ofa_mi.commands.{name}")
    try:
        if hasattr(module, "run_raw"):
            return module.run_raw(arguments)
        logging.basicConfig(format="%(message)s", level=logging.WARNING)
        logging.getLogger("ofa_mi").setLevel(logging.INFO)
        return module.run(_parser(name, module).parse_args(arguments))
    except OfaMiError as error:
        print(f"ofa-mi {name}: error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print(f"ofa-mi {name}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        sys.stderr.close()
        return 0
    except OSError as error:
        if (found := root_error(error)) is None:
            raise
        print(f"ofa-mi {name}: error: {found}", file=sys.stderr)
        return BAD_INPUT


def _parser(name: str, module: ModuleType) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"ofa-mi {name}", description=module.HELP, allow_abbrev=False)
    module.add_arguments(parser)
    return parser


def _overview() -> argparse.ArgumentParser:
    modules = {name: importlib.import_module(f"ofa_mi.commands.{name}") for name in COMMANDS}
    lines = [f"  {name:<{max(map(len, COMMANDS))}}  {module.HELP}" for name, module in modules.items()]
    parser = argparse.ArgumentParser(
        prog="ofa-mi",
        description="MultiInstruct: instruction tuning of OFA.",
        epilog="\n".join(["commands:", *lines, "", "'ofa-mi COMMAND --help' shows a command's options."]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ofa-mi {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND …", help="one of those below, with its arguments")
    return parser


if __name__ == "__main__":
    sys.exit(main())
