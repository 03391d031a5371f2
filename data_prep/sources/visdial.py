"""VisDial 1.0 (Das et al., 2017): dialogues about a photo, ten questions with their answers each.

Official files: ``visdial_1.0_val.json``, the last split whose answers are public (2,064 dialogues): an object with
``data``, in it ``questions`` and ``answers`` (lists of texts) and ``dialogs``, each with ``image_id``, ``caption`` and
``dialog``: a list of rounds whose ``question`` and ``answer`` are places in these lists (``answer_options`` and
``gt_index``, for ranking, are not used). The photos are those of ``VisualDialog_val2018.zip``; they are not in MSCOCO.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec

from ofa_mi.data_prep.draft import Draft, text
from ofa_mi.data_prep.formats.reading import read_json, tidy
from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.source import Candidate, ImageFile, Source
from ofa_mi.errors import DataError

PAGE = "https://visualdialog.org/data"
TASK = "visual_dialogue"
ENDS = (".", "?", "!")  # of a question as it is

Place = Annotated[int, msgspec.Meta(ge=0)]


class Round(msgspec.Struct):
    """A question with its answer, as places in the lists of texts."""

    question: Place
    answer: Place


class Dialog(msgspec.Struct):
    """What was said about one photo."""

    image_id: Place
    caption: str
    dialog: list[Round]


class Content(msgspec.Struct):
    """``data`` of the file."""

    dialogs: list[Dialog]
    questions: list[str]
    answers: list[str]


class Dialogs(msgspec.Struct):
    """The file."""

    data: Content


class VisDial(Source):
    """Validation set → ``visual_dialogue``: every question of a dialogue is an instance.

    Its context is the photo's caption and the rounds before it, with the answers that the person gave.
    """

    name = "visdial"
    title = "VisDial"
    page = PAGE
    licence = "CC BY 4.0 (dialogues); the photos' own licences on Flickr"
    size = "0.4 GB"
    tasks = (TASK,)
    files = (
        RawFile(
            path="visdial/visdial_1.0_val.json",
            page=PAGE,
            url="https://www.dropbox.com/s/ibs3a0zhw74zisc/visdial_1.0_val.zip?dl=1",
            unpack="visdial",
        ),
        RawFile(
            path="visdial/VisualDialog_val2018/",
            page=PAGE,
            url="https://www.dropbox.com/s/twmtutniktom7tu/VisualDialog_val2018.zip?dl=1",
            unpack="visdial",
        ),
    )

    def load(self) -> Sequence[Dialog]:
        """One unit per dialogue."""
        path = self.raw.find(self.files[0])
        content = read_json(path, Dialogs).data
        self.questions, self.answers = content.questions, content.answers
        for dialog in content.dialogs:
            for turn in dialog.dialog:
                if turn.question >= len(self.questions) or turn.answer >= len(self.answers):
                    raise DataError(
                        f"{path}: the dialogue of image {dialog.image_id} refers to a question or an answer that the "
                        "file does not have; download it again"
                    )
        return content.dialogs

    def convert(self, unit: Dialog) -> Iterator[Candidate]:
        """The questions of one dialogue, in order."""
        name = f"VisualDialog_val2018_{unit.image_id:012d}.jpg"
        image = ImageFile(f"visdial/{name}", (f"visdial/VisualDialog_val2018/{name}",))
        context = [caption] if (caption := tidy(unit.caption)) else []
        for number, turn in enumerate(unit.dialog, 1):
            question, answer = asked(tidy(self.questions[turn.question])), tidy(self.answers[turn.answer])
            if not question or not answer:
                self.drop(TASK, "the question or the answer is empty or has control characters")
                continue
            if context:
                draft = Draft(context=tuple(map(text, context)), question=text(question), target=text(answer))
                yield Candidate(TASK, f"val-{unit.image_id}-{number}", draft, image, {"round": number})
            else:
                self.drop(TASK, "nothing was said before: the photo has no caption")
            context.append(f"{question} {answer}")


def asked(question: str) -> str:
    """A question with its question mark, which the file leaves out."""
    return f"{question}?" if question and not question.endswith(ENDS) else question
