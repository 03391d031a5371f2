"""All numbers of a report as one CSV file: one number per line, with everything that says what it is."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence

from ofa_mi.evaluation.report.published import ABLATIONS, PaperRow
from ofa_mi.evaluation.report.study import Curve, Seed, Study
from ofa_mi.evaluation.scoring.scores import TRAINED, ZERO_SHOT

COLUMNS = (
    "source",  # here, paper or InstrAug
    "strategy",
    "seed",  # number of the run among those of its strategy, from 1
    "condition",  # plain, or how the run differs
    "curve",  # name of an ablation
    "place",  # place on it
    "section",  # zero_shot or trained
    "task",  # empty for totals
    "metric",
    "instruction",  # number from 1; empty for a summary
    "quantity",
    "value",
)
_SUMMARIES = ("mean", "max", "deviation", "chance", "majority")


def comma_separated(study: Study) -> str:
    """The numbers of all runs, seed by seed, and the paper's; ``deviation`` is over instructions."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for strategy in study.strategies:
        for condition, seeds in {"plain": strategy.seeds, **strategy.changed}.items():
            writer.writerows(_seeds({"strategy": strategy.name, "condition": condition}, seeds))
    for curve in study.curves:
        for point in curve.points:
            writer.writerows(_seeds({"curve": curve.name, "place": point.place, "condition": "plain"}, point.seeds))
    writer.writerows(_paper(study.paper, study.curves if study.paper else ()))
    return file.getvalue()


def _seeds(start: Mapping[str, object], seeds: Sequence[Seed]) -> Iterator[dict[str, object]]:
    for number, seed in enumerate(seeds, start=1):
        scores, line = seed.scores, {"source": "here", **start, "seed": number}
        for section in (ZERO_SHOT, TRAINED):
            total = scores.get(section, {})
            for name in ("aggregated", "sensitivity"):
                yield from _numbers({**line, "section": section}, {name: total.get(name)})
                yield from _interval({**line, "section": section}, name, total.get(f"{name}_interval"))
            for task in total.get("tasks", ()):
                entry = scores["tasks"][task]
                test = entry.get("above_baseline") or {}
                place = {**line, "section": section, "task": task, "metric": entry["metric"]}
                yield from _numbers(place, {f"baseline_{name}": test.get(name) for name in ("p", "p_holm")})
                for metric, values in entry["metrics"].items():
                    place = {**line, "section": section, "task": task, "metric": metric}
                    yield from _numbers(place, {name: values[name] for name in _SUMMARIES})
                    yield from _interval(place, "mean", values.get("interval"))
                    for instruction, score in zip(entry["instructions"], values["scores"], strict=True):
                        yield from _numbers({**place, "instruction": instruction + 1}, {"score": score})


def _paper(paper: Mapping[str, PaperRow], curves: Sequence[Curve]) -> Iterator[dict[str, object]]:
    for name, row in paper.items():
        source = row.source.partition(",")[0]
        line = {"source": source, "strategy": name, "condition": "plain", "section": ZERO_SHOT}
        yield from _numbers(line, {"aggregated": row.aggregated, "sensitivity": row.sensitivity})
        for (task, metric), scores in row.cells.items():
            values = {"mean": scores.mean, "max": scores.max, "deviation": scores.deviation}
            yield from _numbers({**line, "task": task, "metric": metric}, values)
    for curve in curves:
        for place, (aggregated, sensitivity) in ABLATIONS.get(curve.name, {}).items():
            line = {"source": "paper", "condition": "plain", "curve": curve.name, "place": place, "section": ZERO_SHOT}
            yield from _numbers(line, {"aggregated": aggregated, "sensitivity": sensitivity})


def _numbers(line: Mapping[str, object], values: Mapping[str, float | None]) -> Iterator[dict[str, object]]:
    for name, value in values.items():
        if value is not None:
            yield {**line, "quantity": name, "value": f"{value:.4f}"}


def _interval(line: Mapping[str, object], name: str, interval: Sequence[float] | None) -> Iterator[dict[str, object]]:
    if interval is not None:
        yield from _numbers(line, {f"{name}_low": interval[0], f"{name}_high": interval[1]})
