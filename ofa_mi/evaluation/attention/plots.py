"""Pictures of attention to images: shares over layers as a figure, and heat maps over an image as PNG."""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import fmean
from typing import Any

import numpy as np
from PIL import Image

from ofa_mi.document.blocks import Figure, LineChart, Series
from ofa_mi.document.drawing import draw_boxes
from ofa_mi.document.text import shortened
from ofa_mi.errors import ConfigError
from ofa_mi.geometry import Box

INK, SOFT = "#1c2430", "#5d6877"
DPI = 160
MOST_PANELS = 6  # of layers beside the one of all layers, unless more are asked for
COLOUR_MAP = "PuOr_r"  # violet below even, orange above; told apart with any colour blindness
SCALE_ENDS = (2.0, 8.0)  # the scale reaches at least and at most so many times even
SCALE_TICKS = (1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8)
PANEL, HEAD, MARGIN = 1.5, 2.4, 0.4  # inches: a panel's width, the image's, and that of a row's label
CHARACTERS = 11.5  # of the prompt per inch
PROMPT_LINES = 8


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


def share_figure(checkpoints: Sequence[Mapping[str, Any]], name: str, first: Sequence[str] = ()) -> Figure:
    """Share of the text's attention on image patches over layers, one line per checkpoint.

    Whiskers are standard errors; dashed lines are what even attention would give: one, or several if prompts or images
    have other lengths.

    Args:
        checkpoints: Of an ``attention.json``.
        name: Of the figure.
        first: Names that have the first colours, whether they are among the checkpoints or not.
    """
    names = list(dict.fromkeys([*first, *(checkpoint["name"] for checkpoint in checkpoints)]))
    lines, levels = [], {}
    for checkpoint in checkpoints:
        points = tuple((layer["layer"], 100 * layer["mean"]) for layer in checkpoint["by_layer"])
        errors = tuple(percent(layer["standard_error"]) for layer in checkpoint["by_layer"])
        lines.append(Series(checkpoint["name"], points, errors, names.index(checkpoint["name"])))
        levels.setdefault(round(100 * checkpoint["uniform"]), []).append(checkpoint)
    layers = [layer for line in lines for layer, _ in line.points]
    for even in levels.values():
        label = "even" if len(levels) == 1 else f"even, {', '.join(checkpoint['name'] for checkpoint in even)}"
        level = 100 * fmean(checkpoint["uniform"] for checkpoint in even)
        lines.append(Series(label, ((min(layers), level), (max(layers), level)), dashed=True, marked=False))
    title = "Share of attention on the image by layer, in percent"
    note = "; bars: standard error over instances" if any(any(line.spreads) for line in lines) else ""
    return Figure(
        name, title + note, LineChart(tuple(lines), "encoder layer", "% of attention on the image", from_zero=True)
    )


def percent(value: float | None) -> float | None:
    """A share in percent, if there is one."""
    return None if value is None else 100 * value


def heat_map_figure(shown: HeatMaps, layers: Sequence[int] | None = None) -> bytes:
    """The image beside its prompt, and under them the attention to each patch by checkpoint and layer, as PNG.

    Colours of all panels have one scale: attention to a patch as a multiple of the mean patch of its panel. The
    share of the whole image stands above each panel.

    Args:
        shown: The instance and the attention.
        layers: As in :func:`layers_shown`.
    """
    from matplotlib.colors import LogNorm  # takes a second, so that a report of other things does not import it
    from matplotlib.figure import Figure as Canvas

    rows = {name: _panels(attention, layers, name) for name, attention in shown.attention.items()}
    columns = max(map(len, rows.values()))
    aspect = min(2.0, max(0.4, shown.image.height / shown.image.width))
    width = max(6.4, MARGIN + columns * PANEL)
    head = max(1.6, HEAD * aspect) + 0.15
    body = len(rows) * (PANEL * aspect + 0.3) + 0.9  # titles of panels, and the scale
    figure = Canvas(figsize=(width, head + body), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(head, body))
    _head(above, shown, width)
    axes = below.subplots(len(rows), columns, squeeze=False)
    norm = LogNorm(*_scale([panel for panels in rows.values() for _, panel in panels]))
    for line, (name, panels) in zip(axes, rows.items(), strict=True):
        for ax in line:
            ax.set_axis_off()
        for ax, (label, panel) in zip(line, panels, strict=False):
            drawn = _panel(ax, shown.image, panel, norm)
            ax.set_title(f"{label}: {100 * panel.sum():.0f}%", fontsize=8, color=INK, pad=3)
        _row_label(line[0], name)
    _scale_bar(below, axes, drawn)
    return _png(figure)


def _panels(attention: np.ndarray, layers: Sequence[int] | None, name: str) -> list[tuple[str, np.ndarray]]:
    """Label and attention (P,) of each panel: all layers, then some of them."""
    chosen = layers_shown(len(attention), layers, name)
    return [("all layers", attention.mean(axis=0)), *((f"layer {n}", attention[n - 1]) for n in chosen)]


def _relative(panel: np.ndarray) -> np.ndarray:
    """Multiples of the mean patch; all 1 where no attention falls on the image."""
    return panel / panel.mean() if panel.any() else np.ones_like(panel)


def _scale(panels: Sequence[np.ndarray]) -> tuple[float, float]:
    """Ends of the colours' scale, symmetric about 1: nearly all patches are inside."""
    distance = np.abs(np.log(np.maximum(np.concatenate([_relative(panel) for panel in panels]), 1e-9)))
    top = min(SCALE_ENDS[1], max(SCALE_ENDS[0], math.exp(np.percentile(distance, 99))))
    return 1 / top, top


def _panel(axes, image: Image.Image, panel: np.ndarray, norm):
    """Patches in colour over a pale image; patches cover it whole, because the model sees it resized to a square."""
    side = math.isqrt(len(panel))
    place = (0, image.width, image.height, 0)
    pale = 255 - (255 - np.asarray(image.convert("L"), dtype=float)) * 0.6
    axes.imshow(pale, cmap="gray", vmin=0, vmax=255, extent=place)
    grid = np.maximum(_relative(panel).reshape(side, side), norm.vmin)
    # Even patches are nearly clear and the others the more opaque the further they are from even.
    opacity = 0.15 + 0.7 * np.minimum(np.abs(np.log(grid)) / math.log(norm.vmax), 1) ** 0.5
    return axes.imshow(grid, cmap=COLOUR_MAP, norm=norm, alpha=opacity, extent=place, interpolation="nearest")


def _row_label(axes, name: str) -> None:
    axes.text(
        *(-0.06, 0.5, shortened(name, 20)),
        transform=axes.transAxes,
        rotation=90,
        va="center",
        ha="right",
        fontsize=9,
        color=INK,
        parse_math=False,
    )


def _scale_bar(figure, axes, drawn) -> None:
    from matplotlib.cm import ScalarMappable

    colours = ScalarMappable(drawn.norm, drawn.cmap)  # without the opacity of the patches
    bar = figure.colorbar(colours, ax=axes, location="bottom", aspect=50, pad=0.02, extend="both", shrink=0.75)
    ticks = [tick for tick in SCALE_TICKS if drawn.norm.vmin <= tick <= drawn.norm.vmax]
    bar.set_ticks(ticks, labels=["even" if tick == 1 else f"{Fraction(tick)}x" for tick in ticks])
    bar.minorticks_off()
    bar.set_label(
        "attention to a patch, as a multiple of the panel's mean patch\n"
        "above each panel: share of the text's attention on the image",
        fontsize=8,
        color=INK,
    )
    bar.ax.tick_params(labelsize=8, colors=SOFT)
    bar.outline.set_visible(False)


def _head(figure, shown: HeatMaps, width: float) -> None:
    """The image at the left, the prompt at the right."""
    left, right = figure.subplots(1, 2, width_ratios=(HEAD, width - HEAD))
    left.imshow(draw_boxes(shown.image, {"region": shown.regions} if shown.regions else {}))
    for ax in (left, right):
        ax.set_axis_off()
        ax.set_anchor("NW")
    room = int((width - HEAD) * CHARACTERS)
    lines = textwrap.wrap(shown.prompt.strip(), room, max_lines=PROMPT_LINES, placeholder=" …")
    title = shortened(shown.title, room)
    style = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "top", "parse_math": False}
    right.annotate(title, (0, 1), (0, 0), fontsize=8, color=SOFT, **style)
    right.annotate("\n".join(lines), (0, 1), (0, -18), fontsize=9, linespacing=1.4, color=INK, **style)


def _png(figure) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Prompts may be in scripts that the plots' font lacks; they are whole in attention.json.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()
