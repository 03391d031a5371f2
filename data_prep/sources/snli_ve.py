"""SNLI-VE (Xie et al., 2019): does a photo imply a statement, contradict it, or neither?

Official files: the three of https://github.com/necla-ml/SNLI-VE on Google Drive. ``snli_ve_test.jsonl`` holds one JSON
object per line: ``Flickr30K_ID`` (the photo's number), ``pairID``, ``sentence1`` (the caption that stood for the photo
in SNLI, never shown here), ``sentence2`` (the statement), ``gold_label`` ("entailment", "neutral", "contradiction", or
"-" where the annotators disagreed, which is left out) and ``annotator_labels``. The test set has 17,901 pairs on 1,000
photos of Flickr30k.

The statement alone says much: a baseline that sees nothing else gets 61 % where chance is 33 % and the most frequent
answer 39 % (``ofa-mi data check`` on 3,217 pairs of the development set).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import msgspec

from ofa_mi.data_prep.draft import one_of, text
from ofa_mi.data_prep.formats.reading import read_json_lines, tidy
from ofa_mi.data_prep.images.flickr_images import FLICKR30K_IMAGES, flickr_image
from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.source import Candidate, Source

PAGE = "https://github.com/necla-ml/SNLI-VE"
TASK = "visual_entailment"
ANSWERS = {"entailment": "yes", "neutral": "not sure", "contradiction": "no"}
DISAGREEMENT = "-"


class Pair(msgspec.Struct):
    """A line of ``snli_ve_test.jsonl``."""

    Flickr30K_ID: Annotated[str, msgspec.Meta(pattern=r"^\d+$")]
    pairID: str
    sentence2: str
    gold_label: Literal["entailment", "neutral", "contradiction", "-"]


class SnliVe(Source):
    """Test set → ``visual_entailment``, with the answers yes, not sure and no."""

    name = "snli_ve"
    title = "SNLI-VE"
    page = PAGE
    licence = "CC BY-SA 4.0 (SNLI); the photos' own licences on Flickr"
    size = "a few MB, and 4.4 GB of photos of Flickr30k"
    tasks = (TASK,)
    files = (
        RawFile(
            path="snli_ve/snli_ve_test.jsonl",
            page=PAGE,
            url="https://storage.googleapis.com/allennlp-public-data/snli-ve/snli_ve_test.jsonl.gz",
            unpack="snli_ve",
            note="AllenNLP's copy; the authors' own is on Google Drive",
        ),
        FLICKR30K_IMAGES,
    )

    def load(self) -> Sequence[Pair]:
        """One unit per pair."""
        return read_json_lines(self.raw.find(self.files[0]), Pair)

    def convert(self, unit: Pair) -> Iterator[Candidate]:
        """The pair's instance, unless its label is missing."""
        statement = tidy(unit.sentence2)
        if unit.gold_label == DISAGREEMENT:
            self.drop(TASK, "the annotators did not agree on a label")
        elif not statement:
            self.drop(TASK, "the statement is empty or has control characters")
        else:
            options = tuple(ANSWERS.values())
            draft = one_of(ANSWERS[unit.gold_label], options, self.rng(TASK, unit.pairID), text=text(statement))
            yield Candidate(TASK, unit.pairID, draft, flickr_image(unit.Flickr30K_ID))
