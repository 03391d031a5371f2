"""Answers as text that can be compared: differences that nobody sees are taken away here, and nowhere else.

Every metric, and the check for options that a metric takes for the same, goes through :func:`canonical`.
"""

from __future__ import annotations

import unicodedata

# Characters that are drawn as nothing, if all is well: zero-width spaces and joiners, marks of direction, soft
# hyphens, variation selectors, … (Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties.txt).
_INVISIBLE = (
    (0xAD, 0xAD),
    (0x34F, 0x34F),
    (0x61C, 0x61C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
)
# What typesetting makes of the quotation marks, apostrophe and hyphen of a keyboard, and the marks for feet and inches.
_TYPESET = {"'": "‘’‚‛ʼ′", '"': "“”„‟″", "-": "‐‑‒–—−"}  # noqa: RUF001
_FOLDED = {code: None for first, last in _INVISIBLE for code in range(first, last + 1)} | {
    ord(mark): plain for plain, marks in _TYPESET.items() for mark in marks
}
# Of several scripts: what ends or separates sentences, as it stands at the end of an answer.
_FINAL = ".,;:!? …。．，、；：！？｡､،؛؟۔।॥։"  # noqa: RUF001


def canonical(text: str) -> str:
    """``text`` in one spelling: NFC, without invisible characters, with a keyboard's quotes, apostrophes and hyphens.

    NFC makes one text of the ways in which Unicode writes the *same* character: "é" as one code or as "e" and an
    accent. NFKC goes further and makes *other* characters the same, of which a reader tells apart many: "m²" and
    "m2", "①" and "1", "ｶ" and "カ". A model that reads the wrong one out of an image has not read it right, so that
    NFC it is.
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text.translate(_FOLDED))


def normalise(text: str) -> str:
    """``text`` as accuracy compares it: canonical, lower case, white space collapsed, no final punctuation.

    A text of nothing but punctuation stays what it is.
    """
    text = " ".join(canonical(text.lower()).split())
    return text.rstrip(_FINAL) or text


def says_something(text: str) -> bool:
    """Whether there is anything to be seen in ``text``; an answer without is no answer, and never right."""
    return bool(canonical(text).strip())
