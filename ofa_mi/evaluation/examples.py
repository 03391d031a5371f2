"""Examples for a report: chosen by a rule and a seed, never by hand, and drawn with their boxes."""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ofa_mi.data.images import load_image
from ofa_mi.data.instance import Box, Text, plain
from ofa_mi.data.seeding import generator
from ofa_mi.data.store import path_inside
from ofa_mi.decoding.draw import draw_boxes
from ofa_mi.errors import DataError
from ofa_mi.evaluation.metrics import boxes_of
from ofa_mi.evaluation.predictions import Record, read_predictions
from ofa_mi.evaluation.scoring import PREDICTIONS

RIGHT_FROM = 50.0  # an answer counts as right from this score
MAX_SIDE = 640  # pixels of an image in the report

RULE = (
    "Examples are drawn at random with a fixed seed, not picked: for every task, {count} answers of “{run}” that are "
    "right and {count} that are wrong, if there are so many. An answer is right by accuracy where the task has it, "
    f"otherwise if its primary metric gives it {RIGHT_FROM:.0f} or more. So right and wrong answers are shown in equal "
    "numbers, however often the model is right."
)


@dataclass(frozen=True)
class Example:
    """One question with the answers of all runs.

    Attributes:
        record: The question with the answer by which it was chosen.
        answers: Record of every run that answered it, by label.
        right: Whether the answer by which it was chosen is right.
    """

    record: Record
    answers: Mapping[str, Record]
    right: bool


def choose_examples(runs: Mapping[str, Path], *, count: int, seed: int = 1) -> list[Example]:
    """``count`` right and ``count`` wrong answers of the last run for each task, and what the other runs answered.

    A question's rank is drawn from the seed and its key alone, so that the same questions come up
    whatever else was evaluated.
    """
    *others, chooser = runs
    ranked: dict[tuple[str, bool], list[tuple[float, Record]]] = {}
    for record in read_predictions(runs[chooser] / PREDICTIONS):
        right = is_right(record)
        rank = generator(seed, record.instruction, zlib.crc32(f"{record.task} {record.unique_id}".encode())).random()
        best = ranked.setdefault((record.task, right), [])
        best.append((rank, record))
        best.sort(key=lambda pair: pair[0])
        del best[count:]
    chosen = {record.key: record for best in ranked.values() for _, record in best}
    answers: dict = {key: {} for key in chosen}
    for label in others:
        for record in read_predictions(runs[label] / PREDICTIONS):
            if record.key in answers:
                answers[record.key][label] = record
    order = sorted(chosen.values(), key=lambda r: (r.split, r.task, not is_right(r), r.key))
    return [Example(record, {**answers[record.key], chooser: record}, is_right(record)) for record in order]


def example_image(example: Example, data_dirs: Sequence[str | Path]) -> str | None:
    """The image with boxes as a data URL: given, true, and predicted by the run that chose the example.

    None for text only, and where the image is not there any more: a report can be made without the data.
    """
    record = example.record
    if record.image_path is None or record.data_dir >= len(data_dirs):
        return None
    path = path_inside(str(data_dirs[record.data_dir]), record.image_path)
    if path is None:  # a predictions file must not bring other files into a report
        return None
    try:
        image = load_image(path, name=record.instruction_id)
    except DataError:
        return None
    boxes = {
        "region": record.regions,
        "option": _wrong_options(record),
        "true": record.target_boxes,
        "predicted": record.prediction.boxes,
    }
    drawn = draw_boxes(image, {label: group for label, group in boxes.items() if group})
    drawn.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    drawn.save(file, format="JPEG", quality=88, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def answer_text(record: Record) -> str:
    """A prediction for people; boxes follow the text."""
    return _described(record.prediction.text, record.prediction.boxes)


def truth_text(record: Record) -> str:
    """The right answer for people."""
    if record.target_set is not None:
        return ", ".join(map(plain, record.target_set)) or "none"
    return _described(record.references[0] if record.references else "", record.target_boxes)


def is_right(record: Record) -> bool:
    """Whether an answer counts as right in a report."""
    # The wrong one of two similar options has a high ROUGE-L.
    return record.scores.get("accuracy", primary_score(record)) >= RIGHT_FROM


def primary_score(record: Record) -> float:
    """Score of an answer by its task's primary metric."""
    return next(iter(record.scores.values()))


def _wrong_options(record: Record) -> tuple[Box, ...]:
    options: tuple[Text, ...] = record.options or ()
    boxes = [option[0] for option in options if len(option) == 1 and boxes_of(option)]
    return tuple(box for box in boxes if box not in record.target_boxes)


def _described(text: str, boxes: Sequence[Box]) -> str:
    return " ".join(part for part in (text, *(plain((box,)) for box in boxes)) if part) or "(nothing)"
