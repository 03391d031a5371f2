"""VizWiz image quality issues (Chiu et al., 2020): what is wrong with photos that blind people took.

Official file: ``annotations/train.json``, a list of ``{"image": "VizWiz_train_00000000.jpg", "flaws": {"FRM": 3, ...},
"unrecognizable": 0}``: how many of five workers saw each flaw; a worker could name several, or none (``NON``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from ofa_mi.data_prep.draft import labelled
from ofa_mi.data_prep.formats.reading import read_json
from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.source import Candidate, ImageFile, Source

PAGE = "https://vizwiz.org/tasks-and-datasets/image-quality-issues/"
TASK = "image_quality"
MAJORITY = 3  # of five workers
FLAWS = {
    "NON": "no flaws",
    "BLR": "blur",
    "FRM": "bad framing",
    "ROT": "rotation",
    "DRK": "too dark",
    "BRT": "too bright",
    "OBS": "obscured",
    "OTH": "other",
}
FREQUENT = ("NON", "BLR", "FRM")


class Photo(msgspec.Struct, frozen=True, gc=False):
    """A photo and its votes."""

    image: str
    flaws: dict[str, int]


class VizWizQuality(Source):
    """Training set → ``image_quality``; the instances and their options are defined in :meth:`convert`."""

    name = "vizwiz_quality"
    title = "VizWiz image quality"
    page = PAGE
    licence = "CC BY 4.0"
    size = "11 GB"
    tasks = (TASK,)
    files = (
        RawFile(
            path="vizwiz/annotations/train.json",
            page=PAGE,
            url="https://vizwiz.cs.colorado.edu/VizWiz_final/image_quality/annotations.zip",
            unpack="vizwiz",
            alternatives=("vizwiz/train.json",),
        ),
        RawFile(
            path="vizwiz/train/",
            page=PAGE,
            url="https://vizwiz.cs.colorado.edu/VizWiz_final/images/train.zip",
            unpack="vizwiz",
        ),
    )

    def load(self) -> Sequence[Photo]:
        """One unit per photo."""
        photos = read_json(self.raw.find(self.files[0]), list[Photo])
        answers = Counter(verdict for photo in photos if (verdict := _verdict(photo)))
        self._frequent = {answer: answers[answer] for answer in FREQUENT}
        self._rare = {answer: answers[answer] for answer in FLAWS if answer not in FREQUENT and answers[answer]}
        return photos

    def convert(self, unit: Photo) -> Iterator[Candidate]:
        """One instance for every photo of which a majority of the workers said exactly one thing.

        A photo with two majorities, e.g. blur and bad framing, has no single right answer and is left out; so is one
        without any. Whatever else is offered as an option was seen by a minority at most.

        Three answers are frequent (no flaws, blur, bad framing) and five are rare, so that with all eight as options
        one would better guess a frequent one. The options are therefore the three frequent answers with one of the
        rare ones, or the three alone; among the instances with the same options every answer is equally often right.
        A photo with a frequent answer gets each rare answer as an option about as often as there are photos for it.
        """
        answer = _verdict(unit)
        if answer is None:
            votes = sum(unit.flaws.get(flaw, 0) >= MAJORITY for flaw in FLAWS)
            self.drop(TASK, "the workers do not agree" if not votes else "more than one flaw")
            return
        rng = self.rng(TASK, unit.image)
        rare = self._rare_option(answer, rng)
        offered = [FLAWS[flaw] for flaw in FREQUENT] + ([FLAWS[rare]] if rare else [])
        draft = labelled(FLAWS[answer], offered, rng, stratum=rare or "frequent")
        image = ImageFile(f"vizwiz/{unit.image}", (f"vizwiz/train/{unit.image}",))
        yield Candidate(TASK, unit.image, draft, image, {"votes": unit.flaws})

    def _rare_option(self, answer: str, rng) -> str | None:
        """The rare answer that is offered; None for none."""
        if answer not in FREQUENT:
            return answer
        drawn = rng.random() * max(self._frequent[answer], sum(self._rare.values()))
        for rare, number in self._rare.items():
            drawn -= number
            if drawn < 0:
                return rare
        return None


def _verdict(photo: Photo) -> str | None:
    """The one thing that a majority said; None if there is no or more than one such thing."""
    agreed = [flaw for flaw in FLAWS if photo.flaws.get(flaw, 0) >= MAJORITY]
    return agreed[0] if len(agreed) == 1 else None
