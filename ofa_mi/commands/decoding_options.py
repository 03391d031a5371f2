"""Options of how an answer is decoded, shared by the commands that decode."""

import argparse

from ofa_mi.decoding.modes import MODES


def add_decoding_options(group: argparse._ArgumentGroup) -> None:
    """Add ``--mode``, ``--beam`` and ``--max-len`` to a group of options."""
    group.add_argument(
        "--mode",
        choices=MODES,
        default="generate",
        help="generate: anything; constrained: only options, or complete regions; rank: score every option",
    )
    group.add_argument("--beam", type=int, default=5, help="beams of the search")
    group.add_argument("--max-len", type=int, default=64, help="longest answer in tokens")
