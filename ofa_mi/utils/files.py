"""Reading files of bounded size, writing them so that nobody ever sees half of one, and locks.

A file is written under a temporary name beside it, ``.NAME.XXXXXXXX.tmp``, and takes its own name when it is whole.
Whoever writes a temporary file holds a lock on it: one without a lock was left by a process that is no more.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, BinaryIO

from ofa_mi.errors import DataError, shown

TEMPORARY = ".tmp"  # how the names of temporary files end


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


@lru_cache(1 << 16)
def path_inside(root: str, name: str) -> Path | None:
    """Real path of a file, all links resolved; None if it is not inside the real folder ``root``."""
    try:
        path = Path(os.path.realpath(os.path.join(root, name)))
    except ValueError:  # a null byte in the name
        return None
    return path if path.is_relative_to(os.path.realpath(root)) else None


# -- locks


def lock(file: IO, *, wait: bool = False) -> bool:
    """Lock an open file for this process and those that it forks; closing it, or the end of all of them, unlocks it.

    Args:
        file: The file.
        wait: Wait until another process has unlocked it.

    Returns:
        False if another process holds the lock. True, too, where the file system has no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


# -- whole files


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path`` that takes its name when the block ends without an error.

    The block may also write the file by its ``name``. Otherwise the temporary file is removed: on a full disk it would
    take the space that the next try needs.

    Args:
        path: The file; its folder is made if it does not exist.
        durable: Bring it to the disk before it takes its name, so that it is whole after a power failure, too, and
            remove what dead processes have left of the same file. Both take milliseconds: too long for each of a
            hundred thousand images.

    Raises:
        OSError: The system refuses.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if durable:
        remove_abandoned(path.parent, path.name)
    file = _temporary(path)
    try:
        yield file
        file.flush()
        if durable:
            _to_disk(file.name)
        os.chmod(file.name, 0o666 & ~_umask())  # temporary files are made private
        os.replace(file.name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(file.name)
        with contextlib.suppress(OSError):  # on a full disk it tries once more what could not be written
            file.close()
        raise
    file.close()


@contextmanager
def open_atomic(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """As :func:`replacing`, for data.

    Raises:
        DataError: The folder cannot be made or written.
    """
    try:
        with replacing(path, durable=durable) as file:
            yield file
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error


def atomic_write(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write ``content`` to ``path``; ``durable`` and errors as in :func:`open_atomic`."""
    with open_atomic(path, durable=durable) as file:
        file.write(content)


def copy_atomic(origin: Path, path: Path, *, link: bool = False) -> None:
    """Copy an image to ``path``, which may exist, without waiting for the disk; errors as in :func:`open_atomic`.

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
    with open_atomic(path, durable=False) as target, origin.open("rb") as file:
        shutil.copyfileobj(file, target)


def remove_abandoned(folder: Path, name: str = "*", *, below: bool = False) -> None:
    """Remove the temporary files of processes that are no more.

    Args:
        folder: Where they lie.
        name: The file that was being written; all by default.
        below: Look into the folders below, too.
    """
    pattern = f".{name if name == '*' else glob.escape(name)}.????????{TEMPORARY}"
    for path in folder.rglob(pattern) if below else folder.glob(pattern):
        with contextlib.suppress(OSError), path.open("r+b") as file:
            if lock(file):
                path.unlink()


def _temporary(path: Path) -> BinaryIO:
    """A new temporary file for ``path``, locked."""
    while True:
        file = tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=TEMPORARY, delete=False)  # noqa: SIM115
        lock(file, wait=True)
        if os.fstat(file.fileno()).st_nlink:  # otherwise it was taken for abandoned before it was locked
            return file
        file.close()


def _to_disk(name: str) -> None:
    """Bring a file to the disk; by its name, since another library may have written it."""
    number = os.open(name, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
