"""JSON files that this package wrote and reads again: types are checked once, when a file is read.

msgspec decodes into the type that a reader declares. What it refuses, and what Python's own parser would let pass, is
one line: NaN and numbers that no float holds, half of a surrogate pair, brackets nested without end, a file of
gigabytes. A type that lets any JSON value pass, :data:`AnyObject`, is held to a few levels, so that what prints or
compares the value later cannot fail at its depth.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import msgspec

from ofa_mi.errors import DataError

LARGEST = 1 << 26  # bytes of a file; decoded, it takes up to thirty times as much
DEEPEST = 30  # levels of a value of any type
SHOWN = 120  # characters of a value or a reason in an error

_NESTED = (list, dict, msgspec.Struct)
AnyObject = dict[str, Any]
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_]+$", max_length=200)]  # of a task, group or metric
Label = Annotated[str, msgspec.Meta(pattern=r"^[\w ./+,-]*$", max_length=500)]  # what a message may print as it is
FilePath = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*$", max_length=4096)]
Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]
Real = Annotated[float, msgspec.Meta(ge=-1e12, le=1e12)]  # sums of such numbers are finite


def read_json(path: Path, decoder: msgspec.json.Decoder, what: str, *, largest: int | None = None) -> Any:
    """The content of a JSON file.

    Args:
        path: The file.
        decoder: Of the type that it must have.
        what: What the file should be and what to do, for the error, such as ``"not a manifest; delete it"``.
        largest: Bytes that the file may have; None for :data:`LARGEST`.

    Raises:
        DataError: It cannot be read, is too large, or is not JSON of this type; names file, place and reason.
    """
    largest = LARGEST if largest is None else largest
    try:
        with path.open("rb") as file:
            content = file.read(largest + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if len(content) > largest:
        raise DataError(f"{path}: {what} (larger than {largest:,} bytes)")
    return decode(content, decoder, f"{path}: {what}")


def decode(content: bytes, decoder: msgspec.json.Decoder, where: str) -> Any:
    """Decode JSON bytes; :class:`DataError` that begins with ``where`` if they are not of the decoder's type."""
    try:
        value = decoder.decode(content)
    except RecursionError:
        reason = "it is nested too deeply"
    except UnicodeDecodeError as error:
        reason = f"not UTF-8: {error.reason}"
    except msgspec.DecodeError as error:
        reason = str(error)
    else:
        if not is_deeper(value, DEEPEST):
            return value
        reason = f"it is nested more than {DEEPEST} levels deep"
    raise DataError(f"{where} ({one_line(reason)})")


def check(value: Any, kind: Any, where: str) -> None:
    """Raise :class:`DataError` that begins with ``where`` unless a decoded JSON value is of a type."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise DataError(f"{where} ({one_line(str(error))})") from None


def one_line(text: str) -> str:
    """A reason or a name in an error, without quotes: shortened, and without characters that a terminal would obey."""
    text = text if len(text) <= 4 * SHOWN else f"{text[: 2 * SHOWN]}…{text[-2 * SHOWN :]}"
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return text if len(text) <= 2 * SHOWN else f"{text[:SHOWN]} … {text[-SHOWN:]}"


def is_deeper(value: Any, most: int) -> bool:
    """Whether lists and objects are nested in each other more than ``most`` levels deep in a decoded JSON value."""
    level = [value]
    for _ in range(most + 1):
        level = [item for parent in level for item in _parts(parent) if isinstance(item, _NESTED)]
        if not level:
            return False
    return True


def _parts(parent: Any) -> Iterable[Any]:
    """What lies directly in a list or an object."""
    if isinstance(parent, msgspec.Struct):
        return msgspec.structs.astuple(parent)
    if isinstance(parent, dict):
        return parent.values()
    return parent if isinstance(parent, list) else ()
