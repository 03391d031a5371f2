"""The file format of VQA, which VQA v2, OK-VQA and TDIUC share.

Questions and answers come in two JSON files: ``{"questions": [{"question_id", "image_id", "question"}, ...]}`` and
``{"annotations": [{"question_id", "image_id", "answers": [{"answer", ...}, ...], ...}, ...]}``, where further fields
depend on the data set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from ofa_mi.data_prep.formats.reading import read_json
from ofa_mi.errors import DataError


class Question(msgspec.Struct, frozen=True, gc=False):
    """One question about one photo."""

    question_id: int
    image_id: int
    question: str


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What one annotator said."""

    answer: str


class Annotation(msgspec.Struct, frozen=True, gc=False):
    """What is known of one question; data sets add fields of their own."""

    question_id: int
    image_id: int


A = TypeVar("A", bound=Annotation)


class _Questions(msgspec.Struct):
    questions: list[Question]


class _Annotations(msgspec.Struct, Generic[A]):
    annotations: list[A]


def read_annotated(questions: Path, annotations: Path, kind: type[A]) -> list[tuple[Question, A]]:
    """Read the two files and join them.

    Args:
        questions: File of the questions.
        annotations: File of the answers.
        kind: Type of one annotation.

    Returns:
        Question and annotation, in the order of the questions.

    Raises:
        DataError: A file is not in the official format, or the two do not belong together.
    """
    by_id = {a.question_id: a for a in read_json(annotations, _Annotations[kind]).annotations}
    pairs = []
    for question in read_json(questions, _Questions).questions:
        annotation = by_id.pop(question.question_id, None)
        if annotation is None or annotation.image_id != question.image_id:
            raise _apart(questions, annotations, question.question_id)
        pairs.append((question, annotation))
    if by_id:
        raise _apart(questions, annotations, next(iter(by_id)))
    return pairs


def by_image(pairs: Iterable[tuple[Question, A]]) -> dict[int, list[tuple[Question, A]]]:
    """The questions of every photo, photos in the order of their ids."""
    groups: dict[int, list[tuple[Question, A]]] = {}
    for pair in pairs:
        groups.setdefault(pair[0].image_id, []).append(pair)
    return dict(sorted(groups.items()))


def most_frequent(answers: Iterable[str]) -> str:
    """The answer that most annotators gave, the first of them if there are several."""
    return Counter(answers).most_common(1)[0][0]


def _apart(questions: Path, annotations: Path, question_id: int) -> DataError:
    return DataError(
        f"{annotations}: question {question_id} is not the one of {questions}; the two files must be of the same "
        "version and split, download both again"
    )
