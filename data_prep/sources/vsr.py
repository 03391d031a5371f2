"""VSR (Liu et al., 2023): statements about where two things in a photo are, true or false.

Official files: ``data/splits/zeroshot/test.jsonl`` of the repository, the split whose things occur in no training
statement. One JSON object per line: ``image`` (a photo of MSCOCO 2017, ``000000017697.jpg``), ``image_link``,
``caption`` (the statement), ``label`` (1 for true), ``relation``, ``subj``, ``obj``, ``annotator_id``,
``vote_true_validator_id`` and ``vote_false_validator_id`` (lists written as text).

The repository's current test file has about 1,200 statements. The one before March 2023 (commit c28c02b) was smaller;
the accuracies in the paper of MultiInstruct are fractions of 731.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import msgspec

from ofa_mi.data_prep.draft import YES_NO, one_of, text
from ofa_mi.data_prep.formats.reading import read_json_lines, tidy
from ofa_mi.data_prep.images.coco_images import TRAIN_IMAGES, VAL_IMAGES, coco_image
from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.source import Candidate, Source

PAGE = "https://github.com/cambridgeltl/visual-spatial-reasoning"
TASK = "visual_spatial_reasoning"


class Statement(msgspec.Struct):
    """A line of ``test.jsonl``."""

    image: Annotated[str, msgspec.Meta(pattern=r"^\d{12}\.jpg$")]
    caption: str
    label: Literal[0, 1]
    relation: str


class Vsr(Source):
    """Zero-shot test set → ``visual_spatial_reasoning``."""

    name = "vsr"
    title = "VSR"
    page = PAGE
    licence = "Apache-2.0 (statements); MSCOCO's for the photos"
    size = "0.4 MB, and the photos of MSCOCO"
    tasks = (TASK,)
    files = (
        RawFile(
            path="vsr/test.jsonl",
            page=PAGE,
            url="https://raw.githubusercontent.com/cambridgeltl/visual-spatial-reasoning/master/data/splits/zeroshot/test.jsonl",
            note="data/splits/zeroshot/test.jsonl of the repository",
            alternatives=("vsr/data/splits/zeroshot/test.jsonl",),
        ),
        TRAIN_IMAGES,
        VAL_IMAGES,
    )

    def load(self) -> Sequence[tuple[int, Statement]]:
        """One unit per statement, with its number in the file, from 1; statements have no other id."""
        return list(enumerate(read_json_lines(self.raw.find(self.files[0]), Statement), 1))

    def convert(self, unit: tuple[int, Statement]) -> Iterator[Candidate]:
        """The statement's instance, with the answers yes and no."""
        number, statement = unit
        caption = tidy(statement.caption)
        if not caption:
            self.drop(TASK, "the statement is empty or has control characters")
            return
        key = f"test-{number}"
        draft = one_of(YES_NO[0] if statement.label else YES_NO[1], YES_NO, self.rng(TASK, key), text=text(caption))
        image = coco_image(int(statement.image.removesuffix(".jpg")))
        yield Candidate(TASK, key, draft, image, {"relation": statement.relation})
