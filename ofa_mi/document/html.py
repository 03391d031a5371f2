"""A document as one HTML file that needs nothing else: no network, and no script to be read."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Sequence
from importlib.resources import files

from ofa_mi.document import blocks, figures


def document(title: str, content: Sequence[blocks.Block], *, browsable: bool = False) -> str:
    """A complete page.

    Args:
        title: Its title and first heading.
        content: What it holds.
        browsable: Whether it has a table of contents and the script, which sorts tables and filters examples.
    """
    # The page loads nothing and runs nothing but this script, and this keeps it so whatever text a data set brings.
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    contents = ended = ""
    if browsable:
        script = _resource("page.js")
        policy += f"; script-src 'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        contents, ended = _contents(content) + "\n", f"\n<script>{script}</script>"
    return (
        "<!DOCTYPE html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        f"<meta http-equiv='Content-Security-Policy' content=\"{policy}\">\n"
        f"<title>{html.escape(title)}</title>\n<style>{_resource('chart.css')}{_resource('page.css')}</style>\n</head>\n"
        f"<body>\n<h1>{html.escape(title)}</h1>\n{contents}"
        + "\n".join(map(to_html, content))
        + f"{ended}\n</body>\n</html>\n"
    )


def to_html(block: blocks.Block) -> str:
    """One block."""
    match block:
        case blocks.Heading():
            level, anchor = ("h2", f" id='{block.anchor}'") if block.anchor else ("h3", "")
            return f"<{level}{anchor}>{html.escape(block.text)}</{level}>"
        case blocks.Paragraph():
            return f"<p{' class=remark' if block.remark else ''}>{_prose(block.text)}</p>"
        case blocks.Items():
            kind, line = ("lines", html.escape) if block.verbatim else ("items", _prose)
            return f"<ul class='{kind}'>{''.join(f'<li>{line(text)}</li>' for text in block.lines)}</ul>"
        case blocks.Tiles():
            return f"<div class='tiles'>{''.join(map(_tile, block.tiles))}</div>"
        case blocks.Table():
            return _folded(block.folded, _table(block)) if block.folded else _table(block)
        case blocks.Figure():
            numbers = _folded("Numbers", _table(block.numbers)) if block.numbers else ""
            drawing = figures.draw(block)
            return f"<figure><figcaption>{html.escape(block.title)}</figcaption>{drawing}{numbers}</figure>"
        case blocks.Pictures():
            return f"<div class='cards'>{''.join(map(_picture, block.pictures))}</div>"
        case blocks.Side():
            return f"<div class='side'>{''.join(f'<div>{to_html(inner)}</div>' for inner in block.blocks)}</div>"
        case blocks.Raw():
            return block.html


def image(jpeg: bytes, alt: str, kind: str = "", size: tuple[int, int] | None = None) -> str:
    """An image that the page itself holds.

    Args:
        jpeg: The image.
        alt: What it shows, for people who cannot see it.
        kind: Classes of the style sheet.
        size: (width, height) that the page leaves room for; None for its own.
    """
    data = base64.b64encode(jpeg).decode()
    look = f" class='{kind}'" if kind else ""
    room = "" if size is None else f" width='{size[0]}' height='{size[1]}'"
    return f"<img{look} src='data:image/jpeg;base64,{data}' alt='{html.escape(alt)}'{room}>"


def scrolled(content: str, name: str) -> str:
    """A box for what may be wider than the window; it scrolls, so it can be reached by keyboard and has a name."""
    return f"<div class='scroll' role='region' tabindex='0' aria-label='{html.escape(name)}'>{content}</div>"


def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _contents(content: Sequence[blocks.Block]) -> str:
    sections = [block for block in content if isinstance(block, blocks.Heading) and block.anchor]
    links = "".join(f"<a href='#{section.anchor}'>{html.escape(section.text)}</a>" for section in sections)
    return f"<nav aria-label='Contents'>{links}</nav>"


def _prose(text: str) -> str:
    """Text as HTML; what stands between backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


def _tile(tile: tuple[str, str, str]) -> str:
    above, number, below = map(html.escape, tile)
    return f"<div class='tile'><span>{above}</span><b>{number}</b><span>{below}</span></div>"


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{html.escape(title)}</summary>{content}</details>"


def _table(table: blocks.Table) -> str:
    head = "".join(map(_heading, table.columns, table.left))
    body = "".join(map(_row, table.rows))
    kind = " ".join(filter(None, (table.kind, "sortable" if table.sortable else "")))
    attributes = f"{f' class={chr(39)}{kind}{chr(39)}' if kind else ''} aria-label='{html.escape(table.name)}'"
    content = f"<table{attributes}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return scrolled(content, table.name)


def _heading(column: str, left: bool) -> str:
    first, *below = column.split("\n")
    kind = " class='words'" if left else ""
    return f"<th scope='col'{kind}>{html.escape(first)}{_below(below)}</th>"


def _row(row: blocks.Row) -> str:
    first, *cells = row.cells
    kind = f" class='{row.kind}'" if row.kind else ""
    heading = f"<th scope='row'>{html.escape(first.text)}{_below(first.below)}</th>"
    return f"<tr{kind}>{heading}{''.join(map(_cell, cells))}</tr>"


def _cell(cell: blocks.Cell) -> str:
    attributes = f" class='{cell.kind}'" if cell.kind else ""
    if cell.heat is not None:
        attributes += f" style='--heat:{cell.heat:.3f}'"
    if cell.key is not None:
        attributes += f" data-key='{cell.key:.6g}'"
    if cell.parts:
        bar = "".join(f"<i style='width:{100 * share:.1f}%'></i>" for _, share in cell.parts)
        return f"<td{attributes}><div class='bar'>{bar}</div>{_below([cell.text])}</td>"
    beside = f" <span>{html.escape(cell.beside)}</span>" if cell.beside else ""
    text, below = html.escape(cell.text), _below(cell.below)
    return f"<td{attributes}>{f'<b>{text}</b>' if beside or below or cell.is_bold else text}{beside}{below}</td>"


def _below(lines: Sequence[str]) -> str:
    return "".join(f"<small>{html.escape(line)}</small>" for line in lines)


def _picture(picture: blocks.Picture) -> str:
    shown = "" if picture.jpeg is None else image(picture.jpeg, picture.file or picture.title)
    fields = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in picture.fields)
    return f"<div class='card'>{shown}<dl><dd><b>{html.escape(picture.title)}</b></dd>{fields}</dl></div>"
