"""Cells of a report's tables, and what several of its sections do with tables of scores."""

from __future__ import annotations

from collections.abc import Sequence

from ofa_mi.document.blocks import Block, Cell, Paragraph
from ofa_mi.evaluation.report.study import Strategy
from ofa_mi.evaluation.scoring.scores import ZERO_SHOT
from ofa_mi.evaluation.scoring.tables import MISSING, Table, Total, build_tables, number
from ofa_mi.evaluation.scoring.tables import Cell as Score

TOTALS = {"aggregated": "Aggregated (higher is better)", "sensitivity": "Sensitivity (lower is better)"}


def tables_of(strategies: Sequence[Strategy]) -> list[Table]:
    """Zero-shot and trained tasks of the plain runs, each if there are any."""
    plain = {strategy.name: strategy.scores for strategy in strategies if strategy.seeds}
    return build_tables(plain) if plain else []


def zero_shot(strategies: Sequence[Strategy]) -> Table | None:
    """Zero-shot tasks of the plain runs."""
    return next((table for table in tables_of(strategies) if table.section == ZERO_SHOT), None)


def remarks(texts: Sequence[str]) -> list[Block]:
    """Paragraphs of small text."""
    return [Paragraph(text, remark=True) for text in texts]


def number_cell(value: float | None, kind: str = "") -> Cell:
    """A score or a total with two digits."""
    return Cell(number(value), kind=kind, key=value)


def score_cell(score: Score | None, *, best: bool = False) -> Cell:
    """Mean (marked if above its baseline) ± deviation over instructions, the best one, and the deviation over seeds."""
    if score is None:
        return Cell(MISSING)
    below = []
    if score.deviation is not None and score.max is not None:
        below.append(f"max {score.max:.2f}")
    if score.seed_deviation is not None:
        below.append(f"seeds ± {score.seed_deviation:.2f}")
    beside = "" if score.deviation is None else f"± {score.deviation:.2f}"
    return Cell(score.marked_mean, beside, tuple(below), "best" if best else "", key=score.mean)


def total_cell(total: Total | None, *, best: bool = False, remark: str = "") -> Cell:
    """A total and its deviation over seeds."""
    if total is None:
        return Cell(MISSING)
    seeds = () if total.seed_deviation is None else (f"seeds ± {total.seed_deviation:.2f}",)
    below = (*seeds, remark) if remark else seeds
    return Cell(number(total.value), "", below, "best" if best else "", key=total.value)


def interval_cell(value: float | None, interval: Sequence[float] | None) -> Cell:
    """A value and its interval."""
    if value is None:
        return Cell(MISSING)
    beside = "" if interval is None else f"[{interval[0]:.2f}, {interval[1]:.2f}]"
    return Cell(number(value), beside, key=value)


def signed_cell(value: float | None, interval: Sequence[float] | None = None) -> Cell:
    """A difference with its sign."""
    if value is None:
        return Cell(MISSING)
    beside = "" if interval is None else f"[{interval[0]:+.2f}, {interval[1]:+.2f}]"
    return Cell(f"{value:+.2f}", beside, key=value)


def best_of(values: Sequence[float | None], *, lowest: bool = False) -> set[int]:
    """Places of the best of several values; none if they are all the same."""
    known = [value for value in values if value is not None]
    if len(known) < 2 or len(set(known)) == 1:
        return set()
    best = min(known) if lowest else max(known)
    return {place for place, value in enumerate(values) if value == best}
