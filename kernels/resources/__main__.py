"""Command line of the resource compiler."""

import argparse
import sys

from ofa_mi.errors import OfaMiError

from . import __doc__ as description
from . import attention, position_bias, resnet_stem
from .compiler import SHARED_MEMORY_LIMIT, compile_for


def main(arguments: list[str] | None = None) -> int:
    """Print a Markdown table of what every configuration compiles to; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m ofa_mi.kernels.resources",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("filter", nargs="?", default="", help="only configurations with this in their name")
    parser.add_argument("--arch", type=int, default=90, choices=sorted(SHARED_MEMORY_LIMIT), help="compute capability")
    options = parser.parse_args(arguments)
    columns = (
        f"configuration (sm_{options.arch}) | registers | spilled bytes | shared KiB | HGMMA | HMMA | instructions"
    )
    print(f"| {columns} |")
    print("|---|---|---|---|---|---|---|")
    try:
        for operation in (attention, position_bias, resnet_stem):
            for configuration in operation.configurations():
                if options.filter in configuration.name:
                    found = compile_for(configuration, options.arch)._asdict()
                    found["shared"] = f"{found['shared'] / 1024:.1f}"
                    print(f"| {configuration.name} | {' | '.join(map(str, found.values()))} |", flush=True)
    except OfaMiError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
