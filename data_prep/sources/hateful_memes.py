"""Hateful Memes (Kiela et al., 2020): memes with the text that is written on them.

Official files: ``test_unseen.jsonl``, one JSON object per line with ``id``, ``img`` (``img/01243.png``), ``label`` and
``text``, the text of the meme as its annotators transcribed it; and the folder ``img``. The archive holds them below
``data/``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from ofa_mi.data_prep.draft import Draft, text
from ofa_mi.data_prep.formats.reading import read_json_lines, tidy
from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.source import Candidate, ImageFile, Source

PAGE = "https://www.drivendata.org/competitions/64/hateful-memes/"
NOTE = "behind a registration; unpack the contents of its folder data/ into hateful_memes/"
TASK = "visual_text_extraction"


class Meme(msgspec.Struct):
    """A line of ``test_unseen.jsonl``; whether the meme is hateful is not read."""

    id: int | str
    img: str
    text: str


class HatefulMemes(Source):
    """Unseen test set → ``visual_text_extraction``."""

    name = "hateful_memes"
    title = "Hateful Memes"
    page = PAGE
    licence = "Meta's licence for the challenge: research only"
    size = "3.9 GB"
    tasks = (TASK,)
    files = (
        RawFile(path="hateful_memes/test_unseen.jsonl", page=PAGE, note=NOTE),
        RawFile(path="hateful_memes/img/", page=PAGE, note=NOTE),
    )

    def load(self) -> Sequence[Meme]:
        """One unit per meme."""
        return read_json_lines(self.raw.find(self.files[0]), Meme)

    def convert(self, unit: Meme) -> Iterator[Candidate]:
        """The meme's instance."""
        written = tidy(unit.text)
        if not written:
            self.drop(TASK, "the text is empty or has control characters")
            return
        image = ImageFile(f"hateful_memes/{unit.img.removeprefix('img/')}", (f"hateful_memes/{unit.img}",))
        yield Candidate(TASK, f"test_unseen-{unit.id}", Draft(target=text(written)), image)
