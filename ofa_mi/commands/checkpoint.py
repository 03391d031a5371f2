"""`ofa-mi checkpoint info|convert`: look into a checkpoint, and convert it without its training state."""

import argparse
from collections import Counter
from pathlib import Path

from ofa_mi.commands.options import add_weights_option
from ofa_mi.errors import CheckpointError, shown
from ofa_mi.packaged import checkpoint_path

HELP = "show what a checkpoint holds, or convert it to or from safetensors"
SUFFIXES = (".pt", ".safetensors")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the two sub-commands."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    info = actions.add_parser("info", help="print the architecture, the number of parameters, the vocabulary, …")
    info.add_argument("checkpoint", type=_file, help="file to read, or nano, which comes with this package")
    convert = actions.add_parser(
        "convert", help="write weights, settings and vocabulary to another file, without the optimizer's state"
    )
    convert.add_argument("checkpoint", type=_file, help="file to read, e.g. a released ofa_base.pt")
    convert.add_argument(
        "output", type=Path, help=f"file to write; its ending chooses the format: {' or '.join(SUFFIXES)}"
    )
    convert.add_argument(
        "--bpe-dir", type=Path, help="put this vocabulary into the output, for a checkpoint that holds none"
    )
    add_weights_option(convert)
    convert.add_argument(
        "--half",
        action="store_true",
        help="write a small file: matrices in half precision, and nothing that the model computes itself",
    )


def _file(name: str) -> Path:
    return Path(checkpoint_path(name))


def run(args: argparse.Namespace) -> int:
    """Run the sub-command that was chosen; the exit status."""
    if args.action == "info":
        for name, value in describe(args.checkpoint).items():
            print(f"{name:<14}{value}")
    else:
        convert(args.checkpoint, args.output, bpe_dir=args.bpe_dir, weights=args.weights, half=args.half)
        print(f"wrote {args.output}")
    return 0


def describe(path: Path) -> dict[str, str]:
    """What a checkpoint holds, as labels and values to print.

    Raises:
        CheckpointError: It cannot be read.
    """
    from ofa_mi import checkpoint

    state = checkpoint.read(path)
    model, args = state["model"], checkpoint.model_args(state, path)
    distinct = {(tensor.data_ptr(), tensor.shape): tensor for tensor in model.values() if tensor.is_floating_point()}
    dtypes = Counter(str(tensor.dtype).removeprefix("torch.") for tensor in model.values())
    embedding = model.get("encoder.embed_tokens.weight")
    kept = (state.get("task_state") or {}).get("vocabulary")
    history = state.get("optimizer_history") or [{}]
    return {
        "file": f"{path} ({path.stat().st_size / 2**20:.1f} MiB)",
        "architecture": args.arch,
        "entries": ", ".join(f"{count} {dtype}" for dtype, count in dtypes.most_common()),
        "numbers": f"{sum(tensor.numel() for tensor in distinct.values()):,} (tied ones once)",
        "embedding": "none" if embedding is None else " x ".join(map("{:,}".format, embedding.shape)),
        "vocabulary": "none: give --bpe-dir"
        if kept is None
        else f"{len(checkpoint.vocabulary(state, path=path)):,} entries",
        "updates": _number(history[-1].get("num_updates")),
        "averages": "yes: --weights ema" if checkpoint.has_average(state) else "no",
        "optimizer": "yes" if state.get("last_optimizer_state") else "no",
    }


def _number(value: object) -> str:
    return f"{value:,}" if type(value) is int else "not recorded" if value is None else shown(value)


def convert(
    source: Path, output: Path, *, bpe_dir: Path | None = None, weights: str = "model", half: bool = False
) -> None:
    """Write weights (`"model"`, or `"ema"`: their average), settings and vocabulary of `source` to `output`.

    With `half` they are :func:`~ofa_mi.checkpoint.halved`. Otherwise a `.pt` file is one that the released code can
    read, index tables included.

    Raises:
        CheckpointError: A file cannot be read or written, `output` has another ending, `bpe_dir` does not fit
            `source`, or that holds no average.
        DataError: A file of `bpe_dir` is missing or wrong.
    """
    from ofa_mi import checkpoint

    if output.suffix not in SUFFIXES:
        raise CheckpointError(f"{output}: its ending must be {' or '.join(SUFFIXES)}")
    state = checkpoint.read(source)
    checkpoint.select_weights(state, weights, source)
    checkpoint.model_args(state, source)
    words = None
    if bpe_dir is not None:
        words = checkpoint.vocabulary(state, bpe_dir, source)
        embedding = state["model"].get("encoder.embed_tokens.weight")
        rows = len(embedding) if embedding is not None and embedding.dim() else 0
        if len(words) != rows:
            raise CheckpointError(f"--bpe-dir {bpe_dir}: has {len(words):,} entries, {source} has {rows:,}")
    state = checkpoint.portable(state, words)
    if half:
        state["model"] = checkpoint.halved(state["model"])
    elif output.suffix == ".pt":
        state["model"] = checkpoint.with_tables(state, source)
    checkpoint.save(state, output)
