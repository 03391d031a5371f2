"""DAQUAR (Malinowski and Fritz, 2014): questions about photos of rooms, the first data set of its kind.

Official files: ``qa.894.raw.train.txt`` and ``qa.894.raw.test.txt``, in which a line with a question, mostly ending
with ``in the image<N> ?``, is followed by a line with its answer: ``lamp``, ``garbage_bin`` or ``bed, sofa``. The
photos are those of NYU Depth V2: ``nyu_depth_images/image<N>.png``.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ofa_mi.data_prep.draft import Draft, text
from ofa_mi.data_prep.formats.reading import read_lines, tidy
from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.source import Candidate, ImageFile, Source
from ofa_mi.errors import DataError

HOST = "https://datasets.d2.mpi-inf.mpg.de/mateusz14visual-turing"
PAGE = (
    "https://www.mpi-inf.mpg.de/departments/computer-vision-and-machine-learning/research/vision-and-language/"
    "visual-turing-challenge"
)
TASK = "daquar_vqa"
MAX_ORDERED = 3  # things in an answer whose other orders are accepted, too
_IMAGE = re.compile(r"\bimage\s*(\d+)", re.IGNORECASE)
_ENDING = re.compile(r"\s*\b(?:in|on)\s+(?:(?:the|this)\s+)?image\s*\d+\s*\??\s*$", re.IGNORECASE)

Pair = tuple[str, int, str, str]  # split, number of the question's line, question, answer


class Daquar(Source):
    """The full set of 894 objects: its training questions, and its test questions as the test split."""

    name = "daquar"
    title = "DAQUAR"
    page = PAGE
    licence = "research use"
    size = "0.4 GB"
    tasks = (TASK,)
    files = (
        RawFile(path="daquar/qa.894.raw.train.txt", page=PAGE, url=f"{HOST}/qa.894.raw.train.txt"),
        RawFile(path="daquar/qa.894.raw.test.txt", page=PAGE, url=f"{HOST}/qa.894.raw.test.txt"),
        RawFile(path="daquar/nyu_depth_images/", page=PAGE, url=f"{HOST}/nyu_depth_images.tar", unpack="daquar"),
    )

    def load(self) -> Sequence[Pair]:
        """One unit per question."""
        train, test, _ = map(self.raw.find, self.files)
        return [pair for split, path in (("train", train), ("test", test)) for pair in _pairs(split, path)]

    def convert(self, unit: Pair) -> Iterator[Candidate]:
        """The question's instance; its photo is named in the question, mostly at the end."""
        split, number, question, answer = unit
        match = _IMAGE.search(question)
        asked = tidy(_IMAGE.sub("image", _ENDING.sub("", question)).rstrip(" ?"))
        answer = tidy(answer.replace("_", " "))  # "garbage_bin"
        if not match:
            self.drop(TASK, "the question names no image")
        elif not asked or not answer:
            self.drop(TASK, "question or answer is empty or has control characters")
        else:
            name = f"image{match[1]}"
            files = tuple(f"daquar/nyu_depth_images/{name}{suffix}" for suffix in (".png", ".jpg"))
            draft = Draft(question=text(asked), target=text(answer), references=other_orders(answer))
            wanted = "test" if split == "test" else None
            yield Candidate(TASK, f"{split}-{number}", draft, ImageFile(f"daquar/{name}.png", files), split=wanted)


def other_orders(answer: str) -> tuple[str, ...]:
    """The other orders of an answer of two or three things, which are as right; none for longer answers."""
    things = [thing.strip() for thing in answer.split(",")]
    if not 1 < len(things) <= MAX_ORDERED:
        return ()
    orders = dict.fromkeys(", ".join(order) for order in itertools.permutations(things))
    return tuple(order for order in orders if order != answer)


def _pairs(split: str, path: Path) -> Iterator[Pair]:
    lines = read_lines(path)
    if len(lines) % 2:
        raise DataError(f"{path}: has an odd number of lines, so that a question lacks its answer; download it again")
    for (number, question), (_, answer) in zip(lines[::2], lines[1::2], strict=True):
        yield split, number, question, answer
