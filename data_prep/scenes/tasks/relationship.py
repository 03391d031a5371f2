"""Relations between two things, and attributes of one.

The relation of the *subject* to the *object* is read as a sentence: subject, relation, object.
It is clear (see :class:`~ofa_mi.data_prep.scenes.language.Relation`), and where a thing is to be found
from the other one and the relation, nothing else in the scene lies on that side at all.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import lru_cache

from ofa_mi.data_prep.draft import Draft, choice_of, text
from ofa_mi.data_prep.scenes.language import (
    OPPOSITE,
    RELATIONS,
    Relation,
    clear_relation,
    name,
    only_related,
    ordered_pairs,
)
from ofa_mi.data_prep.scenes.tasks.builder import builds
from ofa_mi.data_prep.scenes.world import COLORS, SIZES, PixelBox, Scene, Thing
from ofa_mi.instances.instance import Text


@builds()
def object_relationship(scene: Scene, rng: random.Random) -> Draft | None:
    """Boxes of a subject and an object → the relation of the first to the second."""
    for subject, thing in ordered_pairs(scene.things, rng):
        relation = clear_relation(subject, thing)
        if relation:
            return Draft(regions=(subject.box, thing.box), target=text(relation.text))
    return None


@builds()
def visual_subject_identification(scene: Scene, rng: random.Random) -> Draft | None:
    """Box of the object, relation → the subject by colour and form."""
    found = _find_fact(scene, rng)
    return found and found.draft(text(name(found.answer)))


@builds()
def visual_subject_localization(scene: Scene, rng: random.Random) -> Draft | None:
    """Box of the object, relation → the subject's box."""
    found = _find_fact(scene, rng)
    return found and found.draft((found.answer.box,))


@builds()
def visual_object_identification(scene: Scene, rng: random.Random) -> Draft | None:
    """Box of the subject, relation → the object by colour and form."""
    found = _find_fact(scene, rng)
    return found and found.seen_from_given().draft(text(name(found.answer)))


@builds()
def visual_object_localization(scene: Scene, rng: random.Random) -> Draft | None:
    """Box of the subject, relation → the object's box."""
    found = _find_fact(scene, rng)
    return found and found.seen_from_given().draft((found.answer.box,))


@builds()
def grounded_object_attribute_identification(scene: Scene, rng: random.Random) -> Draft | None:
    """The box of a thing, three colours and a size → the only one of them that it has, each equally often."""
    thing = rng.choice(scene.things)
    colors = [text(color) for color in COLORS if color != thing.color]
    other_size = text(SIZES[1 - SIZES.index(thing.size)])
    if rng.randrange(4) == 0:
        return choice_of(text(thing.size), rng.sample(colors, 3), rng, regions=(thing.box,))
    return choice_of(text(thing.color), [*rng.sample(colors, 2), other_size], rng, regions=(thing.box,))


@dataclass(frozen=True, slots=True)
class Fact:
    """``answer`` is the only thing in a relation to ``given``.

    Attributes:
        answer: The thing to be found.
        relation: As worded in the instance.
        given: The thing whose box is given.
    """

    answer: Thing
    relation: Relation
    given: Thing

    def seen_from_given(self) -> Fact:
        """The same fact with ``given`` as the subject: *given, opposite relation, answer*."""
        return replace(self, relation=OPPOSITE[self.relation])

    def draft(self, target: Text) -> Draft:
        return Draft(regions=(self.given.box,), text=text(self.relation.text), target=target)


def _find_fact(scene: Scene, rng: random.Random) -> Fact | None:
    """A random fact with the answer as its subject; nothing else lies on that side of the given thing at all."""
    found = facts(scene.things)
    for given in rng.sample(scene.things, len(scene.things)):
        for relation in rng.sample(RELATIONS, len(RELATIONS)):
            if (given.box, relation) in found:
                return found[given.box, relation]
    return None


@lru_cache(maxsize=1)  # four tasks ask about the same scene in turn
def facts(things: tuple[Thing, ...]) -> dict[tuple[PixelBox, Relation], Fact]:
    """All facts by the box of the given thing and the relation."""
    found = {}
    for given in things:
        for relation in RELATIONS:
            answer = only_related(things, relation, given)
            if answer is not None:
                found[given.box, relation] = Fact(answer, relation, given)
    return found
