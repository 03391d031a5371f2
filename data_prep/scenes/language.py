"""What can be said about a scene, and whether it is true: phrases, spatial relations, expressions, captions.

A description is *clear* of a thing if it holds with a margin, and *possible* of it if it holds
at all. An expression refers to a thing only if it is clear of this thing and not even
possible of any other; a statement counts as false only if it is not possible.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from ofa_mi.data_prep.scenes.shapes import SHAPES
from ofa_mi.data_prep.scenes.world import COLORS, SIZES, PixelBox, Thing
from ofa_mi.geometry import intersection

NUMBERS = ("no", "one", "two", "three", "four", "five", "six")


def a(noun: str) -> str:
    """``noun`` with its indefinite article."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def plural(noun: str) -> str:
    return f"{noun}es" if noun.endswith("s") else f"{noun}s"


def enumerate_words(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


@dataclass(frozen=True, slots=True)
class Phrase:
    """A noun phrase such as *small red circle*; a part that is empty is not said.

    Without a form the noun is *object*.
    """

    size: str = ""
    color: str = ""
    shape: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.size, self.color, self.shape or "object") if part)

    def matches(self, thing: Thing) -> bool:
        said = ((self.size, thing.size), (self.color, thing.color), (self.shape, thing.shape))
        return all(mine in ("", its) for mine, its in said)

    def find(self, things: Iterable[Thing]) -> list[Thing]:
        return [thing for thing in things if self.matches(thing)]


def full_phrase(thing: Thing) -> Phrase:
    return Phrase(thing.size, thing.color, thing.shape)


def name(thing: Thing) -> Phrase:
    """Colour and form."""
    return Phrase(color=thing.color, shape=thing.shape)


def names_are_unique(things: Iterable[Thing]) -> bool:
    return max(Counter(map(name, things)).values(), default=0) <= 1


def unique_phrases(things: Sequence[Thing], thing: Thing, parts: Iterable[str]) -> list[Phrase]:
    """The phrases that match no other of ``things``.

    Args:
        things: The things that the phrase has to tell apart.
        thing: One of them.
        parts: The combinations of attributes to try, such as ``("shape", "color shape")``.
    """
    phrases = [Phrase(**{part: getattr(thing, part) for part in combination.split()}) for combination in parts]
    return [phrase for phrase in phrases if phrase.find(things) == [thing]]


def absent_phrase(things: Sequence[Thing], parts: str, rng: random.Random) -> Phrase | None:
    """A random phrase of these parts that matches none of ``things``; None if chance found none."""
    values = {"size": SIZES, "color": tuple(COLORS), "shape": SHAPES}
    for _ in range(10):
        phrase = Phrase(**{part: rng.choice(values[part]) for part in parts.split()})
        if not phrase.find(things):
            return phrase
    return None


@dataclass(frozen=True, slots=True)
class Relation:
    """A spatial relation: the first thing lies in a direction from the second.

    Attributes:
        text: Its wording.
        axis: 0 for left and right, 1 for above and below.
        sign: -1 if the first thing has the lower coordinate, else 1.
    """

    text: str
    axis: int
    sign: int

    def clear(self, first: Thing, second: Thing) -> bool:
        """The boxes do not overlap along the axis, and the offset along it is 1.5 times the other or more."""
        low, high = (first.box, second.box) if self.sign < 0 else (second.box, first.box)
        if low[self.axis + 2] > high[self.axis]:  # most pairs of things: decided before centres are computed
            return False
        along, across = self._offset(first, second)
        return along >= 1.5 * abs(across)

    def possible(self, first: Thing, second: Thing) -> bool:
        """The centre of the first thing lies on this side of the second's at all."""
        low, high = self.axis, self.axis + 2
        return self.sign * (first.box[low] + first.box[high] - second.box[low] - second.box[high]) > 0

    def _offset(self, first: Thing, second: Thing) -> tuple[float, float]:
        offset = [p - q for p, q in zip(first.center, second.center, strict=True)]
        return self.sign * offset[self.axis], offset[1 - self.axis]


LEFT, RIGHT = Relation("left of", 0, -1), Relation("right of", 0, 1)
ABOVE, BELOW = Relation("above", 1, -1), Relation("below", 1, 1)
RELATIONS = (LEFT, RIGHT, ABOVE, BELOW)
OPPOSITE = {LEFT: RIGHT, RIGHT: LEFT, ABOVE: BELOW, BELOW: ABOVE}


def clear_relation(first: Thing, second: Thing) -> Relation | None:
    """The one relation that is clear of the two things, or None."""
    return next((relation for relation in RELATIONS if relation.clear(first, second)), None)


def only_related(things: Iterable[Thing], relation: Relation, anchor: Thing) -> Thing | None:
    """The thing that is clearly in this relation to ``anchor``, if it is the only one that possibly is."""
    possible = [thing for thing in things if thing is not anchor and relation.possible(thing, anchor)]
    return possible[0] if len(possible) == 1 and relation.clear(possible[0], anchor) else None


EXTREMES = {"leftmost": LEFT, "rightmost": RIGHT, "topmost": ABOVE, "bottommost": BELOW}
EXTREME_MARGIN = 8  # pixels between the centres of the extreme thing and the next one


def extreme(things: Sequence[Thing], relation: Relation) -> Thing | None:
    """The thing that lies furthest in a direction, if it does so by :data:`EXTREME_MARGIN`."""
    ranked = sorted(things, key=lambda thing: -relation.sign * thing.center[relation.axis])
    gap = abs(ranked[0].center[relation.axis] - ranked[1].center[relation.axis])
    return ranked[0] if gap >= EXTREME_MARGIN else None


def referring_expressions(things: Sequence[Thing], thing: Thing) -> dict[str, list[str]]:
    """Expressions that refer to ``thing`` only, by kind, the shortest first.

    Kinds: ``attributes`` (*the small circle*), ``extreme`` (*the leftmost circle*) and
    ``relation`` (*the circle left of the red star*).
    """
    kinds: dict[str, list[str]] = {"attributes": [], "extreme": [], "relation": []}
    for phrase in unique_phrases(things, thing, ("shape", "color shape", "size shape", "size color shape")):
        kinds["attributes"].append(f"the {phrase}")
    alike = Phrase(shape=thing.shape).find(things)
    if len(alike) > 1:
        for word, relation in EXTREMES.items():
            if extreme(alike, relation) is thing:
                kinds["extreme"].append(f"the {word} {thing.shape}")
    for anchor in things:
        if anchor is thing or name(anchor).find(things) != [anchor]:
            continue
        for relation in RELATIONS:
            if only_related(alike, relation, anchor) is thing:
                kinds["relation"].append(f"the {thing.shape} {relation.text} the {name(anchor)}")
    return kinds


def pick_expression(things: Sequence[Thing], thing: Thing, rng: random.Random) -> str | None:
    """A random expression that refers to ``thing`` only; a kind first, so that no kind is rare."""
    kinds = [expressions for expressions in referring_expressions(things, thing).values() if expressions]
    return rng.choice(rng.choice(kinds)) if kinds else None


def union_box(boxes: Iterable[PixelBox]) -> PixelBox:
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two things in a clear relation whose common box touches no third thing."""

    first: Thing
    second: Thing
    relation: Relation

    @property
    def box(self) -> PixelBox:
        return union_box((self.first.box, self.second.box))

    def __str__(self) -> str:
        return f"{a(str(name(self.first)))} {self.relation.text} {a(str(name(self.second)))}"


@lru_cache(maxsize=1)  # several tasks ask about the same scene in turn
def pairs(things: tuple[Thing, ...]) -> tuple[Pair, ...]:
    """All pairs, each once, with the relation *left of* or *above*."""
    found = []
    for first in things:
        for second in things:
            relation = clear_relation(first, second)
            if relation in (LEFT, ABOVE):
                pair = Pair(first, second, relation)
                if sum(intersection(pair.box, thing.box) > 0 for thing in things) == 2:
                    found.append(pair)
    return tuple(found)


def caption(things: Iterable[Thing]) -> str:
    """All things by colour and form, from left to right; equal ones are counted."""
    in_order = sorted(things, key=lambda thing: thing.center)
    counts = Counter(str(name(thing)) for thing in in_order)
    return enumerate_words(
        [a(noun) if number == 1 else f"{NUMBERS[number]} {plural(noun)}" for noun, number in counts.items()]
    )


def exchange(things: Sequence[Thing], part: str, rng: random.Random) -> list[Thing]:
    """The things after two colours (``part="color"``) or two forms changed places everywhere.

    The first of the two occurs among the things. Since the world treats all colours alike, and all
    forms, what is said of the result is as likely as what is said of the original: a
    false statement made this way cannot be told from a true one without looking.
    """
    old = rng.choice([getattr(thing, part) for thing in things])
    new = rng.choice([value for value in (COLORS if part == "color" else SHAPES) if value != old])
    swap = {old: new, new: old}
    return [replace(thing, **{part: swap.get(getattr(thing, part), getattr(thing, part))}) for thing in things]


def kinds_of(things: Iterable[Thing]) -> Counter[Phrase]:
    """The things as a caption tells them: the number of each colour and form."""
    return Counter(map(name, things))


def ordered_pairs(things: Sequence[Thing], rng: random.Random) -> Iterator[tuple[Thing, Thing]]:
    """All ordered pairs of different things, in random order."""
    found = [(first, second) for first in things for second in things if first is not second]
    rng.shuffle(found)
    yield from found
