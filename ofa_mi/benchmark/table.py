"""Results as files: CSV for people and programs, JSON with what they were measured on, and a plot of the factors."""

from __future__ import annotations

import csv
import io
import json
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

import torch

import ofa_mi
from ofa_mi.utils.files import atomic_write

PARTS = ("image tower", "encoder", "decoder", "output layer", "search", "loss", "optimiser")
OURS, BASELINE, RELEASED = "ofa_mi", "baseline", "released"


@dataclass(frozen=True)
class Row:
    """One contender at one work; medians over the turns.

    Attributes:
        work: The work.
        arch: Architecture, and so on to ``options``, as in :class:`~ofa_mi.benchmark.setting.Setting`.
        contender: ``ofa_mi``, ``baseline`` or ``released``.
        precision: It computed in.
        process_s: Seconds of the processor.
        wall_s: Seconds on the clock.
        memory_mib: MiB at the highest point, beyond the model.
        faster_than_released: The released code's processor time over this one's (on a GPU: of the clock), or None.
        faster_than_baseline: Likewise.
        goal: Factor to reach.
        difference: Largest difference of scores to the first contender's.
        same_answers: Share of sentences with its best answer.
        shares: Of the parts in the time, ours only.
    """

    work: str
    arch: str
    batch: int
    source: int
    image_size: int
    beam: int
    length: int
    options: int
    contender: str
    precision: str
    process_s: float
    wall_s: float
    memory_mib: float
    faster_than_released: float | None
    faster_than_baseline: float | None
    goal: float | None
    difference: float
    same_answers: float
    shares: dict[str, float] | None


def environment(device: torch.device) -> dict[str, str]:
    """What the results depend on."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "threads": str(torch.get_num_threads()) if device.type == "cpu" else "",
        "ofa_mi": ofa_mi.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1) if found else platform.processor() or platform.machine()


def write(rows: Sequence[Row], path: Path, surroundings: dict[str, str]) -> None:
    """Write ``path``.csv and ``path``.json."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path.with_name(path.name + ".csv"), _csv(rows).encode())
    content = {"environment": surroundings, "rows": [asdict(row) for row in rows]}
    atomic_write(path.with_name(path.name + ".json"), (json.dumps(content, indent=1) + "\n").encode())


def plot(rows: Sequence[Row], path: Path, surroundings: dict[str, str]) -> None:
    """Write ``path``.png."""
    atomic_write(path.with_name(path.name + ".png"), _plot(rows, surroundings))


def _csv(rows: Sequence[Row]) -> str:
    columns = [f.name for f in fields(Row) if f.name != "shares"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, *PARTS])
    for row in rows:
        shares = [(row.shares or {}).get(part) for part in PARTS]
        writer.writerow([*(_text(getattr(row, name)) for name in columns), *map(_text, shares)])
    return text.getvalue()


def _text(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _plot(rows: Sequence[Row], surroundings: dict[str, str]) -> bytes:
    """Bars of the factor over the released code, or over the baseline where there is none, and the goals."""
    from matplotlib.figure import Figure

    ours = [row for row in rows if row.contender == OURS]
    works = list(dict.fromkeys(_label(row) for row in ours))
    precisions = list(dict.fromkeys(row.precision for row in ours))
    figure = Figure(figsize=(9, 1.2 + 0.5 * len(works)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / max(1, len(precisions))
    for number, precision in enumerate(precisions):
        chosen = [row for row in ours if row.precision == precision]
        places = [works.index(_label(row)) + (number - (len(precisions) - 1) / 2) * height for row in chosen]
        factors = [row.faster_than_released or row.faster_than_baseline or 0 for row in chosen]
        bars = axes.barh(places, factors, height, label=precision)
        axes.bar_label(bars, fmt="%.1f", padding=2)
        for row, place in zip(chosen, places, strict=True):
            if row.goal:
                axes.plot([row.goal] * 2, [place - height / 2, place + height / 2], color="black", label="_goal")
    axes.set_yticks(range(len(works)), works)
    axes.invert_yaxis()
    against = "the released code" if any(row.contender == RELEASED for row in rows) else "the baseline"
    axes.set_xlabel(f"times as fast as {against} (line: goal)")
    axes.set_title(f"{surroundings['device']}, torch {surroundings['torch']}, {surroundings['date']}", fontsize=9)
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def _label(row: Row) -> str:
    return f"{row.work}, B {row.batch}, {row.source} + {row.image_size} px"
