"""The data card for people: its numbers as the blocks of a document."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ofa_mi.data_prep.check.counts import MAX_ANSWERS
from ofa_mi.data_prep.check.examples import Example
from ofa_mi.data_prep.check.findings import KINDS
from ofa_mi.data_prep.check.guess import GUESSABLE, NEAR_CHANCE, TOLERANCE
from ofa_mi.document.blocks import (
    Block,
    Cell,
    Heading,
    Items,
    Paragraph,
    Picture,
    Pictures,
    Row,
    Table,
    Tiles,
    shares,
    words,
)
from ofa_mi.document.text import shortened

PICTURES = "pictures"  # folder of the pictures beside card.md
SOURCE_LIMIT, TARGET_LIMIT = 1024, 512  # tokens of the paper's set-up
MAX_PARTS = 8  # labels or answers that a bar shows
MAX_LONG = 32  # characters of a label in a table

GUESS_READING = (
    "A baseline that sees the options and the text of an instance, and never its image, is trained on three quarters "
    "of the images and tested on the rest, four times. “Options” sees nothing but the options (their words, lengths, "
    "order, boxes); “with inputs” sees the question, text, context and regions, too. Guessable: one of them, or a "
    "simple rule such as the longest option, is above chance by more than three standard errors and by more than "
    f"{100 * TOLERANCE:.0f} points, so that a model can score without looking at the image. Unclear: too few instances "
    "to tell. Below each accuracy stands its 95% interval, in which answers about one image count as dependent."
)
GUESS_ORIGINS = (
    "What that means depends on where the answers come from. Source: questions and labels are those of the source data "
    "set, and what can be guessed is its own (a language prior), not a defect of the conversion. Coordinates: the "
    "prompt states all that is asked for, and the task can be worked out without the image. Conversion: wrong options "
    "or labels were made by the converter; what can be guessed from the options alone is a defect, and what can be "
    "guessed with the inputs may be one, or may be what words mean (a “large” thing has a large box)."
)


def build_blocks(record: Mapping[str, Any], examples: Sequence[Example]) -> list[Block]:
    """The card as a document."""
    return [
        *_overview(record),
        *_findings(record["findings"]),
        *_tasks(record),
        *_answers(record["tasks"]),
        *_images(record["images"]),
        *_guesses(record["guess"]),
        *_examples(record, examples),
        *_origins(record["manifests"]),
    ]


def _overview(record: Mapping[str, Any]) -> list[Block]:
    findings = sum(record["findings"]["counts"].values())
    images = record["images"]
    shared = images["training_and_evaluation"]
    tiles = [
        ("Instances", _n(record["instances"]), _plural(len(record["tasks"]), "task")),
        *(
            (split, _n(numbers["instances"]), _plural(numbers["tasks"], "task"))
            for split, numbers in record["splits"].items()
        ),
        ("Images", _n(images["different"]), f"under {_plural(images['paths'], 'path')}"),
        ("Findings", _n(findings), "every line and image was checked" if findings else "every line and image is sound"),
        (
            "Images of evaluation tasks",
            _n(shared["images"]),
            f"{_n(shared['shared'])} of them are trained on" if shared["images"] else "no evaluation task",
        ),
    ]
    if record["guess"] is not None:
        verdicts = Counter(guess["verdict"] for guess in record["guess"])
        parts = [f"{verdicts[NEAR_CHANCE]} near chance", f"{len(record['guess'])} with options"]
        tiles.append(("Guessable tasks", _n(verdicts[GUESSABLE]), ", ".join(parts)))
    return [Tiles(tuple(tiles))]


def _origins(manifests: Mapping[str, Any]) -> list[Block]:
    """What the directories were made from."""
    blocks: list[Block] = []
    for number, (name, manifest) in enumerate(manifests.items(), start=1):
        rows = list(_leaves({key: value for key, value in manifest.items() if key != "counts"}))
        if not rows:
            continue
        blocks += [
            Heading("Made from" if len(manifests) == 1 else f"{name} was made from", f"origin-{number}"),
            Table("manifest.json", ("", "manifest.json"), tuple(Row((Cell(key), words(text))) for key, text in rows)),
        ]
    return blocks


def _leaves(value: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """What an object of objects holds, each with the names that lead to it; empty objects and lists hold nothing."""
    for name, part in value.items():
        names = (*path, name)
        if isinstance(part, Mapping):
            yield from _leaves(part, names)
        elif isinstance(part, list):
            if part:
                yield " · ".join(names), ", ".join(map(str, part))
        else:
            yield " · ".join(names), part if isinstance(part, str) else json.dumps(part)


def _findings(findings: Mapping[str, Any]) -> list[Block]:
    blocks: list[Block] = [Heading("Findings", "findings")]
    if not findings["counts"]:
        return [*blocks, Paragraph("None. Every line is a sound instance, ids are unique, and every image is there.")]
    for kind, count in findings["counts"].items():
        shown = [f"{f['where']}: {f['message']}" for f in findings["first"] if f["kind"] == kind]
        more = [f"… and {_n(count - len(shown))} more of this kind"] if count > len(shown) else []
        title = f"{KINDS[kind][0].upper()}{KINDS[kind][1:]}: {_n(count)}"
        blocks += [Heading(title), Items((*shown, *more), verbatim=True)]
    return blocks


def _tasks(record: Mapping[str, Any]) -> list[Block]:
    splits = list(record["splits"])
    columns = ("Task", *splits, "Images", "Source tokens", "Target tokens", "Options")
    rows = [
        _row(
            _cell(_label(name), " · ".join(filter(None, (_label(task["group"] or ""), _KIND[task["kind"]])))),
            *(Cell(_n(task["splits"][split]["instances"]) if split in task["splits"] else "-") for split in splits),
            _cell(_n(task["images"]), f"{_n(task['text_only'])} text only" if task["text_only"] else ""),
            _cell(_quantiles(task["source_tokens"]), f"max {task['source_tokens']['max']}"),
            _cell(_quantiles(task["target_tokens"]), f"max {task['target_tokens']['max']}"),
            Cell(_range(task.get("options"))),
        )
        for name, task in record["tasks"].items()
    ]
    heading = Heading("Tasks", "tasks")
    if not rows:
        return [heading, Paragraph("There are no instances.")]
    long = [
        _label(name)
        for name, task in record["tasks"].items()
        if task["source_tokens"]["max"] > SOURCE_LIMIT or task["target_tokens"]["max"] > TARGET_LIMIT
    ]
    text = (
        "Tokens are those of the GPT-2 vocabulary: median, 90% and 99% of the instances have no more, and the maximum. "
        "Source tokens are those of the fields, without the instruction; a region counts four, a target its end, too."
    )
    if long:
        text += f" Above {SOURCE_LIMIT} source or {TARGET_LIMIT} target tokens, and cut in training: {', '.join(long)}."
    return [heading, Paragraph(text), Table("Tasks", columns, tuple(rows))]


_KIND = {"train": "training", "eval": "evaluation", None: "unknown task"}


def _answers(tasks: Mapping[str, Any]) -> list[Block]:
    rows = []
    for name, task in tasks.items():
        if (row := _answer_row(task)) is not None:
            rows.append(_row(_cell(_label(name), task["output"] or ""), *row))
    if not rows:
        return []
    text = (
        "How often each label is right where the options are fixed labels, and otherwise at which place among the "
        "options the answer stands (for the commonest number of options); for answers in words, the commonest ones."
    )
    title = "Balance of answers"
    return [Heading(title, "answers"), Paragraph(text), Table(title, ("Task", "By", "Shares"), tuple(rows))]


def _answer_row(task: Mapping[str, Any]) -> tuple[Cell, Cell] | None:
    if "labels" in task:
        right = {label: numbers["right"] for label, numbers in task["labels"].items()}
        return words("label"), _shares(right, len(right), sum(right.values()))
    if "answer_positions" in task:
        number = max(task["options"], key=lambda key: (task["options"][key], key))
        places = {_ordinal(place + 1): count for place, count in enumerate(task["answer_positions"][number])}
        return words("place", f"of {number}"), _shares(places, len(places), sum(places.values()), ranked=False)
    answers = task.get("answers")
    if answers is None:
        return None
    if answers["different"] is None:
        return words("answer"), shares((), f"more than {_n(MAX_ANSWERS)} different answers")
    return words("answer"), _shares(answers["commonest"], answers["different"], task["instances"])


def _shares(counts: Mapping[str, int], different: int, total: int, *, ranked: bool = True) -> Cell:
    """Shares of the commonest of ``different`` values."""
    items = sorted(counts.items(), key=lambda item: (-item[1], item[0])) if ranked else list(counts.items())
    shown = items[:MAX_PARTS]
    more = different - len(shown)
    parts = tuple((shortened(name, MAX_LONG) or "(empty)", count / max(total, 1)) for name, count in shown)
    return shares(parts, f"{_n(more)} more" if more else "")


def _images(images: Mapping[str, Any]) -> list[Block]:
    blocks: list[Block] = [
        Heading("Images in common", "images"),
        Paragraph(
            "Images are the same where their files have the same size and the same bytes at the start, in the middle "
            "and at the end, whatever they are called, and where they are known to be of one photo of MSCOCO or Visual "
            "Genome, by their paths or by coco_id in the meta data. An evaluation image that is also trained on is not "
            "new to the model, even where the question about it is."
        ),
    ]
    if images["splits"]:
        rows = [
            _shared_row(f"{pair['first']} and {pair['second']}", pair, of=pair["first"]) for pair in images["splits"]
        ]
        columns = ("Splits", "Shared", "Same path", "By tasks of the second")
        blocks.append(Table("Images that splits share", columns, tuple(rows)))
    if images["evaluation_tasks"]:
        rows = [_shared_row(_label(entry["task"]), entry) for entry in images["evaluation_tasks"]]
        columns = ("Evaluation task", "Trained on", "Same path", "By training tasks")
        title = "Evaluation tasks and training"
        blocks += [Heading(title), Table(title, columns, tuple(rows))]
    lines = [
        f"{a['line']} {a['image']} ({a['task']}) = {b['line']} {b['image']} ({b['task']})"
        for entry in (*images["splits"], images["training_and_evaluation"])
        for a, b in entry["examples"]
    ]
    if lines:
        blocks += [Heading("Examples of shared images"), Items(tuple(dict.fromkeys(lines)), verbatim=True)]
    return [*blocks, *_turned(images["turned"])]


def _turned(turned: Mapping[str, Any]) -> list[Block]:
    """Images with an EXIF orientation, if there are any."""
    if not turned["images"]:
        return []
    text = (
        f"{_plural(turned['images'], 'image')} with an EXIF orientation, by which viewers and many labelling tools "
        "turn them. It is not applied, in training or evaluation: the model sees the stored pixels, and boxes must "
        "refer to these. Look whether they do, or save the images upright."
    )
    lines = [f"{use['line']} {use['image']} ({use['task']})" for use in turned["examples"]]
    return [Heading("Turned images"), Paragraph(text), Items(tuple(lines), verbatim=True)]


def _shared_row(name: str, entry: Mapping[str, Any], of: str = "") -> Row:
    tasks = ", ".join(f"{_label(task)} ({_n(count)})" for task, count in entry["tasks"].items())
    share = f"{100 * entry['shared'] / entry['images']:.1f}% of {_n(entry['images'])}" if entry["images"] else "of none"
    return _row(
        Cell(name),
        _cell(_n(entry["shared"]), f"{share} in {of}" if of else share, "warn" if entry["shared"] else "fine"),
        Cell(_n(entry["same_path"])),
        words(tasks or "-"),
    )


def _guesses(guesses: Sequence[Mapping[str, Any]] | None) -> list[Block]:
    heading = Heading("Can the answer be guessed without the image?", "guesses")
    if guesses is None:
        return [heading, Paragraph("Not measured (--no-guess).")]
    if not guesses:
        return [heading, Paragraph("No task has options to choose from.")]
    columns = ("Task", "Verdict", "Chance", "Options", "With inputs", "Best", "Answers from")
    rows = [
        _row(
            _cell(_label(guess["task"]), _questions(guess)),
            verdict_cell(guess),
            Cell(percent(guess["chance"])),
            _accuracy_cell(guess, "options"),
            _accuracy_cell(guess, "options and inputs"),
            words(best_text(guess) or "-"),
            words(guess["origin"]),
        )
        for guess in guesses
    ]
    return [heading, Paragraph(GUESS_READING), Paragraph(GUESS_ORIGINS), Table(heading.text, columns, tuple(rows))]


def _questions(guess: Mapping[str, Any]) -> str:
    return f"{_n(guess['questions'])} choices, {_n(guess['images'])} images"


def verdict_text(guess: Mapping[str, Any]) -> str:
    """The verdict, with how far above chance if that is what it says."""
    if guess["verdict"] == GUESSABLE:
        return f"{GUESSABLE}: +{100 * guess['excess']:.1f} points"
    return guess["verdict"]


def verdict_cell(guess: Mapping[str, Any]) -> Cell:
    """The verdict as a cell: a warning only where the converter can do something about it."""
    is_defect = guess["verdict"] == GUESSABLE and guess["origin"] == "conversion"
    tone = "fine" if guess["verdict"] == NEAR_CHANCE else "warn" if is_defect else ""
    return Cell(verdict_text(guess), kind=f"words {tone}".strip())


def best_text(guess: Mapping[str, Any]) -> str:
    """The best way of guessing and its accuracy; empty if none is above chance."""
    if guess["best"] is None or guess["excess"] <= 0:
        return ""
    return f"{_WAYS.get(guess['best'], guess['best'])} {percent(guess['by'][guess['best']]['value'])}"


_WAYS = {"options and inputs": "with inputs"}


def _accuracy_cell(guess: Mapping[str, Any], way: str) -> Cell:
    if way not in guess["by"]:
        return Cell("-")
    accuracy = guess["by"][way]
    return _cell(percent(accuracy["value"]), f"{percent(accuracy['low'])}-{percent(accuracy['high'])}")


def _examples(record: Mapping[str, Any], examples: Sequence[Example]) -> list[Block]:
    if not examples:
        return []
    blocks: list[Block] = [
        Heading("Examples", "examples"),
        Paragraph(
            "Drawn by the hash of their ids, not picked. Prompts are what the model reads, before lower-casing, with "
            "boxes in pixels where the model reads location tokens. On the images: the regions of the prompt, options "
            "that are regions, regions that a text mentions (text), and the answer (true, dashed)."
        ),
    ]
    groups = [task["group"] for task in record["tasks"].values() if task["group"]]
    for group in dict.fromkeys(groups):
        tasks = [name for name, task in record["tasks"].items() if task["group"] == group]
        chosen = sorted((e for e in examples if e.task in tasks), key=lambda example: tasks.index(example.task))
        if chosen:
            blocks += [Heading(_label(group)), Pictures(tuple(map(_picture, chosen)))]
    return blocks


def _picture(example: Example) -> Picture:
    fields = [("prompt", example.prompt), ("target", example.target)]
    if example.references:
        fields.append(("further right answers", ", ".join(example.references)))
    fields.append(
        ("from", f"{example.line}, {example.unique_id}, instruction {example.instruction.rpartition('/')[2]}")
    )
    file = example.picture_name and f"{PICTURES}/{example.picture_name}"
    return Picture(_label(example.task), file, example.picture, tuple(fields))


# -- words and numbers


def percent(share: float) -> str:
    """A share as a percentage with one digit and no sign."""
    return f"{100 * share:.1f}"


def _label(task: str) -> str:
    return task.replace("_", " ")


def _row(*cells: Cell) -> Row:
    return Row(cells)


def _cell(text: str, below: str, kind: str = "") -> Cell:
    return Cell(text, below=(below,) if below else (), kind=kind)


def _quantiles(numbers: Mapping[str, float]) -> str:
    return " · ".join(str(numbers[key]) for key in ("p50", "p90", "p99"))


def _range(options: Mapping[str, int] | None) -> str:
    if not options:
        return "-"
    numbers = list(map(int, options))
    return str(numbers[0]) if len(numbers) == 1 else f"{min(numbers)}-{max(numbers)}"


def _n(number: int) -> str:
    return f"{number:,}"


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _plural(number: int, what: str) -> str:
    return f"{_n(number)} {what}{'' if number == 1 else 's'}"
