"""The tasks that scenes are made into; each module holds the tasks of related groups.

A builder takes a scene and a random generator and returns a :class:`Draft`, or None if the scene
(or what chance chose in it) does not suit the task. :data:`BUILDERS` lists them all.
"""

from ofa_mi.data_prep.draft import Balance, Draft
from ofa_mi.data_prep.scenes.tasks import (
    combination,
    dense,
    evaluation,
    grounding,
    matching,
    regions,
    relationship,
    understanding,
    writing,
)
from ofa_mi.data_prep.scenes.tasks.builder import BUILDERS, Builder

__all__ = [
    "BUILDERS",
    "Balance",
    "Builder",
    "Draft",
    "combination",
    "dense",
    "evaluation",
    "grounding",
    "matching",
    "regions",
    "relationship",
    "understanding",
    "writing",
]
