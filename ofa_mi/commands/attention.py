"""``ofa-mi attention``: how much of the text's attention in the encoder goes to the image, layer by layer.

    ofa-mi attention OFA=ofa.pt MultiInstruct=tuned.pt --data DATA --tasks eval --max-instances 100 --out attention

A checkpoint that ``--out`` holds already is not measured again.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from ofa_mi.commands.options import (
    add_device_option,
    add_question_options,
    add_weights_option,
    asked,
    by_name,
    named_path,
)
from ofa_mi.document.text import aligned
from ofa_mi.errors import ConfigError
from ofa_mi.packaged import checkpoint_path

HELP = "measure and draw the text's attention to image patches, by encoder layer"
NAME = re.compile(r"\w[\w .,+()-]*")  # it becomes the name of a file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "checkpoints",
        nargs="+",
        metavar="NAME=CHECKPOINT",
        help="checkpoints, and what to call them; the first is what the others are compared with",
    )
    parser.add_argument(
        "--bpe-dir", metavar="DIR", help="vocabulary files, for checkpoints without their own vocabulary"
    )
    add_weights_option(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="directory of the analysis")
    add_device_option(parser)
    parser.add_argument("--batch-size", type=int, default=16, help="prompts per batch")

    what = parser.add_argument_group("what is read")
    add_question_options(what, instructions="1", seed_of="that choice")

    maps = parser.add_argument_group("heat maps")
    maps.add_argument("--heat-maps", type=int, default=0, metavar="K", help="draw the attention over K images")
    maps.add_argument(
        "--heat-map-layers",
        type=int,
        nargs="+",
        metavar="LAYER",
        help="layers, from 1, beside the mean of all; default: up to six, evenly spaced",
    )


def run(args: argparse.Namespace) -> int:
    """Analyse and print the shares; the exit status."""
    checkpoints = named_checkpoints(args.checkpoints)
    chosen = asked(args)
    from ofa_mi.decoding.predictor import Predictor
    from ofa_mi.evaluation.asking.plan import EvaluationOptions
    from ofa_mi.evaluation.attention.analysis import AttentionOptions, analyse
    from ofa_mi.instructions.registry import load_registry

    selection = EvaluationOptions(
        **chosen,
        batch_size=args.batch_size,
    )
    options = AttentionOptions(
        selection=selection,
        option_markers=None if args.option_markers is None else args.option_markers == "on",
        heat_maps=args.heat_maps,
        layers=None if args.heat_map_layers is None else tuple(args.heat_map_layers),
    )
    result = analyse(
        checkpoints,
        args.data,
        args.out,
        options,
        registry=load_registry(*args.instruction_dir, language=args.instruction_language),
        load=lambda path: Predictor.from_checkpoint(
            path, bpe_dir=args.bpe_dir, weights=args.weights, device=args.device
        ),
        weights=args.weights,
    )
    print(shares_table(result))
    return 0


def named_checkpoints(values: list[str]) -> dict[str, Path]:
    """Files by name; a plain path is called by its file's name without the ending.

    Raises:
        ConfigError: A name cannot be the name of a file, or stands for two checkpoints.
    """
    named = [named_path(value, name_of=lambda path: path.stem) for value in values]
    for value, (name, _) in zip(values, named, strict=True):
        if not NAME.fullmatch(name) or value.endswith("="):
            raise ConfigError(
                f"{value}: must be NAME=CHECKPOINT, with a name of letters, digits, blanks and _ . , + ( ) -"
            )
    return {name: Path(checkpoint_path(str(path))) for name, path in by_name(named, "checkpoints").items()}


def shares_table(result: dict) -> str:
    """Shares in percent, a line per checkpoint, for the terminal."""
    depth = max(checkpoint["layers"] for checkpoint in result["checkpoints"])
    rows = [["checkpoint", *(f"layer {n}" for n in range(1, depth + 1)), "mean", "even"]]
    for checkpoint in result["checkpoints"]:
        shares = [f"{100 * layer['mean']:.2f}" for layer in checkpoint["by_layer"]]
        shares += [""] * (depth - len(shares))
        shares += [f"{100 * checkpoint['share']['mean']:.2f}", f"{100 * checkpoint['uniform']:.2f}"]
        rows.append([checkpoint["name"], *shares])
    counts = result["instances"]
    lines = [
        *aligned(rows, range(1, depth + 3)),
        "",
        f"% of the text's attention on image patches; {counts['with_image']} instances with an image",
    ]
    if counts["text_only_left_out"]:
        lines[-1] += f", {counts['text_only_left_out']} without one left out"
    return "\n".join(lines)
