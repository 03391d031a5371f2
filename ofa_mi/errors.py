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
