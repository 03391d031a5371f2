"""TextVQA 0.5.1 (Singh et al., 2019): questions about what is written in photos of Open Images.

Official file: ``TextVQA_0.5.1_val.json``, ``{"data": [{"question_id", "question", "image_id", "answers": [10 texts],
"image_classes", ...}, ...]}``; the photo is ``train_images/<image_id>.jpg``, for the validation set too. The answers
of the test set are not public, so that the validation set (5,000 questions) is what is evaluated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from ofa_mi.data_prep.draft import Draft, text
from ofa_mi.data_prep.formats.reading import read_json, tidy
from ofa_mi.data_prep.formats.vqa_format import most_frequent
from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.source import Candidate, ImageFile, Source

PAGE = "https://textvqa.org/dataset/"
TASK = "text_vqa"


class TextVqaQuestion(msgspec.Struct, frozen=True, gc=False):
    """One question with its answers."""

    question_id: int
    image_id: str
    question: str
    answers: list[str]
    image_classes: list[str] = []


class _File(msgspec.Struct):
    data: list[TextVqaQuestion]


class TextVqa(Source):
    """Validation set → ``text_vqa``."""

    name = "textvqa"
    title = "TextVQA"
    page = PAGE
    licence = "CC BY 4.0"
    size = "7.1 GB"
    version = 2
    tasks = (TASK,)
    files = (
        RawFile(
            path="textvqa/TextVQA_0.5.1_val.json",
            page=PAGE,
            url="https://dl.fbaipublicfiles.com/textvqa/data/TextVQA_0.5.1_val.json",
            size=3116162,
            sha256="4ceb5aadc1a41719d0a3e4dfdf06838bcfee1db569a9a65ee67d31c99893081d",
        ),
        RawFile(
            path="textvqa/train_images/",
            page=PAGE,
            url="https://dl.fbaipublicfiles.com/textvqa/images/train_val_images.zip",
            unpack="textvqa",
            size=7072297970,
            sha256="ecf35005640d0708eae185aab1c0a10f89b2db7420b29185a1ed92a8f4290498",
        ),
    )

    def load(self) -> Sequence[TextVqaQuestion]:
        """One unit per question."""
        return read_json(self.raw.find(self.files[0]), _File).data

    def convert(self, unit: TextVqaQuestion) -> Iterator[Candidate]:
        """The target is the most frequent answer (the first of equals); `answers` are all ten.

        Answers such as "unanswerable" stay: they are part of the official evaluation.
        """
        question = tidy(unit.question)
        answers = tuple(map(tidy, unit.answers))
        if not question or not any(answers):
            self.drop(TASK, "the question is empty" if not question else "no answer")
            return
        draft = Draft(question=text(question), target=text(most_frequent(filter(None, answers))), answers=answers)
        image = ImageFile(f"textvqa/{unit.image_id}.jpg", (f"textvqa/train_images/{unit.image_id}.jpg",))
        yield Candidate(TASK, str(unit.question_id), draft, image, {"image_classes": unit.image_classes})
