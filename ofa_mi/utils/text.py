"""Lists that come as one string."""


def split_list(value: str | None, separator: str = ",") -> list[str]:
    """Non-empty parts of a list given as one option."""
    return [part for part in (value or "").split(separator) if part]
