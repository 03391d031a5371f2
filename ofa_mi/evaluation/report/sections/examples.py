"""Questions with the answers of all strategies, and their boxes over the image."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ofa_mi.document.blocks import Block, Paragraph, Raw
from ofa_mi.document.figures import COLOURS
from ofa_mi.document.html import image
from ofa_mi.document.markdown import escape
from ofa_mi.document.text import shortened
from ofa_mi.evaluation.predictions import Record
from ofa_mi.evaluation.report.examples import (
    KINDS,
    RULE,
    Example,
    answer_text,
    choose_examples,
    image_bytes,
    is_right,
    score_pair,
    truth_text,
)
from ofa_mi.evaluation.report.section import Section
from ofa_mi.evaluation.report.study import Study
from ofa_mi.evaluation.scoring.tables import task_label
from ofa_mi.geometry import Box
from ofa_mi.geometry import iou as box_iou
from ofa_mi.instances.instance import Text, boxes_of

TINY = 160  # pixels; smaller images are shown with their pixels
SHOWN_HEIGHT = 340  # pixels of an image on the page, at most
SAME_IOU = 0.9  # boxes that overlap more have one label


def examples(study: Study) -> list[Block]:
    """Cards on the page, and the same as text."""
    chosen = choose_examples(study.strategies, count=study.examples)
    if not chosen:
        return []
    return [
        Paragraph(RULE.format(count=study.examples)),
        Paragraph(
            "On the images: what a strategy answered in its colour, the truth dashed in white, regions of the prompt "
            "in yellow, other options in grey with their number. Point at an answer to see its box alone."
        ),
        Raw(_html(chosen, study.names), _markdown(chosen)),
    ]


SECTION = Section(90, "Examples", "examples", examples, "--examples 0", of_runs=True)


def _html(examples: Sequence[Example], strategies: Sequence[str]) -> str:
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
    names = html.escape(json.dumps(list(strategies)))
    return f"<div id='examples-list' data-strategies='{names}'>{''.join(parts)}</div>"


def _markdown(examples: Sequence[Example]) -> str:
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
        heading = f"<th scope='row'><i class='dot' style='--colour:var(--s{colour})'></i>{html.escape(name)}</th>"
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
    shown = round(SHOWN_HEIGHT * width / height)
    kind = "tiny" if max(width, height) < TINY else ""
    picture = image(jpeg, f"image of {record.unique_id}", kind, (width, height))
    return f"<div class='picture'><div style='max-width:{shown}px'>{picture}{_overlay(example, strategies)}</div></div>"


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
            frames.append(_Frame(box, label if place == 0 else "", "", number))
    if not frames:
        return ""
    width, height = record.image_size
    scale = FRAME_WIDTH / width
    tall = height * scale
    parts, taken = [], []
    for frame in sorted(frames, key=lambda frame: -_area(frame.box)):
        x0, y0, x1, y1 = _inside([corner * scale for corner in frame.box], tall)
        look = f"class='{frame.kind}'"
        if frame.strategy is not None:
            look = f"data-s='{frame.strategy}' style='--colour:var(--s{frame.strategy})'"
        label = ""
        if frame.label:
            place = _label_place((x0, y0, x1, y1), len(frame.label) * 5.8 + 4, tall, taken)
            taken.append(place)
            label = f"<text x='{place[0] + 2:.1f}' y='{place[1] + 10:.1f}'>{html.escape(frame.label)}</text>"
        shape = f"x='{x0:.1f}' y='{y0:.1f}' width='{x1 - x0:.1f}' height='{y1 - y0:.1f}'"
        parts.append(f"<g {look}><rect class='edge' {shape}/><rect {shape}/>{label}</g>")
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
