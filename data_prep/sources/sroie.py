"""SROIE (ICDAR 2019): scanned receipts with every line of text and its box.

Official files: those of task 1 (text localisation), training set: for every scan ``X.jpg`` a file ``X.txt`` with a line
of text per line, ``x1,y1,x2,y2,x3,y3,x4,y4,text``: the corners of its box in pixels, clockwise from the top left.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ofa_mi.data_prep.draft import Draft, choice, text
from ofa_mi.data_prep.formats.reading import read_lines, tidy
from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.source import Candidate, ImageFile, Source
from ofa_mi.errors import DataError, shown
from ofa_mi.geometry import Box, clip

PAGE = "https://rrc.cvc.uab.es/?ch=13&com=downloads"
NOTE = "behind a registration; put the .jpg and .txt files of task 1, training set, into sroie/train/"
LOCALIZATION = "sroie_text_localization"
EXTRACTION = "sroie_text_extraction"
OPTIONS = 4

TextLine = tuple[str, Box]


class Sroie(Source):
    """Training receipts → ``sroie_text_localization`` and ``sroie_text_extraction``.

    Extraction reads every line of text. Localization asks for the texts that stand once on their receipt, in groups of
    four of about the same length: each is asked for with the same four boxes as options, so that a box is right as
    often as the others. What remains is that texts have usual places (a price stands on the right, a total low): a
    baseline that never sees the scan finds half of them.
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
            for task in self.wanted:
                self.drop_without_image(task)
            return
        lines = self._lines(self.folder / f"{unit}.txt", size)
        image = ImageFile(f"sroie/{unit}.jpg", (file,), size)
        if self.wants(EXTRACTION):
            for number, (written, box) in enumerate(lines):
                draft = Draft(regions=(box,), target=text(written))
                yield Candidate(EXTRACTION, f"{unit}-{number}", draft, image)
        if self.wants(LOCALIZATION):
            for number, draft in enumerate(self._localization(lines, unit)):
                yield Candidate(LOCALIZATION, f"{unit}-{number}", draft, image)

    def _lines(self, path: Path, size: tuple[int, int]) -> list[TextLine]:
        found = []
        for number, line in read_lines(path):
            *corners, written = line.split(",", 8)
            try:
                numbers = [float(corner) for corner in corners]
            except ValueError:
                numbers = []
            if len(numbers) != 8:
                raise DataError(f"{path}:{number}: expected eight numbers and a text with commas, found {shown(line)}")
            box = clip((min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])), size)
            written = tidy(written)
            if box and written:
                found.append((written, box))
            else:
                self.drop("all tasks", "a line without text, or whose box is not on the scan")
        return found

    def _localization(self, lines: list[TextLine], unit: str) -> Iterator[Draft]:
        numbers = Counter(written for written, _ in lines)
        once = [(written, box) for written, box in lines if numbers[written] == 1]
        self.drop(LOCALIZATION, "the text stands twice on the receipt", len(lines) - len(once))
        apart = list({box: (written, box) for written, box in once}.values())
        self.drop(LOCALIZATION, "its box is that of another text", len(once) - len(apart))
        whole = len(apart) // OPTIONS * OPTIONS
        self.drop(LOCALIZATION, "left over from groups of four", len(apart) - whole)
        apart.sort(key=lambda line: (len(line[0]), line))
        rng = self.rng(LOCALIZATION, unit)
        for start in range(0, whole, OPTIONS):
            group = rng.sample(apart[start : start + OPTIONS], OPTIONS)
            for written, box in group:
                yield choice((box,), [(other,) for _, other in group], text=text(written))
