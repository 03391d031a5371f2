"""MOCHEG (Yao et al., 2023): claims from fact-checking sites, with written evidence and images.

Official files: ``train/Corpus2.csv`` with the columns ``claim_id``, ``Claim``, ``Evidence`` (a passage of HTML),
``cleaned_truthfulness`` (``supported``, ``refuted`` or ``NEI``: not enough information) and others, one row per passage
of evidence, and ``train/images/<claim id>-proof-<…>.jpg``. Claim ids are plain numbers in the table and have leading
zeros in file names (``00281-proof-11-….jpg``). The column ``ruling_outline``, the journalists' summary, is not used: it
states the verdict.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ofa_mi.data_prep.draft import one_of, text
from ofa_mi.data_prep.formats.reading import read_table, tidy
from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.source import Candidate, ImageFile, Source
from ofa_mi.errors import DataError, shown

PAGE = "https://github.com/VT-NLP/Mocheg"
NOTE = "the page has a form to fill in; unpack mocheg.tar.gz in the raw folder"
TASK = "multimodal_factual_checking"
VERDICTS = {"supported": "yes", "refuted": "no", "nei": "not sure"}
_TAG = re.compile(r"<[^>]*>")
_IMAGE = re.compile(r"(\d+)-proof.*")


@dataclass(slots=True)
class Claim:
    """A claim with all its evidence.

    Attributes:
        claim_id: Its number.
        claim: What is claimed.
        verdict: Answer to whether it is supported.
        evidence: Passages, without repetitions, in the order of the file.
    """

    claim_id: int
    claim: str
    verdict: str
    evidence: list[str] = field(default_factory=list)


class Mocheg(Source):
    """Training set → ``multimodal_factual_checking``: one instance per claim, with one of its images."""

    name = "mocheg"
    title = "MOCHEG"
    page = PAGE
    licence = "CC BY 4.0"
    size = "about 30 GB"
    tasks = (TASK,)
    version = 2
    files = (
        RawFile(path="mocheg/train/Corpus2.csv", page=PAGE, note=NOTE),
        RawFile(path="mocheg/train/images/", page=PAGE, note=NOTE),
    )

    def load(self) -> Sequence[Claim]:
        """One unit per claim."""
        table, folder = map(self.raw.find, self.files)
        claims: dict[int, Claim] = {}
        columns = ("claim_id", "Claim", "Evidence", "cleaned_truthfulness")
        for number, row in enumerate(read_table(table, columns=columns), 1):
            verdict = VERDICTS.get(row["cleaned_truthfulness"].strip().lower())
            if verdict is None:
                found = row["cleaned_truthfulness"]
                raise DataError(f"{table}: row {number}: verdict {shown(found)} is none of {', '.join(VERDICTS)}")
            if not (written := row["claim_id"].strip()).isdecimal():
                raise DataError(f"{table}: row {number}: claim_id {shown(written)} is not a number")
            claim = claims.setdefault(int(written), Claim(int(written), plain_text(row["Claim"]), verdict))
            passage = plain_text(row["Evidence"])
            if passage and passage not in claim.evidence:
                claim.evidence.append(passage)
        self.images: dict[int, list[str]] = {}
        for name in sorted(os.listdir(folder)):
            if match := _IMAGE.fullmatch(name):
                self.images.setdefault(int(match[1]), []).append(name)
        return list(claims.values())

    def convert(self, unit: Claim) -> Iterator[Candidate]:
        """The claim's instance."""
        names = self.images.get(unit.claim_id)
        if not names:
            self.drop_without_image(TASK)
        elif not unit.claim or not unit.evidence:
            self.drop(TASK, "claim or evidence is empty or has control characters")
        else:
            rng = self.rng(TASK, unit.claim_id)
            name = rng.choice(names)
            draft = one_of(
                unit.verdict,
                tuple(VERDICTS.values()),
                rng,
                context=tuple(map(text, unit.evidence)),
                text=text(unit.claim),
            )
            image = ImageFile(f"mocheg/{name}", (f"mocheg/train/images/{name}",))
            yield Candidate(TASK, f"train-{unit.claim_id}", draft, image)


def plain_text(value: str) -> str:
    """HTML without its tags and entities, on one line."""
    return tidy(html.unescape(_TAG.sub(" ", value)))
