"""Options of how a checkpoint is used, shared by the commands that load one."""

import argparse

from ofa_mi.packaged import checkpoint_path
from ofa_mi.precision import PRECISIONS


def add_checkpoint_options(parser: argparse._ActionsContainer, *, required: bool = True) -> None:
    """Add ``--checkpoint``, which must be given unless ``required`` is False, and ``--bpe-dir``."""
    parser.add_argument(
        "--checkpoint",
        required=required,
        metavar="C",
        type=checkpoint_path,
        help="checkpoint of the model; nano is the small one that comes with this package",
    )
    parser.add_argument(
        "--bpe-dir", metavar="DIR", help="vocabulary files, for a checkpoint without its own vocabulary"
    )


def add_weights_option(parser: argparse._ActionsContainer) -> None:
    """Add ``--weights``."""
    parser.add_argument(
        "--weights",
        choices=("model", "ema"),
        default="model",
        help="model: those of the last update; ema: their moving average, which training with --store-ema keeps",
    )


def add_device_option(parser: argparse._ActionsContainer) -> None:
    """Add ``--device``."""
    parser.add_argument("--device", help="where to compute, e.g. cpu or cuda:1; default: a GPU if there is one")


def add_precision_option(parser: argparse._ActionsContainer) -> None:
    """Add ``--precision``."""
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="fp32",
        help="what to compute in; bf16 is about twice as fast, on processors that have it, too (default: fp32)",
    )
