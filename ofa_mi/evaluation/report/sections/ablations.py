"""Totals of the zero-shot tasks along each ablation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ofa_mi.document.blocks import Block, Cell, Figure, Heading, LineChart, Row, Series, Side, Table
from ofa_mi.evaluation.report.cells import TOTALS, number_cell, remarks, total_cell
from ofa_mi.evaluation.report.published import ABLATIONS, PAPER
from ofa_mi.evaluation.report.section import Section
from ofa_mi.evaluation.report.study import Curve, Seed, Study
from ofa_mi.evaluation.scoring.scores import ZERO_SHOT
from ofa_mi.evaluation.scoring.tables import MISSING, Total, mean_total

CURVE_LABELS = {"num_instructions": "instructions per training task", "task_groups": "groups of training tasks"}


def ablations(study: Study) -> list[Block]:
    """Every curve with the paper's, if it has one of the same name."""
    blocks: list[Block] = []
    for curve in study.curves:
        paper = ABLATIONS.get(curve.name, {}) if study.paper else {}
        blocks += [Heading(_label(curve).capitalize()), *_curve(curve, paper)]
    return blocks


SECTION = Section(40, "Ablations", "ablations", ablations, "give --ablation CURVE=X:DIR")


def _label(curve: Curve) -> str:
    return CURVE_LABELS.get(curve.name, curve.name.replace("_", " "))


def _curve(curve: Curve, paper: Mapping[str, tuple[float, float]]) -> list[Block]:
    totals = {point.place: [_total(point.seeds, name) for name in TOTALS] for point in curve.points}
    figures = [figure for index in range(len(TOTALS)) if (figure := _figure(curve, totals, paper, index))]
    places = _places(totals, paper)
    if curve.numeric:
        places.sort(key=float)
    seeds = {point.place: len(point.seeds) for point in curve.points}
    rows = []
    for place in places:
        cells = [total_cell(total) for total in totals.get(place, (None, None))]
        cells.append(Cell(str(seeds.get(place, MISSING)), kind="soft"))
        if paper:
            cells += [number_cell(value, "soft") for value in paper.get(place, (None, None))]
        rows.append(Row((Cell(place), *cells)))
    columns = [_label(curve), "Aggregated", "Sensitivity\nlower is better", "Seeds"]
    columns += [f"Aggregated\n{PAPER}", f"Sensitivity\n{PAPER}"] if paper else []
    return [Side(tuple(figures)), Table(_label(curve), tuple(columns), tuple(rows)), *_remarks(curve)]


def _places(here: Iterable[str], paper: Iterable[str]) -> list[str]:
    """Places along the axis: in the paper's order, unless some are not the paper's."""
    here, paper = list(here), list(paper)
    return paper if set(here) <= set(paper) else list(dict.fromkeys([*here, *paper]))


def _figure(
    curve: Curve,
    totals: Mapping[str, Sequence[Total | None]],
    paper: Mapping[str, tuple[float, float]],
    index: int,
) -> Figure | None:
    """One total over the curve; None if no point has it."""
    if not curve.numeric and not set(paper) & set(totals):
        paper = {}  # other groups than the paper's have no place on a common axis
    categories = () if curve.numeric else tuple(_places(totals, paper))
    at = float if curve.numeric else lambda place: categories.index(place) + 1.0
    lines = []
    if known := [(at(place), found[index]) for place, found in totals.items() if found[index] is not None]:
        known.sort(key=lambda point: point[0])
        points = tuple((x, total.value) for x, total in known)
        lines.append(Series("here", points, tuple(total.seed_deviation for _, total in known), 1))
    if paper:
        points = tuple((at(place), values[index]) for place, values in paper.items())
        lines.append(Series("paper", points, dashed=True))
    if not lines:
        return None
    name, title = list(TOTALS.items())[index]
    note = "; bars: deviation over seeds" if any(spread for line in lines for spread in line.spreads) else ""
    chart = LineChart(tuple(lines), _label(curve), name, categories, from_zero=True)
    file = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in curve.name)
    return Figure(f"{file}-{name}", title + note, chart)


def _remarks(curve: Curve) -> list[Block]:
    tasks = {tuple(seed.scores.get(ZERO_SHOT, {}).get("tasks", ())) for point in curve.points for seed in point.seeds}
    return remarks(
        ["The points were not evaluated on the same tasks, so they do not compare."] if len(tasks) > 1 else []
    )


def _total(seeds: Sequence[Seed], name: str) -> Total | None:
    return mean_total([seed.scores.get(ZERO_SHOT, {}).get(name) for seed in seeds])
