"""VQA v2 (Goyal et al., 2017): questions about COCO photos, each answered by ten people.

Official files: ``v2_OpenEnded_mscoco_train2014_questions.json`` and ``v2_mscoco_train2014_annotations.json``
(443,757 questions about 82,783 photos). An annotation has ``question_type`` (its first words), ``answer_type``
(``yes/no``, ``number``, ``other``), ``multiple_choice_answer`` (the most frequent answer, in a normal form) and ten
``answers``. Which objects a photo shows, for ``question_image_matching``, is read from MSCOCO's
``instances_train2014.json`` and ``captions_train2014.json``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from ofa_mi.data_prep.draft import Draft, text, yes_no
from ofa_mi.data_prep.formats.coco_objects import ObjectTable, disjoint_groups
from ofa_mi.data_prep.formats.reading import decode, read_json, tidy
from ofa_mi.data_prep.formats.vqa_format import Annotation, Answer, Question, by_image, read_annotated
from ofa_mi.data_prep.images.coco_images import ANNOTATIONS_LICENCE, LICENCE, TRAIN_IMAGES, annotation_file, coco_image
from ofa_mi.data_prep.options.coco_words import CategoryWords
from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.source import Candidate, Source, held_out
from ofa_mi.utils.hashing import hash64

PAGE = "https://visualqa.org/download.html"
QUESTIONS = RawFile(
    path="vqav2/v2_OpenEnded_mscoco_train2014_questions.json",
    page=PAGE,
    url="https://s3.amazonaws.com/cvmlp/vqa/mscoco/vqa/v2_Questions_Train_mscoco.zip",
    unpack="vqav2",
    size=7_239_401,
    sha256="05a64b6e2582d06d7585f5429674a9a33851878be1bff9f8668cdcf792df611e",
)
ANNOTATIONS = RawFile(
    path="vqav2/v2_mscoco_train2014_annotations.json",
    page=PAGE,
    url="https://s3.amazonaws.com/cvmlp/vqa/mscoco/vqa/v2_Annotations_Train_mscoco.zip",
    unpack="vqav2",
    size=21_708_861,
    sha256="fb101bcefe91422c543c2bb6d70af11eb3119d0ff745ae283d09acdf66250853",
)
INSTANCES = annotation_file("instances_train2014.json")
CAPTIONS = annotation_file("captions_train2014.json")

OPEN, MATCHING = "open_domain_vqa", "question_image_matching"
_NO_ANSWERS = (
    "unknown;not sure;unsure;can't tell;cannot tell;can't see;cannot see;don't know;i don't know;unclear;not clear;"
    "not possible;impossible;n/a;not visible;not there;not in picture"
)
NO_ANSWER = frozenset(_NO_ANSWERS.split(";"))


class VqaAnnotation(Annotation, frozen=True, gc=False):
    """What is known of one question; the ten answers are decoded where they are needed."""

    question_type: str
    answer_type: str
    multiple_choice_answer: str
    answers: msgspec.Raw


class Caption(msgspec.Struct, frozen=True, gc=False):
    """One caption of a photo."""

    image_id: int
    caption: str


class _Captions(msgspec.Struct):
    annotations: list[Caption]


Asked = tuple[Question, VqaAnnotation]


@dataclass(slots=True)
class Photo:
    """A unit: everything that is asked about one photo, and about others to be matched with it.

    Attributes:
        image_id: The photo.
        asked: Its own questions.
        unsuitable: Own questions that are not matched, by number → why.
        foreign: Questions about other photos that this one does not answer.
    """

    image_id: int
    asked: list[Asked]
    unsuitable: dict[int, str] = field(default_factory=dict)
    foreign: list[Question] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Suitable:
    """A question for matching: the categories that it takes for granted, and all that its photo may show."""

    question: Question
    presupposed: int
    shown: int


class VqaV2(Source):
    """Training set → ``open_domain_vqa`` and ``question_image_matching``; see :meth:`match` for the second."""

    name = "vqav2"
    title = "VQA v2"
    page = PAGE
    licence = f"{ANNOTATIONS_LICENCE}; {LICENCE}"
    size = "0.03 GB, MSCOCO's annotations 0.3 GB, images 13.5 GB"
    version = 2
    tasks = (OPEN, MATCHING)
    files = (QUESTIONS, ANNOTATIONS, INSTANCES, CAPTIONS, TRAIN_IMAGES)

    def needed(self) -> tuple[RawFile, ...]:
        """MSCOCO's annotations serve the matching only."""
        return self.files if self.wants(MATCHING) else (QUESTIONS, ANNOTATIONS, TRAIN_IMAGES)

    def load(self) -> Sequence[Photo]:
        """One unit per photo."""
        pairs = read_annotated(self.raw.find(QUESTIONS), self.raw.find(ANNOTATIONS), VqaAnnotation)
        photos = {image_id: Photo(image_id, asked) for image_id, asked in by_image(pairs).items()}
        if self.wants(MATCHING):
            self.match(photos)
        return list(photos.values())

    def match(self, photos: dict[int, Photo]) -> None:
        """Find a photo for every question that cannot answer it.

        A question is suitable if it takes objects for granted (:meth:`CategoryWords.presupposed`: "the dog", "these
        men") of MSCOCO categories that are all annotated in its own photo, and if people could answer it. A photo
        *may show* a category if it is annotated there, or if a caption, a question or an answer about the photo names
        it. Two suitable questions are partners if neither photo may show anything that the other question takes for
        granted. Each is then asked of its own photo (yes) and of its partner's (no): every question and every photo
        has as many yes as no, so that neither gives the answer away by itself. Partners are photos of the same
        split. Questions that find no partner are left out; most are about people, who are in half of the photos.
        """
        objects = ObjectTable(self.raw.find(INSTANCES))
        words = CategoryWords(objects.categories)
        captions = self._captions()
        suitable: dict[bool, list[_Suitable]] = {False: [], True: []}
        for photo in photos.values():
            known = objects.mask(photo.image_id)
            texts = [*captions.get(photo.image_id, ())]
            for question, annotation in photo.asked:
                texts += (question.question, annotation.multiple_choice_answer)
            shown = known | words.named(" . ".join(texts))
            part = suitable[held_out(coco_image(photo.image_id).path)]
            for question, annotation in photo.asked:
                presupposed = words.presupposed(question.question)
                if reason := _unsuitable(
                    question, annotation, presupposed, known if photo.image_id in objects.images else None
                ):
                    photo.unsuitable[question.question_id] = reason
                else:
                    part.append(_Suitable(question, presupposed, shown))
        for part in suitable.values():
            self._pair(part, photos)

    def _captions(self) -> dict[int, list[str]]:
        captions: dict[int, list[str]] = {}
        for caption in read_json(self.raw.find(CAPTIONS), _Captions).annotations:
            captions.setdefault(caption.image_id, []).append(caption.caption)
        return captions

    def _pair(self, part: list[_Suitable], photos: dict[int, Photo]) -> None:
        """Let partners swap their photos; the order in which they meet depends on the seed."""
        part = sorted(part, key=lambda item: hash64(self.seed, MATCHING, item.question.question_id))
        alone = {item.question.question_id: item.question.image_id for item in part}
        for p, q in disjoint_groups(part, 2, mask=lambda item: 0, compatible=_partners):
            photos[p.question.image_id].foreign.append(q.question)
            photos[q.question.image_id].foreign.append(p.question)
            del alone[p.question.question_id], alone[q.question.question_id]
        for question_id, image_id in alone.items():
            photos[image_id].unsuitable[question_id] = "no photo found that lacks what the question is about"

    def convert(self, unit: Photo) -> Iterator[Candidate]:
        """The questions of a photo as they are, then those that are matched with it."""
        for question, annotation in unit.asked:
            if self.wants(OPEN):
                yield from self._open(question, annotation)
            if self.wants(MATCHING):
                if reason := unit.unsuitable.get(question.question_id):
                    self.drop(MATCHING, reason)
                else:
                    yield self._matching(question, unit.image_id)
        for question in unit.foreign:
            yield self._matching(question, unit.image_id)

    def _open(self, question: Question, annotation: VqaAnnotation) -> Iterator[Candidate]:
        """The target is the most frequent answer in its normal form; `answers` are all ten."""
        asked, target = tidy(question.question), tidy(annotation.multiple_choice_answer)
        if not asked or not target:
            self.drop(OPEN, "the question is empty" if not asked else "no answer")
            return
        answers = decode(annotation.answers, list[Answer], f"answers to question {question.question_id}")
        given = tuple(tidy(answer.answer) for answer in answers)
        draft = Draft(question=text(asked), target=text(target), answers=given)
        meta = {"question_type": annotation.question_type, "answer_type": annotation.answer_type}
        yield Candidate(OPEN, str(question.question_id), draft, coco_image(question.image_id), meta)

    def _matching(self, question: Question, image_id: int) -> Candidate:
        key = f"{question.question_id}-{image_id}"
        draft = yes_no(
            question.image_id == image_id,
            self.rng(MATCHING, key),
            question=text(tidy(question.question)),
            stratum=question.question_id,
        )
        return Candidate(MATCHING, key, draft, coco_image(image_id), {"asked_about": question.image_id})


def _unsuitable(question: Question, annotation: VqaAnnotation, presupposed: int, known: int | None) -> str | None:
    """Why a question is not matched; None if it is. ``known`` is None if nobody annotated the photo's objects."""
    if not tidy(question.question):
        return "the question is empty"
    if known is None:
        return "the photo's objects are not annotated"
    if not presupposed:
        return "the question takes no MSCOCO object for granted"
    if presupposed & ~known:
        return "an object that the question takes for granted is not annotated"
    return "people did not know the answer" if annotation.multiple_choice_answer.lower() in NO_ANSWER else None


def _partners(p: _Suitable, q: _Suitable) -> bool:
    return not p.presupposed & q.shown and not q.presupposed & p.shown
