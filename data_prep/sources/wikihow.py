"""wikiHow guides with a picture for each step, as the multimodal collection that MultiInstruct used.

Files: ``data/<number>_<title>/wikihow.json`` with ``methods``, a list of ``name`` and ``steps``; a step has a
``headline`` and ``img``, the name of a picture in ``data/<number>_<title>/image/`` or null. The folder's name is the
title with dashes for spaces.

Four tasks, all about the steps of one method, whose headlines must differ from each other:

- *next step, generation*: the image and the headline of step *i*; the goal and the headlines before *i* are the
  context; the answer is the headline of step *i* + 1, which the context never holds;
- *next step, selection*: the image of step *i*; the answer is step *i* + 1 among up to three others that are neither;
- *ordering* of an image and a text: the text is a step *t* with a pictured step on either side, and the image is, by a
  coin, the one before or the one after. The two tasks ask for the same from either end: whether the *image* is the next
  or the previous step (``wikihow_text_image_ordering``), or the *text* (``wikihow_image_text_ordering``). The coin does
  not depend on the text, so that the text alone says nothing about the answer.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

import msgspec

from ofa_mi.data_prep.draft import Draft, choice_of, coin, labelled, text
from ofa_mi.data_prep.formats.reading import read_json, tidy
from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.source import Candidate, ImageFile, Source, held_out

PAGE = "https://drive.google.com/file/d/1vnDduJmuFpeT8yTgtBR9Bj8bXlI4zIJR"
NOTE = "wikihow.tar.gz on Google Drive, which has to be fetched by hand; unpack it in wikihow/ to get wikihow/data/"
GENERATION = "wikihow_next_step_generation"
SELECTION = "wikihow_next_step_selection"
IMAGE_RELATIVE_TO_TEXT = "wikihow_text_image_ordering"
TEXT_RELATIVE_TO_IMAGE = "wikihow_image_text_ordering"
ORDER = ("next", "previous")
MAX_OPTIONS = 4
_TITLE = re.compile(r"\d+_(.+)")


class Step(msgspec.Struct):
    """A step of a method."""

    headline: str
    img: str | None = None


class Method(msgspec.Struct):
    """One way to the goal."""

    steps: list[Step]
    name: str | None = None


class Guide(msgspec.Struct):
    """``wikihow.json``; a guide without methods has none that can be used."""

    methods: list[Method] = []


class WikiHow(Source):
    """All guides → the four temporal ordering tasks; the pictures of one guide are all in the same split."""

    name = "wikihow"
    title = "WikiHow"
    page = PAGE
    licence = "CC BY-NC-SA 3.0 (text and images of wikiHow)"
    size = "about 60 GB"
    tasks = (GENERATION, SELECTION, IMAGE_RELATIVE_TO_TEXT, TEXT_RELATIVE_TO_IMAGE)
    files = (RawFile(path="wikihow/data/", page=PAGE, note=NOTE),)

    def load(self) -> Sequence[str]:
        """One unit per guide: the name of its folder."""
        self.folder = self.raw.find(self.files[0])
        return sorted(entry.name for entry in os.scandir(self.folder) if (self.folder / entry.name).is_dir())

    def convert(self, unit: str) -> Iterator[Candidate]:
        """The instances of all methods of a guide."""
        path = self.folder / unit / "wikihow.json"
        if not path.is_file():
            self.drop("all tasks", "the guide's folder has no wikihow.json")
            return
        match = _TITLE.fullmatch(unit)
        title = (match[1] if match else unit).replace("-", " ")
        for number, method in enumerate(read_json(path, Guide).methods):
            headlines = [tidy(step.headline) for step in method.steps]
            if not all(headlines) or len(set(headlines)) < len(headlines):
                self.drop("all tasks", "a method whose steps are empty or repeat each other")
                continue
            name = tidy(method.name or "")
            goal = f"{title}: {name}" if name else title
            yield from self._method(_MethodView(unit, f"{unit}-{number}", goal, headlines, method.steps))

    def _method(self, method: _MethodView) -> Iterator[Candidate]:
        makers = {
            GENERATION: self._generation,
            SELECTION: self._selection,
            IMAGE_RELATIVE_TO_TEXT: self._ordering,
            TEXT_RELATIVE_TO_IMAGE: self._ordering,
        }
        last = len(method.headlines) - 1
        for task in self.wanted:
            ordering = task in (IMAGE_RELATIVE_TO_TEXT, TEXT_RELATIVE_TO_IMAGE)
            for place in range(1, last) if ordering else range(last):
                shown = (place - 1, place + 1) if ordering else (place,)
                if not all(map(method.image, shown)):
                    self.drop_without_image(task)
                elif (made := makers[task](method, place, task)) is not None:
                    draft, image = made
                    split = "valid" if held_out(method.guide) else "train"
                    yield Candidate(task, f"{method.key}-{place}", draft, image, split=split)

    def _generation(self, method: _MethodView, place: int, task: str) -> tuple[Draft, ImageFile]:
        context = (method.goal, *method.headlines[:place])
        draft = Draft(
            context=tuple(map(text, context)),
            text=text(method.headlines[place]),
            target=text(method.headlines[place + 1]),
        )
        return draft, method.image(place)

    def _selection(self, method: _MethodView, place: int, task: str) -> tuple[Draft, ImageFile] | None:
        others = [text(headline) for i, headline in enumerate(method.headlines) if i not in (place, place + 1)]
        if not others:
            return self.drop(task, "no other step to choose from")
        number = min(MAX_OPTIONS, 1 + len(others))
        rng = self.rng(task, f"{method.key}-{place}")
        draft = choice_of(text(method.headlines[place + 1]), others, rng, number=number, text=text(method.goal))
        return draft and (draft, method.image(place))

    def _ordering(self, method: _MethodView, place: int, task: str) -> tuple[Draft, ImageFile]:
        rng = self.rng(task, f"{method.key}-{place}")
        image_is_next = coin(rng)
        answer_is_next = image_is_next == (task == IMAGE_RELATIVE_TO_TEXT)
        stated = text(f"{method.goal}: {method.headlines[place]}")
        draft = labelled(ORDER[0] if answer_is_next else ORDER[1], ORDER, rng, text=stated)
        return draft, method.image(place + 1 if image_is_next else place - 1)


class _MethodView:
    """One method of a guide as the tasks see it."""

    def __init__(self, guide: str, key: str, goal: str, headlines: list[str], steps: list[Step]) -> None:
        self.guide, self.key, self.goal, self.headlines, self.steps = guide, key, goal, headlines, steps

    def image(self, place: int) -> ImageFile | None:
        """The picture of a step; None if it has none."""
        name = self.steps[place].img
        if not name:
            return None
        return ImageFile(f"wikihow/{self.guide}/{name}", (f"wikihow/data/{self.guide}/image/{name}",))
