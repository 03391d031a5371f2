"""Curves of training, from the logs that fairseq writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ofa_mi.errors import DataError


@dataclass(frozen=True)
class Curve:
    """Points of one quantity over updates.

    Attributes:
        updates: Numbers of updates.
        values: Values there.
    """

    updates: tuple[int, ...]
    values: tuple[float, ...]


def read_training_log(path: Path) -> dict[str, dict[str, Curve]]:
    """Curves in a log of ``fairseq-train --log-format json``.

    Returns:
        ``{"loss": {"training": …, "validation": …}, "score": {"validation": …}}``, each part if the log has it.

    Raises:
        DataError: The file cannot be read, or holds no loss.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    entries = [entry for line in lines if (entry := _log_entry(line)) is not None]
    found: dict[str, dict[str, Curve]] = {}
    for quantity, kind, prefix in (
        ("loss", "training", ""),
        ("loss", "validation", "valid_"),
        ("score", "validation", "valid_"),
    ):
        curve = _curve(entries, f"{prefix}num_updates", f"{prefix}{quantity}")
        if curve.updates:
            found.setdefault(quantity, {})[kind] = curve
    if "loss" not in found:
        raise DataError(f"{path}: holds no loss; it must be the output of fairseq-train with --log-format json")
    return found


def _log_entry(line: str) -> dict | None:
    """The JSON object at the end of a line of a log, if there is one."""
    start = line.find("{")
    if start < 0 or not line.rstrip().endswith("}"):
        return None
    try:
        entry = json.loads(line[start:])
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _curve(entries: Sequence[dict], update_key: str, key: str) -> Curve:
    # Later entries win: a run that was stopped and resumed writes some updates twice.
    points = {}
    for entry in entries:
        if update_key in entry and key in entry:
            points[int(float(entry[update_key]))] = float(entry[key])
    updates = sorted(points)
    return Curve(tuple(updates), tuple(points[update] for update in updates))
