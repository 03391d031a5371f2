"""Scores of options from the log-probabilities that a server gives of a whole conversation, as vLLM does.

Each option is put into the conversation as what the model has said. vLLM returns, with ``prompt_logprobs``, the
log-probability of every token of it, the option's and those that end the turn among them. What all conversations about
a question begin with is not counted: it is the same text, and computed with other rounding it would only add noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Annotated

import msgspec

from ofa_mi.utils.json_files import decode

Token = tuple[str, float]  # what it is, and its log-probability
LARGEST = 1 << 24  # bytes of a response; each token of prompt and image takes about a hundred


class _Likely(msgspec.Struct):
    logprob: Annotated[float, msgspec.Meta(ge=-1e6, le=1e-3)]


class _Scored(msgspec.Struct):
    prompt_logprobs: list[dict[str, _Likely] | None] | None = None


_SCORED = msgspec.json.Decoder(_Scored)


def tokens_of(content: bytes) -> list[Token] | None:
    """The tokens of a conversation in a server's answer; None if it has no log-probabilities of one token a place.

    Raises:
        DataError: It is no such answer.
    """
    places = decode(content, _SCORED, "the answer is not a chat completion with log-probabilities").prompt_logprobs
    if not places or any(place is not None and len(place) != 1 for place in places):
        return None
    pairs = (next(iter(place.items())) if place else ("", _Likely(0.0)) for place in places)
    return [(token, likely.logprob) for token, likely in pairs]


def option_scores(conversations: Sequence[Sequence[Token]]) -> list[float]:
    """Log-probability of each option, given the question: the sum from where the conversations first differ."""
    names = ([token for token, _ in conversation] for conversation in conversations)
    alike = takewhile(lambda place: len(set(place)) == 1, zip(*names, strict=False))
    shared = sum(1 for _ in alike)
    return [sum(log_prob for _, log_prob in conversation[shared:]) for conversation in conversations]
