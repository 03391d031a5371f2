"""The table of the builders of scene tasks."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ofa_mi.data_prep.draft import Draft
from ofa_mi.data_prep.scenes.world import Scene


@dataclass(frozen=True, slots=True)
class Builder:
    """One task.

    Attributes:
        task: Its name in the registry.
        evaluation: True for a task that is never trained.
        modes: The modes of scene that it can use.
        build: Makes an instance from a scene; None if the scene does not suit it.
    """

    task: str
    evaluation: bool
    modes: tuple[str, ...]
    build: Callable[[Scene, random.Random], Draft | None]


BUILDERS: dict[str, Builder] = {}


def builds(*, modes: Iterable[str] = ("shapes",), evaluation: bool = False) -> Callable[[Any], Any]:
    """Decorator: the function builds the task of its name."""

    def register(function: Callable[[Scene, random.Random], Draft | None]):
        task = function.__name__
        BUILDERS[task] = Builder(task, evaluation, tuple(modes), function)
        return function

    return register
