"""Figures as SVG, drawn by matplotlib, on the width of a phone, so that their text stays legible there.

Colours are variables of ``chart.css``, so that a figure on a page follows light and dark mode; a file of its own brings
the style sheet with it. Lines are told apart by colour, by the shape of their marks, and by labels next to them. Text
stays text. The same figure gives the same bytes.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.resources import files
from xml.etree import ElementTree

from ofa_mi.document.blocks import Bar, BarChart, DotChart, Dots, Figure, LineChart, Series
from ofa_mi.document.text import printable, shortened

WIDTH = 360  # of every figure, in pixels
TEXT = 12  # height of text
COLOURS = 8  # of which the first, grey, is for what is not tuned
_SVG = "{http://www.w3.org/2000/svg}"

# What matplotlib draws with, by the variable of the style sheet that takes its place; black would be left out.
_VARIABLES = ("chart-ink", "chart-soft", "chart-line", *(f"s{number}" for number in range(COLOURS)))
_VARIABLE_OF = {f"#0000{number:02x}": name for number, name in enumerate(_VARIABLES, start=1)}
INK, SOFT, LINE, *_SERIES = _VARIABLE_OF
_MARKS = ("o", "s", "D", "^")
_STEPS = (1, 2, 2.5, 5, 10)
_STYLE = {
    "font.size": TEXT,
    "font.sans-serif": ["DejaVu Sans"],  # it comes with matplotlib, and is wider than what pages are shown in
    "text.color": INK,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "legend.frameon": False,
    "legend.labelcolor": SOFT,
    "legend.borderpad": 0,
    "legend.handletextpad": 0.2,
    "legend.handlelength": 1.2,
    "legend.columnspacing": 1.2,
    "legend.fontsize": TEXT,
}


@lru_cache(maxsize=64)  # the page and the file of a figure need the same drawing
def draw(figure: Figure) -> str:
    """An ``<svg>`` element in the colours of the page, with title and description for people who cannot see it."""
    import matplotlib  # takes a second, so that what draws nothing does not import it

    with matplotlib.rc_context(), warnings.catch_warnings():
        # Names may be in scripts that the font lacks; whoever shows the figure has others.
        warnings.simplefilter("ignore", UserWarning)
        matplotlib.rcdefaults()  # not the user's own
        matplotlib.rcParams.update({**_STYLE, "svg.hashsalt": figure.name})
        match figure.chart:
            case BarChart():
                drawn, said = _bars(figure.chart)
            case DotChart():
                drawn, said = _dots(figure.chart)
            case LineChart():
                drawn, said = _lines(figure.chart)
        file = io.StringIO()
        drawn.savefig(file, format="svg", metadata={"Date": None})
    return _element(file.getvalue(), figure.title, said)


def standalone(figure: Figure) -> str:
    """A figure as a file of its own, which follows the light or dark mode of whoever shows it.

    It brings its ground with it, since the page around it may be in the other mode.
    """
    svg = draw(figure)
    end = svg.index(">")
    height = float(svg[:end].partition('viewBox="')[2].partition('"')[0].split()[3])
    style = files(__package__).joinpath("chart.css").read_text(encoding="utf-8")
    size = f'width="{2 * WIDTH}" height="{2 * height:.0f}"'
    ground = '<rect width="100%" height="100%" fill="var(--chart-ground)"/>'
    return f"{svg[:end]} {size}><style>{style}</style>{ground}{svg[end + 1 :]}\n"


def spread_out(places: Sequence[float], gap: float, low: float = -math.inf, high: float = math.inf) -> list[float]:
    """Places at least ``gap`` apart, from ``low`` to ``high``, in the same order of size, moved as little as possible.

    Runs of places that are too close become one block around their mean; blocks that touch are merged.
    """
    order = sorted(range(len(places)), key=places.__getitem__)
    blocks: list[list[int]] = []

    def start(block: list[int]) -> float:
        room = gap * (len(block) - 1)
        return min(max(math.fsum(places[i] for i in block) / len(block) - room / 2, low), high - room)

    for i in order:
        blocks.append([i])
        while len(blocks) > 1 and start(blocks[-1]) < start(blocks[-2]) + gap * len(blocks[-2]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    moved = [0.0] * len(places)
    for block in blocks:
        for rank, i in enumerate(block):
            moved[i] = start(block) + gap * rank
    return moved


def number_text(value: float, place: int | None = None) -> str:
    """A number on an axis: thousands as ``2k``, no digits that say nothing."""
    return f"{value / 1000:g}k" if abs(value) >= 1000 and value % 100 == 0 else f"{value:g}"


def ticks_around(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers, about ``most``, of which the first is at most ``low`` and the last at least ``high``."""
    from matplotlib.ticker import MaxNLocator

    if not high - low > 1e-9 * max(abs(low), abs(high), 1):  # closer than their digits tell
        beside = largest / 2 if (largest := max(abs(low), abs(high))) > 1e-6 else 0.5
        low, high = low - beside, high + beside
    return [round(float(tick), 10) for tick in MaxNLocator(most, steps=_STEPS).tick_values(low, high)]


def _axes(height: float):
    """A figure of so many pixels, and its axes, without frame."""
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas((WIDTH / 72, height / 72), dpi=72, layout="constrained")
    canvas.get_layout_engine().set(w_pad=3 / 72, h_pad=3 / 72)
    axes = canvas.add_subplot()
    for patch in (canvas.patch, axes.patch, axes.spines[:]):
        patch.set_visible(False)
    axes.tick_params(length=0, labelcolor=SOFT, pad=5)
    axes.xaxis.label.set_color(SOFT)
    axes.set_axisbelow(True)
    return canvas, axes


def _colour(number: int) -> str:
    return _SERIES[number % COLOURS]


def _mark(number: int, size: float, **look):
    """How a line is marked by its number, as keywords of matplotlib."""
    shape = _MARKS[number % len(_MARKS)]
    size *= 0.85 if shape == "D" else 1
    return {"color": _colour(number), "marker": shape, "markersize": size, "markeredgewidth": 0, **look}


def _bars(chart: BarChart):
    bars, papers = chart.bars, any(bar.paper is not None for bar in chart.bars)
    canvas, axes = _axes(26 * len(bars) + (30 if papers else 8))
    width = max((len(f"{bar.value:.2f}") for bar in bars if bar.value is not None), default=0)
    paper = {"linestyle": "", "marker": "D", "markersize": 7, "markerfacecolor": "none", "markeredgecolor": INK}
    for place, bar in enumerate(bars):
        if bar.value is not None:
            axes.barh(place, bar.value, 0.62, color=_colour(bar.colour), alpha=0.55 if bar.faint else None)
            if bar.spread:
                axes.hlines(place, max(0, bar.value - bar.spread), bar.value + bar.spread, INK, linewidth=1.4)
        if bar.paper is not None:
            axes.plot(bar.paper, place, **paper, markeredgewidth=1.4)
        # Values stand in a column of their own, where no mark of another value can be taken for theirs.
        colour = SOFT if bar.value is None else INK
        text = _bar_text(bar, width)
        place = {"xy": (1, place), "xycoords": ("axes fraction", "data")}
        axes.annotate(text, **place, xytext=(14, 0), textcoords="offset points", va="center", color=colour)
    reach = [(bar.value or 0) + (bar.spread or 0) for bar in bars] + [bar.paper or 0 for bar in bars]
    axes.set_xlim(0, max(reach, default=0) or 1)
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks(range(len(bars)), [shortened(bar.label, 17) for bar in bars], color=INK)
    axes.spines["left"].set(visible=True, color=LINE)
    if papers:
        handle = axes.plot([], [], **paper, markeredgewidth=1.4, label="the paper (OFA-large)")
        axes.legend(handles=handle, loc="upper left", bbox_to_anchor=(0, 0))
    return canvas, "; ".join(f"{bar.label} {_bar_text(bar)}" for bar in bars)


def _bar_text(bar: Bar, width: int = 0) -> str:
    """The value, of so many characters, and its deviation; or why there is none."""
    if bar.value is None:
        return bar.note
    value = f"{bar.value:.2f}".rjust(width, "\u2007")  # a space as wide as a digit
    return value if bar.spread is None else f"{value} ± {bar.spread:.2f}"


def _dots(chart: DotChart):
    lines = [dots for _, group, _ in chart.groups for dots in group]
    named = list(dict.fromkeys((shortened(dots.label, 18), dots.colour) for dots in lines))
    columns = 3 if all(len(name) <= 12 for name, _ in named) else 2
    heights = [22 + 11 * max(len(group), 1) for _, group, _ in chart.groups]
    canvas, axes = _axes(sum(heights) + 48 + 18 * -(-len(named) // columns) + 16 * len(chart.notes))
    top = 0
    for (name, group, chance), height in zip(chart.groups, heights, strict=True):
        axes.text(0, top + 14, shortened(name, 44), fontweight="bold")
        for y, dots in enumerate(group):
            y = top + 25 + 11 * y
            if len(dots.values) > 1:
                axes.hlines(y, min(dots.values), max(dots.values), _colour(dots.colour), linewidth=1, alpha=0.55)
            if len(dots.values) > 1:
                axes.plot(dots.values, [y] * len(dots.values), **_mark(dots.colour, 5, linestyle="", alpha=0.45))
            if dots.mean is None:
                axes.text(0, y, f"  {shortened(dots.label, 18)}: {dots.note}", color=SOFT, va="center", fontsize=9)
            else:
                axes.plot(dots.mean, y, **_mark(dots.colour, 8.5))
        if chance is not None:
            axes.vlines(chance, top + 18, top + height, INK, linewidth=1.4, linestyle=(0, (1, 1.7)))
        top += height
    reach = [chart.top] if chart.top else [dots.mean for dots in lines if dots.mean is not None]
    ticks = ticks_around(0, max(reach, default=1))
    axes.set_xlim(0, ticks[-1])
    axes.set_ylim(top, 0)
    axes.set_xticks(ticks)
    axes.set_yticks([])
    axes.grid(axis="x", color=LINE)
    axes.xaxis.set_major_formatter(number_text)
    axes.set_xlabel(chart.label)
    _write_below(axes, chart.notes)
    handles = [axes.plot([], [], **_mark(colour, 7, linestyle="", label=name))[0] for name, colour in named]
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns)
    said = [f"{name}: {', '.join(map(_dots_text, group))}" for name, group, _ in chart.groups]
    return canvas, "; ".join(said)


def _dots_text(dots: Dots) -> str:
    return f"{dots.label} {dots.note if dots.mean is None else f'{dots.mean:.1f}'}"


def _write_below(axes, lines: Sequence[str]) -> None:
    """Lines of text under the label of the horizontal axis."""
    for number, text in enumerate(lines):
        offset = {"xytext": (-12, -42 - 16 * number), "textcoords": "offset points"}
        axes.annotate(shortened(text, 46), (0, 0), xycoords="axes fraction", va="top", color=SOFT, **offset)


def _lines(chart: LineChart):
    below = [f"{number}  {name}" for number, name in enumerate(chart.categories, start=1)]
    below += [chart.note] if chart.note else []
    canvas, axes = _axes(262 + 16 * len(below))
    xs = sorted({x for line in chart.lines for x, _ in line.points})
    reach = [(y - s, y + s) for line in chart.lines for _, y, s in _with_spreads(line)]
    ticks = ticks_around(0 if chart.from_zero else min(low for low, _ in reach), max(high for _, high in reach))
    for line in chart.lines:
        look = _mark(line.colour, 7 if line.marked else 0, linewidth=2)
        axes.plot(*zip(*line.points, strict=True), **look, linestyle=(0, (2.5, 2)) if line.dashed else "-")
        for x, y, spread in _with_spreads(line):
            if spread:
                axes.vlines(x, y - spread, y + spread, _colour(line.colour), linewidth=2)
    beside = (xs[-1] - xs[0]) * 0.03 or 0.5
    axes.set_xlim(xs[0] - beside, xs[-1] + beside)
    axes.set_ylim(ticks[0], ticks[-1])
    few = chart.categories or len(xs) <= 6
    axes.set_xticks(xs if few else [tick for tick in ticks_around(xs[0], xs[-1], 4) if xs[0] <= tick <= xs[-1]])
    axes.set_yticks(ticks)
    axes.xaxis.set_major_formatter(number_text)
    axes.yaxis.set_major_formatter(number_text)
    axes.grid(axis="y", color=LINE)
    axes.set_xlabel(shortened(chart.x_label, 44))
    axes.set_title(shortened(chart.y_label, 44), loc="left", fontsize=TEXT, color=SOFT)
    _write_below(axes, below)
    _label_ends(axes, chart.lines, ticks[0], ticks[-1])
    return canvas, "; ".join(_spoken(line, chart.categories) for line in chart.lines)


def _label_ends(axes, lines: Sequence[Series], low: float, high: float) -> None:
    """Write names beside the ends of lines, moved apart where they would overlap."""
    named = [line for line in lines if line.label]
    places = spread_out([line.points[-1][1] for line in named], 15 / 200 * (high - low), low, high)
    lead = {"arrowstyle": "-", "color": SOFT, "linewidth": 0.7, "shrinkA": 1, "shrinkB": 4, "relpos": (0, 0.5)}
    for line, place in zip(named, places, strict=True):
        where = {"xytext": (1.04, place), "textcoords": ("axes fraction", "data"), "annotation_clip": False}
        axes.annotate(shortened(line.label, 17), line.points[-1], **where, va="center", arrowprops=lead)


def _with_spreads(line: Series) -> Iterator[tuple[float, float, float]]:
    spreads = line.spreads or (None,) * len(line.points)
    return ((x, y, spread or 0.0) for (x, y), spread in zip(line.points, spreads, strict=True))


def _spoken(line: Series, categories: Sequence[str]) -> str:
    points = line.points if len(line.points) <= 12 else (line.points[0], line.points[-1])
    names = [categories[int(x) - 1] if categories else f"{x:g}" for x, _ in points]
    return f"{line.label}: " + ", ".join(f"{name} {y:.2f}" for name, (_, y) in zip(names, points, strict=True))


# -- from matplotlib's file to an element of a page


def _element(text: str, title: str, said: str) -> str:
    """The drawing alone: no metadata, no names that nothing refers to, colours as variables, few digits."""
    ElementTree.register_namespace("", _SVG.strip("{}"))
    root = ElementTree.fromstring(text)
    used = {value[1:] for part in root.iter() for name, value in part.attrib.items() if name.endswith("href")}
    root[:] = _parts(root, used)
    root.attrib = {"class": "chart", "viewBox": root.attrib["viewBox"], "role": "img"}
    for name, content in (("desc", said), ("title", title)):
        element = ElementTree.Element(_SVG + name)
        element.text = printable(content)
        root.insert(0, element)
    return ElementTree.tostring(root, encoding="unicode")


def _parts(parent: ElementTree.Element, used: set[str]) -> Iterator[ElementTree.Element]:
    for child in parent:
        tag, attributes = child.tag.removeprefix(_SVG), {}
        for name, value in child.attrib.items():
            name = name.rpartition("}")[2]
            if name == "style":
                value = _style(value)
            elif name in ("d", "transform", "x", "y"):
                value = re.sub(r"-?\d+\.\d+", lambda found: f"{float(found[0]):.1f}", " ".join(value.split()))
            if value and name != "clip-path" and (name != "id" or value in used) and not value.startswith("rotate(-0 "):
                attributes[name] = value
        child.attrib = attributes
        child.tail = None
        child[:] = list(_parts(child, used))
        if tag == "g" and not attributes:
            yield from child
        elif tag not in ("metadata", "clipPath", "style") and (tag != "defs" or len(child)):
            child.text = child.text if tag == "text" else None
            yield child


def _style(style: str) -> str:
    """Declarations, with variables for colours, and without what the style sheet says of all text."""
    kept = [part for part in style.split("; ") if not part.startswith(("font-family", f"font-size: {TEXT}px"))]
    return re.sub(r"#\w{6}", lambda found: f"var(--{_VARIABLE_OF[found[0]]})", "; ".join(kept))
