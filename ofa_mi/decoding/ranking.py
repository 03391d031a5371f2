"""Log-probability of given outputs, by teacher forcing: how well does each option answer?

The encoder runs once per sentence; the options of a sentence are beams of the static cache that say everything in
one decoder step, so cross-attention keys and values are shared by all options.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ofa_mi.data.vocabulary import BOS, PAD
from ofa_mi.decoding.beam import encode
from ofa_mi.errors import ConfigError

# Options of one sentence that go through the decoder together, and rows that go through the output layer together
# (4 GB of fp32 logits per 16,384 rows with OFA's 59,457 entries; this is a quarter GB).
MAX_OPTIONS = 16
MAX_ROWS = 1024


@torch.no_grad()
def rank_options(
    model,
    net_input: dict,
    options: Sequence[Sequence[Sequence[int]]],
    *,
    normalize: bool = True,
) -> list[list[float]]:
    """Score every option of every sentence.

    Args:
        model: Model in evaluation mode with the decoding interface.
        net_input: Arguments of the encoder, B sentences.
        options: For each sentence its options, any number, each as token ids with the final ``</s>``.
        normalize: True returns the mean log-probability of the option's tokens, ``</s>`` included, False the sum.
            Log-probabilities are normalised over the whole vocabulary.

    Returns:
        Scores in the order of the options.

    Raises:
        ConfigError: ``options`` does not fit the batch, an option is empty, or longer than the decoder's positions.
    """
    if len(options) != len(net_input["src_tokens"]):
        raise ConfigError(f"options of {len(options)} sentences for a batch of {len(net_input['src_tokens'])}")
    if not all(map(len, (option for choices in options for option in choices))):
        raise ConfigError("an option to rank has no tokens; it must at least be </s>")

    encoder_out = encode(model, net_input)
    scores = [[0.0] * len(choices) for choices in options]
    for sentences, first in _chunks(options):
        chunk = [options[sentence][first : first + MAX_OPTIONS] for sentence in sentences]
        where = torch.tensor(sentences, device=net_input["src_tokens"].device)
        token_scores, lengths = _score(model, model.encoder.reorder_encoder_out(encoder_out, where), chunk)
        sums = token_scores.sum(2)  # B', K
        values = (sums / lengths.clamp(min=1) if normalize else sums).tolist()
        for sentence, row, choices in zip(sentences, values, chunk, strict=True):
            scores[sentence][first : first + len(choices)] = row[: len(choices)]
    return scores


def _chunks(options: Sequence[Sequence]) -> Iterator[tuple[list[int], int]]:
    """Sentences that still have options from the place ``first`` on, for every such place."""
    for first in range(0, max(map(len, options), default=0), MAX_OPTIONS):
        yield [sentence for sentence, choices in enumerate(options) if len(choices) > first], first


def _score(model, encoder_out: dict, options: Sequence[Sequence[Sequence[int]]]) -> tuple[Tensor, Tensor]:
    """Log-probability of every token (B, K, T), 0 at padding, and number of tokens (B, K) of every option."""
    device = encoder_out["encoder_out"][0].device
    beams = max(map(len, options))
    length = max(len(option) for choices in options for option in choices)
    if length > model.max_decoder_positions():
        raise ConfigError(
            f"an option of {length} tokens cannot be ranked: the decoder has {model.max_decoder_positions()} positions"
        )
    target = torch.full((len(options), beams, length), PAD)
    for sentence, choices in enumerate(options):
        for beam, option in enumerate(choices):
            target[sentence, beam, : len(option)] = torch.tensor(option)
    target = target.to(device)
    # Padding lies to the right, where no token of the option sees it.
    inputs = torch.cat([torch.full_like(target[:, :, :1], BOS), target[:, :, :-1]], dim=2)

    state = model.decoder.start(encoder_out, beams=beams, max_length=length)
    features = model.decoder.step(inputs, state)  # B, K, T, C
    present = target != PAD
    token_scores = torch.zeros(target.shape, device=device)
    token_scores[present] = torch.cat(
        [
            _log_probs(model.decoder.output_layer(rows).float(), wanted)
            for rows, wanted in zip(features[present].split(MAX_ROWS), target[present].split(MAX_ROWS), strict=True)
        ]
    )
    return token_scores, present.sum(2)


def _log_probs(logits: Tensor, target: Tensor) -> Tensor:
    """Log-probability of ``target`` (N,) under ``logits`` (N, V)."""
    return logits.gather(1, target[:, None])[:, 0] - logits.logsumexp(1)
