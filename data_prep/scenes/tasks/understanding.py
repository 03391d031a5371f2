"""Questions about the image: visual question answering and image understanding."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from ofa_mi.data_prep.draft import YES_NO, Balance, Draft, choice_of, coin, labelled, text, yes_no
from ofa_mi.data_prep.scenes.language import (
    RELATIONS,
    Phrase,
    a,
    absent_phrase,
    name,
    names_are_unique,
    only_related,
    plural,
    referring_expressions,
    unique_phrases,
)
from ofa_mi.data_prep.scenes.shapes import SHAPES
from ofa_mi.data_prep.scenes.tasks.builder import builds
from ofa_mi.data_prep.scenes.world import COLORS, DEGRADED_LOOKS, SIZES, Scene, Thing

COUNTS = ("0", "1", "2", "3")
CORNERS = ("top left", "top right", "bottom left", "bottom right")
CORNER_MARGIN = 0.1  # of the image's side, between the centre of a thing and the image's centre


@builds()
def color_understanding(scene: Scene, rng: random.Random) -> Draft | None:
    """Question about the colour of a thing, four colours → its colour."""
    thing = rng.choice(scene.things)
    question = _ask_color(scene, thing, rng)
    return question and choice_of(text(thing.color), map(text, COLORS), rng, question=text(question))


@builds()
def object_recognition(scene: Scene, rng: random.Random) -> Draft | None:
    """Question about the form of a thing, four forms → its form."""
    thing = rng.choice(scene.things)
    question = _ask_shape(scene, thing, rng)
    return question and choice_of(text(thing.shape), map(text, SHAPES), rng, question=text(question))


@builds()
def object_detection(scene: Scene, rng: random.Random) -> Draft | None:
    """*Is there a red circle?* → yes or no."""
    asked = _ask_presence(scene, rng)
    return asked and yes_no(asked[1], rng, question=text(asked[0]), stratum=asked[2])


@builds()
def counting(scene: Scene, rng: random.Random) -> Draft | None:
    """*How many circles are there?* → a number from 0 to 3, each equally often."""
    asked = _ask_count(scene, rng)
    return asked and labelled(asked[1], COUNTS, rng, question=text(asked[0]), stratum=asked[2])


@builds()
def position_reasoning(scene: Scene, rng: random.Random) -> Draft | None:
    """What is on one side of a thing, or in which corner of the image a thing is.

    Of the scene's things only the answer is on the side at all; the other options are things of the scene.
    """
    if coin(rng):
        return _ask_corner(scene, rng)
    anchor, relation = rng.choice(scene.things), rng.choice(RELATIONS)
    thing = only_related(scene.things, relation, anchor)
    if thing is None or not names_are_unique(scene.things):
        return None
    others = [text(name(other)) for other in scene.things if other not in (thing, anchor)]
    if len(others) < 2:
        return None
    question = f"what is {relation.text} the {name(anchor)}?"
    return choice_of(text(name(thing)), others, rng, number=min(4, len(others) + 1), question=text(question))


@builds(modes=("shapes", "degraded"))
def image_quality(scene: Scene, rng: random.Random) -> Draft | None:
    """The picture → what is wrong with it, or *clear*; all five equally often."""
    return labelled(scene.look, ("clear", *DEGRADED_LOOKS), rng)


@builds()
def open_domain_vqa(scene: Scene, rng: random.Random) -> Draft | None:
    """A question about the colour, form, size, number or presence of things → a short answer."""
    ask = rng.choice((_open_color, _open_shape, _open_size, _open_count, _open_presence))
    return ask(scene, rng)


@builds()
def compositional_vqa(scene: Scene, rng: random.Random) -> Draft | None:
    """A question that takes several steps (relate, compare, count, combine) → a short answer."""
    ask: Callable[[Scene, random.Random], Draft | None] = rng.choice(
        (_relate_then_tell, _compare_attribute, _compare_numbers, _combine)
    )
    return ask(scene, rng)


def _ask_color(scene: Scene, thing: Thing, rng: random.Random) -> str | None:
    phrases = unique_phrases(scene.things, thing, ("shape", "size shape"))
    return rng.choice(("what color is the {}?", "what is the color of the {}?")).format(phrases[0]) if phrases else None


def _ask_shape(scene: Scene, thing: Thing, rng: random.Random) -> str | None:
    phrases = unique_phrases(scene.things, thing, ("color", "size color"))
    return rng.choice(("what shape is the {}?", "what is the shape of the {}?")).format(phrases[0]) if phrases else None


def _ask_presence(scene: Scene, rng: random.Random) -> tuple[str, bool, str] | None:
    """Question, truth, stratum."""
    form, truth = rng.choice(("shape", "color", "color shape")), coin(rng)
    phrase = _phrase(rng.choice(scene.things), form) if truth else absent_phrase(scene.things, form, rng)
    return phrase and (f"is there {a(str(phrase))}?", truth, form)


def _ask_count(scene: Scene, rng: random.Random) -> tuple[str, str, str] | None:
    """Question, answer, stratum."""
    form, wanted = rng.choice(("shape", "color")), rng.randrange(len(COUNTS))
    values = SHAPES if form == "shape" else tuple(COLORS)
    phrases = [Phrase(**{form: value}) for value in values]
    suitable = [phrase for phrase in phrases if len(phrase.find(scene.things)) == wanted]
    return (f"how many {plural(str(rng.choice(suitable)))} are there?", str(wanted), form) if suitable else None


def _ask_corner(scene: Scene, rng: random.Random) -> Draft | None:
    thing = rng.choice(scene.things)
    phrases = unique_phrases(scene.things, thing, ("shape", "color shape"))
    x, y = (middle / side - 0.5 for middle, side in zip(thing.center, (scene.width, scene.height), strict=True))
    if not phrases or min(abs(x), abs(y)) < CORNER_MARGIN:
        return None
    corner = f"{'top' if y < 0 else 'bottom'} {'left' if x < 0 else 'right'}"
    return labelled(corner, CORNERS, rng, question=text(f"where in the image is the {phrases[0]}?"), stratum="corner")


def _open_color(scene: Scene, rng: random.Random) -> Draft | None:
    thing = rng.choice(scene.things)
    question = _ask_color(scene, thing, rng)
    return question and Draft(question=text(question), target=text(thing.color))


def _open_shape(scene: Scene, rng: random.Random) -> Draft | None:
    thing = rng.choice(scene.things)
    question = _ask_shape(scene, thing, rng)
    return question and Draft(question=text(question), target=text(thing.shape))


def _open_size(scene: Scene, rng: random.Random) -> Draft | None:
    thing = rng.choice(scene.things)
    phrases = unique_phrases(scene.things, thing, ("shape", "color shape"))
    question = f"is the {phrases[0]} small or large?" if phrases else ""
    return _balanced(question, thing.size, SIZES, stratum="size") if phrases else None


def _open_count(scene: Scene, rng: random.Random) -> Draft | None:
    asked = _ask_count(scene, rng)
    return asked and _balanced(asked[0], asked[1], COUNTS, stratum=f"count {asked[2]}")


def _open_presence(scene: Scene, rng: random.Random) -> Draft | None:
    asked = _ask_presence(scene, rng)
    return asked and _balanced(asked[0], "yes" if asked[1] else "no", YES_NO, stratum=f"presence {asked[2]}")


def _relate_then_tell(scene: Scene, rng: random.Random) -> Draft | None:
    """*What color is the circle left of the red star?*"""
    thing = rng.choice(scene.things)
    expressions = referring_expressions(scene.things, thing)
    found = expressions["relation"] + expressions["extreme"]
    return Draft(question=text(f"what color is {rng.choice(found)}?"), target=text(thing.color)) if found else None


def _compare_attribute(scene: Scene, rng: random.Random) -> Draft | None:
    """*Do the circle and the star have the same color?*"""
    single = [thing for thing in scene.things if unique_phrases(scene.things, thing, ("shape",))]
    if len(single) < 2:
        return None
    first, second = rng.sample(single, 2)
    part = rng.choice(("color", "size"))
    question = f"do the {first.shape} and the {second.shape} have the same {part}?"
    return _balanced_truth(question, getattr(first, part) == getattr(second, part), part)


def _compare_numbers(scene: Scene, rng: random.Random) -> Draft | None:
    """*Are there more circles than stars?*"""
    form = rng.choice(("color", "shape"))
    phrases = sorted({str(_phrase(thing, form)) for thing in scene.things})
    if len(phrases) < 2:
        return None
    first, second = (Phrase(**{form: phrase.split()[0]}) for phrase in rng.sample(phrases, 2))
    more, fewer = len(first.find(scene.things)), len(second.find(scene.things))
    if more == fewer:
        return None
    question = f"are there more {plural(str(first))} than {plural(str(second))}?"
    return _balanced_truth(question, more > fewer, f"more {form}")


def _combine(scene: Scene, rng: random.Random) -> Draft | None:
    """*Is there a red circle and a blue star?* Both, one or none may be there."""
    word = rng.choice(("and", "or"))
    phrases = [_any_phrase(scene, rng) for _ in range(2)]
    if None in phrases or phrases[0] == phrases[1]:
        return None
    there = [bool(phrase.find(scene.things)) for phrase in phrases]
    question = f"is there {f' {word} '.join(a(str(phrase)) for phrase in phrases)}?"
    return _balanced_truth(question, all(there) if word == "and" else any(there), word)


def _any_phrase(scene: Scene, rng: random.Random) -> Phrase | None:
    """The name of a thing, or of something that is not there."""
    return name(rng.choice(scene.things)) if coin(rng) else absent_phrase(scene.things, "color shape", rng)


def _phrase(thing: Thing, form: str) -> Phrase:
    return Phrase(**{part: getattr(thing, part) for part in form.split()})


# Questions with a short answer and without options, one after the other asked by the task ``dense_question_answering``.
OPEN_QUESTIONS: tuple[Callable[[Scene, random.Random], Draft | None], ...] = (
    _open_color,
    _open_shape,
    _open_size,
    _open_count,
    _open_presence,
    _relate_then_tell,
    _compare_attribute,
    _compare_numbers,
    _combine,
)


def _balanced(question: str, answer: str, labels: Sequence[str], *, stratum: str) -> Draft:
    return Draft(question=text(question), target=text(answer), balance=Balance(answer, tuple(labels), stratum))


def _balanced_truth(question: str, truth: bool, stratum: str) -> Draft:
    return _balanced(question, "yes" if truth else "no", YES_NO, stratum=stratum)
