"""Which weights of a checkpoint a command uses."""

import argparse


def add_weights_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--weights``."""
    parser.add_argument(
        "--weights",
        choices=("model", "ema"),
        default="model",
        help="model: those of the last update; ema: their moving average, which training with --store-ema keeps",
    )
