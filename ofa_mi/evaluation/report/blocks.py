"""A report as blocks: headings, paragraphs, tables and figures, each written as HTML and as Markdown.

Both come from the same blocks, so that the page and the text can never hold different numbers.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

PLOTS = "plots"  # folder of the figures beside the Markdown


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading.

    Attributes:
        text: The heading.
        anchor: Id of a section that the table of contents names; empty for a heading of level 3.
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
    """A list of lines of plain text."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: What it says, usually a number.
        beside: Less important, after it, such as ``± 1.12``.
        below: Least important, on lines of their own, such as ``max 52.01``.
        kind: Class of the style sheet: ``best``, ``words``, ``soft`` or nothing.
        heat: From 0 to 1, how dark it is; None for no colour.
        key: What its column is sorted by; None for the text.
    """

    text: str
    beside: str = ""
    below: tuple[str, ...] = ()
    kind: str = ""
    heat: float | None = None
    key: float | None = None

    @property
    def line(self) -> str:
        """All of it on one line."""
        return " ".join(part for part in (self.text, self.beside, *(f"({text})" for text in self.below)) if part)


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
class Grid:
    """A table.

    Attributes:
        name: What it holds, for people who cannot see where it stands.
        columns: Headings; a second line is smaller.
        rows: Its rows.
        kind: Class of the style sheet: ``heat``, ``words`` or nothing.
        sortable: Whether the page offers to sort it by a column.
        folded: Title under which it is folded away; empty for a table that is seen at once.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    kind: str = ""
    sortable: bool = False
    folded: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing with its numbers beside it.

    Attributes:
        name: Name of its file, without an ending.
        title: What it shows.
        svg: An ``<svg>`` element in the colours of the page.
        numbers: The same as a table; None if a table next to it holds them.
    """

    name: str
    title: str
    svg: str
    numbers: Grid | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """Blocks side by side where there is room."""

    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Raw:
    """What differs between the two: examples, whose images only the page holds."""

    html: str
    markdown: str


Block = Heading | Paragraph | Items | Grid | Figure | Side | Raw


def figures(blocks: Iterable[Block]) -> list[Figure]:
    """All figures, in order."""
    found: list[Figure] = []
    for block in blocks:
        if isinstance(block, Figure):
            found.append(block)
        elif isinstance(block, Side):
            found += figures(block.blocks)
    return found


# -- HTML


def to_html(block: Block) -> str:
    """A block as HTML."""
    match block:
        case Heading():
            level, anchor = ("h2", f" id='{block.anchor}'") if block.anchor else ("h3", "")
            return f"<{level}{anchor}>{html.escape(block.text)}</{level}>"
        case Paragraph():
            return f"<p{' class=remark' if block.remark else ''}>{_prose(block.text)}</p>"
        case Items():
            return f"<ul class='items'>{''.join(f'<li>{_prose(line)}</li>' for line in block.lines)}</ul>"
        case Grid():
            return _folded(block.folded, _html_grid(block)) if block.folded else _html_grid(block)
        case Figure():
            numbers = _folded("Numbers", _html_grid(block.numbers)) if block.numbers else ""
            return f"<figure><figcaption>{html.escape(block.title)}</figcaption>{block.svg}{numbers}</figure>"
        case Side():
            return f"<div class='side'>{''.join(f'<div>{to_html(inner)}</div>' for inner in block.blocks)}</div>"
        case Raw():
            return block.html


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{html.escape(title)}</summary>{content}</details>"


def _html_grid(grid: Grid) -> str:
    head = "".join(f"<th scope='col'>{_html_heading(column)}</th>" for column in grid.columns)
    body = "".join(_html_row(row) for row in grid.rows)
    kind = " ".join(filter(None, (grid.kind, "sortable" if grid.sortable else "")))
    name = html.escape(grid.name)
    # The box scrolls, so it must be reachable by keyboard and have a name.
    return (
        f"<div class='scroll' role='region' tabindex='0' aria-label='{name}'>"
        f"<table{f' class={chr(39)}{kind}{chr(39)}' if kind else ''} aria-label='{name}'>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _html_heading(column: str) -> str:
    first, *below = column.split("\n")
    return html.escape(first) + "".join(f"<small>{html.escape(line)}</small>" for line in below)


def _html_row(row: Row) -> str:
    first, *cells = row.cells
    below = "".join(f"<small>{html.escape(line)}</small>" for line in first.below)
    heading = f"<th scope='row'>{html.escape(first.text)}{below}</th>"
    kind = f" class='{row.kind}'" if row.kind else ""
    return f"<tr{kind}>{heading}{''.join(map(_html_cell, cells))}</tr>"


def _html_cell(cell: Cell) -> str:
    attributes = f" class='{cell.kind}'" if cell.kind else ""
    if cell.heat is not None:
        attributes += f" style='--heat:{cell.heat:.3f}'"
    if cell.key is not None:
        attributes += f" data-key='{cell.key:.6g}'"
    beside = f" <span>{html.escape(cell.beside)}</span>" if cell.beside else ""
    below = "".join(f"<small>{html.escape(line)}</small>" for line in cell.below)
    bold = beside or below or cell.kind == "best"
    text = f"<b>{html.escape(cell.text)}</b>" if bold else html.escape(cell.text)
    return f"<td{attributes}>{text}{beside}{below}</td>"


def _prose(text: str) -> str:
    """Text as HTML; what stands between backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


# -- Markdown


def to_markdown(block: Block) -> str:
    """A block as Markdown."""
    match block:
        case Heading():
            return f"{'##' if block.anchor else '###'} {escape(block.text)}"
        case Paragraph():
            return _markdown_prose(block.text)
        case Items():
            return "\n".join(f"- {_markdown_prose(line)}" for line in block.lines)
        case Grid():
            title = f"**{escape(block.folded)}**\n\n" if block.folded else ""
            return title + _markdown_grid(block)
        case Figure():
            numbers = "\n\n" + _markdown_grid(block.numbers) if block.numbers else ""
            return f"![{escape(block.title)}]({PLOTS}/{block.name}.svg)\n\n*{escape(block.title)}*{numbers}"
        case Side():
            return "\n\n".join(map(to_markdown, block.blocks))
        case Raw():
            return block.markdown


def escape(text: str) -> str:
    """Plain text as Markdown that shows it as it is, on one line."""
    text = re.sub(r"([\\`*_\[\]#|~])", r"\\\1", " ".join(text.split()))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _markdown_prose(text: str) -> str:
    """Text as Markdown; what stands between backticks is code, in which nothing is escaped."""
    return re.sub(r"\\`[^`]+\\`", lambda code: re.sub(r"\\(.)", r"\1", code[0]), escape(text))


def _markdown_grid(grid: Grid) -> str:
    words = "words" in grid.kind
    rule = ["---"] + ["---" if words else "---:"] * (len(grid.columns) - 1)
    lines = [list(map(escape, grid.columns)), rule, *(_markdown_row(row) for row in grid.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _markdown_row(row: Row) -> Sequence[str]:
    first, *cells = (escape(cell.line) for cell in row.cells)
    best = [f"**{text}**" if cell.kind == "best" else text for text, cell in zip(cells, row.cells[1:], strict=True)]
    return [f"*{first}*" if row.kind == "paper" else first, *best]
