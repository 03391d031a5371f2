"""Reading files of bounded size, and writing them so that nobody ever sees half of one."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ofa_mi.errors import DataError, shown


def read_at_most(path: Path, most: int) -> bytes:
    """The content of a file of at most ``most`` bytes.

    Raises:
        DataError: It is larger.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise DataError(f"{shown(path)}: is larger than {most:,} bytes")
    return content


@contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path`` that takes its name when the block ends without an error.

    Raises:
        DataError: The folder cannot be made or written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = file.name
            yield file
        os.chmod(temporary, 0o666 & ~_umask())  # temporary files are made private
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        if temporary is not None:
            os.unlink(temporary)


def atomic_write(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``; errors as in :func:`open_atomic`."""
    with open_atomic(path) as file:
        file.write(content)


def copy_atomic(origin: Path, path: Path, *, link: bool = False) -> None:
    """Copy a file to ``path``, which may exist; errors as in :func:`open_atomic`.

    Args:
        origin: The file.
        path: Where it goes.
        link: Make a hard link where the file system allows it, which takes no space and no time.
    """
    if link and not path.exists():
        with contextlib.suppress(OSError):  # another file system, or one without hard links: copied instead
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(origin, path)
            return
    with open_atomic(path) as target, origin.open("rb") as file:
        shutil.copyfileobj(file, target)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
