"""OK-VQA (Marino et al., 2019): questions about COCO photos that need knowledge from outside of them.

Official files, version 1.1: ``OpenEnded_mscoco_train2014_questions.json`` and ``mscoco_train2014_annotations.json``,
in VQA's format; a question has ten ``answers``, given by five people (each counts twice), where ``answer`` is the
form that the official evaluation compares and ``raw_answer`` the words as typed. The names are also those of VQA v1,
hence the folder of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ofa_mi.data_prep.draft import Draft, text
from ofa_mi.data_prep.formats.reading import tidy
from ofa_mi.data_prep.formats.vqa_format import Annotation, Answer, Question, by_image, most_frequent, read_annotated
from ofa_mi.data_prep.images.coco_images import LICENCE, TRAIN_IMAGES, coco_image
from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.source import Candidate, Source

PAGE = "https://okvqa.allenai.org/download.html"
TASK = "outside_knowledge_vqa"


class OkVqaAnnotation(Annotation, frozen=True, gc=False):
    """Answers of one question."""

    answers: list[Answer]
    question_type: str = ""


class OkVqa(Source):
    """Training set → ``outside_knowledge_vqa``."""

    name = "okvqa"
    title = "OK-VQA"
    page = PAGE
    licence = f"CC BY 4.0; {LICENCE}"
    size = "0.01 GB, images 13.5 GB"
    version = 2
    tasks = (TASK,)
    files = (
        RawFile(
            path="okvqa/OpenEnded_mscoco_train2014_questions.json",
            page=PAGE,
            url="https://okvqa.allenai.org/static/data/OpenEnded_mscoco_train2014_questions.json.zip",
            unpack="okvqa",
        ),
        RawFile(
            path="okvqa/mscoco_train2014_annotations.json",
            page=PAGE,
            url="https://okvqa.allenai.org/static/data/mscoco_train2014_annotations.json.zip",
            unpack="okvqa",
        ),
        TRAIN_IMAGES,
    )

    def load(self) -> Sequence[list[tuple[Question, OkVqaAnnotation]]]:
        """One unit per photo: its questions."""
        questions, annotations = map(self.raw.find, self.files[:2])
        return list(by_image(read_annotated(questions, annotations, OkVqaAnnotation)).values())

    def convert(self, unit: list[tuple[Question, OkVqaAnnotation]]) -> Iterator[Candidate]:
        """The target is the most frequent answer (the first of equals); `answers` are all ten."""
        for question, annotation in unit:
            asked = tidy(question.question)
            answers = tuple(tidy(answer.answer) for answer in annotation.answers)
            if not asked or not any(answers):
                self.drop(TASK, "the question is empty" if not asked else "no answer")
                continue
            draft = Draft(question=text(asked), target=text(most_frequent(filter(None, answers))), answers=answers)
            meta = {"question_type": annotation.question_type}
            yield Candidate(TASK, str(question.question_id), draft, coco_image(question.image_id), meta)
