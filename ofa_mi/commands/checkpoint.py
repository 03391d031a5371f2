"""`ofa-mi checkpoint info|convert|average|merge`: look into checkpoints, and make others without training state."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofa_mi.commands.options import add_weights_option
from ofa_mi.errors import CheckpointError, shown
from ofa_mi.packaged import AND, checkpoint_path

if TYPE_CHECKING:
    from torch import Tensor

HELP = "show what a checkpoint holds, convert it to another format, average several, or merge a small part"
SUFFIXES = (".pt", ".safetensors")
READ = "file to read, folder of the model hub's format, or nano, which comes with this package"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    info = actions.add_parser("info", help="print the architecture, the number of parameters, the vocabulary, …")
    info.add_argument("checkpoint", type=_file, help=READ)
    convert = actions.add_parser(
        "convert", help="write weights, settings and vocabulary in another format, without the optimizer's state"
    )
    convert.add_argument("checkpoint", type=_file, help=READ)
    _add_output(convert)
    convert.add_argument(
        "--to",
        choices=("hub",),
        help="hub: write a folder of the model hub's format, which OFA-Sys's port of OFA to transformers reads",
    )
    convert.add_argument(
        "--bpe-dir", type=Path, help="put this vocabulary into the output, for a checkpoint that holds none"
    )
    _add_weights(convert)
    mean = actions.add_parser("average", help="write the mean of the weights of several checkpoints, e.g. of one run")
    mean.add_argument("checkpoints", nargs="+", type=_file, help="two or more files to read, of the same model")
    _add_output(mean)
    _add_weights(mean)
    merge = actions.add_parser(
        "merge", help="put what --lora-rank, --adapter or --bitfit has trained into the model that it was trained on"
    )
    merge.add_argument("base", type=_file, help="the whole model, with which the training began")
    merge.add_argument("small", type=Path, help="checkpoint of the training")
    _add_output(merge)
    _add_weights(merge)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "output", type=Path, help=f"file to write; its ending chooses the format: {' or '.join(SUFFIXES)}"
    )


def _add_weights(parser: argparse.ArgumentParser) -> None:
    add_weights_option(parser)
    parser.add_argument(
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
    elif args.action == "average":
        average(args.checkpoints, args.output, weights=args.weights, half=args.half)
        print(f"wrote {args.output}")
    elif args.action == "merge":
        merge(args.base, args.small, args.output, weights=args.weights, half=args.half)
        print(f"wrote {args.output}")
    else:
        convert(
            args.checkpoint,
            args.output,
            bpe_dir=args.bpe_dir,
            weights=args.weights,
            half=args.half,
            to_hub=args.to == "hub",
        )
        print(f"wrote {args.output}")
    return 0


def describe(path: Path) -> dict[str, str]:
    """What a checkpoint holds, as labels and values to print.

    Raises:
        CheckpointError: It cannot be read.
    """
    from ofa_mi import checkpoint
    from ofa_mi.small_part import described

    state = checkpoint.read(path)
    size = sum(file.stat().st_size for file in checkpoint.files_of(path))
    base = described(state, path)
    model, args = state["model"], checkpoint.model_args(state, path)
    distinct = {(tensor.data_ptr(), tensor.shape): tensor for tensor in model.values() if tensor.is_floating_point()}
    dtypes = Counter(str(tensor.dtype).removeprefix("torch.") for tensor in model.values())
    embedding = model.get("encoder.embed_tokens.weight")
    kept = (state.get("task_state") or {}).get("vocabulary")
    history = state.get("optimizer_history") or [{}]
    return {
        "file": f"{path} ({size / 2**20:.1f} MiB)",
        **({} if base is None else {"small part of": f"{shown(base['name'])}, sha256 {shown(base['sha256'])}"}),
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
    source: Path,
    output: Path,
    *,
    bpe_dir: Path | None = None,
    weights: str = "model",
    half: bool = False,
    to_hub: bool = False,
) -> None:
    """Write weights (`"model"`, or `"ema"`: their average), settings and vocabulary of `source` to `output`.

    With `half` they are :func:`~ofa_mi.checkpoint.halved`. `to_hub` makes `output` a folder of the hub's format. A
    `.pt` file in full precision is one that the released code can read, index tables included.

    Raises:
        CheckpointError: A file cannot be read or written, `output` has another ending, `bpe_dir` does not fit
            `source`, that holds no average, or the hub's format has no such model.
        DataError: A file of `bpe_dir` is missing or wrong.
    """
    from ofa_mi import checkpoint, hub
    from ofa_mi.small_part import BASE

    if not to_hub:
        _check_output(output)
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
    if to_hub:
        state["model"] = checkpoint.with_tables(state, source)
        hub.write_folder(state, output)
    else:
        if output.suffix == ".pt" and not half and BASE not in state:
            state["model"] = checkpoint.with_tables(state, source)
        checkpoint.save(state, output)


def average(sources: Sequence[Path], output: Path, *, weights: str = "model", half: bool = False) -> None:
    """Write the mean of the weights of `sources`, with the settings and vocabulary of the first, to `output`.

    It is taken in single precision; counters are those of the last file. Two models are held in
    memory, however many files there are. Of the small parts of a tuning a small part is made.

    Raises:
        CheckpointError: There is one file only, one cannot be read or is of another model, or `output` has another
            ending or cannot be written.
    """
    from ofa_mi import checkpoint
    from ofa_mi.small_part import BASE
    from ofa_mi.state_dict import without_tables

    _check_output(output)
    if len(sources) < 2:
        raise CheckpointError(
            f"{sources[0]}: is one checkpoint; name those that are to be averaged, and then the output"
        )
    state: dict[str, Any] = {}
    for path in sources:
        found = checkpoint.read(path)
        checkpoint.select_weights(found, weights, path)
        found["model"] = without_tables(found["model"])
        if not state:
            state = checkpoint.portable(found)
            state["model"] = {name: tensor.clone() for name, tensor in _in_fp32(found["model"]).items()}
            kinds = {name: (tensor.dtype, tensor.shape) for name, tensor in found["model"].items()}
            continue
        if state.get(BASE) != found.get(BASE) or kinds != {n: (t.dtype, t.shape) for n, t in found["model"].items()}:
            raise CheckpointError(f"{path}: is of another model than {sources[0]}")
        for name, tensor in _in_fp32(found["model"]).items():
            total = state["model"][name]
            if tensor.is_floating_point():
                total += tensor
            else:
                total.copy_(tensor)
    for name, total in state["model"].items():
        if total.is_floating_point():
            state["model"][name] = (total / len(sources)).to(kinds[name][0])
    if half:
        state["model"] = checkpoint.halved(state["model"])
    checkpoint.save(state, output)


def _in_fp32(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}


def merge(base: Path, small: Path, output: Path, *, weights: str = "model", half: bool = False) -> None:
    """Write a whole model of `base` and the small part `small` that was tuned of it to `output`.

    Changes of low rank are added to the weights that they change, and biases take the place of the old ones: what
    remains is a model like any other. Adapters, which are no change of a weight, stay as a part of the model.

    Raises:
        CheckpointError: A file cannot be read or written, they do not belong together, or `output` has another ending.
    """
    from ofa_mi import checkpoint
    from ofa_mi.models import Config
    from ofa_mi.small_part import combined, merge_low_rank

    _check_output(output)
    state = combined(checkpoint.read(base), checkpoint.read(small), base, small)
    checkpoint.select_weights(state, weights, f"{base}{AND}{small}")
    alpha = getattr(checkpoint.model_args(state, small), "lora_alpha", Config.lora_alpha)
    state = checkpoint.portable(state)
    merge_low_rank(state["model"], alpha, small)
    vars(state["cfg"]["model"]).update(lora_rank=0, bitfit=False)
    if half:
        state["model"] = checkpoint.halved(state["model"])
    checkpoint.save(state, output)


def _check_output(output: Path) -> None:
    if output.suffix not in SUFFIXES:
        raise CheckpointError(f"{output}: its ending must be {' or '.join(SUFFIXES)}")
