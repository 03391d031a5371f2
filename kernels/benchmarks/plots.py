"""Plots of the tables."""

import io
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ofa_mi.utils.files import atomic_write

from .run import WRONG
from .table import Table

COLOURS = ("#9a9a9a", "#c8321e", "#1f6f8b", "#4f9d69", "#d9a441", "#7a5195", "#5b6b7f", "#8c6d46")
DOTS = 150  # per inch


def plot(table: Table, settings: tuple[str, ...], path: Path) -> None:
    """One panel per pass: times over those of plain PyTorch, bars by setting and contender; refusals are marked."""
    contenders = _in_order(row["contender"] for row in table.rows)
    passes = _in_order(row["pass"] for row in table.rows)
    labels = _in_order(_label(row, settings) for row in table.rows)
    figure = Figure(figsize=(max(7.0, 1.2 + 0.16 * len(labels) * (len(contenders) + 2)), 1.2 + 2.5 * len(passes)))
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(passes), 1, squeeze=False)[:, 0]
    for panel, of_pass in zip(panels, passes, strict=True):
        rows = {(_label(row, settings), row["contender"]): row for row in table.rows if row["pass"] == of_pass}
        _panel(panel, rows, labels, contenders)
        panel.set_title(of_pass, loc="left", fontsize=10)
    panels[-1].set_xlabel(", ".join(settings))
    names = [c.replace("ofa_mi", "ofa_mi (this repository)") for c in contenders]
    handles = panels[0].containers
    figure.legend(handles, names, loc="upper center", ncols=min(4, len(names)), fontsize=8, frameon=False)
    figure.text(0.01, 0.01, _origin(table), fontsize=7, color="#555555")
    legend = 0.25 * (1 + (len(names) - 1) // 4) / figure.get_figheight()
    figure.tight_layout(rect=(0, 0.03, 1, 1 - legend))
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=DOTS, metadata={"Software": None})
    atomic_write(path, image.getvalue())


def _panel(panel, rows: dict, labels: list[str], contenders: list[str]) -> None:
    width = 0.85 / len(contenders)
    for n, contender in enumerate(contenders):
        positions, speeds = [], []
        for place, label in enumerate(labels):
            x = place + (n - (len(contenders) - 1) / 2) * width
            row, reference = rows.get((label, contender)), rows.get((label, contenders[0]))
            times = [r["ms"] if r else "" for r in (row, reference)]
            positions.append(x)
            speeds.append(float(times[1]) / float(times[0]) if all(times) else 0.0)
            if row and not row["ms"]:
                mark = "wrong" if row["note"] == WRONG else "refuses"
                panel.text(x, 0.02, mark, rotation=90, fontsize=5.5, ha="center", va="bottom", color="#777777")
        panel.bar(positions, speeds, width * 0.92, color=COLOURS[n % len(COLOURS)], label=contender)
    panel.axhline(1.0, color="#9a9a9a", linewidth=0.6)
    panel.set_xticks(range(len(labels)), labels, fontsize=8)
    panel.set_ylabel("speed, eager = 1", fontsize=8)
    panel.tick_params(axis="y", labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)


def _label(row: dict[str, str], settings: tuple[str, ...]) -> str:
    return ", ".join(row[name] for name in settings)


def _in_order(values) -> list[str]:
    return list(dict.fromkeys(values))


def _origin(table: Table) -> str:
    e = table.environment
    return f"{e['device']}; PyTorch {e['torch']}, Triton {e['triton']}; {e['date']}"
