"""Pictures of attention to images: shares over layers, and heat maps over an image, as PNG files."""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from ofa_mi.data.instance import Box
from ofa_mi.decoding.draw import draw_boxes
from ofa_mi.errors import ConfigError

# After Okabe and Ito (2008), told apart with any colour blindness; grey first, for what is not tuned.
COLOURS = ("#6b7480", "#0072b2", "#c85300", "#00805c", "#b0478a", "#9a6b00", "#2a86bd", "#5b4fc4")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
INK, SOFT, LINE = "#1c2430", "#5d6877", "#dfe3e9"
DPI = 160
LABEL_GAP = 0.055  # between the middles of two labels, as part of the axis
MOST_PANELS = 6  # of layers beside the one of all layers, unless more are asked for
PANEL = 1.45  # inches
PROMPT_LINES = 12


@dataclass(frozen=True)
class Shares:
    """Shares of one checkpoint.

    Attributes:
        means: From 0 to 1, one per layer.
        errors: Standard errors, None where there is none.
        uniform: What even attention would give.
    """

    means: tuple[float, ...]
    errors: tuple[float | None, ...]
    uniform: float


@dataclass(frozen=True)
class HeatMaps:
    """Attention of one prompt to its image.

    Attributes:
        title: What is shown.
        prompt: The prompt for people.
        image: RGB image.
        regions: Boxes that the prompt mentions, in pixels.
        attention: By name of the checkpoint, (layers, P): attention to each patch of a square grid, row by row.
    """

    title: str
    prompt: str
    image: Image.Image
    regions: tuple[Box, ...]
    attention: Mapping[str, np.ndarray]


def layers_shown(depth: int, layers: Sequence[int] | None, name: str) -> tuple[int, ...]:
    """Layers, from 1, that heat maps of a model of ``depth`` layers show.

    Args:
        depth: Number of layers.
        layers: Those that were asked for; None for up to six, evenly spaced, with the first and the last.
        name: Of the checkpoint.

    Raises:
        ConfigError: The model has no such layer.
    """
    if layers is None:
        return tuple(dict.fromkeys(round(x) for x in np.linspace(1, depth, min(depth, MOST_PANELS))))
    for layer in layers:
        if not 1 <= layer <= depth:
            raise ConfigError(f"checkpoint {name} has {depth} encoder layers, no layer {layer}")
    return tuple(layers)


def share_figure(curves: Mapping[str, Shares]) -> bytes:
    """Share of the text's attention on image patches over layers, one line per checkpoint, as PNG.

    Bands are one standard error wide on both sides; dotted lines are what even attention would give.
    """
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.add_subplot()
    labels = []
    depth = max(len(curve.means) for curve in curves.values())
    for i, (name, curve) in enumerate(curves.items()):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        layers, means = np.arange(1, len(curve.means) + 1), 100 * np.array(curve.means)
        errors = 100 * np.array([error or 0.0 for error in curve.errors])
        axes.fill_between(layers, means - errors, means + errors, color=colour, alpha=0.18, linewidth=0)
        axes.plot(layers, means, color=colour, marker=marker, linewidth=2, markersize=5, clip_on=False)
        labels.append((means[-1], name, colour))
    labels += _uniform_lines(axes, curves)
    axes.set_xlim(1 - 0.04 * max(depth - 1, 1), depth + 0.04 * max(depth - 1, 1))
    axes.set_ylim(0, min(100, 1.12 * max(axes.get_ylim()[1] / 1.05, *(place for place, _, _ in labels))))
    axes.set_xticks(range(1, depth + 1) if depth <= 12 else range(2, depth + 1, 2))
    axes.yaxis.set_major_formatter("{x:.0f}%")
    axes.set_xlabel("encoder layer", color=INK)
    axes.set_title("Share of text tokens' self-attention on image patches", loc="left", fontsize=11, color=INK)
    _plain(axes)
    _label_lines(axes, labels)
    return _png(figure)


def _uniform_lines(axes, curves: Mapping[str, Shares]) -> list[tuple[float, str, str]]:
    """Dotted lines of even attention: one, or one per checkpoint if their prompts or images have other lengths."""
    levels = {round(100 * curve.uniform, 1) for curve in curves.values()}
    labels = []
    for i, (name, curve) in enumerate(curves.items()):
        if len(levels) == 1 and i:
            break
        colour = INK if len(levels) == 1 else COLOURS[i % len(COLOURS)]
        axes.axhline(100 * curve.uniform, color=colour, linestyle=":", linewidth=1.4)
        labels.append((100 * curve.uniform, "even attention" + ("" if len(levels) == 1 else f", {name}"), colour))
    return labels


def _label_lines(axes, labels: Sequence[tuple[float, str, str]]) -> None:
    """Write names beside the ends of lines, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    gap = LABEL_GAP * (high - low)
    places = _apart([place for place, _, _ in labels], gap)
    for place, (_, name, colour) in zip(places, labels, strict=True):
        name = textwrap.shorten(name, 32, placeholder="…")
        axes.annotate(
            name,
            (1.015, place),
            xycoords=("axes fraction", "data"),
            color=colour,
            va="center",
            fontsize=9,
            annotation_clip=False,
            parse_math=False,
        )


def _apart(values: Sequence[float], gap: float) -> list[float]:
    """``values`` with at least ``gap`` between any two, in the same order of size, moved as little as possible.

    Runs of values that are too close become one block around their mean; blocks that touch are merged.
    """
    order = sorted(range(len(values)), key=values.__getitem__)
    blocks: list[list[int]] = []

    def start(block: list[int]) -> float:
        return math.fsum(values[i] for i in block) / len(block) - gap * (len(block) - 1) / 2

    for i in order:
        blocks.append([i])
        while len(blocks) > 1 and start(blocks[-1]) < start(blocks[-2]) + gap * len(blocks[-2]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    places = [0.0] * len(values)
    for block in blocks:
        for rank, i in enumerate(block):
            places[i] = start(block) + gap * rank
    return places


def heat_map_figure(shown: HeatMaps, layers: Sequence[int] | None = None) -> bytes:
    """The image beside its prompt, and under them the attention to each patch by checkpoint and layer, as PNG.

    Colours of all panels have one scale: attention to a patch as a multiple of the mean patch of its panel. The
    share of the whole image stands above each panel.

    Args:
        shown: The instance and the attention.
        layers: As in :func:`layers_shown`.
    """
    rows = {name: _panels(attention, layers, name) for name, attention in shown.attention.items()}
    columns = max(map(len, rows.values()))
    top = max(_relative(panel).max() for panels in rows.values() for _, panel in panels)
    top = max(2.0, min(top, np.percentile(np.concatenate([_relative(p) for r in rows.values() for _, p in r]), 99.5)))
    height = PANEL * min(1.6, max(0.5, shown.image.height / shown.image.width)) + 0.36  # of a row, with its titles
    head = 2 * height
    width = max(6.4, 0.5 + columns * (PANEL + 0.1))
    figure = Figure(figsize=(width, head + len(rows) * (height + 0.1) + 0.85), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(head, len(rows) * (height + 0.1) + 0.85))
    _head(above, shown, width)
    axes = below.subplots(len(rows), columns, squeeze=False)
    gray = shown.image.convert("L")
    for line, (name, panels) in zip(axes, rows.items(), strict=True):
        for ax in line:
            ax.set_axis_off()
        for ax, (label, panel) in zip(line, panels, strict=False):
            drawn = _panel(ax, gray, panel, top)
            ax.set_title(f"{label}: {100 * panel.sum():.0f}%", fontsize=8, color=INK)
        line[0].text(
            *(-0.06, 0.5, textwrap.shorten(name, 28, placeholder="…")),
            transform=line[0].transAxes,
            rotation=90,
            va="center",
            ha="right",
            fontsize=9,
            color=INK,
            parse_math=False,
        )
    bar = below.colorbar(drawn, ax=axes, location="bottom", aspect=60, pad=0.02, extend="max", shrink=0.8)
    bar.set_label(
        "attention to a patch, as a multiple of the panel's mean patch (1: evenly spread over the image).\n"
        "Above each panel: share of the text's attention on the image",
        fontsize=8,
        color=INK,
    )
    bar.ax.tick_params(labelsize=8, colors=SOFT)
    bar.outline.set_visible(False)
    return _png(figure)


def _panels(attention: np.ndarray, layers: Sequence[int] | None, name: str) -> list[tuple[str, np.ndarray]]:
    """Label and attention (P,) of each panel: all layers, then some of them."""
    chosen = layers_shown(len(attention), layers, name)
    return [("all layers", attention.mean(axis=0)), *((f"layer {n}", attention[n - 1]) for n in chosen)]


def _relative(panel: np.ndarray) -> np.ndarray:
    return panel / panel.mean() if panel.any() else panel


def _panel(axes, gray: Image.Image, panel: np.ndarray, top: float):
    side = math.isqrt(len(panel))
    place = (0, gray.width, gray.height, 0)
    axes.imshow(gray, cmap="gray", vmin=0, vmax=255, extent=place)
    # Patches cover the whole image, whatever its shape: the model sees it resized to a square.
    grid = _relative(panel).reshape(side, side)
    return axes.imshow(grid, cmap="inferno", vmin=0, vmax=top, alpha=0.72, extent=place, interpolation="nearest")


def _head(figure, shown: HeatMaps, width: float) -> None:
    """The image at the left, the prompt at the right."""
    share = min(0.45, 2.9 / width)
    left, right = figure.subplots(1, 2, width_ratios=(share, 1 - share))
    left.imshow(draw_boxes(shown.image, {"region": shown.regions} if shown.regions else {}))
    left.set_axis_off()
    right.set_axis_off()
    lines = textwrap.wrap(shown.prompt.strip(), max(24, int(width * (1 - share) * 13.5)), max_lines=PROMPT_LINES)
    title = textwrap.shorten(shown.title, 80, placeholder="…")
    style = {"transform": right.transAxes, "va": "top", "color": INK, "parse_math": False}
    right.text(0, 1, title, fontsize=8, **{**style, "color": SOFT})
    right.text(0, 0.9, "\n".join(lines), fontsize=9.5, linespacing=1.4, **style)


def _plain(axes) -> None:
    """A light frame: a grid of horizontal lines, and no box."""
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=SOFT, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(LINE)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Prompts may be in scripts that the plots' font lacks; they are whole in attention.json.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()
