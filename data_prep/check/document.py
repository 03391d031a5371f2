"""A document as blocks, written as one HTML file that needs nothing else, or as Markdown with pictures beside it."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ofa_mi.document.page import page

# What the style of reports lacks: bars of shares, lists of findings, verdicts, and tables with more text than numbers.
STYLE = """
.bar { display: flex; gap: 1px; height: .55rem; min-width: 9rem; margin: .35rem 0 .3rem; border-radius: 3px;
  overflow: hidden; background: var(--line); }
.bar i { background: rgb(var(--accent)); }
.bar i:nth-child(even) { background: rgba(var(--accent), .55); }
td.shares { text-align: left; min-width: 15rem; }
td.shares small { white-space: normal; overflow-wrap: anywhere; }
td.words, th.words { text-align: left; overflow-wrap: anywhere; min-width: 9rem; }
ul.lines { list-style: none; margin: .5rem 0; padding: .6rem .9rem; background: var(--panel);
  border: 1px solid var(--line); border-radius: 10px; font: .82rem/1.5 ui-monospace, Menlo, Consolas, monospace; }
ul.lines li { overflow-wrap: anywhere; padding: .15rem 0; }
.warn { color: var(--wrong); font-weight: 600; }
.fine { color: var(--right); font-weight: 600; }
.card .prompt { max-height: none; }
@media (max-width: 640px) {
  .tiles { grid-template-columns: 1fr 1fr; }
  td.shares { min-width: 11rem; }
  td.words, th.words { min-width: 7rem; }
  td small { white-space: normal; }
}
"""


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of level 2 or 3."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True, slots=True)
class Tiles:
    """Figures to be seen first: what, how many, and a remark."""

    tiles: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: The text.
        remark: Smaller, below it.
        words: Whether it stands on the left, as words do; numbers stand on the right.
        tone: ``warn`` or ``fine`` for a text that is to be seen.
    """

    text: str
    remark: str = ""
    words: bool = False
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Shares:
    """A cell that shows how something is divided.

    Attributes:
        parts: Name and share (0 to 1) of each part.
        remark: What is not shown.
    """

    parts: tuple[tuple[str, float], ...]
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of at least one row; the first cell of a row is its heading."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell | Shares, ...], ...]


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines as they would be printed."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """An example: a picture (or none), and named texts.

    Attributes:
        title: What it is an example of.
        name: File name of the picture; None without one.
        jpeg: Its bytes.
        fields: Name and text.
    """

    title: str
    name: str | None
    jpeg: bytes | None
    fields: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Pictures:
    """Examples side by side."""

    pictures: tuple[Picture, ...]


Block = Heading | Paragraph | Tiles | Table | Lines | Pictures


# -- HTML


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """The document as one HTML file."""
    return page(title, [f"<h1>{html.escape(title)}</h1>", *map(_html, blocks)], style=STYLE)


def _html(block: Block) -> str:
    match block:
        case Heading():
            return f"<h{block.level}>{html.escape(block.text)}</h{block.level}>"
        case Paragraph():
            return f"<p>{html.escape(block.text)}</p>"
        case Tiles():
            return f"<div class='tiles'>{''.join(map(_html_tile, block.tiles))}</div>"
        case Table():
            head = "".join(map(_html_column, block.columns, block.rows[0]))
            rows = "".join(f"<tr>{''.join(map(_html_cell, row, _is_first(row)))}</tr>" for row in block.rows)
            return f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        case Lines():
            return f"<ul class='lines'>{''.join(f'<li>{html.escape(line)}</li>' for line in block.lines)}</ul>"
        case Pictures():
            return f"<div class='cards'>{''.join(map(_html_picture, block.pictures))}</div>"


def _html_tile(tile: tuple[str, str, str]) -> str:
    above, figure, below = map(html.escape, tile)
    return f"<div class='tile'><span>{above}</span><b>{figure}</b><span>{below}</span></div>"


def _html_column(name: str, below: Cell | Shares) -> str:
    """The heading of a column, on the side of what stands below it."""
    left = isinstance(below, Shares) or below.words
    return f"<th scope='col'{' class=words' if left else ''}>{html.escape(name)}</th>"


def _is_first(row: Sequence) -> list[bool]:
    return [place == 0 for place in range(len(row))]


def _html_cell(cell: Cell | Shares, first: bool) -> str:
    remark = f"<small>{html.escape(cell.remark)}</small>" if cell.remark else ""
    if isinstance(cell, Shares):
        bar = "".join(f"<i style='width:{100 * share:.1f}%'></i>" for _, share in cell.parts)
        return f"<td class='shares'><div class='bar'>{bar}</div><small>{html.escape(_shares_text(cell))}</small></td>"
    text = html.escape(cell.text)
    if first:
        return f"<th scope='row'>{text}{remark}</th>"
    if cell.tone:
        text = f"<b class='{cell.tone}'>{text}</b>"
    return f"<td{' class=words' if cell.words else ''}>{text}{remark}</td>"


def _html_picture(picture: Picture) -> str:
    image = ""
    if picture.jpeg is not None:
        data = base64.b64encode(picture.jpeg).decode()
        image = f"<img src='data:image/jpeg;base64,{data}' alt='{html.escape(picture.name)}' loading='lazy'>"
    fields = "".join(
        f"<dt>{html.escape(name)}</dt><dd{' class=prompt' if name == 'prompt' else ''}>{html.escape(text)}</dd>"
        for name, text in picture.fields
    )
    return f"<div class='card'>{image}<dl><dd><b>{html.escape(picture.title)}</b></dd>{fields}</dl></div>"


# -- Markdown


def to_markdown(title: str, blocks: Sequence[Block], pictures: str) -> str:
    """The document as Markdown.

    Args:
        title: Heading.
        blocks: Its blocks.
        pictures: Folder of the pictures, relative to the file.
    """
    parts = [f"# {escape(title)}", *(_markdown(block, pictures) for block in blocks)]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Plain text as Markdown that shows it as it is, on one line."""
    text = " ".join(text.split())
    text = re.sub(r"([\\`*_\[\]#|~])", r"\\\1", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _markdown(block: Block, pictures: str) -> str:
    match block:
        case Heading():
            return f"{'#' * block.level} {escape(block.text)}"
        case Paragraph():
            return escape(block.text)
        case Tiles():
            return "\n".join(
                f"- {escape(above)}: **{escape(figure)}**{f' ({escape(below)})' if below else ''}"
                for above, figure, below in block.tiles
            )
        case Table():
            rows = [[_markdown_cell(cell) for cell in row] for row in block.rows]
            lines = [list(map(escape, block.columns)), ["---"] * len(block.columns), *rows]
            return "\n".join(f"| {' | '.join(row)} |" for row in lines)
        case Lines():
            return "\n".join(f"- {escape(line)}" for line in block.lines)
        case Pictures():
            return "\n\n".join(_markdown_picture(picture, pictures) for picture in block.pictures)


def _markdown_cell(cell: Cell | Shares) -> str:
    if isinstance(cell, Shares):
        return escape(_shares_text(cell))
    text = f"**{escape(cell.text)}**" if cell.tone else escape(cell.text)
    return f"{text} ({escape(cell.remark)})" if cell.remark else text


def _markdown_picture(picture: Picture, folder: str) -> str:
    lines = [f"**{escape(picture.title)}**", ""]
    if picture.name:
        lines += [f"![{escape(picture.name)}]({folder}/{picture.name})", ""]
    return "\n".join([*lines, *(f"- {escape(name)}: {escape(text)}" for name, text in picture.fields)])


def _shares_text(cell: Shares) -> str:
    parts = [f"{name} {100 * share:.1f}%" for name, share in cell.parts]
    return " · ".join([*parts, *([cell.remark] if cell.remark else [])])
