"""Tasks of pre-training with many answers about one image, as OFA's own pre-training has detection.

One word per image teaches a model from scratch too little. The first three tell of everything in the image; the others
ask several questions of the kinds of the training tasks at once, never of the kinds of the evaluation tasks. Verdicts
and numbers alone are learnt late: some answers give first what they rest on (what there is, and where).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ofa_mi.data_prep.draft import Draft, coin, text
from ofa_mi.data_prep.scenes.language import (
    Phrase,
    absent_phrase,
    caption,
    clear_relation,
    exchange,
    full_phrase,
    kinds_of,
    name,
    pick_expression,
    plural,
)
from ofa_mi.data_prep.scenes.shapes import SHAPES
from ofa_mi.data_prep.scenes.tasks.builder import builds
from ofa_mi.data_prep.scenes.tasks.grounding import MAX_CAPTION_THINGS
from ofa_mi.data_prep.scenes.tasks.matching import alter
from ofa_mi.data_prep.scenes.tasks.regions import window
from ofa_mi.data_prep.scenes.tasks.relationship import facts
from ofa_mi.data_prep.scenes.tasks.understanding import OPEN_QUESTIONS
from ofa_mi.data_prep.scenes.world import COLORS, Scene, Thing
from ofa_mi.geometry import area, intersection

QUESTIONS, CAPTIONS, FACTS, WINDOWS, EXPRESSIONS, KINDS, ABSENT = 6, 3, 4, 6, 5, 3, 3  # in an instance, at most
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
    said = [_phrase(thing, truth, rng, rng.choice(TOLD)) for thing, truth in zip(things, truths, strict=True)]
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
    if not others:
        return None
    return Draft(regions=_boxes([first, *others]), target=_verdicts(other.shape == first.shape for other in others))


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


@builds()
def dense_existence(scene: Scene, rng: random.Random) -> Draft | None:
    """Names, some of nothing in the image → the box of each that is there, else *none*: *[box] none [box]*."""
    present = sorted(
        {name(thing): thing for thing in scene.things if _bears_its_name_alone(thing, scene)}.items(), key=str
    )
    absent = {phrase for _ in range(ABSENT) if (phrase := absent_phrase(scene.things, "color shape", rng)) is not None}
    found = [*present, *((phrase, None) for phrase in sorted(absent, key=str))]
    if not present or not absent:
        return None
    rng.shuffle(found)
    pieces = [thing.box if thing is not None else " none " for _, thing in found]
    return Draft(text=_listed(phrase for phrase, _ in found), target=_rich(pieces))


@builds()
def dense_counting(scene: Scene, rng: random.Random) -> Draft | None:
    """Forms and colours → the boxes of all such things, and their number: *[box] [box] 2, 0, [box] 1*."""
    kinds = [Phrase(shape=shape) for shape in SHAPES] + [Phrase(color=color) for color in COLORS]
    there = [kind for kind in kinds if kind.find(scene.things)]
    asked = rng.sample(there, min(KINDS, len(there)))
    asked += rng.sample([kind for kind in kinds if kind not in there], 1)
    rng.shuffle(asked)
    pieces: list = []
    for kind in asked:
        boxes = sorted(thing.box for thing in kind.find(scene.things))
        pieces += [*boxes, f" {len(boxes)}, "]
    return Draft(text=_listed(plural(str(kind)) for kind in asked), target=_rich(pieces))


@builds()
def explained_region_matching(scene: Scene, rng: random.Random) -> Draft | None:
    """As ``dense_region_matching``, each verdict after what is in the region: *blue star yes, green ring no*."""
    things = _shuffled(scene, rng)
    truths = [coin(rng) for _ in things]
    parts = [rng.choice(TOLD) for _ in things]
    said = [_phrase(thing, truth, rng, told) for thing, truth, told in zip(things, truths, parts, strict=True)]
    seen = [_phrase(thing, True, rng, told) for thing, told in zip(things, parts, strict=True)]
    return Draft(regions=_boxes(things), text=_listed(said), target=_explained(seen, truths))


@builds()
def explained_object_matching(scene: Scene, rng: random.Random) -> Draft | None:
    """As ``dense_object_matching``, with the form of each thing before its verdict: *ring, star no, ring yes*."""
    first, *others = _shuffled(scene, rng)
    if not others:
        return None
    verdicts = _explained([other.shape for other in others], [other.shape == first.shape for other in others])
    return Draft(regions=_boxes([first, *others]), target=text(f"{first.shape}, {verdicts[0]}"))


@builds()
def explained_caption_matching(scene: Scene, rng: random.Random) -> Draft | None:
    """As ``dense_caption_matching``, with the right caption before the verdicts."""
    draft = dense_caption_matching(scene, rng)
    return draft and replace(draft, target=text(f"{caption(scene.things)}. {draft.target[0]}"))


@builds()
def explained_region_overlap(scene: Scene, rng: random.Random) -> Draft | None:
    """As ``dense_region_overlap``, with the box that two regions share before the number: *[box] 5, 0, [box] 1*."""
    draft = dense_region_overlap(scene, rng)
    first, *others = draft.regions
    pieces: list = []
    for other, tenths in zip(others, str(draft.target[0]).split(", "), strict=True):
        if intersection(first, other):
            pieces.append((*map(max, first[:2], other[:2]), *map(min, first[2:], other[2:])))
        pieces.append(f" {tenths}, ")
    return replace(draft, target=_rich(pieces)) if any(isinstance(piece, tuple) for piece in pieces) else None


def _bears_its_name_alone(thing: Thing, scene: Scene) -> bool:
    return name(thing).find(scene.things) == [thing]


def _explained(seen: Iterable[object], truths: Iterable[bool]) -> tuple[str]:
    return _listed(f"{what} {'yes' if truth else 'no'}" for what, truth in zip(seen, truths, strict=True))


def _rich(pieces: list) -> tuple:
    """Boxes and words in turn as rich text: words that stand together become one piece, outer spaces and commas go."""
    merged: list = []
    for piece in pieces:
        if isinstance(piece, str) and merged and isinstance(merged[-1], str):
            merged[-1] = f"{merged[-1].rstrip()} {piece.lstrip()}"
        else:
            merged.append(piece)
    if isinstance(merged[0], str):
        merged[0] = merged[0].lstrip()
    if isinstance(merged[-1], str):
        merged[-1] = merged[-1].rstrip(" ,")
    return tuple(merged)


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


def _phrase(thing: Thing, truth: bool, rng: random.Random, parts: Sequence[str]) -> Phrase:
    """What some attributes say of a thing, or of one that differs from it in one of them."""
    said = thing if truth else alter(thing, rng.choice(parts), rng)
    return Phrase(**{part: getattr(said, part) for part in parts})
