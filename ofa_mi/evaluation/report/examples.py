"""Examples for a report: chosen by rules and a seed, never by hand, and shown with their boxes."""

from __future__ import annotations

import base64
import html
import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from PIL import Image

from ofa_mi.errors import DataError
from ofa_mi.evaluation.predictions import Key, Record, read_predictions
from ofa_mi.evaluation.report.blocks import escape
from ofa_mi.evaluation.report.charts import COLOURS, shortened
from ofa_mi.evaluation.report.study import TASK_NAME, Run, Strategy
from ofa_mi.evaluation.scoring.scores import PREDICTIONS
from ofa_mi.evaluation.scoring.tables import task_label
from ofa_mi.geometry import Box
from ofa_mi.geometry import iou as box_iou
from ofa_mi.instances.images import load_image
from ofa_mi.instances.instance import Text, boxes_of, plain
from ofa_mi.utils.files import path_inside
from ofa_mi.utils.seeding import generator

RIGHT_FROM = 50.0  # an answer counts as right from this score
MAX_SIDE = 480  # pixels of an image in the report
MAX_BYTES = 25_000  # of an image in the report
TINY = 160  # pixels; smaller images are shown with their pixels
SHOWN_HEIGHT = 340  # pixels of an image on the page, at most
SAME_IOU = 0.9  # boxes that overlap more have one label

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
    side = MAX_SIDE
    while True:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        for quality in (85, 70, 55, 40):
            file = io.BytesIO()
            image.save(file, format="JPEG", quality=quality, optimize=True)
            if file.tell() <= MAX_BYTES:
                return file.getvalue()
        side = side * 3 // 4


# -- HTML and Markdown


def examples_html(examples: Sequence[Example], strategies: Sequence[str]) -> str:
    """Cards by task, each of which opens; the script of the page adds filters."""
    parts = []
    for number, task in enumerate(dict.fromkeys(example.record.task for example in examples)):
        chosen = [example for example in examples if example.record.task == task]
        kind = "zero-shot" if chosen[0].record.split == "eval" else "trained"
        cards = "".join(_card(example, strategies) for example in chosen)
        label = html.escape(task_label(task))
        parts.append(
            f"<details class='task' data-task='{label}'{' open' if number == 0 else ''}>"
            f"<summary>{label} <small>{kind}, {len(chosen)} examples</small></summary>"
            f"<div class='cards'>{cards}</div></details>"
        )
    return f"<div id='examples-list'>{''.join(parts)}</div>"


def examples_markdown(examples: Sequence[Example]) -> str:
    """Questions, answers and truths as text; images are on the page only."""
    parts = []
    for task in dict.fromkeys(example.record.task for example in examples):
        parts.append(f"### {escape(task_label(task))}")
        for example in examples:
            if example.record.task == task:
                lines = [
                    f"- **{KINDS[example.kind]}**, {escape(example.record.instruction_id)}, "
                    f"instance {escape(example.record.unique_id)}",
                    f"  - prompt: {escape(example.record.prompt)}",
                    f"  - truth: {escape(truth_text(example.record))}",
                ]
                for name, answer in example.answers.items():
                    score = f"{'✓' if is_right(answer) else '✗'} {score_pair(answer)[0]:.0f}"
                    lines.append(f"  - {escape(name)}: {escape(answer_text(answer))} ({score})")
                parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _card(example: Example, strategies: Sequence[str]) -> str:
    record = example.record
    rows = []
    for name, answer in example.answers.items():
        colour = strategies.index(name) % COLOURS
        heading = f"<th scope='row'><i class='dot b{colour}'></i>{html.escape(name)}</th>"
        text = html.escape(answer_text(answer))
        rows.append(f"<tr data-s='{colour}'>{heading}<td>{text}</td>{_mark(answer)}</tr>")
    right = " ".join(str(strategies.index(name)) for name, answer in example.answers.items() if is_right(answer))
    asked = " ".join(str(strategies.index(name)) for name in example.answers)
    return (
        f"<article class='card' data-kind='{example.kind}' data-right='{right}' data-asked='{asked}'>"
        f"{_picture(example, strategies)}<div class='body'>"
        f"<p class='tag'>{KINDS[example.kind]} · {html.escape(record.instruction_id)}</p>"
        f"<p class='prompt' tabindex='0'>{html.escape(record.prompt)}</p>"
        f"<table class='answers'><tbody><tr class='truth'><th scope='row'><i class='dot truth'></i>truth</th>"
        f"<td>{html.escape(truth_text(record))}</td><td></td></tr>{''.join(rows)}</tbody></table></div></article>"
    )


def _mark(record: Record) -> str:
    kind, sign, word = ("right", "✓", "right") if is_right(record) else ("wrong", "✗", "wrong")
    score = score_pair(record)[0]
    return f"<td class='{kind}'><span aria-label='{word}'>{sign}</span> {score:.0f}</td>"


def _picture(example: Example, strategies: Sequence[str]) -> str:
    jpeg, record = image_bytes(example), example.record
    if jpeg is None or record.image_size is None:
        return ""
    width, height = record.image_size
    source = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
    shown = round(SHOWN_HEIGHT * width / height)
    tiny = " tiny" if max(width, height) < TINY else ""
    name = html.escape(f"image of {record.unique_id}")
    return (
        f"<div class='picture'><div style='max-width:{shown}px'>"
        f"<img class='image{tiny}' src='{source}' alt='{name}' width='{width}' height='{height}'>"
        f"{_overlay(example, strategies)}</div></div>"
    )


@dataclass(frozen=True, slots=True)
class _Frame:
    """A box on an image of the width :data:`FRAME_WIDTH`."""

    box: Box
    label: str
    kind: str
    strategy: int | None = None


FRAME_WIDTH = 300
_LABEL_HEIGHT = 13.0


def _overlay(example: Example, strategies: Sequence[str]) -> str:
    """Boxes over the image: regions of the prompt, options, the truth, and what every strategy answered."""
    record = example.record
    frames = [_Frame(box, "", "region") for box in record.regions]
    frames += [_Frame(box, str(number), "option") for number, box in _options(record)]
    frames += [_Frame(box, "truth", "truth") for box in record.target_boxes]
    for group in _same_answers(example.answers):
        label = _group_label([name for name, _ in group], len(example.answers))
        for place, (name, box) in enumerate(group):
            number = strategies.index(name) % COLOURS
            frames.append(_Frame(box, label if place == 0 else "", f"l{number}", number))
    if not frames:
        return ""
    width, height = record.image_size
    scale = FRAME_WIDTH / width
    tall = height * scale
    parts, taken = [], []
    for frame in sorted(frames, key=lambda frame: -_area(frame.box)):
        x0, y0, x1, y1 = _inside([corner * scale for corner in frame.box], tall)
        mark = "" if frame.strategy is None else f" data-s='{frame.strategy}'"
        label = ""
        if frame.label:
            place = _label_place((x0, y0, x1, y1), len(frame.label) * 5.8 + 4, tall, taken)
            taken.append(place)
            label = f"<text x='{place[0] + 2:.1f}' y='{place[1] + 10:.1f}'>{html.escape(frame.label)}</text>"
        shape = f"x='{x0:.1f}' y='{y0:.1f}' width='{x1 - x0:.1f}' height='{y1 - y0:.1f}'"
        parts.append(f"<g class='{frame.kind}'{mark}><rect class='edge' {shape}/><rect {shape}/>{label}</g>")
    return (
        f"<svg class='boxes' viewBox='0 0 {FRAME_WIDTH} {tall:.0f}' preserveAspectRatio='none' aria-hidden='true'>"
        f"{''.join(parts)}</svg>"
    )


def _same_answers(answers: Mapping[str, Record]) -> list[list[tuple[str, Box]]]:
    """Boxes of all strategies, those that are nearly the same together."""
    groups: list[list[tuple[str, Box]]] = []
    for name, answer in answers.items():
        for box in answer.prediction.boxes:
            same = next((group for group in groups if box_iou(group[0][1], box) > SAME_IOU), None)
            if same is None:
                groups.append([(name, box)])
            else:
                same.append((name, box))
    return groups


def _group_label(names: Sequence[str], asked: int) -> str:
    """One label for those who answered the same, since their names would cover the image."""
    names = list(dict.fromkeys(names))
    if len(names) == 1:
        return shortened(names[0], 18)
    return f"all {asked}" if len(names) == asked else f"{names[0]} + {len(names) - 1}"


def _options(record: Record) -> list[tuple[int, Box]]:
    """Number and box of every option that is one region, but for the right one."""
    options: tuple[Text, ...] = record.options or ()
    boxes = [(n, option[0]) for n, option in enumerate(options, start=1) if len(option) == 1 and boxes_of(option)]
    return [(number, box) for number, box in boxes if box not in record.target_boxes]


def _inside(box: Sequence[float], tall: float) -> Box:
    xs, ys = (sorted(min(max(c, 1.0), side - 1) for c in box[i::2]) for i, side in enumerate((FRAME_WIDTH, tall)))
    return xs[0], ys[0], xs[1], ys[1]


def _area(box: Box) -> float:
    return abs(box[2] - box[0]) * abs(box[3] - box[1])


def _label_place(box: Box, width: float, tall: float, taken: Sequence[Box]) -> Box:
    """Above the box if there is room, otherwise inside or below it, clear of other labels."""
    x = min(box[0], FRAME_WIDTH - width)
    wanted = [box[1] - _LABEL_HEIGHT, box[1] + 1, box[3] + 1, box[3] - _LABEL_HEIGHT]
    # Under the labels that are there already, when the box's own places are taken.
    candidates = [y for y in (*wanted, *(other[3] for other in taken)) if 0 <= y <= tall - _LABEL_HEIGHT] or [0.0]
    places = [(x, y, x + width, y + _LABEL_HEIGHT) for y in candidates]
    return next((place for place in places if not any(_overlap(place, other) for other in taken)), places[0])


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
