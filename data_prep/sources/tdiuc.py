"""TDIUC (Kafle and Kanan, 2017): questions about photos of MSCOCO and Visual Genome, in twelve types.

Official files: ``Questions/OpenEnded_mscoco_train2014_questions.json`` and
``Annotations/mscoco_train2014_annotations.json`` in VQA's format; an annotation has ``question_type``, one answer in
``answers`` and ``ans_source``. Of the types, ``absurd`` (questions that do not fit the photo) makes no task.
``image_id`` is the photo's number in MSCOCO, or 90,000,000 plus its number in Visual Genome
(:func:`ofa_mi.instances.photos.of_mixed_number`). The archive's ``setup.py`` puts all of them into
``Images/train2014/COCO_train2014_<12 digits>.jpg``, where they are looked for first, then where MSCOCO or Visual Genome
has them. Questions whose photo is in none of these places are left out and counted, so that Visual Genome's photos are
not strictly needed; its ``image_data.json``, which says which of them are MSCOCO's, too, is.

Every question gets options of its answer's kind: yes and no; numbers; or other answers.

- Yes or no: both answers equally often for every wording of a question that has both; questions whose wording has only
  one are balanced together with those that begin with the same three words.
- Otherwise the options are answers of similar questions of the same type: of those with the same wording if it comes
  often, or of those that begin with the same three words, or of all. They are drawn such that none of them is likelier
  than another to be the answer (:mod:`ofa_mi.data_prep.options.answer_pools`), which leaves out many questions whose
  answer is the usual one. No option is a form of another, a synonym or a more general word. Nor is it the answer to
  another question of the same type about the photo, which might be right here too (of colors and numbers: to a
  question of the same wording). This last rule makes a usual answer likelier to be right where it is an option: on
  synthetic annotations with about one such question per photo, choosing the usual one is right in 21 % of the cases
  where chance is 18 %.

What remains to be guessed from the text is what questions tell by words of their own: "What color is the grass?" if
that wording is rare enough to share its options with other colors, or "What is on the plate?" among things in general.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ofa_mi.data_prep.draft import Draft, choice, text, yes_no
from ofa_mi.data_prep.formats.reading import tidy
from ofa_mi.data_prep.formats.vqa_format import Annotation, Answer, Question, by_image, read_annotated
from ofa_mi.data_prep.images.coco_images import LICENCE, TRAIN_IMAGES, coco_image
from ofa_mi.data_prep.images.vg_images import IMAGE_DATA, coco_ids, vg_image
from ofa_mi.data_prep.images.vg_images import IMAGES as VG_IMAGES
from ofa_mi.data_prep.options.answer_pools import AnswerPool
from ofa_mi.data_prep.options.answer_words import YES_NO, concept, kind_of
from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.source import Candidate, ImageFile, Source
from ofa_mi.instances.photos import of_mixed_number

PAGE = "https://kushalkafle.com/projects/tdiuc.html"
ARCHIVE = {"page": PAGE, "url": "https://kushalkafle.com/data/TDIUC.zip", "unpack": "tdiuc"}
TASKS = {
    "color": "color_understanding",
    "object_presence": "object_detection",
    "object_recognition": "object_recognition",
    "scene_recognition": "scene_recognition",
    "counting": "counting",
    "sentiment_understanding": "sentiment_understanding",
    "positional_reasoning": "position_reasoning",
    "utility_affordance": "utility_affordance",
    "sport_recognition": "sport_understanding",
    "activity_recognition": "activity_recognition",
    "attribute": "attribute_recognition",
}
ABOUT_ONE_THING = ("color", "counting")
LEAST_QUESTIONS = 20  # of a pool of similar questions
FIRST_WORDS = 3  # in which similar questions agree


class TdiucAnnotation(Annotation, frozen=True, gc=False):
    """Type and answer of one question."""

    question_type: str
    answers: list[Answer]
    ans_source: str = ""

    @property
    def answer(self) -> str:
        """The answer; empty if it cannot be used."""
        return tidy(self.answers[0].answer) if self.answers else ""


Asked = tuple[Question, TdiucAnnotation]
PoolKey = tuple[str, str, str]  # type and kind of answer, then what the questions have in common


class Tdiuc(Source):
    """Training set → the tasks of image understanding that are about questions."""

    name = "tdiuc"
    title = "TDIUC"
    page = PAGE
    licence = f"CC BY 4.0; {LICENCE}"
    size = "0.07 GB, images 13.5 GB (MSCOCO) and 15 GB (Visual Genome)"
    tasks = tuple(TASKS.values())
    version = 2
    files = (
        RawFile(path="tdiuc/TDIUC/Questions/OpenEnded_mscoco_train2014_questions.json", **ARCHIVE),
        RawFile(path="tdiuc/TDIUC/Annotations/mscoco_train2014_annotations.json", **ARCHIVE),
        TRAIN_IMAGES,
        IMAGE_DATA,
        *VG_IMAGES,
    )

    def needed(self) -> tuple[RawFile, ...]:
        """All but the photos of Visual Genome."""
        return self.files[:4]

    def load(self) -> Sequence[list[Asked]]:
        """One unit per photo: its questions of the wanted tasks."""
        questions, annotations = map(self.raw.find, self.files[:2])
        asked = [
            pair
            for pair in read_annotated(questions, annotations, TdiucAnnotation)
            if self.wants(TASKS.get(pair[1].question_type, ""))
        ]
        self._make_pools(asked)
        self.coco_ids = coco_ids(self.raw.find(IMAGE_DATA))
        return list(by_image(asked).values())

    def convert(self, unit: list[Asked]) -> Iterator[Candidate]:
        """The questions of one photo; options as described above."""
        image = self._image(unit[0][0].image_id)
        if image is None or self.raw.first(image.files) is None:
            for _, annotation in unit:
                self.drop_without_image(TASKS[annotation.question_type])
            return
        for question, annotation in unit:
            task = TASKS[annotation.question_type]
            draft = self._draft(task, question, annotation, unit)
            if isinstance(draft, str):
                self.drop(task, draft)
            else:
                meta = {"answer_source": annotation.ans_source}
                yield Candidate(task, str(question.question_id), draft, image, meta)

    def _image(self, image_id: int) -> ImageFile | None:
        """The photo with this number; None if neither data set can have it."""
        names = of_mixed_number(image_id)
        if names.coco:
            image = coco_image(names.coco)
        elif names.visual_genome:
            image = vg_image(names.visual_genome, coco_id=self.coco_ids.get(names.visual_genome))
        else:
            return None
        return replace(image, files=(f"tdiuc/TDIUC/Images/train2014/COCO_train2014_{image_id:012d}.jpg", *image.files))

    def _draft(self, task: str, question: Question, annotation: TdiucAnnotation, unit: list[Asked]) -> Draft | str:
        """The draft of a question, or why there is none."""
        asked, answer = tidy(question.question), annotation.answer
        if not asked or not answer:
            return "no question or no answer"
        rng = self.rng(task, question.question_id)
        if kind_of(answer) == YES_NO:
            return yes_no(answer.lower() == "yes", rng, question=text(asked), stratum=self._form(question))
        pool = self._pools[self._pool_of[question.question_id]]
        if not pool.number:
            return "no other answer to similar questions"
        if not pool.keeps(answer, rng):
            return "so many similar questions have the answer that it could be guessed"
        options = pool.options(answer, rng, _also_right(question, annotation, unit))
        if options is None:
            return "the answers drawn as options could all be right, or one in the place of the answer"
        return choice(text(answer), [text(option) for option in options], question=text(asked))

    # -- similar questions

    def _make_pools(self, asked: list[Asked]) -> None:
        """Assign every question to the most specific pool that has enough questions and answers.

        Sets ``_pools``, their key → pool; ``_pool_of``, question → key; and ``_both``, the wordings of yes-or-no
        questions that have both answers.
        """
        answers: dict[str, set[str]] = {}
        rest = []
        for question, annotation in asked:
            if not annotation.answer:
                continue
            if kind_of(annotation.answer) == YES_NO:
                answers.setdefault(_wording(question), set()).add(annotation.answer.lower())
            else:
                rest.append((question, annotation))
        self._both = {wording for wording, found in answers.items() if len(found) == 2}
        self._pools: dict[PoolKey, AnswerPool] = {}
        self._pool_of: dict[int, PoolKey] = {}
        for in_common in (_wording, _first_words):
            rest = self._pool(rest, in_common, least=LEAST_QUESTIONS)
        self._pool(rest, lambda question: "", least=0)

    def _pool(self, asked: list[Asked], in_common, *, least: int) -> list[Asked]:
        """Pool the questions that have something in common; returns those that are too few or have one answer only."""
        groups: dict[PoolKey, list[Asked]] = {}
        for question, annotation in asked:
            key = annotation.question_type, kind_of(annotation.answer), in_common(question)
            groups.setdefault(key, []).append((question, annotation))
        rest = []
        for key, group in groups.items():
            answers = Counter(annotation.answer for _, annotation in group)
            if least and (len(group) < least or len(set(map(concept, answers))) < 2):
                rest += group
                continue
            self._pools[key] = AnswerPool(answers, f"{self.seed}/{self.name}/{key}")
            self._pool_of |= dict.fromkeys((question.question_id for question, _ in group), key)
        return rest

    def _form(self, question: Question) -> str:
        """What yes-or-no questions that are balanced together have in common."""
        wording = _wording(question)
        return wording if wording in self._both else f"{_first_words(question)} …"


def _wording(question: Question) -> str:
    """The words of a question, without capitals and punctuation."""
    return " ".join(re.findall(r"\w+", question.question.lower()))


def _first_words(question: Question) -> str:
    return " ".join(re.findall(r"\w+", question.question.lower())[:FIRST_WORDS])


def _also_right(question: Question, annotation: TdiucAnnotation, unit: list[Asked]) -> set[str]:
    """Concepts of answers to other questions that may answer this one too.

    Those are the answers to questions of the same type about the photo; of colors and numbers, which are about
    different things in the photo, only the answers to the same wording.
    """
    wording = _wording(question)
    return {
        concept(other.answer)
        for asked, other in unit
        if other.question_type == annotation.question_type
        and (other.question_type not in ABOUT_ONE_THING or _wording(asked) == wording)
    } - {concept(annotation.answer)}
