"""Errors that a user can act on.

They carry one clear line: what is wrong, in which file, line or option, and what to do.
The command line prints that line and exits with status 2; a traceback is for bugs only.
"""

import errno
import re
import reprlib
from pathlib import PurePath
from typing import Any

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
SHOWN = 100  # characters of a value in a message
SHOWN_PATH = 300  # the same of a path, which is of use only as a whole
PACKAGE = __name__.partition(".")[0]  # whose errors are those of this module


class OfaMiError(Exception):
    """Base of every error that this package raises on bad input."""


class DataError(OfaMiError):
    """A file, a line or an instance is not what it should be; the message names it.

    Attributes:
        kind: Of a line of instances, what is wrong: ``line`` (it cannot be read as one), ``image`` (the one in it) or
            ``box``; empty for all else.
    """

    def __init__(self, message: str = "", *, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class ConfigError(OfaMiError):
    """An option or a combination of options cannot work; the message names it."""


class CheckpointError(OfaMiError):
    """A checkpoint cannot be read, or does not fit the model; the message names it."""


class ServerError(OfaMiError):
    """A server gives no answer, or refuses to; the message names its address."""


class DivergedError(OfaMiError):
    """Training cannot go on because its gradients are no longer finite; the message says what to try."""


class WorkerError(OfaMiError):
    """A process that did a part of the work is no more; the same command goes on from what is finished."""


def shown(value: Any) -> str:
    """A value as a message shows it: printable, in one line, and short, whatever a file holds.

    It is as `repr` has it, in quotes if it is text, with an ellipsis for what is left out. A path and an error's own
    message stand without quotes if they are printable.
    """
    if isinstance(value, PurePath | BaseException):
        text = " ".join(str(value).split()) if isinstance(value, BaseException) else str(value)
        if len(text) <= SHOWN_PATH and text.isprintable():
            return text
        value = text
    try:
        text = _SHORT.repr(value)
    except Exception:  # a number of more digits than Python writes, or an object that cannot describe itself
        text = f"a value of the type {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


_SHORT = reprlib.Repr()
_SHORT.fillvalue = "…"
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = SHOWN - 10
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxset = _SHORT.maxdict = 10
_SHORT.maxlevel = 4


def root_error(error: BaseException) -> OfaMiError | None:
    """The error of this package that `error` is, was raised from or while handling, in one line; None if there is none.

    A file that the system refuses to open or write counts as one, and so does a full disk. PyTorch puts the traceback
    of another process into the message of what it raises here; it is left out. A data-loader worker that was killed is
    known by PyTorch's message.
    """
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, OfaMiError):
        seen = seen.__cause__ or seen.__context__
    if "\nTraceback" in (text := str(seen or error)) or "\nOriginal Traceback" in text:
        lines = re.findall(rf"^{PACKAGE}\.[\w.]+Error: (.*)$", text, re.MULTILINE)
        return OfaMiError(lines[-1]) if lines else seen
    if seen is None and (lost := re.match(r"DataLoader worker \(pid\S* [\d, ]+\) (?:is )?([\w :]+)", str(error))):
        return WorkerError(
            f"a data-loader worker was lost ({lost[1].strip()}), perhaps for want of memory: try a smaller "
            "--num-workers; the same command goes on from its last checkpoint"
        )
    if seen is None and isinstance(error, OSError) and error.strerror:
        if error.filename is not None:
            return OfaMiError(f"{error.filename}: {error.strerror}")
        if error.errno in DISK_FULL:
            return OfaMiError(f"{error.strerror}; make room and run the command again")
    return seen
