"""A question as text and an image, and an answer's words as what metrics compare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ofa_mi.decoding.predictor import Prediction, Query
from ofa_mi.errors import ConfigError, shown
from ofa_mi.geometry import Box
from ofa_mi.instances.answers import says_something
from ofa_mi.instances.instance import Text, boxes_of
from ofa_mi.instructions.prompt import OptionsSegment, Prompt, RegionSegment, describe
from ofa_mi.other_models import REGION_FORMS
from ofa_mi.other_models.regions import Form, form_of
from ofa_mi.other_models.troubles import CUT, EMPTY, NO_REGION

if TYPE_CHECKING:
    from PIL import Image

PROMPT_VERSION = 1  # of how a question becomes a message; run.json records it
OWN_BOXES = ("region", "regions", "labeled_regions")  # kinds of answers that hold boxes which no option names


@dataclass(frozen=True)
class Message:
    """One question as a model reads it, which knows how to read the answer.

    Attributes:
        text: The instruction with its inputs, and a note about regions where there are any.
        image: RGB image; None for text only.
        form: How regions are written; None where the question has none and asks for none.
        reads_regions: Whether regions are looked for in the answer.
        needs_region: Whether an answer without one has missed the question.
    """

    text: str
    image: Image.Image | None
    form: Form | None
    reads_regions: bool
    needs_region: bool

    def option(self, option: Text) -> str:
        """An option as the model would say it."""
        write = str if self.form is None else self.form.write
        return "".join(piece if isinstance(piece, str) else write(piece) for piece in option)

    def answer(self, reply: str, *, cut: bool) -> Prediction:
        """What the model said.

        Args:
            reply: Its words.
            cut: Whether they end at the longest length, not where the model wanted to end.
        """
        text, boxes = reply, ()
        if self.form is not None and self.reads_regions:
            text, boxes = self.form.read(reply)
        return Prediction(
            " ".join(text.split()), boxes, (), 0.0, reply=reply, trouble=self._trouble(reply, len(boxes), cut)
        )

    def _trouble(self, reply: str, boxes: int, cut: bool) -> str | None:
        if self.needs_region and boxes:
            return None
        if cut:
            return CUT
        if not says_something(reply):
            return EMPTY
        return NO_REGION if self.needs_region else None


class MessageWriter:
    """Turns questions into messages.

    Args:
        regions: How regions are written, one of :data:`~ofa_mi.other_models.REGION_FORMS`.

    Attributes:
        text_case: These models read text as it is written.
    """

    text_case = "keep"

    def __init__(self, regions: str) -> None:
        if regions not in REGION_FORMS:
            raise ConfigError(f"--regions must be one of {', '.join(REGION_FORMS)}, found {shown(regions)}")
        self.regions = regions

    def describe(self, prompt: Prompt) -> str:
        """The prompt for people: text as the model reads it, boxes as ``[x0, y0, x1, y1]`` in pixels."""
        return describe(prompt, str)

    def message(self, query: Query) -> Message:
        """The message of a question.

        Raises:
            ConfigError: It asks for boxes that nothing has drawn, or there is no image to draw on.
        """
        boxes, option_boxes = _boxes(query)
        reads = query.output in OWN_BOXES or any(option_boxes)
        needs = query.output in OWN_BOXES or (query.output == "option" and bool(option_boxes) and all(option_boxes))
        if query.image_size is None or not (boxes or reads):
            return Message(describe(query.prompt, str), query.image, None, False, needs)
        if self.regions == "drawn" and (query.output in OWN_BOXES or query.image is None):
            wrong = "there is no image to draw them on" if query.image is None else "it asks for a box of its own"
            raise ConfigError(f"{query.name}: --regions drawn cannot write its regions, since {wrong}")
        size = query.image_size if query.image is None else query.image.size
        form = form_of(self.regions, boxes, query.image_size, size)
        text = f"{describe(query.prompt, str, form.write)}\n\n{form.note}"
        return Message(text, form.shown(query.image), form, reads, needs)


def _boxes(query: Query) -> tuple[list[Box], list[tuple[Box, ...]]]:
    """All boxes that a question mentions, in their order, and those of each option."""
    boxes: list[Box] = []
    for segment in query.prompt:
        if isinstance(segment, RegionSegment):
            boxes.append(segment.box)
        elif isinstance(segment, OptionsSegment):
            boxes += [box for option in segment.options for box in boxes_of(option)]
    return boxes, [boxes_of(option) for option in query.options or ()]
