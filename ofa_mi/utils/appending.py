"""Files of lines that long work appends to: what was written stays, and a process that was killed is no harm."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

from ofa_mi.errors import ConfigError, DataError
from ofa_mi.utils.files import lock

logger = logging.getLogger(__name__)

LONGEST_LINE = 1 << 24  # bytes


class LineAppender:
    """Appends lines to a file, from which it first removes what follows the last newline.

    Use it as a context manager. Only one process at a time may write a file.

    Attributes:
        path: The file; its folder is made if it does not exist.

    Raises:
        ConfigError: Another process is writing the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b")
        try:
            if not lock(self._file):
                raise ConfigError(f"{path}: another process is writing it; wait for it, or choose another --out")
            _cut_last_line(self._file, path)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._file.close()
        except OSError:  # on a full disk it tries once more what could not be written
            if not any(error):
                raise

    def append(self, lines: Iterable[bytes]) -> None:
        """Append lines; they are in the file when this returns, even if the process is killed right after.

        Raises:
            DataError: The system refuses to write, because the disk is full for instance.
        """
        try:
            self._file.write(b"".join(lines))
            self._file.flush()
        except OSError as error:
            raise DataError(
                f"{self.path}: cannot be written ({error.strerror or error}); the same command goes on from there"
            ) from None


def bounded_lines(path: Path, what: str) -> Iterator[bytes]:
    """Lines of a file, none of which may fill the memory.

    Raises:
        DataError: The file cannot be read, or a line is too long to be ``what``.
    """
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), b""), start=1):
                if len(line) > LONGEST_LINE:
                    raise DataError(f"{path}:{number}: longer than {LONGEST_LINE:,} bytes, so not {what}")
                yield line
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def _cut_last_line(file, path: Path) -> None:
    """Remove what follows the last newline; a run that was killed may leave the beginning of a line."""
    end = keep = file.seek(0, os.SEEK_END)
    while keep:
        start = max(keep - (1 << 16), 0)
        file.seek(start)
        newline = file.read(keep - start).rfind(b"\n")
        if newline >= 0:
            keep = start + newline + 1
            break
        keep = start
    if keep != end:
        logger.warning("%s: the last line is incomplete; it is removed, and its question answered again", path)
        file.truncate(keep)
