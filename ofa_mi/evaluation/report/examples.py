"""Examples for a report: chosen by rules and a seed, never by hand."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from ofa_mi.document.pictures import small_jpeg
from ofa_mi.errors import DataError
from ofa_mi.evaluation.predictions import Key, Record, read_predictions
from ofa_mi.evaluation.report.study import TASK_NAME, Run, Strategy
from ofa_mi.evaluation.scoring.scores import PREDICTIONS
from ofa_mi.geometry import Box
from ofa_mi.instances.images import load_image
from ofa_mi.instances.instance import plain
from ofa_mi.utils.files import path_inside
from ofa_mi.utils.seeding import generator

RIGHT_FROM = 50.0  # an answer counts as right from this score
MAX_SIDE = 480  # pixels of an image in the report
MAX_BYTES = 25_000  # of an image in the report

KINDS = {"random": "drawn at random", "differ": "strategies differ", "best": "best", "worst": "worst"}
RULE = (
    "Examples are chosen by rules with a fixed seed, not picked. For every task: {count} drawn at random, which are "
    "what its answers usually look like; {count} where the strategies' scores lie furthest apart; and the {count} best "
    "and the {count} worst by the mean score over strategies. An instance is shown once; ties are broken by the seed. "
    f"The score is accuracy where the task has it, otherwise its primary metric; ✓ stands from {RIGHT_FROM:.0f}. Of a "
    "strategy with several seeds the first is shown. A strategy that is asked by the task's name stands beside any "
    "instruction that the others were given."
)


@dataclass(frozen=True)
class Example:
    """One question with the answers of all strategies.

    Attributes:
        record: The question, with the answer of the first strategy that has one.
        answers: Record of every strategy that answered it, by name.
        kind: Why it is shown, a key of :data:`KINDS`.
        data_dirs: Data directories of the run of ``record``.
    """

    record: Record
    answers: Mapping[str, Record]
    kind: str
    data_dirs: tuple[str, ...]


def choose_examples(strategies: Sequence[Strategy], *, count: int, seed: int = 1) -> list[Example]:
    """Up to ``count`` examples of each kind and task, of the first seed of every strategy.

    A question's rank is drawn from the seed and its key alone, so that the same questions come up at random
    whatever else was evaluated.
    """
    runs = [(s.name, run) for s in strategies if s.seeds for run in s.seeds[0].runs]
    if count < 1 or not runs:
        return []
    # A strategy without instructions has one answer per instance, which stands beside that to every instruction.
    numbered = [pair for pair in runs if pair[1].condition != TASK_NAME] or runs
    scores: dict[str, dict[Key, list[tuple[float, float]]]] = {}
    for _, run in numbered:
        for record in _records(run):
            scores.setdefault(record.task, {}).setdefault(record.key, []).append(score_pair(record))
    unnumbered: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for _, run in runs:
        for record in _records(run) if run not in [other for _, other in numbered] else ():
            unnumbered.setdefault((record.task, record.unique_id), []).append(score_pair(record))
    kinds: dict[Key, str] = {}
    for task, questions in scores.items():
        beside = {key: [*found, *unnumbered.get((task, key[2]), ())] for key, found in questions.items()}
        kinds |= _choose(beside, count, seed)
    keys = {(task, unique_id): (task, number, unique_id) for task, number, unique_id in kinds}
    answers: dict[Key, dict[str, tuple[Record, Run]]] = {key: {} for key in kinds}
    for name, run in runs:
        alone = run.condition == TASK_NAME
        for record in _records(run):
            key = keys.get((record.task, record.unique_id)) if alone else record.key
            if key in answers:
                answers[key][name] = record, run
    examples = []
    for key, given in answers.items():
        record, run = next((pair for pair in given.values() if pair[0].key == key), next(iter(given.values())))
        found = {name: answer for name, (answer, _) in given.items()}
        examples.append(Example(record, found, kinds[key], tuple(map(str, run.notes.get("data", ())))))
    order = list(KINDS)
    return sorted(examples, key=lambda e: (e.record.split, e.record.task, order.index(e.kind), e.record.key))


def _records(run: Run) -> Iterator[Record]:
    return read_predictions(run.directory / PREDICTIONS)


def _choose(questions: Mapping[Key, Sequence[tuple[float, float]]], count: int, seed: int) -> dict[Key, str]:
    """Why each of the chosen questions of one task is shown."""
    # A question that some strategies were not asked cannot be compared by its mean.
    most = max(map(len, questions.values()))
    full = {key: scores for key, scores in questions.items() if len(scores) == most}
    ranks = {key: _rank(key, seed) for key in full}
    means = {key: tuple(map(fmean, zip(*scores, strict=True))) for key, scores in full.items()}
    gaps = {key: max(s for s, _ in scores) - min(s for s, _ in scores) for key, scores in full.items()}
    # Drawn first, so that the other kinds take nothing away from what is typical.
    orders = {
        "random": sorted(full, key=lambda key: ranks[key]),
        "differ": sorted((key for key in full if gaps[key] > 0), key=lambda key: (-gaps[key], ranks[key])),
        "best": sorted(full, key=lambda key: (*(-mean for mean in means[key]), ranks[key])),
        "worst": sorted(full, key=lambda key: (*means[key], ranks[key])),
    }
    chosen: dict[Key, str] = {}
    shown: set[str] = set()
    for kind, order in orders.items():
        left = [key for key in _first_of_each_instance(order) if key[2] not in shown][:count]
        chosen |= dict.fromkeys(left, kind)
        shown |= {key[2] for key in left}
    return chosen


def _first_of_each_instance(order: Sequence[Key]) -> list[Key]:
    first: dict[str, Key] = {}
    for key in order:
        first.setdefault(key[2], key)
    return list(first.values())


def _rank(key: Key, seed: int) -> float:
    task, instruction, unique_id = key
    return float(generator(seed, instruction, zlib.crc32(f"{task} {unique_id}".encode())).random())


def score_pair(record: Record) -> tuple[float, float]:
    """Accuracy where the task has it, and the primary metric, by which questions of one accuracy are told apart."""
    primary = next(iter(record.scores.values()))
    # The wrong one of two similar options has a high ROUGE-L.
    return record.scores.get("accuracy", primary), primary


def is_right(record: Record) -> bool:
    """Whether an answer counts as right in a report."""
    return score_pair(record)[0] >= RIGHT_FROM


def answer_text(record: Record) -> str:
    """A prediction for people; boxes follow the text."""
    return _described(record.prediction.text, record.prediction.boxes)


def truth_text(record: Record) -> str:
    """The right answer for people."""
    if record.target_set is not None:
        return ", ".join(map(plain, record.target_set)) or "none"
    return _described(record.references[0] if record.references else "", record.target_boxes)


def _described(text: str, boxes: Sequence[Box]) -> str:
    places = (f"[{', '.join(f'{corner:.0f}' for corner in box)}]" for box in boxes)
    return " ".join(part for part in (text, *places) if part) or "(nothing)"


def image_bytes(example: Example) -> bytes | None:
    """The image as a small JPEG.

    None for text only, and where the image is not there any more: a report can be made without the data.
    """
    record = example.record
    if record.image_path is None or record.data_dir >= len(example.data_dirs):
        return None
    path = path_inside(example.data_dirs[record.data_dir], record.image_path)
    if path is None:  # a predictions file must not bring other files into a report
        return None
    try:
        image = load_image(path, name=record.instruction_id).convert("RGB")
    except DataError:
        return None
    return small_jpeg(image, (MAX_SIDE, MAX_SIDE), MAX_BYTES)
