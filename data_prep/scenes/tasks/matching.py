"""Whether a text and a region, or a text and the image, belong together, and which of several does."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ofa_mi.data_prep.draft import Balance, Draft, choice_of, coin, text, yes_no
from ofa_mi.data_prep.scenes.language import (
    OPPOSITE,
    Pair,
    a,
    absent_phrase,
    caption,
    exchange,
    full_phrase,
    kinds_of,
    pick_expression,
    unique_phrases,
)
from ofa_mi.data_prep.scenes.shapes import SHAPES
from ofa_mi.data_prep.scenes.tasks.builder import builds
from ofa_mi.data_prep.scenes.tasks.grounding import MAX_CAPTION_THINGS, pick_region, unique_pairs
from ofa_mi.data_prep.scenes.world import COLORS, SIZES, PixelBox, Scene, Thing

ATTRIBUTES = {"size": SIZES, "color": tuple(COLORS), "shape": SHAPES}
NONE = "none"
# What a question is about, and its wording.
QUESTIONS = (
    ("shape", "what color is the {}?"),
    ("color", "what shape is the {}?"),
    ("color shape", "what size is the {}?"),
)


@builds()
def region_caption_matching(scene: Scene, rng: random.Random) -> Draft | None:
    """A region, a caption → whether it describes the region.

    A wrong caption differs in one attribute; for two things it tells the opposite relation.
    """
    truth, found = coin(rng), unique_pairs(scene)
    if found and coin(rng):
        pair = _either_way(rng.choice(found), rng)
        said = pair if truth else replace(pair, relation=OPPOSITE[pair.relation])
        stratum = said.relation.text
        return yes_no(truth, rng, regions=(pair.box,), text=text(said), stratum=stratum)
    thing = rng.choice(scene.things)
    said_thing = thing if truth else alter(thing, rng.choice(tuple(ATTRIBUTES)), rng)
    description = a(str(full_phrase(said_thing)))
    return yes_no(truth, rng, regions=(thing.box,), text=text(description), stratum=said_thing.size)


@builds()
def grounded_caption_selection(scene: Scene, rng: random.Random) -> Draft | None:
    """A region, four captions → the one that describes it.

    The captions are all combinations of two values of two attributes, so that none stands out.
    """
    thing = rng.choice(scene.things)
    first, second = rng.sample(tuple(ATTRIBUTES), 2)
    altered = alter(thing, first, rng)
    other = getattr(alter(thing, second, rng), second)
    grid = (thing, altered, replace(thing, **{second: other}), replace(altered, **{second: other}))
    answer, *wrong = (text(a(str(full_phrase(candidate)))) for candidate in grid)
    return choice_of(answer, wrong, rng, regions=(thing.box,))


@builds()
def visual_grounding_selection(scene: Scene, rng: random.Random) -> Draft | None:
    """A caption, regions → the one that it describes; the others are other things, or other pairs."""
    box, description = pick_region(scene, rng)
    boxes = [thing.box for thing in scene.things]
    if box not in boxes:  # a pair among pairs
        boxes = [pair.box for pair in unique_pairs(scene)]
    return choose_box(box, boxes, rng, text=text(description))


@builds()
def referring_expression_selection(scene: Scene, rng: random.Random) -> Draft | None:
    """An expression, the boxes of things → the one that it refers to."""
    thing = rng.choice(scene.things)
    expression = pick_expression(scene.things, thing, rng)
    return expression and choose_box(thing.box, [other.box for other in scene.things], rng, text=text(expression))


@builds()
def object_region_matching(scene: Scene, rng: random.Random) -> Draft | None:
    """A category, the box of a thing → whether the thing is one; a wrong category is another thing's if possible."""
    thing, truth = rng.choice(scene.things), coin(rng)
    others = sorted({other.shape for other in scene.things} - {thing.shape})
    wrong = rng.choice(others or [shape for shape in SHAPES if shape != thing.shape])
    return yes_no(truth, rng, text=text(thing.shape if truth else wrong), regions=(thing.box,))


@builds()
def object_region_selection(scene: Scene, rng: random.Random) -> Draft | None:
    """A category, the boxes of things → the only one that belongs to it."""
    thing = rng.choice(scene.things)
    boxes = [other.box for other in scene.things if other.shape != thing.shape]
    return choose_box(thing.box, [thing.box, *boxes], rng, text=text(thing.shape))


@builds()
def object_matching(scene: Scene, rng: random.Random) -> Draft | None:
    """Boxes of two things → whether they have the same category (form)."""
    truth = coin(rng)
    pairs = [(p, q) for p in scene.things for q in scene.things if p is not q and (p.shape == q.shape) == truth]
    if not pairs:
        return None
    first, second = rng.choice(pairs)
    return yes_no(truth, rng, regions=(first.box, second.box))


@builds()
def missing_object_selection(scene: Scene, rng: random.Random) -> Draft | None:
    """Boxes of three things, three categories and *none* → the categories that none of the things belongs to.

    *none* is the answer if all three are there. Zero, one or two are missing, equally often.
    """
    if len(scene.things) < 3:
        return None
    shown = rng.sample(scene.things, 3)
    present = sorted({thing.shape for thing in shown})
    missing = rng.randint(0, 2)
    if len(present) < 3 - missing:
        return None
    absent = rng.sample([shape for shape in SHAPES if shape not in present], missing)
    categories = [*absent, *rng.sample(present, 3 - missing)]
    rng.shuffle(categories)
    return Draft(
        regions=tuple(thing.box for thing in shown),
        options=tuple(text(option) for option in (*categories, NONE)),
        target_set=tuple(text(option) for option in categories if option in absent) or (text(NONE),),
        balance=Balance(str(missing), ("0", "1", "2")),
    )


@builds()
def image_text_matching(scene: Scene, rng: random.Random) -> Draft | None:
    """A caption of the whole image → whether it is right.

    In a wrong one two colours (or two forms) are exchanged everywhere.
    """
    things = scene.things
    if len(things) > MAX_CAPTION_THINGS:
        return None
    truth = coin(rng)
    said = things if truth else exchange(things, rng.choice(("color", "shape")), rng)
    if (kinds_of(said) == kinds_of(things)) != truth:
        return None
    return yes_no(truth, rng, text=text(caption(said)))


@builds()
def image_text_selection(scene: Scene, rng: random.Random) -> Draft | None:
    """Four captions of the whole image → the right one.

    The wrong ones exchange two colours, two forms, or both, so that none stands out.
    """
    things = scene.things
    if len(things) > MAX_CAPTION_THINGS:
        return None
    seed = rng.getrandbits(32)
    colors, shapes = exchange(things, "color", random.Random(seed)), exchange(things, "shape", rng)
    both = exchange(shapes, "color", random.Random(seed))
    grid = (things, colors, shapes, both)
    if len({frozenset(kinds_of(candidate).items()) for candidate in grid}) < 4:
        return None
    answer, *wrong = (text(caption(candidate)) for candidate in grid)
    return choice_of(answer, wrong, rng)


@builds()
def question_image_matching(scene: Scene, rng: random.Random) -> Draft | None:
    """A question → whether the image answers it, i.e. whether there is one such thing and not none."""
    form, question = rng.choice(QUESTIONS)
    truth = coin(rng)
    if truth:
        found = unique_phrases(scene.things, rng.choice(scene.things), (form,))
        phrase = found[0] if found else None
    else:
        phrase = absent_phrase(scene.things, form, rng)
    return phrase and yes_no(truth, rng, question=text(question.format(phrase)), stratum=form)


def alter(thing: Thing, part: str, rng: random.Random) -> Thing:
    """The thing with another value of one of its :data:`ATTRIBUTES`."""
    value = rng.choice([value for value in ATTRIBUTES[part] if value != getattr(thing, part)])
    return replace(thing, **{part: value})


def _either_way(pair: Pair, rng: random.Random) -> Pair:
    return pair if coin(rng) else Pair(pair.second, pair.first, OPPOSITE[pair.relation])


def choose_box(answer: PixelBox, boxes: Sequence[PixelBox], rng: random.Random, **fields: Any) -> Draft | None:
    """A draft with ``answer`` among three or four of ``boxes``; None if there are fewer."""
    options = {(box,) for box in boxes}
    return choice_of((answer,), sorted(options), rng, number=min(4, max(3, len(options))), **fields)
