"""Tasks of pre-training with many answers about one image, as OFA's own pre-training has detection.

One word per image teaches a model from scratch too little. The first three tell of everything in the image; the others
ask several questions of the kinds of the training tasks at once, never of the kinds of the evaluation tasks.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from ofa_mi.data_prep.draft import Draft, coin, text
from ofa_mi.data_prep.geometry import area, intersection
from ofa_mi.data_prep.scenes.language import (
    Phrase,
    caption,
    clear_relation,
    exchange,
    full_phrase,
    kinds_of,
    name,
    pick_expression,
)
from ofa_mi.data_prep.scenes.tasks.builder import builds
from ofa_mi.data_prep.scenes.tasks.grounding import MAX_CAPTION_THINGS
from ofa_mi.data_prep.scenes.tasks.matching import alter
from ofa_mi.data_prep.scenes.tasks.regions import window
from ofa_mi.data_prep.scenes.tasks.relationship import facts
from ofa_mi.data_prep.scenes.tasks.understanding import OPEN_QUESTIONS
from ofa_mi.data_prep.scenes.world import Scene, Thing

QUESTIONS, CAPTIONS, FACTS, WINDOWS, EXPRESSIONS = 6, 3, 4, 6, 5  # in an instance, at most
# What a phrase tells of a thing whose region it is compared with.
TOLD = (("shape",), ("color",), ("color", "shape"), ("size", "color", "shape"))


@builds()
def dense_detection(scene: Scene, rng: random.Random) -> Draft | None:
    """No input → the box of everything, left to right, each followed by colour and form: *[box] red circle [box] …*."""
    return Draft(target=_labeled(sorted(scene.things, key=lambda thing: thing.center)))


@builds()
def dense_captioning(scene: Scene, rng: random.Random) -> Draft | None:
    """The boxes of all things in random order → size, colour and form of each: *small red circle, large blue star*."""
    things = _shuffled(scene, rng)
    return Draft(regions=_boxes(things), target=_listed(map(full_phrase, things)))


@builds()
def dense_grounding(scene: Scene, rng: random.Random) -> Draft | None:
    """Size, colour and form of all things in random order → their boxes; the inverse of ``dense_captioning``."""
    things = _shuffled(scene, rng)
    return Draft(text=_listed(map(full_phrase, things)), target=_boxes(things))


@builds()
def dense_question_answering(scene: Scene, rng: random.Random) -> Draft | None:
    """Up to six questions of ``open_domain_vqa`` and ``compositional_vqa`` → their answers: *yes, 2, red*."""
    answers: dict[str, str] = {}
    for _ in range(2 * QUESTIONS):
        draft = rng.choice(OPEN_QUESTIONS)(scene, rng)
        if draft is not None and len(answers) < QUESTIONS:
            answers.setdefault(str(draft.question[0]), str(draft.target[0]))
    return Draft(question=text(" ".join(answers)), target=_listed(answers.values())) if answers else None


@builds()
def dense_region_matching(scene: Scene, rng: random.Random) -> Draft | None:
    """The boxes of all things in random order, a phrase for each → whether it describes the thing: *yes, no, yes*.

    A wrong phrase differs in one attribute.
    """
    things = _shuffled(scene, rng)
    truths = [coin(rng) for _ in things]
    said = [_phrase(thing, truth, rng) for thing, truth in zip(things, truths, strict=True)]
    return Draft(regions=_boxes(things), text=_listed(said), target=_verdicts(truths))


@builds()
def dense_caption_matching(scene: Scene, rng: random.Random) -> Draft | None:
    """Three captions of the whole image → whether each is right; a wrong one exchanges two colours or two forms."""
    things = scene.things
    if len(things) > MAX_CAPTION_THINGS:
        return None
    said = [things if coin(rng) else exchange(things, rng.choice(("color", "shape")), rng) for _ in range(CAPTIONS)]
    captions = " ".join(f"{caption(version)}." for version in said)
    return Draft(text=text(captions), target=_verdicts(kinds_of(version) == kinds_of(things) for version in said))


@builds()
def dense_object_matching(scene: Scene, rng: random.Random) -> Draft | None:
    """The boxes of all things in random order → whether each but the first has the form of the first: *no, yes*."""
    first, *others = _shuffled(scene, rng)
    return (
        Draft(regions=_boxes([first, *others]), target=_verdicts(other.shape == first.shape for other in others))
        if others
        else None
    )


@builds()
def dense_object_relationship(scene: Scene, rng: random.Random) -> Draft | None:
    """The box of a thing, then of others → the clear relation of each to the first: *above, left of*."""
    first, *others = _shuffled(scene, rng)
    related = {other: relation for other in others if (relation := clear_relation(other, first))}
    target = _listed(relation.text for relation in related.values())
    return Draft(regions=_boxes([first, *related]), target=target) if related else None


@builds()
def dense_object_localization(scene: Scene, rng: random.Random) -> Draft | None:
    """Boxes, a relation for each → the only thing in this relation to it: *[box] red circle [box] blue star*."""
    found = list(facts(scene.things).values())
    chosen = rng.sample(found, min(FACTS, len(found)))
    if not chosen:
        return None
    return Draft(
        regions=_boxes(fact.given for fact in chosen),
        text=_listed(fact.relation.text for fact in chosen),
        target=_labeled([fact.answer for fact in chosen]),
    )


@builds()
def dense_referring_expression_grounding(scene: Scene, rng: random.Random) -> Draft | None:
    """Up to five expressions that refer to one thing each → their boxes."""
    found = [(pick_expression(scene.things, thing, rng), thing) for thing in _shuffled(scene, rng)]
    told = [(expression, thing) for expression, thing in found if expression][:EXPRESSIONS]
    return Draft(text=_listed(said for said, _ in told), target=_boxes(thing for _, thing in told)) if told else None


@builds()
def dense_region_overlap(scene: Scene, rng: random.Random) -> Draft | None:
    """A region and six others → how many tenths of the first each of them covers, rounded: *0, 3, 10*."""
    first, *drawn = (window(scene, rng) for _ in range(1 + 2 * WINDOWS))
    pairs = zip(drawn[:WINDOWS], drawn[WINDOWS:], strict=True)  # the larger overlap of two: most windows cover nothing
    others = [max(pair, key=lambda other: intersection(first, other)) for pair in pairs]
    tenths = [round(10 * intersection(first, other) / area(first)) for other in others]
    return Draft(regions=(first, *others), target=_listed(tenths))


def _shuffled(scene: Scene, rng: random.Random) -> list[Thing]:
    return rng.sample(scene.things, len(scene.things))


def _boxes(things: Iterable[Thing]) -> tuple:
    return tuple(thing.box for thing in things)


def _labeled(things: list[Thing]) -> tuple:
    """Rich text of box and name in turn."""
    pieces = [piece for thing in things for piece in (thing.box, f" {name(thing)} ")]
    return (*pieces[:-1], pieces[-1].rstrip())


def _listed(values: Iterable[object]) -> tuple[str]:
    return text(", ".join(map(str, values)))


def _verdicts(truths: Iterable[bool]) -> tuple[str]:
    return _listed("yes" if truth else "no" for truth in truths)


def _phrase(thing: Thing, truth: bool, rng: random.Random) -> Phrase:
    """What some attributes say of a thing, or of one that differs from it in one of them."""
    parts = rng.choice(TOLD)
    said = thing if truth else alter(thing, rng.choice(parts), rng)
    return Phrase(**{part: getattr(said, part) for part in parts})
