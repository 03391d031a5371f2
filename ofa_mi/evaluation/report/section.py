"""What a section of a report is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ofa_mi.document.blocks import Block
from ofa_mi.evaluation.report.study import Study


@dataclass(frozen=True)
class Section:
    """A section of a report.

    Attributes:
        place: Sections stand in the order of this number.
        title: Its heading.
        anchor: Its id on the page.
        blocks: What it shows of a study, without the heading; nothing if there are no data for it.
        missing: How to get the data; empty for a section that nobody misses.
        of_runs: Whether only a report with runs misses it.
    """

    place: int
    title: str
    anchor: str
    blocks: Callable[[Study], list[Block]]
    missing: str = ""
    of_runs: bool = False
