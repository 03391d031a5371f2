"""Curves of training, from the logs that fairseq writes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ofa_mi.errors import DataError

logger = logging.getLogger(__name__)

LONGEST_LINE = 1 << 20  # bytes; a longer one is read in parts, of which none is an entry
LARGEST = 1e15  # loss, score or number of updates that a chart can show
CURVES = (("loss", "training", ""), ("loss", "validation", "valid_"), ("score", "validation", "valid_"))
_ENTRY = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True)
class Curve:
    """Points of one quantity over updates.

    Attributes:
        updates: Numbers of updates.
        values: Values there.
    """

    updates: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class TrainingLog:
    """What a log holds.

    Attributes:
        curves: ``{"loss": {"training": …, "validation": …}, "score": {"validation": …}}``, each part if the log has it.
        left_out: Number of entries that are damaged, or whose loss, score or number of updates is not finite.
    """

    curves: Mapping[str, Mapping[str, Curve]]
    left_out: int


def read_training_log(path: Path) -> TrainingLog:
    """Curves in a log of ``fairseq-train --log-format json``; a warning tells how many entries are left out.

    Raises:
        DataError: The file cannot be read, or holds no loss.
    """
    points: dict[tuple[str, str], dict[int, float]] = {(quantity, kind): {} for quantity, kind, _ in CURVES}
    left_out = 0
    for entry in _entries(path):
        try:
            found = list(_points(entry))
        except (ValueError, OverflowError):
            left_out += 1
            continue
        for curve, update, value in found:  # later entries win: a resumed run writes some updates twice
            points[curve][update] = value
    curves: dict[str, dict[str, Curve]] = {}
    for (quantity, kind), values in points.items():
        if updates := sorted(values):
            curves.setdefault(quantity, {})[kind] = Curve(tuple(updates), tuple(values[update] for update in updates))
    if "loss" not in curves:
        raise DataError(f"{path}: holds no loss; it must be the output of fairseq-train with --log-format json")
    if left_out:
        logger.warning("%s: %s", path, left_out_remark(left_out))
    return TrainingLog(curves, left_out)


def left_out_remark(number: int) -> str:
    """What a reader must know of entries that are left out."""
    return f"{number:,} entries of the log are left out: damaged, or without a finite number"


def _entries(path: Path) -> Iterator[dict[str, Any] | None]:
    """The JSON objects at the end of the lines of a log, None for one that is damaged."""
    try:
        with path.open("rb") as file:
            for line in iter(lambda: file.readline(LONGEST_LINE), b""):
                if (start := line.find(b'{"')) >= 0 or b'num_updates"' in line:
                    yield _entry(line[max(start, 0) :])
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def _entry(text: bytes) -> dict[str, Any] | None:
    try:
        return _ENTRY.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _points(entry: dict[str, Any] | None) -> Iterator[tuple[tuple[str, str], int, float]]:
    """Curve, update and value of what an entry says; ValueError or OverflowError if it is damaged."""
    if entry is None:
        raise ValueError("not JSON")
    for quantity, kind, prefix in CURVES:
        update, value = f"{prefix}num_updates", f"{prefix}{quantity}"
        if update in entry and value in entry:
            yield (quantity, kind), int(_number(entry[update])), _number(entry[value])


def _number(value: Any) -> float:
    """A number of an entry, which fairseq writes as text; errors of :func:`_points` if a chart cannot show it."""
    if type(value) not in (int, float, str) or (isinstance(value, str) and len(value) > 40):
        raise ValueError("not a number")
    if not abs(number := float(value)) <= LARGEST:  # which NaN is not, either
        raise ValueError("not a number that can be shown")
    return number
