"""NLVR (Suhr et al., 2017): statements about drawings of three boxes with coloured shapes, true or false.

Official files: the repository ``lil-lab/nlvr``, folder ``nlvr/`` (NLVR 1; NLVR 2 with photos is another data set).
``test/test.json`` holds one JSON object per line with ``sentence``, ``label`` ("true" or "false"), ``identifier`` and
``directory``; example *n-m* is drawn six times, with its boxes in every order, as
``test/images/<directory>/test-<n-m>-<k>.png``. As in the official evaluation, every drawing is one instance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from ofa_mi.data_prep.draft import YES_NO, Draft, text
from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.reading import read_json_lines
from ofa_mi.data_prep.source import Candidate, ImageFile, Source

PAGE = "https://github.com/lil-lab/nlvr"
DRAWINGS = 6  # of each example
ANSWERS = {"true": "yes", "false": "no"}


class Example(msgspec.Struct):
    """A line of ``test.json``."""

    sentence: str
    label: Literal["true", "false"]
    identifier: str
    directory: str


class Nlvr(Source):
    """Public test set → ``nlvr``."""

    name = "nlvr"
    title = "NLVR"
    page = PAGE
    licence = "CC BY 4.0"
    size = "0.3 GB"
    tasks = ("nlvr",)
    files = (
        RawFile(path="nlvr/test/test.json", page=PAGE),
        RawFile(path="nlvr/test/images/", page=PAGE),
    )

    def load(self) -> Sequence[Example]:
        """One unit per example."""
        return read_json_lines(self.raw.find(self.files[0]), Example)

    def convert(self, unit: Example) -> Iterator[Candidate]:
        """One instance per drawing; the options are in random order."""
        for number in range(DRAWINGS):
            path = f"nlvr/test/images/{unit.directory}/test-{unit.identifier}-{number}.png"
            key = f"test-{unit.identifier}-{number}"
            options = self.rng("nlvr", key).sample([text(answer) for answer in YES_NO], len(YES_NO))
            draft = Draft(text=text(unit.sentence), options=tuple(options), target=text(ANSWERS[unit.label]))
            image = ImageFile(f"nlvr/{unit.directory}/{key}.png", (path,))
            yield Candidate("nlvr", key, draft, image)
