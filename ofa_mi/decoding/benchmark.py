"""This beam search against fairseq's `SequenceGenerator`, on the same model and batch.

    python -m ofa_mi.decoding.benchmark                      # ofa_tiny, 256 px, on one thread of a CPU
    python -m ofa_mi.decoding.benchmark --arch ofa_base --device cuda --batch 16

Both decode the same random model with outputs forced to `--length` tokens, so both take the same steps; hypotheses
are compared before anything is timed. The encoder runs once, beforehand: only decoding is timed. fairseq's generator
runs our decoder through its own interface, which has no beams: it moves keys and values of the encoder with every
beam. A third line decodes under option tries, where the output layer computes only the columns of the options' tokens.
The last two lines are the encoder alone, with an image for every source and with one image for all of them, as
evaluation asks about it under one instruction after the other.
"""

from __future__ import annotations

import argparse
import statistics
import time
from argparse import Namespace
from collections.abc import Callable
from types import SimpleNamespace

import torch
from fairseq.data import Dictionary
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY
from fairseq.sequence_generator import SequenceGenerator

import ofa_mi.models  # noqa: F401, registers the architectures
from ofa_mi.data.vocabulary import EOS
from ofa_mi.decoding.beam import GenerationConfig, encode, generate
from ofa_mi.decoding.trie import Trie


def build(arch: str, vocabulary_size: int):
    """Random model in evaluation mode and its dictionary."""
    dictionary = Dictionary()
    for index in range(vocabulary_size - len(dictionary)):
        dictionary.add_symbol(str(index))
    args = Namespace()
    ARCH_CONFIG_REGISTRY[arch](args)
    task = SimpleNamespace(source_dictionary=dictionary, target_dictionary=dictionary)
    model = ARCH_MODEL_REGISTRY[arch].build_model(args, task).eval()
    # Initial weights make all tokens alike; sharper logits make the comparison of hypotheses mean something.
    model.encoder.embed_tokens.weight.data.mul_(10)
    return model, dictionary


def random_batch(args: argparse.Namespace) -> dict:
    """Full sources, each with an image."""
    return {
        "src_tokens": torch.randint(4, args.vocabulary, (args.batch, args.source)),
        "src_lengths": torch.full((args.batch,), args.source),
        "patch_images": torch.randn(args.batch, 3, args.image_size, args.image_size),
        "patch_masks": torch.ones(args.batch, dtype=torch.bool),
    }


def seconds(function: Callable[[], object], device: str, repeats: int) -> float:
    """Median time of a call, after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        start = time.perf_counter()
        function()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def largest_difference(ours, theirs) -> float:
    """Largest difference of scores; AssertionError if hypotheses differ."""
    worst = 0.0
    for found, expected in zip(ours, theirs, strict=True):
        assert [h.tokens for h in found] == [h["tokens"].tolist() for h in expected], "hypotheses differ"
        worst = max([worst, *(abs(h.score - e["score"].item()) for h, e in zip(found, expected, strict=True))])
    return worst


def main() -> None:
    """Compare, then time, then print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="ofa_tiny")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--length", type=int, default=16, help="tokens of every output")
    parser.add_argument("--source", type=int, default=32, help="text tokens of every source")
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--vocabulary", type=int, default=59457)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    if args.device == "cpu":
        torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.set_grad_enabled(False)

    model, dictionary = build(args.arch, args.vocabulary)
    model.to(args.device)
    batch = {name: value.to(args.device) for name, value in random_batch(args).items()}
    config = GenerationConfig(beam=args.beam, min_len=args.length, max_len=args.length)
    generator = SequenceGenerator(
        [model], dictionary, beam_size=args.beam, max_len_b=args.length, min_len=args.length, normalize_scores=True
    )

    def ours():
        return generate(model, batch, config)

    def theirs():
        return generator.generate([model], {"net_input": batch}, bos_token=dictionary.bos())

    def constrained():
        return generate(model, batch, config, allowed=tries)

    options = torch.randint(4, args.vocabulary, (args.batch, 10, args.length)).tolist()
    tries = [Trie([*option, EOS] for option in choices) for choices in options]

    print(
        f"{args.arch}, batch {args.batch}, beam {args.beam}, {args.length} tokens, {args.image_size} px, {args.device}"
    )
    print(f"largest difference of scores: {largest_difference(ours(), theirs()):.1e}")
    shared = torch.zeros(args.batch, dtype=torch.long, device=args.device)
    one_image = batch | {"patch_images": batch["patch_images"][:1], "patch_index": shared}
    encoding = {
        "an image for every source": seconds(lambda: encode(model, batch), args.device, args.repeats),
        "one image for all": seconds(lambda: encode(model, one_image), args.device, args.repeats),
    }
    encoder_out = encode(model, batch)
    model.encoder.forward = lambda *_, **__: encoder_out
    baseline = None
    print(f"{'':24}{'ms a step':>11}{'speed-up':>10}")
    for name, function in (("fairseq", theirs), ("ofa_mi", ours), ("ofa_mi, 10 options", constrained)):
        step = seconds(function, args.device, args.repeats) / (args.length + 1)
        baseline = baseline or step
        print(f"{name:24}{step * 1e3:11.2f}{baseline / step:10.2f}")
    for name, time_taken in encoding.items():
        print(f"encoding, {name}: {time_taken * 1e3:.0f} ms a batch")


if __name__ == "__main__":
    main()
