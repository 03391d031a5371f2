"""The sections of a report, one per file: each file has a ``SECTION``, and nothing else has to know of it."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from ofa_mi.evaluation.report.section import Section


def all_sections() -> list[Section]:
    """The sections of all files here, in the order in which a report has them."""
    modules = [import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    return sorted((module.SECTION for module in modules), key=lambda section: section.place)
