"""The report of one or several runs: one HTML file that needs nothing else, and its tables as Markdown and CSV.

A report shows what was measured and what it would take to see nothing in it: the chance level and
the majority answer stand beside every score, trained tasks stand apart from zero-shot tasks, and
examples are drawn at random.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ofa_mi.data.files import atomic_write
from ofa_mi.errors import ConfigError
from ofa_mi.evaluation.examples import (
    RULE,
    Example,
    answer_text,
    choose_examples,
    example_image,
    is_right,
    primary_score,
    truth_text,
)
from ofa_mi.evaluation.page import page, panel, paragraph
from ofa_mi.evaluation.plots import curve_plot, read_training_log, task_plot
from ofa_mi.evaluation.scoring import ZERO_SHOT, read_run, read_scores
from ofa_mi.evaluation.tables import (
    METRIC_LABELS,
    Table,
    build_tables,
    comma_separated,
    format_table,
    html_table,
    markdown,
    task_label,
)

__all__ = ["build_report", "format_table"]

READING = (
    "Every task is run once per instruction. A cell gives the mean over instructions, ± their sample deviation, and "
    "the best instruction. “Chance” is a blind choice among the options; “majority” gives the commonest right answer "
    "of these instances to every question, which a model can reach without looking at anything. A task has been "
    "learnt, or carried over to, only where a score is clearly above both. Aggregated is the mean of the task means; "
    "sensitivity is 100 times the mean over tasks of deviation / mean."
)


def build_report(
    runs: Mapping[str, str | Path],
    out_html: str | Path,
    *,
    title: str = "Evaluation report",
    notes: Sequence[str] = (),
    training_curves: Mapping[str, str | Path] | None = None,
    examples_per_task: int = 2,
) -> None:
    """Write a report, and beside it the tables under the same name with ``.md`` and ``.csv``.

    Args:
        runs: Run directories by label, in the order of the columns; examples are chosen by the last.
        out_html: The HTML file.
        title: Heading.
        notes: Paragraphs of plain text under the heading.
        training_curves: Logs of ``fairseq-train --log-format json`` by label.
        examples_per_task: So many right and so many wrong answers per task.

    Raises:
        ConfigError: No run is given, or one has not been scored.
        DataError: A file of a run or a log cannot be read.
    """
    if not runs:
        raise ConfigError("a report needs at least one run")
    directories = {label: Path(directory) for label, directory in runs.items()}
    scores = {label: read_scores(directory) for label, directory in directories.items()}
    tables = build_tables(scores)
    examples = choose_examples(directories, count=examples_per_task)
    chooser = list(directories)[-1]
    data_dirs = read_run(directories[chooser])["notes"]["data"]
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        *map(paragraph, notes),
        _tiles(tables),
        *(_section(table, scores) for table in tables),
        _training(training_curves or {}),
        *_examples(examples, data_dirs, chooser, examples_per_task),
    ]
    out_html = Path(out_html)
    atomic_write(out_html.with_suffix(".md"), f"# {title}\n\n{READING}\n\n{markdown(scores)}".encode())
    atomic_write(out_html.with_suffix(".csv"), comma_separated(scores).encode())
    atomic_write(out_html, page(title, parts).encode())


def _tiles(tables: Sequence[Table]) -> str:
    """Totals of the zero-shot tasks, or of the trained ones if there are no others."""
    table = next((table for table in tables if table.section == ZERO_SHOT), tables[0])
    tiles = []
    for run, mean, spread, (counted, tasks) in zip(
        table.runs, table.aggregated, table.sensitivity, table.counted, strict=True
    ):
        if mean is not None:
            below = "no sensitivity" if spread is None else f"sensitivity {spread:.2f} ({counted} of {tasks} tasks)"
            above = f"{html.escape(run)}: mean of {tasks} {table.title.lower()}"
            tiles.append(f"<div class='tile'><span>{above}</span><b>{mean:.2f}</b><span>{below}</span></div>")
    return f"<div class='tiles'>{''.join(tiles)}</div>"


def _section(table: Table, scores: Mapping[str, Mapping[str, Any]]) -> str:
    """Table, plot and scores per instruction of one kind of tasks."""
    about = (
        "Tasks of kinds that the model was never trained on."
        if table.section == ZERO_SHOT
        else ("Tasks that are trained on, here with instances that were not: what was learnt, not what carried over.")
    )
    per_instruction = {
        run: {row.task: _instruction_scores(scores[run], row.task) for row in table.rows} for run in table.runs
    }
    heat = "".join(_heat_map(table, run, scores[run]) for run in table.runs)
    first = table.section == ZERO_SHOT
    return "".join(
        [
            f"<h2>{table.title}</h2>",
            paragraph(about),
            paragraph(READING) if first else "",
            html_table(table),
            f"<div class='plots'>{panel(task_plot(table, per_instruction))}<div>{heat}</div></div>",
        ]
    )


def _instruction_scores(scores: Mapping[str, Any], task: str) -> list[float]:
    entry = scores["tasks"].get(task)
    return [] if entry is None else entry["metrics"][entry["metric"]]["scores"]


def _heat_map(table: Table, run: str, scores: Mapping[str, Any]) -> str:
    """Score per task and instruction of a run, the darker the higher."""
    tasks = [row.task for row in table.rows if row.primary and row.task in scores["tasks"]]
    numbers = sorted({number for task in tasks for number in scores["tasks"][task]["instructions"]})
    rows = []
    for task in tasks:
        entry = scores["tasks"][task]
        by_number = dict(zip(entry["instructions"], _instruction_scores(scores, task), strict=True))
        cells = "".join(
            f"<td style='--heat:{by_number[n] / 100 * 0.75:.3f}'>{by_number[n]:.1f}</td>"
            if n in by_number
            else "<td></td>"
            for n in numbers
        )
        metric = METRIC_LABELS[entry["metric"]]
        rows.append(f"<tr><th scope='row'>{html.escape(task_label(task))} <small>{metric}</small></th>{cells}</tr>")
    head = "".join(f"<th scope='col'>{number + 1}</th>" for number in numbers)
    return (
        f"<h3>{html.escape(run)}, by instruction</h3><div class='scroll'><table class='heat'><thead><tr>"
        f"<th scope='col'>Task</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _training(logs: Mapping[str, str | Path]) -> str:
    """Curves of the training runs."""
    if not logs:
        return ""
    curves = {label: read_training_log(Path(path)) for label, path in logs.items()}
    plots = []
    for quantity in ("loss", "score"):
        chosen = {label: found[quantity] for label, found in curves.items() if quantity in found}
        if chosen:
            plots.append(panel(curve_plot(chosen, quantity)))
    return f"<h2>Training</h2><div class='plots'>{''.join(plots)}</div>"


def _examples(examples: Sequence[Example], data_dirs: Sequence[str], chooser: str, count: int) -> Iterator[str]:
    """A card per example, by task."""
    if not examples:
        return
    yield "<h2>Examples</h2>"
    yield paragraph(RULE.format(count=count, run=chooser))
    yield paragraph(
        "On the images: predicted boxes, true boxes (dashed), regions of the prompt, and the other options."
    )
    for task in dict.fromkeys(example.record.task for example in examples):
        chosen = [example for example in examples if example.record.task == task]
        kind = "zero-shot" if chosen[0].record.split == "eval" else "trained"
        cards = "".join(_card(example, example_image(example, data_dirs)) for example in chosen)
        yield f"<h3>{html.escape(task_label(task))} <small>{kind}</small></h3><div class='cards'>{cards}</div>"


def _card(example: Example, image: str | None) -> str:
    record = example.record
    picture = f"<img src='{image}' alt='image of {html.escape(record.unique_id)}' loading='lazy'>" if image else ""
    answers = "".join(
        f"<dt>{html.escape(run)}</dt><dd>{html.escape(answer_text(answer))} {_mark(answer)}</dd>"
        for run, answer in example.answers.items()
    )
    return (
        f"<div class='card'>{picture}<dl><dt>{html.escape(record.instruction_id)}</dt>"
        f"<dd class='prompt'>{html.escape(record.prompt)}</dd>"
        f"<dt>truth</dt><dd>{html.escape(truth_text(record))}</dd>{answers}</dl></div>"
    )


def _mark(record) -> str:
    kind, sign = ("right", "✓") if is_right(record) else ("wrong", "✗")
    return f"<span class='{kind}'>{sign} {primary_score(record):.0f}</span>"
