"""From prompts to token ids and back.

A source is ``<s> ... </s>``, a target ``... </s>``. Text is BPE, written as OFA writes it: a space
before the first word, single spaces between words. A region is its four location tokens. Spaces
beside a region are not written; a text that follows a region starts with a space if it was written
with one, so that ``{region}?`` ends in ``?`` and not in a space and ``?``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ofa_mi.data.regions import RegionCodec
from ofa_mi.data.vocabulary import Vocabulary
from ofa_mi.errors import ConfigError, DataError, shown
from ofa_mi.geometry import Box
from ofa_mi.instances.instance import Text
from ofa_mi.instructions.prompt import (
    OPTION_SEPARATOR,
    OPTIONS_MARKER,
    OptionsSegment,
    Prompt,
    RegionSegment,
    describe,
    text_segments,
)

ImageSize = tuple[int, int] | None
REGION_TOKENS = 4


@dataclass(frozen=True, slots=True)
class Answer:
    """What a sequence of tokens says.

    Attributes:
        text: Its text, without the boxes.
        boxes: Its boxes in order, in pixels of the original image; possibly reversed, as generated.
    """

    text: str
    boxes: tuple[Box, ...] = ()


@dataclass(slots=True)
class _Piece:
    """Tokens of one part of a prompt."""

    tokens: list[int]
    truncatable: bool = False
    is_region: bool = False


class PromptEncoder:
    """Encodes prompts and decodes answers.

    Args:
        vocabulary: Token ids.
        regions: Quantisation of boxes.
        max_src_length: Longest source, with ``<s>`` and ``</s>``.
        max_tgt_length: Longest target, with ``</s>``.
        text_case: ``lower`` to lower-case all text but the options marker, as OFA was pre-trained,
            or ``keep``.

    Raises:
        ConfigError: A setting is impossible, or the vocabulary has too few location tokens.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        regions: RegionCodec,
        *,
        max_src_length: int = 1024,
        max_tgt_length: int = 512,
        text_case: Literal["lower", "keep"] = "lower",
    ) -> None:
        if max_src_length < 2 or max_tgt_length < 1:
            raise ConfigError(f"lengths must leave room for <s> and </s>, found {max_src_length} and {max_tgt_length}")
        if text_case not in ("lower", "keep"):
            raise ConfigError(f"text case must be 'lower' or 'keep', found {shown(text_case)}")
        if vocabulary.num_bins < regions.num_bins:
            raise ConfigError(
                f"the vocabulary has {vocabulary.num_bins} location bins, but {regions.num_bins} are needed"
            )
        self.vocabulary, self.regions = vocabulary, regions
        self.max_src_length, self.max_tgt_length, self.text_case = max_src_length, max_tgt_length, text_case

    def source(self, prompt: Prompt, image_size: ImageSize, *, name: str = "") -> list[int]:
        """Token ids of a source.

        If it is too long, the longest truncatable texts lose their middle, down to a common length.
        Everything else survives: instruction, options and regions.

        Args:
            prompt: The rendered instruction.
            image_size: ``(width, height)`` of the image; None for text only.
            name: The instance, named in errors.

        Raises:
            DataError: What must survive does not fit, or a box is not inside the image.
        """
        pieces = self._pieces(prompt, image_size, name)
        _shorten(pieces, self.max_src_length - 2, name)
        return [self.vocabulary.bos, *(token for piece in pieces for token in piece.tokens), self.vocabulary.eos]

    def target(self, prompt: Prompt, image_size: ImageSize, *, name: str = "") -> list[int]:
        """Token ids of a target; one that is too long loses its end, but never a part of a region.

        Args and errors as in :meth:`source`.
        """
        room = self.max_tgt_length - 1
        tokens: list[int] = []
        for piece in self._pieces(prompt, image_size, name):
            left = room - len(tokens)
            if len(piece.tokens) > left:
                tokens += [] if piece.is_region else piece.tokens[:left]
                break
            tokens += piece.tokens
        return [*tokens, self.vocabulary.eos]

    def option(self, text: Text, image_size: ImageSize) -> list[int]:
        """Token ids of one option as a target."""
        return self.target(text_segments(text, truncatable=False), image_size, name="option")

    def decode(self, tokens: Iterable[int], image_size: ImageSize) -> Answer:
        """What generated tokens say, up to ``</s>``.

        Each four location tokens in a row are a box; fewer than four are no box and are left out, as
        are all boxes where there is no image.
        """
        text: list[int] = []
        bins: list[int] = []
        boxes: list[Box] = []
        for token in map(int, tokens):
            if token == self.vocabulary.eos:
                break
            index = self.vocabulary.bin_index(token)
            if index is None:
                text.append(token)
                bins = []
                continue
            bins.append(index)
            if len(bins) == REGION_TOKENS:
                if image_size is not None:
                    boxes.append(self.regions.restore(tuple(bins), image_size))
                bins = []
        return Answer(self.vocabulary.decode_text(text).strip(), tuple(boxes))

    def describe(self, prompt: Prompt) -> str:
        """The prompt for people: text as the model reads it, boxes as ``[x0, y0, x1, y1]`` in pixels."""
        return describe(prompt, self._case)

    def texts(self, prompt: Prompt) -> list[str]:
        """The strings of a prompt that are encoded, exactly as they are, regions left out."""
        return [content for content, _ in self._written(prompt) if isinstance(content, str)]

    # -- inside

    def _pieces(self, prompt: Prompt, image_size: ImageSize, name: str) -> list[_Piece]:
        """Tokens of each part of a prompt."""
        return [
            _Piece(self.vocabulary.encode(content), truncatable)
            if isinstance(content, str)
            else _Piece(self._region(content, image_size, name), is_region=True)
            for content, truncatable in self._written(prompt)
        ]

    def _written(self, prompt: Prompt, space: bool = True) -> Iterator[tuple[str | Box, bool]]:
        """What is written, in order, and whether it is truncatable; ``space``: a text at the beginning gets a space."""
        for segment in prompt:
            if isinstance(segment, OptionsSegment):
                yield from self._written_options(segment)
                space = False
            elif isinstance(segment, RegionSegment):
                yield segment.box, False
                space = False
            elif words := segment.text.split():
                space = space or segment.text[0].isspace()
                yield self._case(" " * space + " ".join(words)), segment.truncatable
                space = segment.text[-1].isspace()
            else:
                space = space or bool(segment.text)

    def _written_options(self, segment: OptionsSegment) -> Iterator[tuple[str | Box, bool]]:
        """`` [Options]: a||||b||||c`` or `` a, b, c``."""
        if segment.markers:
            yield f" {OPTIONS_MARKER}", False
        for i, option in enumerate(segment.options):
            if i:
                yield OPTION_SEPARATOR if segment.markers else ",", False
            yield from self._written(text_segments(option, truncatable=False), space=i == 0 or not segment.markers)

    def _region(self, box: Box, image_size: ImageSize, name: str) -> list[int]:
        if image_size is None:
            raise DataError(f"{name or 'prompt'}: has a region but no image")
        bins = self.regions.quantise(box, image_size, name=name or "prompt")
        return [self.vocabulary.bin_id(k) for k in bins]

    def _case(self, text: str) -> str:
        return text.lower() if self.text_case == "lower" else text


def _shorten(pieces: Sequence[_Piece], room: int, name: str) -> None:
    """Cut the middle out of the longest truncatable pieces, down to a common length, until all fit in ``room``."""
    total = sum(len(piece.tokens) for piece in pieces)
    if total <= room:
        return
    texts = sorted((piece for piece in pieces if piece.truncatable), key=lambda piece: len(piece.tokens))
    left = room - (total - sum(len(piece.tokens) for piece in texts))
    if left < 0:
        raise DataError(
            f"{name or 'prompt'}: instruction, options and regions take {room - left + 2} tokens, "
            f"but a source has room for {room + 2} (--max-src-length of the training); make them shorter"
        )
    for i, piece in enumerate(texts):  # shortest first: what it does not need is shared by the longer ones
        share = min(len(piece.tokens), left // (len(texts) - i))
        tail = share // 2
        if share < len(piece.tokens):
            piece.tokens = piece.tokens[: share - tail] + piece.tokens[len(piece.tokens) - tail :]
        left -= share
