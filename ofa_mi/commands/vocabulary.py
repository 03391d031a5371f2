"""``ofa-mi vocabulary --out DIR DATA_DIR...``: a compact vocabulary, for training a small model from scratch."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from ofa_mi.commands.options import add_instruction_options, positive_number
from ofa_mi.data.encoding import PromptEncoder
from ofa_mi.data.regions import RegionCodec
from ofa_mi.data.vocabulary import Vocabulary, build_compact
from ofa_mi.data.vocabulary_files import NUM_BINS, NUM_CODES
from ofa_mi.errors import ConfigError, DataError
from ofa_mi.instances.instance import Instance
from ofa_mi.instances.open import open_store
from ofa_mi.instances.store import LineStore
from ofa_mi.instructions.prompt import TextSegment
from ofa_mi.instructions.registry import Registry, load_registry
from ofa_mi.instructions.rendering import render, render_target, render_task_name, task_name_text
from ofa_mi.instructions.spec import TaskSpec, split_template
from ofa_mi.utils.progress import progress_bar

HELP = "build a compact vocabulary from data directories, for training a small model from scratch"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("data", nargs="+", metavar="DATA_DIR", help="data directories; their train split is read")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write, for --bpe-dir")
    parser.add_argument(
        "--min-count", type=positive_number, default=1, metavar="N", help="keep tokens that occur so often (default: 1)"
    )
    parser.add_argument(
        "--num-bins",
        type=positive_number,
        default=NUM_BINS,
        metavar="N",
        help="location bins; more than pixels of --max-image-size are of no use (default: OFA's %(default)s)",
    )
    parser.add_argument(
        "--num-codes",
        type=int,
        default=NUM_CODES,
        metavar="N",
        help="image codes, which only making images needs (default: OFA's %(default)s)",
    )
    parser.add_argument(
        "--text-case", choices=("lower", "keep"), default="lower", help="as the model will be trained (default: lower)"
    )
    add_instruction_options(parser)


def run(args: argparse.Namespace) -> int:
    """Build the vocabulary; the exit status."""
    registry = load_registry(*args.instruction_dir, language=args.instruction_language)
    stores = [_open(directory) for directory in args.data]
    encoder = PromptEncoder(Vocabulary.load(), RegionCodec(patch_image_size=512), text_case=args.text_case)
    build_compact(
        corpus(stores, registry, encoder, args.min_count),
        args.out,
        min_count=args.min_count,
        num_codes=args.num_codes,
        num_bins=args.num_bins,
    )
    vocabulary = Vocabulary.load(args.out)
    print(f"{args.out}: {len(vocabulary.symbols):,} of {len(encoder.vocabulary.symbols):,} text tokens")
    return 0


def corpus(
    stores: Sequence[LineStore], registry: Registry, encoder: PromptEncoder, min_count: int = 1
) -> Iterator[str]:
    """What a model will read and write, string by string as it will be encoded.

    Every instruction and task name comes ``min_count`` times, so that none is cut into bytes because
    its task is not trained on, and then each instance's prompt, under one instruction after the other,
    and its target.
    """
    for spec in registry.values():
        for _ in range(min_count):
            yield from _instruction_texts(spec, encoder)
    for store in stores:
        for i, instance in enumerate(progress_bar(store, desc=f"read {store.path}", unit="instances", leave=False)):
            spec = _spec(registry, instance)
            if spec.instructions:
                prompt = render(spec, spec.instructions[i % len(spec.instructions)], instance)
            else:
                prompt = render_task_name(spec, instance)
            yield from encoder.texts(prompt)
            yield from encoder.texts(render_target(spec, instance))


def _spec(registry: Registry, instance: Instance) -> TaskSpec:
    try:
        spec = registry[instance.task_name]
    except ConfigError as error:
        raise ConfigError(f"{instance.name}: {error}, and --instruction-dir adds tasks of your own") from None
    if spec.languages:  # a task without any instruction can only be trained on by its name
        spec.check_instructions()
    return spec


def _instruction_texts(spec: TaskSpec, encoder: PromptEncoder) -> Iterator[str]:
    """The words of a task's name and instructions."""
    yield from encoder.texts((TextSegment(task_name_text(spec)),))
    for instruction in spec.instructions:
        for literal in split_template(instruction)[::2]:
            yield from encoder.texts((TextSegment(literal),))


def _open(directory: str) -> LineStore:
    store = open_store(Path(directory), "train")
    if store is None:
        raise DataError(f"{directory}: holds no train.jsonl")
    return store
