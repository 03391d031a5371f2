"""Plots of a report, as SVG that takes the colours of the page it stands in.

Figures are narrow, so that their text stays legible on a phone. Ink is drawn in one marker colour
that becomes CSS ``currentColor``, so that a plot follows light and dark mode.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ofa_mi.errors import DataError
from ofa_mi.evaluation.tables import Table, task_label

# Of runs, in order: grey first, for what is not tuned; all show on white and on near-black.
RUN_COLOURS = ("#8b95a1", "#2f7fd6", "#d9722b", "#2ba36f", "#a463c9", "#b8962e")
_LINE_STYLES = {"training": "-", "validation": "o--"}
_INK = "#123456"
_WIDTH = 4.0  # inches


@dataclass(frozen=True)
class Curve:
    """Points of one quantity over updates.

    Attributes:
        updates: Numbers of updates.
        values: Values there.
    """

    updates: tuple[int, ...]
    values: tuple[float, ...]


def task_plot(table: Table, scores: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Score of every task and run: one dot per instruction, mean and deviation, and the chance level.

    Args:
        table: Its primary rows are plotted.
        scores: Per run and task one score per instruction.
    """
    rows = [row for row in table.rows if row.primary]
    runs = len(table.runs)
    figure, axes = _figure(height=0.9 + len(rows) * (0.26 + 0.17 * runs))
    for y, row in enumerate(rows):
        for i, (run, cell) in enumerate(zip(table.runs, row.cells, strict=True)):
            if cell is None:
                continue
            place = y + (i - (runs - 1) / 2) * 0.66 / runs
            colour = RUN_COLOURS[i % len(RUN_COLOURS)]
            points = scores[run][row.task]
            axes.plot(points, [place] * len(points), "o", color=colour, alpha=0.35, markersize=3.5, markeredgewidth=0)
            axes.errorbar(
                *(cell.mean, place),
                xerr=cell.deviation,
                fmt="D",
                color=colour,
                markersize=5,
                elinewidth=1.6,
                capsize=2.5,
                label=run if y == 0 else None,
            )
        if row.chance is not None:
            label = "chance" if not any(earlier.chance is not None for earlier in rows[:y]) else None
            axes.plot([row.chance] * 2, [y - 0.42, y + 0.42], ":", color=_INK, linewidth=1.2, label=label)
    axes.set_yticks(range(len(rows)), [task_label(row.task) for row in rows])
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.set_xlim(-3, 103)
    axes.set_xlabel("score")
    axes.grid(axis="x", color=_INK, alpha=0.15, linewidth=0.7)
    handles, labels = axes.get_legend_handles_labels()
    return _svg(figure, dict(zip(labels, handles, strict=True)), "scores " + table.section)


def curve_plot(curves: Mapping[str, Mapping[str, Curve]], label: str) -> str:
    """Curves over updates.

    Args:
        curves: Per run its curves by kind, ``training`` or ``validation``; a run has a colour.
        label: Label of the vertical axis.
    """
    figure, axes = _figure(height=2.5)
    for i, (run, kinds) in enumerate(curves.items()):
        for kind, curve in kinds.items():
            name = f"{run}: {kind}"
            colour = RUN_COLOURS[i % len(RUN_COLOURS)]
            axes.plot(
                curve.updates, curve.values, _LINE_STYLES[kind], color=colour, linewidth=1.5, markersize=3.5, label=name
            )
    axes.set_xlabel("updates")
    axes.set_ylabel(label)
    axes.grid(color=_INK, alpha=0.15, linewidth=0.7)
    handles, labels = axes.get_legend_handles_labels()
    return _svg(figure, dict(zip(labels, handles, strict=True)), "curves " + label)


def read_training_log(path: Path) -> dict[str, dict[str, Curve]]:
    """Curves in a log of ``fairseq-train --log-format json``.

    Returns:
        ``{"loss": {"training": …, "validation": …}, "score": {"validation": …}}``, each part if the log has it.

    Raises:
        DataError: The file cannot be read, or holds no loss.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    entries = [entry for line in lines if (entry := _log_entry(line)) is not None]
    found: dict[str, dict[str, Curve]] = {}
    for quantity, kind, prefix in (
        ("loss", "training", ""),
        ("loss", "validation", "valid_"),
        ("score", "validation", "valid_"),
    ):
        curve = _curve(entries, f"{prefix}num_updates", f"{prefix}{quantity}")
        if curve.updates:
            found.setdefault(quantity, {})[kind] = curve
    if "loss" not in found:
        raise DataError(f"{path}: holds no loss; it must be the output of fairseq-train with --log-format json")
    return found


def _log_entry(line: str) -> dict | None:
    """The JSON object at the end of a line of a log, if there is one."""
    start = line.find("{")
    if start < 0 or not line.rstrip().endswith("}"):
        return None
    try:
        entry = json.loads(line[start:])
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _curve(entries: Sequence[dict], update_key: str, key: str) -> Curve:
    # Later entries win: a run that was stopped and resumed writes some updates twice.
    points = {}
    for entry in entries:
        if update_key in entry and key in entry:
            points[int(float(entry[update_key]))] = float(entry[key])
    updates = sorted(points)
    return Curve(tuple(updates), tuple(points[update] for update in updates))


def _figure(height: float):
    # Figure objects instead of pyplot: no global state, and no display is looked for.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        axes = figure.add_subplot()
    for spine in axes.spines.values():
        spine.set_color(_INK)
        spine.set_alpha(0.4)
    axes.tick_params(colors=_INK, length=0)
    axes.xaxis.label.set_color(_INK)
    axes.yaxis.label.set_color(_INK)
    return figure, axes


def _svg(figure, legend: Mapping[str, object], name: str) -> str:
    """The figure as an ``<svg>`` element, the same bytes every time."""
    from matplotlib import rc_context

    figure.legend(
        legend.values(),
        legend.keys(),
        loc="outside upper center",
        ncols=2 if len(legend) > 3 else 3,
        frameon=False,
        labelcolor=_INK,
        fontsize=8.5,
    )
    file = io.StringIO()
    # The salt also keeps the ids of several figures on one page apart.
    salt = hashlib.sha256(name.encode()).hexdigest()
    with rc_context({"svg.fonttype": "path", "svg.hashsalt": salt}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    # Ids such as patch_2 repeat from figure to figure and are never referred to.
    return re.sub(
        r' id="(?:figure|axes|patch|line2d|text|legend|matplotlib\.axis|[xy]tick|LineCollection)_\d+"', "", text
    )
