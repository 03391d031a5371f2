"""Visual Genome's relationships: what one thing in an image is to another.

``relationships.json``: per image ``relationships`` with ``relationship_id``, ``predicate`` ("ON"), ``subject`` and
``object``; both have ``x``, ``y``, ``w``, ``h`` and ``name`` (``names``, a list, in some versions). The
files and their versions are described in :mod:`ofa_mi.data_prep.images.visual_genome`.

One thing is often annotated several times, under one name or under several ("man", "guy"). Boxes that overlap with an
intersection over union (IoU) of :data:`SAME_THING` or more are taken as one place, and those of the same name there as
one thing, so that what is asked for is as unique as it looks:

- the relation of a subject to an object: all predicates that anybody gave for the two places are right;
- the name of the object (subject): everything to which what is at the given place has this relation has this name, or
  is in one place, and then all its names are right;
- its region: all of it is in one place, and nothing else of the name touches the given place. Not everything in an
  image is annotated with all its relations, so that such a thing might be in this one as well.

Nothing is asked about two things in one place (IoU of :data:`SAME_PLACE` or more), nor with a predicate that is empty,
has more than :data:`MAX_WORDS` words or other characters than letters.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from ofa_mi.data_prep.draft import Draft, text
from ofa_mi.data_prep.formats.reading import tidy
from ofa_mi.data_prep.images.visual_genome import (
    IMAGE_DATA,
    IMAGES,
    Entry,
    Unit,
    VisualGenome,
    annotation_file,
    visible_box,
)
from ofa_mi.data_prep.source import Candidate
from ofa_mi.geometry import Box, intersection, iou

RELATION = "object_relationship"
SAME_THING = 0.7
SAME_PLACE = 0.9
MAX_WORDS = 4
RELATIONSHIPS = annotation_file(
    "relationships.json", 77_904_473, "e648867b8087e4aeb10019a959f914e2580909f1c3e50a21b25de8741679182f"
)
# Tasks that ask for one party of a relation, given the other one.
NAMES = {"visual_object_identification": "object", "visual_subject_identification": "subject"}
PLACES = {"visual_object_localization": "object", "visual_subject_localization": "subject"}
_PREDICATE = re.compile(r"[a-z]+(?:[ '-][a-z]+)*")


class Relationships(Entry, kw_only=True):
    """An entry of ``relationships.json``."""

    relationships: msgspec.Raw


class Party(msgspec.Struct, kw_only=True):
    """The subject or the object of a relationship."""

    x: float
    y: float
    w: float
    h: float
    name: str | None = None
    names: list[str] = []


class Relationship(msgspec.Struct):
    """One of ``relationships``."""

    predicate: str
    subject: Party
    object: Party


@dataclass(slots=True)
class Thing:
    """A thing in an image, with a number in its list of things."""

    number: int
    name: str
    box: Box


@dataclass(slots=True)
class Facts:
    """What is said about the things of one image.

    Attributes:
        things: The things.
        predicates: Numbers of a subject and an object → what the first is to the second, in the order of the file.
        objects: A subject's number and a predicate → numbers of the objects.
        subjects: An object's number and a predicate → numbers of the subjects.
    """

    things: list[Thing] = field(default_factory=list)
    predicates: dict[tuple[int, int], list[str]] = field(default_factory=lambda: defaultdict(list))
    objects: dict[tuple[int, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    subjects: dict[tuple[int, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    _places: dict[int, list[int]] = field(default_factory=dict)

    def add(self, subject: Thing, predicate: str, thing: Thing) -> None:
        """Add a fact, once."""
        known = self.predicates[subject.number, thing.number]
        if predicate not in known:
            known.append(predicate)
            self.objects[subject.number, predicate].append(thing.number)
            self.subjects[thing.number, predicate].append(subject.number)

    def at(self, thing: Thing) -> list[int]:
        """Numbers of the things in the place of one, itself among them; asked once all things are known."""
        if thing.number not in self._places:
            self._places[thing.number] = [other.number for other in self.things if _one_place(other, thing)]
        return self._places[thing.number]

    def thing(self, name: str, box: Box) -> Thing:
        """The thing with this name and about this box; a new one if there is none."""
        for known in self.things:
            if known.name.casefold() == name.casefold() and iou(known.box, box) >= SAME_THING:
                return known
        self.things.append(Thing(len(self.things), name, box))
        return self.things[-1]


class VisualGenomeRelationships(VisualGenome):
    """Relationships → ``object_relationship`` and the tasks that ask for the name or the place of one party."""

    name = "visual_genome_relationships"
    title = "Visual Genome relationships"
    size = "80 MB of relationships, 15 GB of images"
    tasks = (RELATION, *NAMES, *PLACES)
    annotations = RELATIONSHIPS
    entry = Relationships
    files = (RELATIONSHIPS, IMAGE_DATA, *IMAGES)

    def convert(self, unit: Unit) -> Iterator[Candidate]:
        """A few instances per task and image, drawn from all that the image gives."""
        facts = self._facts(unit)
        for task in self.wanted:
            drafts = self._relations(facts) if task == RELATION else self._parties(facts, task)
            found = list(drafts)
            self.rng(task, unit.number).shuffle(found)
            for key, draft in self.up_to(task, iter(found), "an image with nothing clear to ask for"):
                yield self.candidate(unit, task, key, draft)

    def _facts(self, unit: Unit) -> Facts:
        facts = Facts()
        for entry in self.decode(unit.entry.relationships, list[Relationship], unit.number):
            predicate = tidy(entry.predicate).lower()
            if not _PREDICATE.fullmatch(predicate) or len(predicate.split()) > MAX_WORDS:
                self.drop("all tasks", "a predicate that is empty, long or no words")
                continue
            parties = [_thing(facts, party, unit.photo.size) for party in (entry.subject, entry.object)]
            if None in parties:
                self.drop("all tasks", "a thing without a name, or whose box is not in the image")
            elif iou(parties[0].box, parties[1].box) >= SAME_PLACE:
                self.drop("all tasks", "two things in one place")
            else:
                facts.add(parties[0], predicate, parties[1])
        return facts

    def _relations(self, facts: Facts) -> Iterator[tuple[str, Draft]]:
        for (subject, thing), (first, *_) in list(facts.predicates.items()):
            parties = facts.things[subject], facts.things[thing]
            pairs = itertools.product(*map(facts.at, parties))
            others = dict.fromkeys(predicate for pair in pairs for predicate in facts.predicates.get(pair, ()))
            others.pop(first)
            regions = tuple(party.box for party in parties)
            yield f"{subject}-{thing}", Draft(regions=regions, target=text(first), references=tuple(others))

    def _parties(self, facts: Facts, task: str) -> Iterator[tuple[str, Draft]]:
        table = facts.objects if (NAMES | PLACES)[task] == "object" else facts.subjects
        for (number, predicate), (first, *_) in list(table.items()):
            given, answer = facts.things[number], facts.things[first]
            numbers = (other for place in facts.at(given) for other in table.get((place, predicate), ()))
            answers = [facts.things[other] for other in dict.fromkeys(numbers)]
            names = {thing.name.casefold(): thing.name for thing in (*answers, answer)}
            in_one_place = all(_one_place(answer, other) for other in answers)
            if not in_one_place and (task in PLACES or len(names) > 1):
                self.drop(task, "several things are in this relation")
            elif task in PLACES and any(_rival(other, answer, given) for other in facts.things):
                self.drop(task, "something else of that name touches the given region")
            else:
                del names[answer.name.casefold()]
                target = {"target": text(answer.name), "references": tuple(names.values())}
                fields = target if task in NAMES else {"target": (answer.box,)}
                key = f"{number}-{predicate.replace(' ', '_')}"
                yield key, Draft(regions=(given.box,), text=text(predicate), **fields)


def _thing(facts: Facts, party: Party, size: tuple[int, int]) -> Thing | None:
    """A party as a thing; None if it has no name or is not in the image."""
    name = tidy(party.name or next(iter(party.names), ""))
    box = visible_box(party.x, party.y, party.w, party.h, size)
    return facts.thing(name, box) if name and box else None


def _one_place(p: Thing, q: Thing) -> bool:
    return iou(p.box, q.box) >= SAME_THING


def _rival(other: Thing, answer: Thing, given: Thing) -> bool:
    """Whether another thing looks like an answer, too: it has its name and touches what is given."""
    return (
        other.name.casefold() == answer.name.casefold()
        and not _one_place(other, answer)
        and intersection(other.box, given.box) > 0
    )
