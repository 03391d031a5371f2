"""GQA (Hudson and Manning, 2019): questions generated from scene graphs, about things, their properties and relations.

Official files: ``questions1.2.zip``, of which ``train_balanced_questions.json`` is used (943,000 questions, half a
gigabyte): an object of question id → question with ``imageId``, ``question``, ``answer`` (a word or two),
``fullAnswer`` (a sentence), ``types`` and the program that makes the answer. The images are photos of Visual Genome,
whose ``image_data.json`` says which of them are MSCOCO's, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec

from ofa_mi.data_prep.draft import Draft, text
from ofa_mi.data_prep.formats.reading import decode, read_json, tidy
from ofa_mi.data_prep.images.vg_images import IMAGE_DATA, IMAGES, coco_ids, vg_image
from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.source import Candidate, Source

PAGE = "https://cs.stanford.edu/people/dorarad/gqa/download.html"
TASK = "compositional_vqa"


class Types(msgspec.Struct):
    """What kind of question it is: how it is built, what it is about."""

    structural: str
    semantic: str


class Question(msgspec.Struct):
    """A value of ``train_balanced_questions.json``."""

    imageId: Annotated[str, msgspec.Meta(pattern=r"^n?\d+$")]
    question: str
    answer: str
    types: Types


class Gqa(Source):
    """Balanced training questions → ``compositional_vqa``."""

    name = "gqa"
    title = "GQA"
    page = PAGE
    licence = "CC BY 4.0 (questions); the photos' own licences on Flickr"
    size = "1.4 GB of questions, 20 GB of images"
    tasks = (TASK,)
    version = 2
    files = (
        RawFile(
            path="gqa/train_balanced_questions.json",
            page=PAGE,
            url="https://downloads.cs.stanford.edu/nlp/data/gqa/questions1.2.zip",
            unpack="gqa",
        ),
        RawFile(
            path="gqa/images/",
            page=PAGE,
            url="https://downloads.cs.stanford.edu/nlp/data/gqa/images.zip",
            unpack="gqa",
            size=21_817_965_542,
            note="not needed beside both image folders of Visual Genome",
            alternatives=(tuple(file.path for file in IMAGES),),
        ),
        IMAGE_DATA,
    )

    def load(self) -> Sequence[tuple[str, msgspec.Raw]]:
        """One unit per question: its id and its JSON, which the worker decodes."""
        self.path = self.raw.find(self.files[0])
        self.coco_ids = coco_ids(self.raw.find(IMAGE_DATA))
        return list(read_json(self.path, dict[str, msgspec.Raw]).items())

    def convert(self, unit: tuple[str, msgspec.Raw]) -> Iterator[Candidate]:
        """The question's instance."""
        key, content = unit
        entry = decode(content, Question, f"{self.path}: question {key}")
        question, answer = tidy(entry.question), tidy(entry.answer)
        if not question or not answer:
            self.drop(TASK, "the question or the answer is empty or has control characters")
            return
        draft = Draft(question=text(question), target=text(answer))
        types = {"structural": entry.types.structural, "semantic": entry.types.semantic}
        # An id that begins with n is no number of Visual Genome's.
        coco_id = self.coco_ids.get(int(entry.imageId)) if entry.imageId.isdigit() else None
        yield Candidate(TASK, key, draft, vg_image(entry.imageId, coco_id=coco_id), types)
