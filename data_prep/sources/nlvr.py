"""NLVR (Suhr et al., 2017): statements about drawings of three boxes with coloured shapes, true or false.

Official files: the repository ``lil-lab/nlvr``, folder ``nlvr/`` (NLVR 1; NLVR 2 with photos is another data set).
``test/test.json`` holds one JSON object per line with ``sentence``, ``label`` ("true" or "false"), ``identifier`` and
``directory``; example *n-m* is drawn six times, with its boxes in every order, as
``test/images/<directory>/test-<n-m>-<k>.png``. As in the official evaluation, every drawing is one instance: 5,940 of
990 examples. The paper of MultiInstruct drew one of the six at random; its accuracies are fractions of 990.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import msgspec

from ofa_mi.data_prep.draft import one_of, text
from ofa_mi.data_prep.formats.reading import read_json_lines, tidy
from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.source import Candidate, ImageFile, Source

PAGE = "https://github.com/lil-lab/nlvr"
ARCHIVE = {
    "page": PAGE,
    "url": "https://github.com/lil-lab/nlvr/archive/refs/heads/master.zip",
    "unpack": "nlvr",
    "inside": "nlvr-master/nlvr",
}
TASK = "nlvr"
DRAWINGS = 6  # of each example
ANSWERS = {"true": "yes", "false": "no"}


class Example(msgspec.Struct):
    """A line of ``test.json``."""

    sentence: str
    label: Literal["true", "false"]
    identifier: Annotated[str, msgspec.Meta(pattern=r"^\d+-\d+$")]
    directory: Annotated[str, msgspec.Meta(pattern=r"^\d+$")]


class Nlvr(Source):
    """Public test set → ``nlvr``."""

    name = "nlvr"
    title = "NLVR"
    page = PAGE
    licence = "CC BY 4.0"
    size = "0.3 GB"
    tasks = (TASK,)
    files = (RawFile(path="nlvr/test/test.json", **ARCHIVE), RawFile(path="nlvr/test/images/", **ARCHIVE))

    def load(self) -> Sequence[Example]:
        """One unit per example."""
        return read_json_lines(self.raw.find(self.files[0]), Example)

    def convert(self, unit: Example) -> Iterator[Candidate]:
        """One instance per drawing; the options are in random order."""
        statement = tidy(unit.sentence)
        if not statement:
            self.drop(TASK, "the statement is empty or has control characters", DRAWINGS)
            return
        for number in range(DRAWINGS):
            key = f"test-{unit.identifier}-{number}"
            draft = one_of(ANSWERS[unit.label], tuple(ANSWERS.values()), self.rng(TASK, key), text=text(statement))
            image = ImageFile(f"nlvr/{unit.directory}/{key}.png", (f"nlvr/test/images/{unit.directory}/{key}.png",))
            yield Candidate(TASK, key, draft, image)
