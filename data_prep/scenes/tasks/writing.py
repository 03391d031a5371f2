"""Words written on signs."""

from __future__ import annotations

import random

from ofa_mi.data_prep.draft import Draft, choice, coin, labelled, text, yes_no
from ofa_mi.data_prep.scenes.tasks.builder import builds
from ofa_mi.data_prep.scenes.world import WORDS, Scene

LEGIBILITY = ("legible", "illegible")


@builds(modes=("writing",))
def text_localization(scene: Scene, rng: random.Random) -> Draft | None:
    """A word, boxes of signs and other things → the box of the sign that says it."""
    signs = [sign for sign in scene.signs if sign.legible]
    if not signs or len(scene.things) < 2:
        return None
    options = [(thing.box,) for thing in rng.sample(scene.things, len(scene.things))]
    sign = rng.choice(signs)
    return choice((sign.box,), options, text=text(sign.word))


@builds(modes=("writing",))
def text_legibility(scene: Scene, rng: random.Random) -> Draft | None:
    """The box of a sign → whether it can be read."""
    if not scene.signs:
        return None
    sign = rng.choice(scene.signs)
    return labelled(LEGIBILITY[not sign.legible], LEGIBILITY, rng, regions=(sign.box,))


@builds(modes=("writing",))
def region_text_matching(scene: Scene, rng: random.Random) -> Draft | None:
    """The box of a legible sign, a word → whether the sign says it; a wrong word is another sign's if possible."""
    signs = [sign for sign in scene.signs if sign.legible]
    if not signs:
        return None
    sign, truth = rng.choice(signs), coin(rng)
    others = [other.word for other in scene.signs if other is not sign]
    wrong = rng.choice(others or [word for word in WORDS if word != sign.word])
    return yes_no(truth, rng, regions=(sign.box,), text=text(sign.word if truth else wrong))
