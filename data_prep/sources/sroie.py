"""SROIE (ICDAR 2019): scanned receipts with every line of text and its box.

Official files: those of task 1 (text localisation), training set: for every scan ``X.jpg`` a file ``X.txt`` with a line
of text per line, ``x1,y1,x2,y2,x3,y3,x4,y4,text``: the corners of its box in pixels, clockwise from the top left.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ofa_mi.data.instance import Box
from ofa_mi.data_prep.draft import Draft, choice_of, text
from ofa_mi.data_prep.geometry import clip
from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.reading import read_lines, tidy
from ofa_mi.data_prep.source import Candidate, ImageFile, Source
from ofa_mi.errors import DataError

PAGE = "https://rrc.cvc.uab.es/?ch=13&com=downloads"
NOTE = "behind a registration; put the .jpg and .txt files of task 1, training set, into sroie/train/"
LOCALIZATION = "sroie_text_localization"
EXTRACTION = "sroie_text_extraction"
OPTIONS = 4
ALIKE = 6  # lines nearest in length that wrong options are drawn from

TextLine = tuple[str, Box]


class Sroie(Source):
    """Training receipts → ``sroie_text_localization`` and ``sroie_text_extraction``, one of each per line of text.

    The wrong regions are those of other texts of about the same length on the same receipt, since long texts have wide
    boxes; texts that stand twice on a receipt are not asked for.
    """

    name = "sroie"
    title = "SROIE"
    page = PAGE
    licence = "competition data, research use"
    size = "0.5 GB"
    tasks = (LOCALIZATION, EXTRACTION)
    files = (RawFile(path="sroie/train/", page=PAGE, note=NOTE),)

    def load(self) -> Sequence[str]:
        """One unit per receipt: its name."""
        self.folder = self.raw.find(self.files[0])
        return sorted(name.removesuffix(".txt") for name in os.listdir(self.folder) if name.endswith(".txt"))

    def convert(self, unit: str) -> Iterator[Candidate]:
        """The instances of all lines of a receipt."""
        file = f"sroie/train/{unit}.jpg"
        size = self.raw.image_size((file,))
        if size is None:
            self.drop("all tasks", "the scan is missing or cannot be read")
            return
        lines = self._lines(self.folder / f"{unit}.txt", size)
        for number, line in enumerate(lines):
            for task in self.wanted:
                make = self._localization if task == LOCALIZATION else self._extraction
                draft = make(lines, line, f"{unit}-{number}")
                if draft is not None:
                    yield Candidate(task, f"{unit}-{number}", draft, ImageFile(f"sroie/{unit}.jpg", (file,), size))

    def _lines(self, path: Path, size: tuple[int, int]) -> list[TextLine]:
        found = []
        for number, line in read_lines(path):
            *corners, written = line.split(",", 8)
            try:
                numbers = [float(corner) for corner in corners]
            except ValueError:
                numbers = []
            if len(numbers) != 8:
                raise DataError(f"{path}:{number}: expected eight numbers and a text with commas, found {line!r}")
            box = clip((min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])), size)
            written = tidy(written)
            if box and written:
                found.append((written, box))
            else:
                self.drop("all tasks", "a line without text, or whose box is not on the scan")
        return found

    def _localization(self, lines: list[TextLine], line: TextLine, key: str) -> Draft | None:
        written, box = line
        if sum(other == written for other, _ in lines) > 1:
            self.drop(LOCALIZATION, "the text stands twice on the receipt")
            return None
        others = [other for other in lines if other[0] != written]
        others.sort(key=lambda other: abs(len(other[0]) - len(written)))
        wrong = [(other_box,) for _, other_box in others[:ALIKE] if other_box != box]
        draft = choice_of((box,), wrong, self.rng(LOCALIZATION, key), number=OPTIONS, text=text(written))
        if draft is None:
            self.drop(LOCALIZATION, "the receipt has too few other lines")
        return draft

    def _extraction(self, lines: list[TextLine], line: TextLine, key: str) -> Draft:
        written, box = line
        return Draft(regions=(box,), target=text(written))
