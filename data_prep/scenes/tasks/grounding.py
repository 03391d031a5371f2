"""Captions of images and regions, and regions of captions, categories and referring expressions."""

from __future__ import annotations

import random

from ofa_mi.data_prep.draft import Draft, coin, text
from ofa_mi.data_prep.scenes.language import (
    Pair,
    a,
    caption,
    full_phrase,
    kinds_of,
    name,
    pairs,
    pick_expression,
    referring_expressions,
)
from ofa_mi.data_prep.scenes.tasks.builder import builds
from ofa_mi.data_prep.scenes.world import PixelBox, Scene

MAX_CAPTION_THINGS = 4  # a longer list makes no caption


@builds()
def image_captioning(scene: Scene, rng: random.Random) -> Draft | None:
    """No input → all things by colour and form, left to right: *a red circle, two blue stars and a green ring*."""
    return Draft(target=text(caption(scene.things))) if len(scene.things) <= MAX_CAPTION_THINGS else None


@builds()
def grounded_captioning(scene: Scene, rng: random.Random) -> Draft | None:
    """A region → its caption: *a large red circle*, or *a red circle left of a blue star* for two things."""
    box, description = pick_region(scene, rng)
    return Draft(regions=(box,), target=text(description))


@builds()
def visual_grounding(scene: Scene, rng: random.Random) -> Draft | None:
    """A caption → the only region that it describes; the inverse of ``grounded_captioning``."""
    box, description = pick_region(scene, rng)
    return Draft(text=text(description), target=(box,))


@builds()
def grounded_object_identification(scene: Scene, rng: random.Random) -> Draft | None:
    """The box of a thing → its category, i.e. its form."""
    thing = rng.choice(scene.things)
    return Draft(regions=(thing.box,), target=text(thing.shape))


@builds()
def object_grounding(scene: Scene, rng: random.Random) -> Draft | None:
    """A category → the boxes of all things of this form, left to right."""
    shape = rng.choice(sorted({thing.shape for thing in scene.things}))
    boxes = sorted(thing.box for thing in scene.things if thing.shape == shape)
    return Draft(text=text(shape), target=tuple(boxes))


@builds()
def referring_expression_grounding(scene: Scene, rng: random.Random) -> Draft | None:
    """An expression that refers to one thing → its box."""
    thing = rng.choice(scene.things)
    expression = pick_expression(scene.things, thing, rng)
    return Draft(text=text(expression), target=(thing.box,)) if expression else None


@builds()
def referring_expression_generation(scene: Scene, rng: random.Random) -> Draft | None:
    """The box of a thing → the shortest attributes that refer to it only; all other expressions are references."""
    thing = rng.choice(scene.things)
    kinds = referring_expressions(scene.things, thing)
    answer, *others = [expression for expressions in kinds.values() for expression in expressions]
    return Draft(regions=(thing.box,), target=text(answer), references=tuple(others))


def pick_region(scene: Scene, rng: random.Random) -> tuple[PixelBox, str]:
    """A region and a caption that describes no other: a thing with all attributes, or a pair with its relation."""
    found = unique_pairs(scene)
    if found and coin(rng):
        pair = rng.choice(found)
        return pair.box, str(pair)
    thing = rng.choice(scene.things)
    return thing.box, a(str(full_phrase(thing)))


def unique_pairs(scene: Scene) -> list[Pair]:
    """Pairs of things whose names nothing else in the scene bears."""
    counts = kinds_of(scene.things)
    return [pair for pair in pairs(scene.things) if counts[name(pair.first)] == counts[name(pair.second)] == 1]
