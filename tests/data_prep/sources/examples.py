"""The small raw folders that the tests of sources write.

    python -m tests.data_prep.sources.examples OUT

writes each into a folder of its own, ``OUT/<module>``, for benchmarks.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from ofa_mi.data_prep.sources import MODULES


def example_raw(module: str, root: Path) -> Path:
    """Write a raw folder from which every task of the sources of a module is made, and return it."""
    return importlib.import_module(f"{__package__}.test_{module}").example_raw(root)


if __name__ == "__main__":
    for name in MODULES:
        example_raw(name, Path(sys.argv[1]) / name)
