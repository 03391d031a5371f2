"""How answers of a kind are decoded: one rule for evaluation and for the validation of a training run.

A region is exactly four tokens, in which a number may come again: neither a least or largest length nor the blocking
of n-grams, which are settings for text, apply to it. All other kinds are decoded with the settings as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import Tensor

from ofa_mi.data.encoding import REGION_TOKENS
from ofa_mi.decoding.beam import GenerationConfig, Hypothesis, generate
from ofa_mi.decoding.trie import Automaton


def generate_answers(
    model,
    net_input: dict[str, Tensor | None],
    outputs: Sequence[str],
    config: GenerationConfig,
    *,
    allowed: Sequence[Automaton | None] | None = None,
) -> list[list[Hypothesis]]:
    """The best outputs of every sentence of a batch, each decoded as its kind of answer is.

    Args:
        model: As in :func:`~ofa_mi.decoding.beam.generate`, and so are ``net_input`` and ``allowed``.
        net_input: B sentences.
        outputs: Kind of the answer of each, as ``TaskSpec.output``.
        config: Settings for text.
        allowed: What each may say; None for anything.

    Returns:
        As :func:`~ofa_mi.decoding.beam.generate`, in the order of the batch.
    """
    results: list[list[Hypothesis]] = [[]] * len(outputs)
    for rows, chosen in _groups(outputs, config):
        automata = None if allowed is None else [allowed[row] for row in rows]
        found = generate(model, select(net_input, rows), chosen, allowed=automata)
        for row, hypotheses in zip(rows, found, strict=True):
            results[row] = hypotheses
    return results


def select(net_input: dict[str, Tensor | None], rows: Sequence[int]) -> dict[str, Tensor | None]:
    """The encoder's inputs for some sentences of a batch, as if these alone were the batch.

    Args:
        net_input: ``src_tokens`` (B, S), ``src_lengths`` (B,) and, where there are images, ``patch_images`` (N, ...),
            ``patch_masks`` (B,) and perhaps ``patch_index``.
        rows: Sentences, ascending.
    """
    if len(rows) == len(net_input["src_tokens"]):
        return net_input
    lengths = net_input["src_lengths"][rows]
    chosen = {"src_tokens": net_input["src_tokens"][rows, : int(lengths.max())], "src_lengths": lengths}
    if net_input.get("patch_images") is None:
        return chosen
    masks, index = net_input["patch_masks"], net_input.get("patch_index")
    places = (masks.cumsum(0) - 1)[rows][masks[rows]]  # of the chosen sentences among those with an image
    if not len(places):
        return chosen | {"patch_images": None, "patch_masks": masks[rows]}
    chosen |= {"patch_masks": masks[rows]}
    if index is None:
        return chosen | {"patch_images": net_input["patch_images"][places]}
    used, places = index[places].unique(return_inverse=True)
    return chosen | {"patch_images": net_input["patch_images"][used], "patch_index": places}


def _groups(outputs: Sequence[str], config: GenerationConfig) -> Iterator[tuple[list[int], GenerationConfig]]:
    """Rows that are decoded with the same settings, ascending, and these settings."""
    region = replace(config, min_len=REGION_TOKENS, max_len=REGION_TOKENS, no_repeat_ngram=0)
    for wants_region, settings in ((True, region), (False, config)):
        if rows := [row for row, output in enumerate(outputs) if (output == "region") == wants_region]:
            yield rows, settings
