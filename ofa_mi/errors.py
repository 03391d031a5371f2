"""Errors that a user can act on.

They carry one clear line: what is wrong, in which file, line or option, and what to do.
The command line prints that line and exits with status 2; a traceback is for bugs only.
"""


class OfaMiError(Exception):
    """Base of every error that this package raises on bad input."""


class DataError(OfaMiError):
    """A file, a line or an instance is not what it should be; the message names it."""


class ConfigError(OfaMiError):
    """An option or a combination of options cannot work; the message names it."""


class CheckpointError(OfaMiError):
    """A checkpoint cannot be read, or does not fit the model; the message names it."""


def root_error(error: BaseException) -> OfaMiError | None:
    """The error of this package that `error` is, was raised from or while handling, in one line; None if there is none.

    PyTorch puts the traceback of a worker process into the message of what it raises again; here it is left out.
    """
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, OfaMiError):
        seen = seen.__cause__ or seen.__context__
    if seen is None or "\nOriginal Traceback" not in str(seen):
        return seen
    line = str(seen).rstrip().splitlines()[-1]
    return OfaMiError(line.removeprefix(f"{type(seen).__module__}.{type(seen).__qualname__}: "))
