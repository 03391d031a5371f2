"""Curves of the training runs."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from ofa_mi.document.blocks import Block, Cell, Figure, LineChart, Row, Series, Side, Table
from ofa_mi.evaluation.report.cells import remarks
from ofa_mi.evaluation.report.section import Section
from ofa_mi.evaluation.report.study import Study
from ofa_mi.evaluation.report.training import Curve, TrainingLog, left_out_remark

TITLES = {"loss": "Loss", "score": "Mean validation score of the tasks"}
MOST_POINTS = 240  # of a line


def training(study: Study) -> list[Block]:
    """Loss and validation score over updates."""
    if not study.logs:
        return []
    figures = [figure for quantity in TITLES for figure in _figure(study.logs, quantity)]
    texts = [f"{name}: {left_out_remark(log.left_out)}." for name, log in study.logs if log.left_out]
    return [Side(tuple(figures)), *remarks(texts)]


SECTION = Section(80, "Training", "training", training, "give --log NAME=FILE of fairseq-train --log-format json")


def _figure(logs: Sequence[tuple[str, TrainingLog]], quantity: str) -> list[Figure]:
    """The figure of one quantity, if a log has it; the name of a run stands at its first line."""
    curves = [(name, kind, curve) for name, log in logs for kind, curve in sorted(log.curves.get(quantity, {}).items())]
    if not curves:
        return []
    names = list(dict.fromkeys(name for name, _ in logs))
    lines, named = [], set()
    for name, kind, curve in curves:
        is_validation = kind == "validation"
        label = "" if name in named else name
        marked = is_validation and len(curve.updates) < 30
        lines.append(Series(label, _points(curve), (), names.index(name), dashed=is_validation, marked=marked))
        named.add(name)
    note = "solid: training, dashed: validation" if len({line.dashed for line in lines}) > 1 else ""
    rows = [
        Row((Cell(name), Cell(kind), Cell(str(curve.updates[-1])), Cell(f"{curve.values[-1]:.3f}")))
        for name, kind, curve in curves
    ]
    last = Table(f"Last {quantity}", ("Run", "Curve", "Updates", f"Last {quantity}"), tuple(rows))
    chart = LineChart(tuple(lines), "updates", quantity, note=note)
    return [Figure(f"training-{quantity}", TITLES[quantity], chart, last)]


def _points(curve: Curve) -> tuple[tuple[float, float], ...]:
    """At most about :data:`MOST_POINTS` points: means of neighbours, and the last as it is."""
    points = list(zip(curve.updates, curve.values, strict=True))
    step = -(-len(points) // MOST_POINTS)
    if step == 1:
        return tuple(points)
    groups = [points[start : start + step] for start in range(0, len(points), step)]
    return (*(tuple(map(fmean, zip(*group, strict=True))) for group in groups), points[-1])
