"""Text for people, as every block and figure shows it."""


def printable(text: str) -> str:
    """A text without characters that a file of XML cannot hold, or that show nothing."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def shortened(text: str, length: int) -> str:
    """A printable text of at most so many characters, on one line."""
    text = printable(" ".join(text.split()))
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
