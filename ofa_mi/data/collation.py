"""From examples to a batch of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ofa_mi.data.vocabulary import BOS, PAD
from ofa_mi.instances.instance import Instance


@dataclass(frozen=True, slots=True)
class Example:
    """An instance as the model sees it under one instruction.

    Attributes:
        index: Number of the instance in its data set.
        source: Token ids ``<s> ... </s>``.
        target: Token ids ``... </s>``.
        image: ``(3, S, S)`` pixels, or None for text only.
        options: Token ids of each option, with ``</s>``, if the loss is to be restricted to them.
        confidence: Weight of the example in the loss.
        instance: The instance itself, kept for validation only.
    """

    index: int
    source: list[int]
    target: list[int]
    image: Tensor | None = None
    options: list[list[int]] | None = None
    confidence: float = 1.0
    instance: Instance | None = None


def collate(examples: Sequence[Example]) -> dict[str, Any]:
    """Batch examples, padded on the right.

    Returns:
        A fairseq sample. B is the number of examples, S and T the longest source and target, N the
        number of examples with an image, A the largest number of tokens allowed at a position:

        - ``id`` ``(B,)``, ``nsentences`` B, ``ntokens`` target tokens without padding;
        - ``net_input``: ``src_tokens`` ``(B, S)``, ``src_lengths`` ``(B,)``,
          ``prev_output_tokens`` ``(B, T)``, ``output_mask`` ``(B, T)`` True where there is a target,
          ``patch_masks`` ``(B,)`` True for an example with an image, ``patch_images``
          ``(N, 3, H, W)`` of those examples or None;
        - ``target`` ``(B, T)``;
        - ``allowed_tokens`` ``(B, T, A)`` filled with -1, or None if no example has options;
        - ``confidence`` ``(B,)``, or None if it is 1 for all;
        - ``instances`` if the examples carry them.
    """
    source = pad_right([example.source for example in examples])
    target = pad_right([example.target for example in examples])
    images = [example.image for example in examples if example.image is not None]
    confidence = torch.tensor([example.confidence for example in examples])
    batch = {
        "id": torch.tensor([example.index for example in examples]),
        "nsentences": len(examples),
        "ntokens": sum(len(example.target) for example in examples),
        "net_input": {
            "src_tokens": source,
            "src_lengths": torch.tensor([len(example.source) for example in examples]),
            "prev_output_tokens": pad_right([[BOS, *example.target[:-1]] for example in examples]),
            "output_mask": target.ne(PAD),
            "patch_images": torch.stack(images) if images else None,
            "patch_masks": torch.tensor([example.image is not None for example in examples]),
        },
        "target": target,
        "allowed_tokens": allowed_tokens(examples, target.size(1)),
        "confidence": None if bool((confidence == 1).all()) else confidence,
    }
    if examples[0].instance is not None:
        batch["instances"] = [example.instance for example in examples]
    return batch


def pad_right(sequences: Sequence[Sequence[int]], value: int = PAD) -> Tensor:
    """Token ids ``(B, L)`` of sequences of different lengths, filled up with ``value``."""
    padded = torch.full((len(sequences), max(map(len, sequences))), value)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = torch.as_tensor(sequence)
    return padded


def allowed_tokens(examples: Sequence[Example], length: int) -> Tensor | None:
    """Tokens that continue towards one of an example's options, at each position of its target.

    Args:
        examples: A batch; those without options are unrestricted.
        length: T, the length of the padded targets.

    Returns:
        ``(B, T, A)`` token ids filled up with -1, or None if no example has options.
    """
    if all(example.options is None for example in examples):
        return None
    choices = [[continuations(example, t) for t in range(length)] for example in examples]
    width = max(len(tokens) for row in choices for tokens in row)
    allowed = torch.full((len(examples), length, max(width, 1)), -1)
    for b, row in enumerate(choices):
        for t, tokens in enumerate(row):
            allowed[b, t, : len(tokens)] = torch.tensor(tokens, dtype=torch.long)
    return allowed


def continuations(example: Example, position: int) -> list[int]:
    """Next tokens of the options that agree with the target before ``position``; [] if unrestricted."""
    if example.options is None or position >= len(example.target):
        return []
    prefix = example.target[:position]
    return sorted({o[position] for o in example.options if len(o) > position and o[:position] == prefix})
