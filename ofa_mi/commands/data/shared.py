"""What the sub-commands of ``ofa-mi data`` share."""

from __future__ import annotations

import argparse
from typing import Any


def add_out(parser: argparse.ArgumentParser) -> None:
    """Add ``--out``."""
    parser.add_argument("--out", required=True, metavar="DIR", help="data directory to write")


def print_counts(out: str, manifest: dict[str, Any]) -> None:
    """Print one line per split of a manifest: its file, and how many instances of how many tasks it holds."""
    for split, counts in manifest["counts"].items():
        print(f"{out}/{split}.jsonl: {sum(counts.values()):,} instances of {len(counts)} tasks")


def print_notes(manifest: dict[str, Any]) -> None:
    """Print what a build left out and put right, one line per kind, from its manifest."""
    for kind, verb in (("dropped", "made no instance of"), ("repaired", "repaired")):
        for source, numbers in manifest[kind].items():
            for what, number in numbers.items():
                print(f"  {source}: {verb} {what}: {number:,}")
    if manifest["excluded_eval_images"]:
        print(f"  {manifest['excluded_eval_images']:,} candidates share their image with an evaluation instance")
    if manifest["left_out"]:
        print(f"  {manifest['left_out']:,} instances could not be used; left_out.txt lists them")
