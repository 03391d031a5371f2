"""Tasks of pre-training whose answers tell of everything in the image, as OFA's own pre-training has detection."""

from __future__ import annotations

import random

from ofa_mi.data_prep.draft import Draft, text
from ofa_mi.data_prep.scenes.language import full_phrase, name
from ofa_mi.data_prep.scenes.tasks.builder import builds
from ofa_mi.data_prep.scenes.world import Scene, Thing


@builds()
def dense_detection(scene: Scene, rng: random.Random) -> Draft | None:
    """No input → the box of everything, left to right, each followed by colour and form: *[box] red circle [box] …*."""
    pieces = [piece for thing in sorted(scene.things, key=_place) for piece in (thing.box, f" {name(thing)} ")]
    return Draft(target=(*pieces[:-1], pieces[-1].rstrip()))


@builds()
def dense_captioning(scene: Scene, rng: random.Random) -> Draft | None:
    """The boxes of all things in random order → size, colour and form of each: *small red circle, large blue star*."""
    things = rng.sample(scene.things, len(scene.things))
    return Draft(regions=tuple(thing.box for thing in things), target=text(_listed(things)))


@builds()
def dense_grounding(scene: Scene, rng: random.Random) -> Draft | None:
    """Size, colour and form of all things in random order → their boxes; the inverse of ``dense_captioning``."""
    things = rng.sample(scene.things, len(scene.things))
    return Draft(text=text(_listed(things)), target=tuple(thing.box for thing in things))


def _place(thing: Thing) -> tuple[float, float]:
    return thing.center


def _listed(things: list[Thing]) -> str:
    return ", ".join(str(full_phrase(thing)) for thing in things)
