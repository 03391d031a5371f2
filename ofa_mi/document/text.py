"""Text for people: what every block and figure shows, and tables on a terminal."""

from __future__ import annotations

from collections.abc import Container, Sequence


def printable(text: str) -> str:
    """A text without characters that a file of XML cannot hold, or that show nothing."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def shortened(text: str, length: int) -> str:
    """A printable text of at most so many characters, on one line."""
    text = printable(" ".join(text.split()))
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def aligned(rows: Sequence[Sequence[str]], numbers: Container[int]) -> list[str]:
    """A table for a terminal, one line a row; the columns of these places hold numbers, which stand on the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = [">" if place in numbers else "<" for place in range(len(widths))]
    return ["  ".join(f"{c:{side}{width}}" for c, side, width in zip(row, sides, widths, strict=True)) for row in rows]
