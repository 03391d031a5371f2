"""A folder of results: what it was made with, whether it is finished, and who is at work on it.

It holds ``settings`` (one option a line), ``lock`` (locked while a script is at work) and, once finished, a mark.
"""

import fcntl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ofa_mi.errors import ConfigError
from ofa_mi.utils.files import atomic_write

SETTINGS = "settings"
LOCK = "lock"
PAUSE = 0.5  # seconds between two looks at what others do


def settings_text(words: Sequence[str], out: str) -> str:
    """A command with one option a line, without the folder ``out`` of all results, so that it can be moved."""
    return "".join(f" {word}" for word in words).replace(f"{out}/", "").replace(" --", "\n--")


def is_finished(folder: Path, mark: str, settings: str) -> bool:
    """Whether the folder holds the mark of finished work.

    Args:
        folder: It need not exist.
        mark: Name of the file that is there once the work is finished.
        settings: What it would be made with now (:func:`settings_text`).

    Raises:
        ConfigError: It was made with other settings, so that it must not be taken for these results.
    """
    try:
        before = (folder / SETTINGS).read_text(encoding="utf-8", errors="replace").rstrip("\n")
    except FileNotFoundError:
        before = settings
    if before != settings:
        raise ConfigError(
            f"{folder} was made with other settings: {differences(before, settings)}; remove it or set another OUT"
        )
    return (folder / mark).is_file()


def keep_settings(folder: Path, settings: str) -> None:
    """Write down what the folder is made with, unless it says so already."""
    if not (folder / SETTINGS).exists():
        atomic_write(folder / SETTINGS, f"{settings}\n".encode())


def differences(before: str, now: str) -> str:
    """The options in which two texts of :func:`settings_text` differ, in one line."""
    old, new = before.split("\n"), now.split("\n")
    changed = [("was", line) for line in old if line not in new] + [("is", line) for line in new if line not in old]
    names = list(dict.fromkeys(line.split(" ")[0] for _, line in changed))
    changed.sort(key=lambda change: names.index(change[1].split(" ")[0]))  # stable: what was stays before what is
    return ", ".join(f"{when} {line.strip()}" for when, line in changed) or "the same options in another order"


@contextmanager
def locked(folder: Path, check: Callable[[], None]) -> Iterator[IO]:
    """Work on the folder alone; waits while another process does.

    Args:
        folder: It is made where it is not there.
        check: Called while waiting; may raise to give up.

    Yields:
        The open file that holds the lock. A child process that inherits it keeps the folder locked until it ends, even
        if this process is killed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "ab") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                check()
                time.sleep(PAUSE)
        yield file
