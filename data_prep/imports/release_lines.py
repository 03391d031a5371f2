"""A line of the public release as an instance: what is repaired in its fields, and what is special about its task."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from ofa_mi.data_prep.draft import Draft, text
from ofa_mi.data_prep.formats.reading import tidy
from ofa_mi.data_prep.source import Candidate, ImageFile, Source
from ofa_mi.data_prep.sources.visdial import asked
from ofa_mi.errors import DataError, shown
from ofa_mi.geometry import Box, clip
from ofa_mi.instances.instance import Text
from ofa_mi.instructions.spec import TaskSpec

ORDER = ("previous", "next")


class Line(msgspec.Struct):
    """The fields of a line that matter; the ready-made ``prompt`` and ``target`` do not."""

    unique_id: str
    task_name: str
    image_path: str
    target_txt: str
    question: str = ""
    text: str = ""
    context: str | list[Any] = ""
    options: list[str] | None = None
    region: list[str] = []
    answer: str | None = None
    meta_data: dict[str, Any] = {}


class _Unusable(Exception):
    """A line makes no instance; says why in a few words."""


class LineImporter:
    """One line on its way to an instance.

    Args:
        source: Counts repairs and what is left out, and draws at random.
        line: The line.
        where: Its file and number.
        spec: Its task.
        image: Its image.
        size_of: Gives the size of an image; None where it is missing.
    """

    def __init__(
        self,
        source: Source,
        line: Line,
        where: str,
        spec: TaskSpec,
        image: ImageFile,
        size_of: Callable[[tuple[str, ...]], tuple[int, int] | None],
    ) -> None:
        self.source, self.line, self.where, self.spec = source, line, where, spec
        self.image, self.size_of = image, size_of
        self.image_size: tuple[int, int] | None = None

    def candidate(self, repeat: int) -> Candidate | None:
        """The instance; None if the line cannot be used.

        Args:
            repeat: How many earlier lines have the same id.
        """
        try:
            draft = SPECIAL.get(self.line.task_name, LineImporter.plain)(self)
        except _Unusable as reason:
            self.source.drop(self.spec.name, str(reason))
            return None
        if repeat:
            self.repaired("id that an earlier line has")
        key = f"{self.line.unique_id}-{repeat + 1}" if repeat else self.line.unique_id
        meta = {"release_task": self.line.task_name}
        if self.line.answer is not None:
            meta["answer"] = self.line.answer
        return Candidate(self.spec.name, key, draft, self.image, meta)

    # -- fields

    def repaired(self, what: str) -> None:
        self.source.repair(self.spec.name, what)

    def fail(self, message: str):
        raise DataError(f"{self.where}: {shown(self.line.unique_id)}: {message}")

    def box(self, value: Any) -> Box:
        """A box from four numbers in a string, cut to the image."""
        numbers = value.split() if isinstance(value, str) else value
        try:
            x0, y0, x1, y1 = map(float, numbers)
        except (TypeError, ValueError):
            self.fail(f"expected a region of four numbers, found {shown(value)}")
        if self.image_size is None:
            self.image_size = self.size_of(self.image.files)
        size = self.image_size or (max(x1, 1), max(y1, 1))  # without the image the instance is left out later
        box = clip((x0, y0, x1, y1), size)
        if box is None:
            raise _Unusable("region outside the image or smaller than a pixel")
        if box[0] > x0 + 1 or box[1] > y0 + 1 or box[2] < x1 - 1 or box[3] < y1 - 1:
            self.repaired("region that reaches outside the image")
        return box

    def boxes(self, values: Any) -> tuple[Box, ...]:
        if not isinstance(values, list) or not values:
            self.fail(f"expected a list of regions, found {shown(values)}")
        return tuple(self.box(value) for value in values)

    def named_box(self, name: str) -> Box:
        """The first box under a name of ``meta_data["object_regions"]``."""
        regions = self.line.meta_data.get("object_regions")
        if not isinstance(regions, dict) or name not in regions:
            self.fail(f"meta_data has no object_regions[{shown(name)}]")
        return self.boxes(regions[name])[0]

    def meta(self, name: str) -> str:
        value = self.line.meta_data.get(name)
        if not isinstance(value, str) or not value.strip():
            self.fail(f"meta_data[{shown(name)}] must be text, found {shown(value)}")
        return value

    def options(self) -> tuple[Text, ...] | None:
        """The options, without repetitions, as boxes where the task's options are regions."""
        if self.line.options is None:
            return None
        region = "region_accuracy" in self.spec.metrics
        options = [(self.box(option),) if region else _tidy(option) for option in self.line.options]
        unique = tuple(dict.fromkeys(option for option in options if option))
        if len(unique) < len(options):
            self.repaired("option that is there twice or empty")
        return unique

    def target(self) -> Text:
        """The answer as the task has it: text, one box, or several."""
        if self.spec.output == "regions":
            return self.boxes(self.line.region)
        if self.spec.output == "region" or "region_accuracy" in self.spec.metrics:
            return (self.box(self.line.target_txt),)
        return _tidy(self.line.target_txt)

    def answers(self) -> tuple[str, ...]:
        """What all annotators answered."""
        answers = self.line.meta_data.get("answers")
        return tuple(map(str, answers)) if isinstance(answers, list) else ()

    # -- tasks

    def plain(self, **changes: Any) -> Draft:
        """A draft whose fields are those of the line."""
        inputs = self.spec.inputs
        fields = {
            "question": _tidy(self.line.question) if "question" in inputs else (),
            "text": _tidy(self.line.text) if "text" in inputs else (),
            "context": _texts(self.line.context) if "context" in inputs else (),
            "options": self.options() if "options" in inputs else None,
            "answers": self.answers(),
        }
        if "regions" not in changes and any(name.startswith("region") for name in inputs):
            fields["regions"] = self.boxes(self.line.region)
        if "target_set" not in changes:
            fields["target"] = self.target()
        return Draft(**(fields | changes))

    def given_region(self) -> Draft:
        """Selection among regions: the given region is in ``meta_data``, ``region`` is the answer."""
        return self.plain(regions=(self.named_box("given_region"),))

    def region_overlap(self) -> Draft:
        """Two regions: the one in ``meta_data`` and the one in ``region``."""
        return self.plain(regions=(self.named_box("given_region"), *self.boxes(self.line.region)))

    def relation_from(self, name: str) -> Draft:
        """Localisation in a relation: the other party's region and the relation are in ``meta_data``."""
        return self.plain(regions=(self.named_box(name),), text=_tidy(self.meta("relation")))

    def relation_party(self, place: int) -> Draft:
        """Identification in a relation: ``region`` holds subject and object, of which one is shown."""
        boxes = self.boxes(self.line.region)
        if len(boxes) != 2:
            self.fail(f"expected the regions of subject and object, found {len(boxes)}")
        return self.plain(regions=(boxes[place],), text=_tidy(self.meta("relation")))

    def object_set(self) -> Draft:
        """A set of options, joined in any order in ``target_txt``."""
        options = self.options() or ()
        right = {name.strip() for name in self.line.target_txt.split(", ")}
        chosen = tuple(option for option in options if option[0] in right)
        if len(chosen) != len(right):
            self.fail(f"target_txt {shown(self.line.target_txt)} names something that is not an option")
        if len(chosen) > 1:
            self.repaired("several answers joined in any order")
        return self.plain(target_set=chosen)

    def disaster(self) -> Draft:
        """The options are the union of three label sets; ``meta_data`` has those of the task."""
        options = self.line.meta_data.get("options")
        if not isinstance(options, list) or self.line.target_txt not in options:
            self.fail("meta_data has no options with the answer among them")
        if len(options) < len(self.line.options or ()):
            self.repaired("options of other tasks")
        return self.plain(options=tuple(_tidy(option) for option in options))

    def next_step(self) -> Draft:
        """The context lists all steps, the answer included; only those before the current one belong there."""
        steps = _texts(self.line.context)
        current = _tidy(self.line.text)
        done = steps[: steps.index(current)] if current in steps else steps
        answer = _tidy(self.line.target_txt)
        if answer in steps:
            self.repaired("answer in the context")
        done = tuple(step for step in done if step != answer)
        return self.plain(context=(_tidy(self.meta("method")), *done))

    def next_step_selection(self) -> Draft:
        """The goal, which only stands in the prompt, is the text."""
        return self.plain(text=_tidy(self.meta("method")))

    def step_order(self) -> Draft:
        """The options only stand in the prompt; the goal goes before the step."""
        self.repaired("options only in the prompt")
        rng = self.source.rng(self.spec.name, self.where)
        goal = f"{self.meta('method')}: {self.line.text}"
        return self.plain(text=_tidy(goal), options=tuple(text(word) for word in rng.sample(ORDER, 2)))

    def dialogue(self) -> Draft:
        """Caption and earlier turns, which the release's prompts leave out, are the context."""
        turns = self.line.meta_data.get("dialog_hist", [])
        try:
            spoken = [f"{asked(tidy(turn['q']))} {turn['a']}" for turn in turns]
        except (TypeError, KeyError, AttributeError):
            self.fail(f"expected dialog_hist as a list of {{q, a}}, found {shown(turns)}")
        if turns:
            self.repaired("dialogue history that is missing from the prompt")
        return self.plain(context=_texts([self.meta("caption"), *spoken]))

    def named_people(self) -> Draft:
        """A question and answers that name people, whose regions go behind their names."""
        regions = self.line.meta_data.get("object_regions")
        if not isinstance(regions, dict):
            self.fail("meta_data has no object_regions")
        boxes = {name: self.boxes(values)[0] for name, values in regions.items()}
        options = tuple(_mention(option, boxes) for option in self.line.options or ())
        return self.plain(
            question=_mention(self.line.question, boxes),
            options=options,
            target=_mention(self.line.target_txt, boxes),
        )


# What is special about a task of the release, by its name there.
SPECIAL: dict[str, Callable[[LineImporter], Draft]] = {
    **dict.fromkeys(
        (
            "select_overlap_most_region",
            "select_overlap_least_region",
            "select_overlaped_region",
            "select_nonoverlaped_region",
        ),
        LineImporter.given_region,
    ),
    **dict.fromkeys(("medic_disaster_types", "medic_informative", "medic_damage_severity"), LineImporter.disaster),
    **dict.fromkeys(("missing_object_selection", "region_object_selection"), LineImporter.object_set),
    **dict.fromkeys(("wikihow_text_image_step_order", "wikihow_image_text_step_order"), LineImporter.step_order),
    "if_region_overlap": LineImporter.region_overlap,
    "visual_object_region": lambda line: line.relation_from("subject"),
    "visual_subject_region": lambda line: line.relation_from("object"),
    "visual_object_identification": lambda line: line.relation_party(0),
    "visual_subject_identification": lambda line: line.relation_party(1),
    "wikihow_next_step": LineImporter.next_step,
    "wikihow_immediate_next_step_selection": LineImporter.next_step_selection,
    "visual_dialog": LineImporter.dialogue,
    "commonsense_VQA": LineImporter.named_people,
}


def _tidy(value: str) -> Text:
    """A text of the release as instances hold it; empty if it is, or if it cannot be used."""
    return text(words) if (words := tidy(value)) else ()


def _texts(value: str | list[Any]) -> tuple[Text, ...]:
    values = [value] if isinstance(value, str) else value
    return tuple(tidy for part in values if (tidy := _tidy(str(part))))


def _mention(value: str, boxes: dict[str, Box]) -> Text:
    """Put the box of everything that is named behind its name, where it is named first."""
    if not boxes:
        return _tidy(value)
    longest_first = sorted(boxes, key=len, reverse=True)  # "person 12" before "person 1"
    parts = re.split(rf"\b({'|'.join(map(re.escape, longest_first))})\b", tidy(value))
    pieces: list[str | Box] = [parts[0]]
    for name, rest in zip(parts[1::2], parts[2::2], strict=True):
        if boxes[name] in pieces:
            pieces[-1] += name + rest
        else:
            pieces[-1:] = [f"{pieces[-1]}{name} ", boxes[name], rest]
    return tuple(piece for piece in pieces if piece)
