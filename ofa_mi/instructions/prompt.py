"""A prompt as a sequence of segments; what the model reads and writes, before tokenisation.

Text is never searched for markers: a region is a region segment from the moment an
instruction is rendered until its four location tokens are looked up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ofa_mi.geometry import Box
from ofa_mi.instances.instance import Text, plain

OPTIONS_MARKER = "[Options]:"
OPTION_SEPARATOR = "||||"


@dataclass(frozen=True, slots=True)
class TextSegment:
    """Literal text.

    Attributes:
        text: The text, spaces as written.
        truncatable: True for an instance's own text, whose middle may be cut when a source is
            too long; False for the instruction, which always survives.
    """

    text: str
    truncatable: bool = False


@dataclass(frozen=True, slots=True)
class RegionSegment:
    """A region, written as four location tokens.

    Attributes:
        box: ``(x0, y0, x1, y1)`` in pixels of the original image.
    """

    box: Box


@dataclass(frozen=True, slots=True)
class OptionsSegment:
    """The options of an instance; always kept whole.

    Attributes:
        options: The options as rich text.
        markers: True writes ``[Options]: a||||b||||c``, False writes ``a, b, c``.
    """

    options: tuple[Text, ...]
    markers: bool = True


Segment = TextSegment | RegionSegment | OptionsSegment
Prompt = tuple[Segment, ...]


def text_segments(text: Text, *, truncatable: bool) -> Prompt:
    """Segments of a rich text, in order."""
    return tuple(TextSegment(piece, truncatable) if isinstance(piece, str) else RegionSegment(piece) for piece in text)


def describe(
    prompt: Prompt, case: Callable[[str], str] = str.lower, region: Callable[[Box], str] = lambda box: plain((box,))
) -> str:
    """The prompt for people: text as the model reads it, boxes as ``[x0, y0, x1, y1]`` in pixels.

    Args:
        prompt: The prompt.
        case: What becomes of text; the marker of the options stays as it is.
        region: What becomes of a box.
    """

    def option_text(option: Text) -> str:
        return "".join(case(piece) if isinstance(piece, str) else region(piece) for piece in option)

    def written(segment: Segment) -> str:
        if isinstance(segment, RegionSegment):
            return region(segment.box)
        if isinstance(segment, TextSegment):
            return case(segment.text)
        options = [option_text(option) for option in segment.options]
        return f" {OPTIONS_MARKER} {OPTION_SEPARATOR.join(options)}" if segment.markers else f" {', '.join(options)}"

    return " ".join("".join(map(written, prompt)).split())
