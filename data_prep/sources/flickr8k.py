"""Flickr8k (Hodosh et al., 2013): photos of people and animals, with five captions each.

Official files, of ``Flickr8k_text.zip``: ``Flickr8k.token.txt``, whose lines are ``<photo>.jpg#<n>``, a tab, and a
caption; ``Flickr_8k.trainImages.txt`` and ``Flickr_8k.testImages.txt``, names of photos. The photos are in the folder
``Flicker8k_Dataset`` (spelled so).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from ofa_mi.data_prep.draft import Draft, text, yes_no
from ofa_mi.data_prep.formats.reading import read_lines, tidy
from ofa_mi.data_prep.images.flickr_images import flickr_image
from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.source import Candidate, Source
from ofa_mi.data_prep.sources.coco_captions import content_words
from ofa_mi.errors import DataError, shown
from ofa_mi.utils.hashing import hash64

PAGE = "https://hockenmaier.cs.illinois.edu/Framing_Image_Description/KCCA.html"
RELEASE = "https://github.com/jbrownlee/Datasets/releases/download/Flickr8k"
TEXTS = {
    "page": PAGE,
    "url": f"{RELEASE}/Flickr8k_text.zip",
    "unpack": "flickr8k",
    "md5": "bf6c1abcb8e4a833b7f922104de18627",
    "note": "the authors' form is closed; this is a copy",
}
CAPTIONING = "flickr8k_captioning"
MATCHING = "flickr8k_image_text_matching"
WINDOW = 200  # photos that are tried as the partner of one

Photo = tuple[str, str]  # split, name
Pair = tuple[str, str]  # a caption of a photo, and one of the photo that it is paired with


class Flickr8k(Source):
    """Official training and test photos → ``flickr8k_captioning`` and ``flickr8k_image_text_matching``.

    Every caption of a training photo is an instance of captioning; a test photo is one, with all its captions as
    references. For matching, photos of the same split are paired whose captions share no content word, and one caption
    of each, both of as many words, is asked about with both photos: each is right as often as wrong, so that text
    alone gives nothing away.
    """

    name = "flickr8k"
    title = "Flickr8k"
    page = PAGE
    licence = "research use; each photo has its own licence on Flickr"
    size = "1.1 GB"
    tasks = (CAPTIONING, MATCHING)
    files = (
        RawFile(path="flickr8k/Flickr8k.token.txt", **TEXTS),
        RawFile(path="flickr8k/Flickr_8k.trainImages.txt", **TEXTS),
        RawFile(path="flickr8k/Flickr_8k.testImages.txt", **TEXTS),
        RawFile(
            path="flickr8k/Flicker8k_Dataset/",
            page=PAGE,
            url=f"{RELEASE}/Flickr8k_Dataset.zip",
            unpack="flickr8k",
            md5="f18a1e2920de5bd84dae7cf08ec78978",
            note=TEXTS["note"],
        ),
    )

    def load(self) -> Sequence[Photo]:
        """One unit per photo."""
        tokens, train, test, _ = map(self.raw.find, self.files)
        self.captions: dict[str, list[str]] = defaultdict(list)
        for number, line in read_lines(tokens):
            place, tab, caption = line.partition("\t")
            name, mark, _ = place.rpartition("#")
            if not tab or not mark:
                raise DataError(
                    f"{tokens}:{number}: expected a photo, #, a number, a tab and a caption, found {shown(line)}"
                )
            if caption := tidy(caption):
                self.captions[name].append(caption)
        self.photos = {
            split: [line.strip() for _, line in read_lines(path)] for split, path in (("train", train), ("test", test))
        }
        self.partners: dict[str, Pair] = {}
        if self.wants(MATCHING):
            for names in self.photos.values():
                self._pair(names)
        return [(split, name) for split, names in self.photos.items() for name in names]

    def convert(self, unit: Photo) -> Iterator[Candidate]:
        """The instances of one photo."""
        split, name = unit
        captions = self.captions.get(name, [])
        if not captions:
            self.drop("all tasks", "the photo has no caption")
            return
        image = flickr_image(name.split("_")[0].removesuffix(".jpg"), f"flickr8k/Flicker8k_Dataset/{name}")
        fixed = "test" if split == "test" else None
        if self.wants(CAPTIONING):
            for number, draft in enumerate(_captioning(captions, all_at_once=split == "test")):
                yield Candidate(CAPTIONING, f"{name}-{number}", draft, image, split=fixed)
        if self.wants(MATCHING):
            if name not in self.partners:
                self.drop(MATCHING, "no other photo differs enough")
                return
            for truth, caption in zip((True, False), self.partners[name], strict=True):
                draft = yes_no(truth, self.rng(MATCHING, f"{name}-{truth}"), text=text(caption))
                yield Candidate(MATCHING, f"{name}-{draft.target[0]}", draft, image, split=fixed)

    def _pair(self, names: list[str]) -> None:
        """Pair photos, in an order that depends on the seed, with the first that suits among the next ones."""
        waiting = sorted(
            (name for name in names if name in self.captions), key=lambda name: hash64(self.seed, MATCHING, name)
        )
        words = {name: content_words(" ".join(self.captions[name])) for name in waiting}
        while waiting:
            name = waiting.pop()
            for place, other in enumerate(waiting[: -WINDOW - 1 : -1], 1):
                pair = None if words[name] & words[other] else self._alike(name, other)
                if pair:
                    self.partners[name], self.partners[other] = pair, pair[::-1]
                    del waiting[-place]
                    break

    def _alike(self, name: str, other: str) -> Pair | None:
        """A caption of each of two photos, of as many words; None if there are none."""
        by_length = {len(caption.split()): caption for caption in reversed(self.captions[other])}
        found = ((caption, by_length.get(len(caption.split()))) for caption in self.captions[name])
        return next(((own, foreign) for own, foreign in found if foreign), None)


def _captioning(captions: list[str], *, all_at_once: bool) -> list[Draft]:
    """One draft per caption or, for evaluation, one whose references are the other captions."""
    if all_at_once:
        return [Draft(target=text(captions[0]), references=tuple(captions[1:]))]
    return [Draft(target=text(caption)) for caption in captions]
