"""What a reader must not compare."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ofa_mi.document.blocks import Block, Items
from ofa_mi.evaluation.report.cells import tables_of
from ofa_mi.evaluation.report.section import Section
from ofa_mi.evaluation.report.study import Strategy, Study

COMPARED = {
    "mode": "ways of decoding",
    "prompt_style": "styles of prompts",
    "option_markers": "option markers",
    "max_instances": "limits of instances per task",
    "instructions": "choices of instructions",
    "seed": "seeds of the choice of instances",
    "split": "splits of the data",
}


def caveats(study: Study) -> list[Block]:
    """Differences between the runs, and what one seed or another model cannot tell."""
    lines = _differences(study.strategies)
    for table in tables_of(study.strategies):
        lines += [f"{table.title}: {remark}" for remark in table.caveats]
    single = [strategy.name for strategy in study.strategies if len(strategy.seeds) == 1]
    if single:
        lines.append(
            f"One seed only: {', '.join(single)}. How much of a difference is the chance of training cannot be told."
        )
    if study.paper:
        lines.append("Published rows are OFA-large on the full test sets; they do not compare with the runs here.")
    return [Items(tuple(dict.fromkeys(lines)))] if lines else []


SECTION = Section(110, "What does not compare", "caveats", caveats)


def _differences(strategies: Sequence[Strategy]) -> list[str]:
    """In which settings of the plain runs the strategies differ, one line each."""
    runs = [(strategy.name, run) for strategy in strategies for seed in strategy.seeds for run in seed.runs]
    lines = []
    for what, value in (
        *((what, lambda run, key=key: run.settings.get("options", {}).get(key)) for key, what in COMPARED.items()),
        ("data files", lambda run: run.settings.get("data")),
        ("settings of the decoder", lambda run: run.settings.get("generation")),
        ("precision", lambda run: run.settings.get("precision", "fp32")),
        ("versions of this package", lambda run: run.notes.get("ofa_mi")),
    ):
        by_value: dict[str, dict[str, None]] = {}
        for name, run in runs:
            by_value.setdefault(_value_text(value(run)), {})[name] = None
        if len(by_value) > 1:
            values = [f"{text} ({', '.join(names)})" for text, names in by_value.items()]
            lines.append(f"Different {what}: {'; '.join(values)}.")
    return lines


def _value_text(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return " ".join(item[:12] for item in value)
    return value if isinstance(value, str) else json.dumps(value)
