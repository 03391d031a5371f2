"""VCR (Zellers et al., 2019): questions about what people in stills of films do, feel and want, with four answers.

Official files: ``vcr1annots.zip``, of which ``val.jsonl`` is used, the last split whose answers are public (26,534
questions), and ``vcr1images.zip``. A line holds ``objects`` (the kinds of the detected things, ``["person", "person",
"tie"]``), ``img_fn`` and ``metadata_fn`` (below ``vcr1images/``), ``question`` and four ``answer_choices``, each a list
of words and lists of places in ``objects`` (``["What", "are", [0, 1], "doing", "?"]``), ``answer_label``, ``annot_id``,
and the rationales, which are not used. The metadata of an image holds ``boxes`` (``[x0, y0, x1, y1, score]`` in pixels
for every object), ``width`` and ``height``.

How regions are written: an object is called by its kind and its number among the objects of this kind, as the paper
of MultiInstruct has it ("person 2"), and at its first mention in the question, and in each option, its box follows:
``["person 2 ", [10, 20, 60, 90], " is waiting for person 1 ", …]``. An option is thus complete in itself; ROUGE-L,
which does not see boxes, compares the same words as in the paper; and accuracy wants the right boxes, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec

from ofa_mi.data_prep.draft import Draft
from ofa_mi.data_prep.formats.reading import decode, read_json_lines, tidy
from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.source import Candidate, ImageFile, Source
from ofa_mi.errors import DataError
from ofa_mi.geometry import Box, clip
from ofa_mi.instances.instance import Text

PAGE = "https://visualcommonsense.com/download/"
NOTE = "its licence must be accepted there"
TASK = "commonsense_vqa"
OPTIONS = 4
CONTRACTIONS = ("s", "t", "re", "ve", "ll", "d", "m")  # what follows an apostrophe without a space

FileName = Annotated[str, msgspec.Meta(pattern=r"^[^/.][^/]*/[^/.][^/]*\.(jpg|json)$")]
Token = str | list[int]


class Question(msgspec.Struct):
    """A line of ``val.jsonl``."""

    annot_id: str
    img_fn: FileName
    metadata_fn: FileName
    objects: list[str]
    question: list[Token]
    answer_choices: Annotated[list[list[Token]], msgspec.Meta(min_length=OPTIONS, max_length=OPTIONS)]
    answer_label: Annotated[int, msgspec.Meta(ge=0, lt=OPTIONS)]


class Metadata(msgspec.Struct):
    """What is known of an image."""

    boxes: list[Annotated[list[float], msgspec.Meta(min_length=4)]]
    width: int
    height: int


class Vcr(Source):
    """Validation set, from question to answer → ``commonsense_vqa``; the options are in the official order."""

    name = "vcr"
    title = "VCR"
    page = PAGE
    licence = "VCR's own, for non-commercial research; stills of films"
    size = "25 GB"
    tasks = (TASK,)
    files = (
        RawFile(path="vcr/val.jsonl", page=PAGE, note=f"vcr1annots.zip; {NOTE}"),
        RawFile(path="vcr/vcr1images/", page=PAGE, note=f"vcr1images.zip; {NOTE}"),
    )

    def load(self) -> Sequence[list[Question]]:
        """One unit per image, with all its questions."""
        images: dict[str, list[Question]] = {}
        for question in read_json_lines(self.raw.find(self.files[0]), Question):
            images.setdefault(question.img_fn, []).append(question)
        return list(images.values())

    def convert(self, unit: list[Question]) -> Iterator[Candidate]:
        """The questions about one image."""
        metadata = self._metadata(unit[0].metadata_fn)
        size = (metadata.width, metadata.height)
        image = ImageFile(f"vcr/{unit[0].img_fn}", (f"vcr/vcr1images/{unit[0].img_fn}",), size)
        boxes = [clip(tuple(box[:4]), size) for box in metadata.boxes]
        for entry in unit:
            if draft := self._draft(entry, boxes):
                yield Candidate(TASK, entry.annot_id, draft, image)

    def _metadata(self, name: str) -> Metadata:
        path = self.raw.find(self.files[1]) / name
        try:
            return decode(path.read_bytes(), Metadata, path)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); unpack vcr1images.zip again") from None

    def _draft(self, entry: Question, boxes: Sequence[Box | None]) -> Draft | None:
        """The instance of a question; None, and counted, if something that it mentions has no box."""
        sentences = [entry.question, *entry.answer_choices]
        mentioned = {place for tokens in sentences for token in tokens if not isinstance(token, str) for place in token}
        if any(not 0 <= place < min(len(entry.objects), len(boxes)) for place in mentioned):
            return self.drop(TASK, "it mentions an object that is not annotated")
        if any(boxes[place] is None for place in mentioned):
            return self.drop(TASK, "it mentions an object outside the image or less than a pixel wide or high")
        names = numbered(entry.objects)
        question, *options = (sentence(tokens, names, boxes) for tokens in sentences)
        if not all((question, *options)):
            return self.drop(TASK, "the question or an option is empty or has control characters")
        if len(set(options)) < OPTIONS:
            return self.drop(TASK, f"the options are not {OPTIONS} different ones")
        return Draft(question=question, options=tuple(options), target=options[entry.answer_label])


def numbered(kinds: Sequence[str]) -> list[str]:
    """Names of objects: their kind and their number among those of this kind, from 1."""
    counts: Counter[str] = Counter()
    names = []
    for kind in kinds:
        counts[kind] += 1
        names.append(f"{kind} {counts[kind]}")
    return names


def sentence(tokens: Sequence[Token], names: Sequence[str], boxes: Sequence[Box | None]) -> Text:
    """Words and mentions as a rich text, spaced as people write; the box of an object follows its first mention.

    Args:
        tokens: Words, and lists of places in ``names``.
        names: How each object is called.
        boxes: Where each object is.

    Returns:
        The text; empty if it has no words or one that cannot be used.
    """
    words: list[str | Box] = []
    said: set[int] = set()
    for token in tokens:
        if isinstance(token, str):
            words += token.split()
            continue
        for rank, place in enumerate(token):
            if rank:
                words.append("and" if rank == len(token) - 1 else ",")
            words.append(names[place])
            if place not in said:
                words.append(boxes[place])
            said.add(place)
    pieces = _joined(words)
    usable = all(tidy(piece) or not piece.strip() for piece in pieces if isinstance(piece, str))
    return pieces if usable else ()


def _joined(words: Sequence[str | Box]) -> Text:
    """Words and boxes with the spaces between them; boxes stand apart."""
    pieces: list[str | Box] = []
    for place, word in enumerate(words):
        space = " " * bool(place and _apart(words, place))
        if not isinstance(word, str):
            pieces[-1] += space
            pieces.append(word)
        elif pieces and isinstance(pieces[-1], str):
            pieces[-1] += space + word
        else:
            pieces.append(space + word)
    return tuple(pieces)


def _apart(words: Sequence[str | Box], place: int) -> bool:
    """Whether there is a space before the word at ``place``, which is not the first."""
    last, word = words[place - 1], words[place]
    following = words[place + 1] if place + 1 < len(words) else None
    if not isinstance(word, str):
        return True
    if word[0] in ".,;:?!)%" or word == "n't" or (word[0] == "'" and word[1:] in CONTRACTIONS):
        return False
    if word == "'":
        return following not in CONTRACTIONS
    if word == "-":
        return following is None
    if last == "'":
        return not (word in CONTRACTIONS and place > 1)
    return last not in ("(", "-", "$", "#")
