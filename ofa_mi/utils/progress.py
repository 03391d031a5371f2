"""Progress of long work: a bar on a terminal, a few whole lines in a file.

A bar redraws itself ten times a second with carriage returns, which makes thousands of lines of a log file or of a CI
job's log. There, a line is written for every tenth of the work, and never sooner than :data:`INTERVAL` after the one
before; for work of unknown length, each time that it has taken twice as long. Work that is done before the first
line is due writes none.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from tqdm import tqdm

INTERVAL = 30.0  # seconds
STEP = 0.1  # of the work
LINE = "{desc}: {percentage:.0f}% ({n_fmt}/{total_fmt}{unit}) after {elapsed}, about {remaining} left"
LINE_WITHOUT_TOTAL = "{desc}: {n_fmt}{unit} after {elapsed}"

Item = TypeVar("Item")


def progress_bar(
    items: Iterable[Item] | None = None,
    *,
    desc: str,
    total: int | None = None,
    unit: str,
    unit_scale: bool = False,
    initial: int = 0,
    leave: bool = True,
    show: bool = True,
) -> tqdm | LineProgress[Item]:
    """Show on standard error how far some work is. The result is iterated, or used as a context with ``update(n)``.

    Args:
        items: What is worked through; None if ``update`` is called.
        desc: What the work is.
        total: Units in all; by default the length of ``items``, if it has one.
        unit: What is counted.
        unit_scale: Write large numbers with k, M and G.
        initial: Units that were done before.
        leave: Leave a finished bar on the terminal.
        show: False shows nothing.
    """
    if total is None and hasattr(items, "__len__"):
        total = len(items)
    settings = {"desc": desc, "total": total, "unit_scale": unit_scale, "initial": initial}
    unit = unit if unit == "B" else f" {unit}"  # which follows a number
    if show and not sys.stderr.isatty():
        return LineProgress(items, unit=unit, **settings)
    return tqdm(items, unit=unit, leave=leave, disable=not show, **settings)


class LineProgress(Generic[Item]):
    """Progress in whole lines, for what is not a terminal; arguments as those of :func:`progress_bar`."""

    def __init__(
        self, items: Iterable[Item] | None, *, desc: str, total: int | None, unit: str, unit_scale: bool, initial: int
    ) -> None:
        self.items, self.desc, self.total = items, desc, total
        self.unit, self.unit_scale, self.initial = unit, unit_scale, initial
        self.done = self.written = initial
        self.start = time.monotonic()
        self.due = self.start + INTERVAL

    def __iter__(self) -> Iterator[Item]:
        for item in self.items:
            yield item
            self.update()

    def __enter__(self) -> LineProgress[Item]:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def set_description(self, desc: str) -> None:
        """Say what the work is now."""
        self.desc = desc

    def update(self, number: int = 1) -> None:
        """Count units that are done, and write a line if one is due."""
        self.done += number
        now = time.monotonic()
        far_enough = not self.total or self.done - self.written >= STEP * self.total or self.done >= self.total
        if now < self.due or not far_enough:
            return
        print(self._line(now - self.start), file=sys.stderr, flush=True)
        self.written = self.done
        self.due = now + (INTERVAL if self.total else max(INTERVAL, now - self.start))

    def _line(self, elapsed: float) -> str:
        return tqdm.format_meter(
            self.done,
            self.total or None,
            elapsed,
            prefix=self.desc,
            unit=self.unit,
            unit_scale=self.unit_scale,
            initial=self.initial,
            bar_format=LINE if self.total else LINE_WITHOUT_TOTAL,
        )
