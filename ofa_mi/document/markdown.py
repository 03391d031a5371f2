"""A document as Markdown, with its figures and pictures in files beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ofa_mi.document import blocks

PLOTS = "plots"  # folder of the figures


def document(title: str, content: Sequence[blocks.Block]) -> str:
    """All of a document."""
    return "\n\n".join([f"# {escape(title)}", *map(to_markdown, content)]) + "\n"


def to_markdown(block: blocks.Block) -> str:
    """One block."""
    match block:
        case blocks.Heading():
            return f"{'##' if block.anchor else '###'} {escape(block.text)}"
        case blocks.Paragraph():
            return _prose(block.text)
        case blocks.Items():
            return "\n".join(f"- {escape(line) if block.verbatim else _prose(line)}" for line in block.lines)
        case blocks.Tiles():
            return "\n".join(
                f"- {escape(above)}: **{escape(number)}**{f' ({escape(below)})' if below else ''}"
                for above, number, below in block.tiles
            )
        case blocks.Table():
            title = f"**{escape(block.folded)}**\n\n" if block.folded else ""
            return title + _table(block)
        case blocks.Figure():
            numbers = "\n\n" + _table(block.numbers) if block.numbers else ""
            return f"![{escape(block.title)}]({PLOTS}/{block.name}.svg)\n\n*{escape(block.title)}*{numbers}"
        case blocks.Pictures():
            return "\n\n".join(map(_picture, block.pictures))
        case blocks.Side():
            return "\n\n".join(map(to_markdown, block.blocks))
        case blocks.Raw():
            return block.markdown


def escape(text: str) -> str:
    """Plain text as Markdown that shows it as it is, on one line."""
    text = re.sub(r"([\\`*_\[\]#|~])", r"\\\1", " ".join(text.split()))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _prose(text: str) -> str:
    """Text as Markdown; what stands between backticks is code, in which nothing is escaped."""
    return re.sub(r"\\`[^`]+\\`", lambda code: re.sub(r"\\(.)", r"\1", code[0]), escape(text))


def _table(table: blocks.Table) -> str:
    rule = ["---" if left else "---:" for left in table.left]
    lines = [list(map(escape, table.columns)), rule, *map(_row, table.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(row: blocks.Row) -> list[str]:
    first, *cells = row.cells
    heading = escape(first.line)
    return [f"*{heading}*" if row.kind == "paper" else heading, *map(_cell, cells)]


def _cell(cell: blocks.Cell) -> str:
    text = escape(cell.line)
    return f"**{text}**" if cell.is_bold else text


def _picture(picture: blocks.Picture) -> str:
    lines = [f"**{escape(picture.title)}**", ""]
    if picture.file:
        lines += [f"![{escape(picture.file.rpartition('/')[2])}]({picture.file})", ""]
    return "\n".join([*lines, *(f"- {escape(name)}: {escape(text)}" for name, text in picture.fields)])
