"""What a reader wants of the output of a training or an evaluation."""

import json
import os
import re
import sys
from pathlib import Path

OWN_ERROR = re.compile(rb"ofa-mi [a-z]+: error: ")  # at the start of a line; a launcher says more after it
ANY_ERROR = re.compile(rb"(rror|xception|interrupted)(:|$)")


def say(text: str) -> None:
    """Print a line on standard error as the scripts do, whole even when several threads print."""
    sys.stderr.write(f"[ofa-mi] {text}\n")
    sys.stderr.flush()


def progress_line(line: str, updates: int = 0) -> str | None:
    """What a line of fairseq's log in JSON says, e.g. ``update 100 of 350, loss 2.91, 3.1 updates/s``; None if nothing.

    Args:
        line: A line of ``--log-format json``.
        updates: Updates of the whole training; 0: not known.
    """
    kind, _, values = line.partition(" | {")
    kind = kind.rpartition(" | ")[2]
    if kind not in ("train_inner", "valid"):
        return None
    try:
        found = json.loads(f"{{{values}")
        if kind == "valid":
            return f"validation: loss {found['valid_loss']}, mean score of the tasks {found['valid_score']}"
        total = f" of {updates}" if updates else ""
        return f"update {found['num_updates']}{total}, loss {found['loss']}, {found['ups']} updates/s"
    except (ValueError, KeyError):  # cut off, or without what is wanted
        return None


def last_error(log: str | os.PathLike, start: int = 0) -> str | None:
    """The line of a log that says why a command stopped, None if there is none.

    Args:
        log: The file.
        start: Byte at which the output of the command begins.
    """
    own = other = None
    with open(log, "rb") as file:
        file.seek(start)
        for line in file:
            line = line.rstrip(b"\r\n")
            if OWN_ERROR.match(line):
                own = line
            elif ANY_ERROR.search(line):
                other = line
    found = own or other
    return None if found is None else found.decode("utf-8", errors="replace")


def size_of(log: Path) -> int:
    """Bytes of a file; 0 if it does not exist."""
    return log.stat().st_size if log.exists() else 0
