"""Text that a terminal or a file cannot hold is no reason to stop."""

import sys


def escape_what_cannot_be_written() -> None:
    r"""Let the standard streams write a character that their encoding lacks as ``\xe9`` or ``\u65e5``.

    Without it a "±" in a table, or a path, ends the command with a traceback where ``PYTHONIOENCODING`` or the locale
    says ASCII. Streams that do not encode (a test's, a notebook's) stay as they are.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
