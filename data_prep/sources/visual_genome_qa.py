"""Visual Genome's questions: free questions about an image, with one answer each.

``question_answers.json``: per image ``qas`` with ``qa_id``, ``question`` and ``answer`` ("Green."). The files and
their versions are described in :mod:`ofa_mi.data_prep.images.visual_genome`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import msgspec

from ofa_mi.data_prep.draft import Draft, text
from ofa_mi.data_prep.formats.reading import tidy
from ofa_mi.data_prep.images.visual_genome import IMAGE_DATA, IMAGES, Entry, Unit, VisualGenome, annotation_file
from ofa_mi.data_prep.source import Candidate

TASK = "open_domain_vqa"
QUESTION_ANSWERS = annotation_file("question_answers.json", 24_776_315)


class Questions(Entry, kw_only=True):
    """An entry of ``question_answers.json``."""

    qas: msgspec.Raw


class Question(msgspec.Struct):
    """One of ``qas``."""

    qa_id: int
    question: str
    answer: str


class VisualGenomeQA(VisualGenome):
    """All questions → ``open_domain_vqa``.

    Answers lose their full stop, because those of the task's other source have none. A question that was asked twice
    about an image is one instance; the other answers are references.
    """

    name = "visual_genome_qa"
    title = "Visual Genome QA"
    size = "27 MB of questions, 15 GB of images"
    tasks = (TASK,)
    annotations = QUESTION_ANSWERS
    entry = Questions
    files = (QUESTION_ANSWERS, IMAGE_DATA, *IMAGES)

    def convert(self, unit: Unit) -> Iterator[Candidate]:
        """One instance per different question."""
        asked: dict[str, list[tuple[Question, str]]] = defaultdict(list)
        for entry in self.decode(unit.entry.qas, list[Question], unit.number):
            question, answer = tidy(entry.question), without_full_stop(tidy(entry.answer))
            if question and answer:
                asked[question.casefold()].append((entry, answer))
            else:
                self.drop(TASK, "the question or the answer is empty or has control characters")
        for (first, answer), *again in asked.values():
            self.drop(TASK, "the question is asked again about the same image", len(again))
            others = dict.fromkeys(other for _, other in again if other != answer)
            draft = Draft(question=text(tidy(first.question)), target=text(answer), references=tuple(others))
            yield self.candidate(unit, TASK, first.qa_id, draft, qa_id=first.qa_id)


def without_full_stop(answer: str) -> str:
    """An answer without the full stop that ends it; that of an abbreviation ("10 a.m.") stays."""
    *_, last = answer.split() or [""]
    return answer[:-1].rstrip() if last.endswith(".") and last.count(".") == 1 else answer
