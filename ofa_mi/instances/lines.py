"""Reading lines from anywhere in a file, whatever their length."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import BinaryIO

from ofa_mi.instances.instance import BYTE_ORDER_MARK

MAX_LINE_READ = 1 << 28  # bytes of a line that are read: more than any may have, one of TSV with its image included
SKIP_BYTES = 1 << 20  # of a line that is too long, read at once to find its end
TAIL_BYTES = 1 << 12  # of the file, read at once to find the end of its last line
LARGE_FILE = 1 << 26  # bytes from which worker processes and a progress bar pay where lines are read


def seek_line(file: BinaryIO, start: int, end: int) -> None:
    """Go to the first line that begins at or behind byte ``start``, or at least to ``end`` if none begins before."""
    file.seek(max(0, start - 1))
    if start:
        _skip_line(file, end)  # the rest of a line that begins earlier


def read_line(file: BinaryIO) -> bytes:
    """The next line; of one that is too long, as much as shows that it is."""
    line = file.readline(MAX_LINE_READ)
    if len(line) == MAX_LINE_READ and not line.endswith(b"\n"):
        _skip_line(file)
    return line


def _skip_line(file: BinaryIO, end: float = math.inf) -> None:
    """Read on to the end of the line, or to byte ``end`` if that comes first."""
    while (part := file.readline(SKIP_BYTES)) and not part.endswith(b"\n") and file.tell() < end:
        pass


def content_end(path: Path) -> int:
    """Bytes of a file of lines up to the end of the last one that is not blank; empty lines behind it mean nothing."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - TAIL_BYTES)
            if found := os.pread(file.fileno(), end - start, start).rstrip():
                return start + len(found) if start or found != BYTE_ORDER_MARK.encode() else 0
            end = start
    return 0
