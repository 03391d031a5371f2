"""The source data sets, one module each (or one for a family that shares its files).

A module defines sub-classes of :class:`~ofa_mi.data_prep.source.Source`; adding one to this list makes it known to
``ofa-mi data build`` and ``ofa-mi data download``.
"""

from __future__ import annotations

import functools
import importlib
import inspect

from ofa_mi.data_prep.source import Source

MODULES = (
    "coco_captions",
    "coco_instances",
    "coco_text",
    "daquar",
    "flickr8k",
    "gqa",
    "hateful_memes",
    "medic",
    "mocheg",
    "nlvr",
    "okvqa",
    "refcoco",
    "snli_ve",
    "sroie",
    "tdiuc",
    "textvqa",
    "vaw",
    "vcr",
    "visdial",
    "visual7w",
    "visual_genome_qa",
    "visual_genome_regions",
    "visual_genome_relationships",
    "vizwiz_quality",
    "vqav2",
    "vsr",
    "wikihow",
)


@functools.cache
def all_sources() -> dict[str, type[Source]]:
    """Name → source, in the order of :data:`MODULES` and of the classes in them."""
    found = {}
    for name in MODULES:
        module = importlib.import_module(f"{__name__}.{name}")
        classes = [
            value
            for value in vars(module).values()
            if inspect.isclass(value) and issubclass(value, Source) and value.__module__ == module.__name__
        ]
        found |= {value.name: value for value in classes if "name" in vars(value)}
    return found
