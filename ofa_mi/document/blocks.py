"""What a document is made of: plain data, which the other modules of this package write and draw.

All text is plain: whoever writes it escapes it. In a paragraph and in a list, what stands between backticks is code.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading.

    Attributes:
        text: The heading.
        anchor: Id of a section, which a table of contents names; empty for a heading within a section.
    """

    text: str
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Plain text; a remark is smaller."""

    text: str
    remark: bool = False


@dataclass(frozen=True, slots=True)
class Items:
    """A list of lines; verbatim ones are shown as they are, as a terminal would."""

    lines: tuple[str, ...]
    verbatim: bool = False


@dataclass(frozen=True, slots=True)
class Tiles:
    """Numbers to be seen first: what, how many, and a remark."""

    tiles: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: What it says, usually a number.
        beside: Less important, after it, such as ``± 1.12``.
        below: Least important, on lines of their own, such as ``max 52.01``.
        kind: Classes of the style sheet: ``words`` stands on the left, ``best``, ``warn`` and ``fine`` are bold,
            ``soft`` is paler.
        heat: From 0 to 1, how dark it is; None for no colour.
        key: What its column is sorted by; None for the text.
        parts: Name and share (0 to 1) of each part of a whole, shown as a bar.
    """

    text: str
    beside: str = ""
    below: tuple[str, ...] = ()
    kind: str = ""
    heat: float | None = None
    key: float | None = None
    parts: tuple[tuple[str, float], ...] = ()

    @property
    def line(self) -> str:
        """All of it on one line."""
        return " ".join(part for part in (self.text, self.beside, *(f"({text})" for text in self.below)) if part)

    @property
    def is_bold(self) -> bool:
        """Whether it is to be seen among the others."""
        return not {"best", "warn", "fine"}.isdisjoint(self.kind.split())

    @property
    def is_left(self) -> bool:
        """Whether it stands on the left, as words do; numbers stand on the right."""
        return "words" in self.kind.split()


def words(text: str, *below: str) -> Cell:
    """A cell of words."""
    return Cell(text, below=below, kind="words")


def shares(parts: tuple[tuple[str, float], ...], remark: str = "") -> Cell:
    """A cell that shows how something is divided: name and share (0 to 1) of each part, and what is not shown."""
    said = [f"{name} {100 * share:.1f}%" for name, share in parts]
    return Cell(" · ".join([*said, *([remark] if remark else [])]), kind="words shares", parts=parts)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table; its first cell is its heading.

    Attributes:
        cells: As many as the table has columns.
        kind: Class of the style sheet: ``paper``, ``level``, ``total``, ``secondary`` or nothing.
    """

    cells: tuple[Cell, ...]
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        name: What it holds, for people who cannot see where it stands.
        columns: Headings; a second line is smaller.
        rows: Its rows, of which the first decides on which side each column stands.
        kind: Class of the style sheet: ``heat``, ``dense`` or nothing.
        sortable: Whether the page offers to sort it by a column.
        folded: Title under which it is folded away; empty for a table that is seen at once.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    kind: str = ""
    sortable: bool = False
    folded: str = ""

    @property
    def left(self) -> tuple[bool, ...]:
        """Whether each column stands on the left; the first one always does."""
        if not self.rows:
            return tuple(place == 0 for place in range(len(self.columns)))
        return (True, *(cell.is_left for cell in self.rows[0].cells[1:]))


# -- figures


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a chart.

    Attributes:
        label: Its name.
        value: Its length; None for no bar.
        spread: Deviation over seeds, drawn as a whisker; None for none.
        paper: The paper's value, drawn as a mark; None for none.
        colour: Number of its colour.
        note: Said in place of the value.
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
class BarChart:
    """Horizontal bars from 0 with their values, whiskers of deviations over seeds, and marks of the paper's values."""

    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Dots:
    """One line of a group of dots, such as the scores of one strategy for one task.

    Attributes:
        label: Name of the strategy.
        values: One per instruction.
        mean: Their mean; None for no dots.
        colour: Number of its colour.
        note: Said in place of the dots.
    """

    label: str
    values: tuple[float, ...]
    mean: float | None
    colour: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class DotChart:
    """Dots from 0 on one axis.

    Attributes:
        groups: Name, lines, and level to compare with, such as chance, if there is one.
        label: Label of the axis.
        top: Its end; None for one that fits.
        notes: Lines under the chart.
    """

    groups: tuple[tuple[str, tuple[Dots, ...], float | None], ...]
    label: str = "score"
    top: float | None = 100
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Series:
    """A line.

    Attributes:
        label: Its name, written at its end; empty for none.
        points: (x, y), at least one, in the order of x.
        spreads: Deviation of each point, drawn as a whisker; empty for none.
        colour: Number of its colour and of the shape of its marks.
        dashed: For what is not measured here, or for a second kind of line.
        marked: Whether its points are marked.
    """

    label: str
    points: tuple[tuple[float, float], ...]
    spreads: tuple[float | None, ...] = ()
    colour: int = 0
    dashed: bool = False
    marked: bool = True


@dataclass(frozen=True, slots=True)
class LineChart:
    """Lines with their names at their ends.

    Attributes:
        lines: The lines.
        x_label: Label of the horizontal axis.
        y_label: Label of the vertical axis.
        categories: Names of the places 1, 2, … on the horizontal axis, listed under the chart; empty for numbers.
        from_zero: Whether the vertical axis starts at 0.
        note: What dashes mean, under the chart.
    """

    lines: tuple[Series, ...]
    x_label: str
    y_label: str
    categories: tuple[str, ...] = ()
    from_zero: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart, with its numbers beside it.

    Attributes:
        name: Name of its file, without an ending; no other figure of the document has it.
        title: What it shows.
        chart: What is drawn.
        numbers: The same as a table; None if a table next to it holds them.
    """

    name: str
    title: str
    chart: BarChart | DotChart | LineChart
    numbers: Table | None = None


# -- the rest


@dataclass(frozen=True, slots=True)
class Picture:
    """An example: a picture (or none), and named texts.

    Attributes:
        title: What it is an example of.
        file: The picture, relative to the Markdown; None without one.
        jpeg: Its bytes.
        fields: Name and text.
    """

    title: str
    file: str | None
    jpeg: bytes | None
    fields: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Pictures:
    """Examples side by side."""

    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class Side:
    """Blocks side by side where there is room."""

    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Raw:
    """What differs between the two texts, escaped already: examples with boxes over their images, which only the page
    holds."""

    html: str
    markdown: str


Block = Heading | Paragraph | Items | Tiles | Table | Figure | Pictures | Side | Raw


def figures(blocks: Iterable[Block]) -> list[Figure]:
    """All figures, in order."""
    found: list[Figure] = []
    for block in blocks:
        if isinstance(block, Figure):
            found.append(block)
        elif isinstance(block, Side):
            found += figures(block.blocks)
    return found
