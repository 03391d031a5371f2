"""Charts as SVG elements: bars, dots per instruction, and lines.

Drawn in units of about a pixel on a width that a phone has, so that their text stays legible there. Colours are
variables of the style sheet (:data:`STYLE`), so that a chart on a page follows light and dark mode; a file of its own
carries them with it. Series are told apart by colour, by the shape of their marks, and by labels next to them.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

WIDTH = 360
TEXT = 12  # height of text
# Widths of characters, as parts of the height, in the wide ones of the fonts that a page may be shown in (DejaVu Sans).
_WIDTHS = dict.fromkeys(" .,:;|!'()[]/-ijlIfrt", 0.4) | dict.fromkeys("mwMW@%±", 0.9)
_CAPITAL, _OTHER = 0.72, 0.63
COLOURS = 8

# After Okabe and Ito (2008), whose colours people with any colour blindness can tell apart: darker on a light ground,
# lighter on a dark one, so that all have a contrast of 3 to 1 with it or more. Grey comes first, for what is not tuned.
_LIGHT = ("#6b7480", "#0072b2", "#c85300", "#00805c", "#b0478a", "#9a6b00", "#2a86bd", "#5b4fc4")
_DARK = ("#9aa6b5", "#4ea8e6", "#f0894a", "#35c99b", "#e592c2", "#e8b53c", "#8fd3ff", "#a79ff5")


def _variables(colours: Sequence[str], ground: str, ink: str, soft: str, line: str) -> str:
    series = " ".join(f"--s{i}: {colour};" for i, colour in enumerate(colours))
    return f"--chart-ground: {ground}; --chart-ink: {ink}; --chart-soft: {soft}; --chart-line: {line}; {series}"


_LIGHT_VARIABLES = _variables(_LIGHT, "#ffffff", "#1c2430", "#5d6877", "#dfe3e9")
_DARK_VARIABLES = _variables(_DARK, "#1b212a", "#e6eaf0", "#9aa6b5", "#3a4452")

STYLE = (
    f":root {{ {_LIGHT_VARIABLES} }}\n"
    f"@media (prefers-color-scheme: dark) {{ :root {{ {_DARK_VARIABLES} }} }}\n"
    f".chart text {{ font: {TEXT}px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif;"
    " fill: var(--chart-ink); font-variant-numeric: tabular-nums; }\n"
    ".chart .soft { fill: var(--chart-soft); }\n"
    ".chart .head { font-weight: 600; }\n"
    ".chart .grid { stroke: var(--chart-line); fill: none; }\n"
    ".chart .level { stroke: var(--chart-ink); stroke-width: 1.4; stroke-dasharray: 1.5 2.5; fill: none; }\n"
    ".chart .paper { fill: none; stroke: var(--chart-ink); stroke-width: 1.4; }\n"
    ".chart .lead { stroke: var(--chart-soft); stroke-width: .7; fill: none; }\n"
    + "".join(
        f".chart .f{i} {{ fill: var(--s{i}); }} .chart .l{i} {{ stroke: var(--s{i}); fill: none; stroke-width: 2; "
        "stroke-linejoin: round; }\n"
        for i in range(COLOURS)
    )
    + ".chart .thin { stroke-width: 1; opacity: .55; }\n"
)


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a chart.

    Attributes:
        label: Its name.
        value: Its length.
        spread: Deviation over seeds, drawn as a whisker; None for none.
        paper: The paper's value, drawn as a mark; None for none.
        colour: Number of its colour.
        note: Said after the value, such as the reason why there is none.
        faint: Drawn paler, for what is compared with the bar above.
    """

    label: str
    value: float | None
    spread: float | None = None
    paper: float | None = None
    colour: int = 0
    note: str = ""
    faint: bool = False


@dataclass(frozen=True, slots=True)
class Dots:
    """One line of a group of dots: the scores of one strategy for one task.

    Attributes:
        label: Name of the strategy.
        values: One per instruction.
        mean: Their mean.
        colour: Number of its colour.
    """

    label: str
    values: tuple[float, ...]
    mean: float
    colour: int = 0


@dataclass(frozen=True, slots=True)
class Series:
    """A line.

    Attributes:
        label: Its name, written at its end.
        points: (x, y), in the order of x.
        spreads: Deviation of each point; empty for none.
        colour: Number of its colour.
        dashed: For what is not measured here, or for a second kind of line.
        marks: Whether its points are marked.
        named: Whether its label is written.
    """

    label: str
    points: tuple[tuple[float, float], ...]
    spreads: tuple[float | None, ...] = ()
    colour: int = 0
    dashed: bool = False
    marks: bool = True
    named: bool = True


@dataclass
class _Drawing:
    """Elements of an SVG in the order in which they are drawn."""

    height: float
    parts: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> None:
        where = f" text-anchor='{anchor}'" if anchor != "start" else ""
        self.parts.append(f"<text x='{x:.1f}' y='{y:.1f}'{_class(kind)}{where}>{html.escape(text)}</text>")

    def line(self, x0: float, y0: float, x1: float, y1: float, kind: str) -> None:
        self.parts.append(f"<path d='M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}'{_class(kind)}/>")

    def path(self, points: Iterable[tuple[float, float]], kind: str, dashed: bool = False) -> None:
        places = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self.parts.append(f"<path d='M{places}'{_class(kind)}{_DASHES if dashed else ''}/>")

    def bar(self, x: float, middle: float, width: float, kind: str, faint: bool) -> None:
        opacity = " opacity='.55'" if faint else ""
        size = f"width='{max(width, 0):.1f}' height='16'"
        self.parts.append(f"<rect x='{x:.1f}' y='{middle - 8:.1f}' {size} rx='2'{_class(kind)}{opacity}/>")

    def mark(self, x: float, y: float, shape: int, kind: str, size: float = 4, faint: bool = False) -> None:
        """A mark of one of four shapes around a point."""
        opacity = " opacity='.45'" if faint else ""
        if shape % 4 == 0:
            self.parts.append(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{size:.1f}'{_class(kind)}{opacity}/>")
            return
        corners = {
            1: ((-1, -1), (1, -1), (1, 1), (-1, 1)),
            2: ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
            3: ((0, -1.2), (1.2, 1), (-1.2, 1)),
        }[shape % 4]
        places = "L".join(f"{x + dx * size * 0.9:.1f} {y + dy * size * 0.9:.1f}" for dx, dy in corners)
        self.parts.append(f"<path d='M{places}Z'{_class(kind)}{opacity}/>")

    def svg(self, title: str, description: str) -> str:
        """The element, with its title and description for people who cannot see it."""
        return (
            f"<svg class='chart' xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {self.height:.0f}' role='img'>"
            f"<title>{html.escape(title)}</title><desc>{html.escape(description)}</desc>{''.join(self.parts)}</svg>"
        )


_DASHES = " stroke-dasharray='5 4'"


def standalone(svg: str) -> str:
    """A chart as a file of its own, which follows the light or dark mode of whoever shows it.

    It brings its ground with it, since the page around it may be in the other mode.
    """
    end = svg.index(">")
    height = float(svg[:end].partition("viewBox='")[2].partition("'")[0].split()[3])
    size = f"width='{2 * WIDTH}' height='{2 * height:.0f}'"
    ground = "<rect width='100%' height='100%' fill='var(--chart-ground)'/>"
    return f"{svg[:end]} {size}><style>{STYLE}</style>{ground}{svg[end + 1 :]}\n"


def bar_chart(title: str, bars: Sequence[Bar], *, digits: int = 2) -> str:
    """Horizontal bars from 0 with their values; whiskers are deviations over seeds, rhombs the paper's values."""
    step, top = 26, 6
    papers = any(bar.paper is not None for bar in bars)
    drawing = _Drawing(top + step * len(bars) + (22 if papers else 4))
    left = max((text_width(shortened(bar.label, 17)) for bar in bars), default=0) + 8
    texts = [_bar_text(bar, digits) for bar in bars]
    values = [(bar.value or 0) + (bar.spread or 0) for bar in bars] + [bar.paper or 0 for bar in bars]
    room = max((text_width(text) for bar, text in zip(bars, texts, strict=True) if bar.value is not None), default=0)
    scale = (WIDTH - left - room - 14) / (max(values, default=0) or 1)
    for number, (bar, text) in enumerate(zip(bars, texts, strict=True)):
        middle = top + step * number + step / 2
        drawing.text(left - 8, middle + 4, shortened(bar.label, 17), anchor="end")
        if bar.value is not None:
            end = left + bar.value * scale
            drawing.bar(left, middle, end - left, f"f{bar.colour % COLOURS}", bar.faint)
            if bar.spread:
                start = max(left, end - bar.spread * scale)
                drawing.line(start, middle, end + bar.spread * scale, middle, "paper")
        if bar.paper is not None:
            drawing.mark(left + bar.paper * scale, middle, 2, "paper", 4.5)
        # Values stand in a column of their own, where no mark of another value can be taken for theirs.
        drawing.text(WIDTH - 2, middle + 4, text, "" if bar.value is not None else "soft", "end")
    drawing.line(left, top, left, top + step * len(bars), "grid")
    if papers:
        drawing.mark(left + 6, drawing.height - 10, 2, "paper", 4.5)
        drawing.text(left + 16, drawing.height - 6, "the paper (OFA-large)", "soft")
    said = "; ".join(f"{bar.label} {text}" for bar, text in zip(bars, texts, strict=True))
    return drawing.svg(title, said)


def dot_chart(title: str, groups: Sequence[tuple[str, Sequence[Dots], float | None]], *, unit: str = "score") -> str:
    """Scores per instruction of every task and strategy, from 0 to 100.

    Args:
        title: What it shows.
        groups: Name of the task, its lines, and its chance level if it has one.
        unit: What is on the axis.
    """
    labels = list(dict.fromkeys((dots.label, dots.colour) for _, lines, _ in groups for dots in lines))
    legend = _legend_rows([label for label, _ in labels])
    top = 18 * (max((row for row, _ in legend), default=0) + 1) + 10
    heights = [22 + 11 * max(len(lines), 1) for _, lines, _ in groups]
    drawing = _Drawing(top + sum(heights) + 38)
    for (label, colour), (row, x) in zip(labels, legend, strict=True):
        drawing.mark(x + 5, 12 + 18 * row, colour, f"f{colour % COLOURS}")
        drawing.text(x + 13, 16 + 18 * row, shortened(label, 18))
    left, right = 10, WIDTH - 14
    at = _scale(0, 100, left, right)
    bottom = top + sum(heights)
    for value in range(0, 101, 20):
        drawing.line(at(value), top, at(value), bottom, "grid")
        drawing.text(at(value), bottom + 15, str(value), "soft", "middle")
    drawing.text((left + right) / 2, bottom + 31, unit, "soft", "middle")
    y = top
    for (name, lines, chance), height in zip(groups, heights, strict=True):
        drawing.text(left, y + 14, name, "head")
        for number, dots in enumerate(lines):
            place = y + 25 + 11 * number
            for value in dots.values:
                drawing.mark(at(value), place, dots.colour, f"f{dots.colour % COLOURS}", 2.4, faint=True)
            if len(dots.values) > 1:
                drawing.line(at(min(dots.values)), place, at(max(dots.values)), place, f"l{dots.colour % COLOURS} thin")
            drawing.mark(at(dots.mean), place, dots.colour, f"f{dots.colour % COLOURS}", 4.2)
        if chance is not None:
            drawing.line(at(chance), y + 18, at(chance), y + height, "level")
        y += height
    said = "; ".join(
        f"{name}: " + ", ".join(f"{dots.label} {dots.mean:.1f}" for dots in lines) for name, lines, _ in groups
    )
    return drawing.svg(title, said)


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    categories: Sequence[str] = (),
    from_zero: bool = False,
    note: str = "",
) -> str:
    """Lines with their names at their ends.

    Args:
        title: What it shows.
        series: The lines, of at least one point each.
        x_label: Label of the horizontal axis.
        y_label: Label of the vertical axis.
        categories: Names of the places 1, 2, … on the horizontal axis, listed under the chart; empty for numbers.
        from_zero: Whether the vertical axis starts at 0.
        note: What dashes and marks mean, under the chart.
    """
    names = [shortened(line.label, 17) for line in series if line.named]
    left, right = 44, WIDTH - max(map(text_width, names), default=0) - 16
    top, bottom = 26, 226
    below = [f"{number}  {name}" for number, name in enumerate(categories, start=1)]
    drawing = _Drawing(bottom + 40 + 16 * (len(below) + bool(note)))
    xs = [x for line in series for x, _ in line.points]
    lows = [y - s for line in series for (_, y), s in _with_spreads(line)]
    highs = [y + s for line in series for (_, y), s in _with_spreads(line)]
    ticks = nice_ticks(0 if from_zero else min(lows), max(highs))
    at_x = _scale(min(xs), max(xs), left + 6, right - 6)
    at_y = _scale(ticks[0], ticks[-1], bottom, top)
    for value in ticks:
        drawing.line(left, at_y(value), right, at_y(value), "grid")
        drawing.text(left - 6, at_y(value) + 4, number_text(value), "soft", "end")
    x_ticks = sorted(set(xs)) if categories or len(set(xs)) <= 6 else nice_ticks(min(xs), max(xs), 4)
    for value in x_ticks:
        if min(xs) <= value <= max(xs):
            drawing.text(at_x(value), bottom + 16, number_text(value), "soft", "middle")
    drawing.text(left - 34, 13, y_label, "soft")
    drawing.text((left + right) / 2, bottom + 33, x_label, "soft", "middle")
    ends = []
    for line in series:
        places = [(at_x(x), at_y(y)) for x, y in line.points]
        drawing.path(places, f"l{line.colour % COLOURS}", line.dashed)
        for (x, y), spread in _with_spreads(line):
            if spread:
                drawing.line(at_x(x), at_y(y - spread), at_x(x), at_y(y + spread), f"l{line.colour % COLOURS}")
        if line.marks:
            for x, y in places:
                drawing.mark(x, y, line.colour, f"f{line.colour % COLOURS}", 3.4)
        if line.named:
            ends.append((places[-1], shortened(line.label, 17)))
    for ((x, y), name), place in zip(ends, spread_out([y for (_, y), _ in ends], TEXT + 2, top, bottom), strict=True):
        drawing.line(x + 4, y, right + 8, place, "lead")
        drawing.text(right + 11, place + 4, name)
    for number, text in enumerate([*below, *([note] if note else [])]):
        drawing.text(left, bottom + 52 + 16 * number, shortened(text, 55), "soft")
    return drawing.svg(title, "; ".join(_spoken(line, categories) for line in series))


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers, about ``count`` of them, of which the first is at most ``low`` and the last at least ``high``."""
    if not high - low > 1e-9 * max(abs(low), abs(high), 1):  # closer than their digits tell
        beside = largest / 2 if (largest := max(abs(low), abs(high))) > 1e-6 else 0.5
        low, high = low - beside, high + beside
    raw = (high - low) / count
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def spread_out(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places that are at least ``gap`` apart, in the same order and as near to the given ones as is easy."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = [places[i] for i in order]
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + gap)
    # Push the whole upwards again from the end, where it left the chart.
    for i in reversed(range(len(moved))):
        limit = high if i == len(moved) - 1 else moved[i + 1] - gap
        moved[i] = min(moved[i], limit)
    result = [0.0] * len(places)
    for i, place in zip(order, moved, strict=True):
        result[i] = max(place, low) if len(places) == 1 else place
    return result


def shortened(text: str, length: int) -> str:
    """A text of at most so many characters."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def text_width(text: str) -> float:
    """Width of a chart's text in pixels: what it takes in a wide font, a little less in others."""
    return TEXT * sum(_WIDTHS.get(c, _CAPITAL if c.isupper() else _OTHER) for c in text)


def number_text(value: float) -> str:
    """A number on an axis: thousands as ``2k``, no digits that say nothing."""
    if abs(value) >= 1000 and value % 100 == 0:
        return f"{value / 1000:g}k"
    return f"{value:g}"


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    width = (high - low) or 1.0
    middle = 0.0 if high > low else (end - start) / 2
    return lambda value: start + middle + (value - low) / width * (end - start)


def _with_spreads(line: Series) -> list[tuple[tuple[float, float], float]]:
    spreads = line.spreads or (None,) * len(line.points)
    return [(point, spread or 0.0) for point, spread in zip(line.points, spreads, strict=True)]


def _legend_rows(labels: Sequence[str]) -> list[tuple[int, float]]:
    """Row and horizontal place of each entry of a legend."""
    places, row, x = [], 0, 6.0
    for label in labels:
        width = text_width(shortened(label, 18)) + 28
        if x + width > WIDTH and x > 6:
            row, x = row + 1, 6.0
        places.append((row, x))
        x += width
    return places


def _bar_text(bar: Bar, digits: int) -> str:
    if bar.value is None:
        return bar.note
    spread = f" ± {bar.spread:.{digits}f}" if bar.spread is not None else ""
    return f"{bar.value:.{digits}f}{spread}" + (f" {bar.note}" if bar.note else "")


def _spoken(line: Series, categories: Sequence[str]) -> str:
    points = line.points if len(line.points) <= 12 else (line.points[0], line.points[-1])
    names = [categories[int(x) - 1] if categories else f"{x:g}" for x, _ in points]
    return f"{line.label}: " + ", ".join(f"{name} {y:.2f}" for name, (_, y) in zip(names, points, strict=True))


def _class(kind: str) -> str:
    return f" class='{kind}'" if kind else ""
