"""Reading the files of source data sets: fast, without more memory than needed, and with errors that name the file.

JSON is decoded by msgspec into the types that a converter declares: fields that nobody wants are skipped by the
parser, and a file that is not in the expected format is an error that says where. Files are memory-mapped, so that
elements kept as :class:`msgspec.Raw` cost a pointer each and are decoded in the worker that needs them.
"""

from __future__ import annotations

import csv
import mmap
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ofa_mi.errors import DataError, shown
from ofa_mi.instances.instance import is_blank
from ofa_mi.instructions.prompt import OPTION_SEPARATOR
from ofa_mi.utils.json_files import one_line

T = TypeVar("T")


def read_json(path: Path, kind: type[T]) -> T:
    """Decode a JSON file.

    Args:
        path: The file.
        kind: Type of its content, e.g. a ``msgspec.Struct``, ``list[Struct]``, ``dict[str, msgspec.Raw]``.

    Raises:
        DataError: It cannot be read, or is not in this format.
    """
    return decode(_map(path), kind, path)


def decode(content: Any, kind: type[T], where: object) -> T:
    """Decode JSON bytes or a :class:`msgspec.Raw`; ``where`` names their origin in the error."""
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{where}: not in the official format ({one_line(str(error))}); download it again") from None


def read_json_lines(path: Path, kind: type[T]) -> list[T]:
    """Decode a file of one JSON value per line; blank lines do not count. Errors name the line."""
    return [decode(line, kind, f"{path}:{number}") for number, line in json_lines(path)]


def json_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Number (from 1) and content of every line of a file that is not blank."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Number (from 1) and text of every line of a file that is not blank, without the line break.

    The file is UTF-8, or Windows-1252 as some annotators' editors left it.

    Raises:
        DataError: It cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        lines = content.decode("cp1252", errors="replace").splitlines()
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]


def read_table(path: Path, *, delimiter: str = ",", columns: tuple[str, ...] = ()) -> list[dict[str, str]]:
    """Rows of a CSV or TSV file with a header line, UTF-8 with or without byte order mark.

    Args:
        path: The file.
        delimiter: What separates columns.
        columns: Columns that must be there.

    Raises:
        DataError: It cannot be read, or lacks a column.
    """
    csv.field_size_limit(1 << 30)  # articles of any length
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter=delimiter)
            missing = [column for column in columns if column not in (reader.fieldnames or ())]
            if missing:
                raise DataError(
                    f"{path}: has no column {shown(missing[0])}; its columns are {shown(reader.fieldnames)}"
                )
            return list(reader)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a table in UTF-8 ({error}); download it again") from None


def tidy(text: str) -> str:
    """A text of an annotation as instances hold it: trimmed, with single spaces.

    Empty if it cannot be used: it shows nothing, or holds a control character, half of a surrogate pair, or what
    separates options.
    """
    text = " ".join(text.split())
    if not text.isprintable() and any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        return ""
    return "" if OPTION_SEPARATOR in text or is_blank(text) else text


def _map(path: Path) -> memoryview | bytes:
    try:
        with path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except ValueError:  # an empty file cannot be mapped
        return b""
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
