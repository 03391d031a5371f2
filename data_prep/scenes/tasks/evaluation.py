"""The evaluation tasks; none of them is ever trained."""

from __future__ import annotations

import random
from itertools import pairwise

from ofa_mi.data_prep.draft import YES_NO, Balance, Draft, choice_of, coin, labelled, text, yes_no
from ofa_mi.data_prep.scenes.language import (
    ABOVE,
    BELOW,
    LEFT,
    NUMBERS,
    OPPOSITE,
    RIGHT,
    Phrase,
    a,
    clear_relation,
    name,
    ordered_pairs,
    pick_expression,
    plural,
    unique_phrases,
)
from ofa_mi.data_prep.scenes.shapes import luma
from ofa_mi.data_prep.scenes.tasks.builder import builds
from ofa_mi.data_prep.scenes.world import COLORS, SIZES, Scene, Thing

ENTAILMENT = ("yes", "not sure", "no")
VISIBLE_CONTRAST = 30  # least difference in grey between a thing and the ground
CHROMATIC = tuple(color for color in COLORS if color not in ("black", "white"))
LIKE_GREY = 45  # two colours whose greys differ by less cannot be told apart without colour
MOVES = {RIGHT: "it must move left", LEFT: "it must move right", BELOW: "it must move up", ABOVE: "it must move down"}
IN_COMMON = ("their color", "their shape", "their size", "nothing")


@builds(evaluation=True)
def grounded_vqa(scene: Scene, rng: random.Random) -> Draft | None:
    """*Which object is the circle left of the red star?*, boxes of things → the box of the one that is meant."""
    if len(scene.things) < 4:
        return None
    thing = rng.choice(scene.things)
    expression = pick_expression(scene.things, thing, rng)
    boxes = [(other.box,) for other in scene.things]
    question = f"which object is {expression}?"
    return expression and choice_of((thing.box,), boxes, rng, question=text(question))


@builds(modes=("shapes", "black and white", "writing"), evaluation=True)
def visual_entailment(scene: Scene, rng: random.Random) -> Draft | None:
    """A statement about the colour of a thing or the word on a sign → yes, no, or not sure.

    *Not sure* is right where the picture does not show it: colours in a black and white picture
    (the stated colour has a similar grey), words on a smeared sign. The same statements
    are made about other pictures, so the text does not give the answer away.
    """
    return (_word_entailment if scene.mode == "writing" else _color_entailment)(scene, rng)


@builds(evaluation=True)
def visual_spatial_reasoning(scene: Scene, rng: random.Random) -> Draft | None:
    """*The circle is left of the red star.* → yes, or no if it is clearly on the opposite side."""
    for first, second in ordered_pairs(scene.things, rng):
        phrases = [unique_phrases(scene.things, thing, ("shape", "color shape")) for thing in (first, second)]
        relation = clear_relation(first, second)
        if relation and all(phrases):
            truth = coin(rng)
            said = relation if truth else OPPOSITE[relation]
            statement = f"the {phrases[0][0]} is {said.text} the {phrases[1][0]}."
            return yes_no(truth, rng, text=text(statement), stratum=said.text)
    return None


@builds(modes=("panels",), evaluation=True)
def nlvr(scene: Scene, rng: random.Random) -> Draft | None:
    """A statement about the boxes (panels) of a scene and what they contain → yes or no."""
    boxes = [[thing for thing in scene.things if thing.panel == index] for index in range(len(scene.panels))]
    part = rng.choice(("color", "shape"))
    phrase = Phrase(**{part: getattr(rng.choice(scene.things), part)})
    numbers = [len(phrase.find(things)) for things in boxes]
    kind = rng.choice(("every", "exactly", "total"))
    if kind == "every":
        statement, truth = f"every box contains {a(str(phrase))}.", all(numbers)
    elif kind == "exactly":
        said = rng.randint(1, 3)
        statement = f"there is a box with exactly {_count(said, phrase)}."
        truth, kind = said in numbers, f"{kind} {said}"
    else:
        said = rng.randint(1, 4)
        statement = f"the boxes contain {_count(said, phrase)} in all."
        truth, kind = said == sum(numbers), f"{kind} {said}"
    return yes_no(truth, rng, text=text(statement), stratum=f"{kind} {part}")


@builds(evaluation=True)
def commonsense_vqa(scene: Scene, rng: random.Random) -> Draft | None:
    """A question that names regions, four answers → the right one.

    Either which way a thing must move to reach another one, or what two things have in
    common (exactly one of colour, form and size, or nothing).
    """
    return (_ask_move if coin(rng) else _ask_in_common)(scene, rng)


@builds(modes=("writing",), evaluation=True)
def text_vqa(scene: Scene, rng: random.Random) -> Draft | None:
    """*What does the red sign say?* → the word."""
    signs = [sign for sign in scene.signs if sign.legible]
    if not signs:
        return None
    sign = rng.choice(signs)
    noun = f"{sign.color} sign" if len(scene.signs) > 1 or coin(rng) else "sign"
    question = rng.choice(("what does the {} say?", "what is written on the {}?", "which word is on the {}?"))
    return Draft(question=text(question.format(noun)), target=text(sign.word))


@builds(modes=("writing",), evaluation=True)
def visual_text_extraction(scene: Scene, rng: random.Random) -> Draft | None:
    """The picture → all words in it, from top to bottom; no sign is smeared and none is beside another."""
    signs = sorted(scene.signs, key=lambda sign: sign.box[1])
    in_rows = all(upper.box[3] <= lower.box[1] for upper, lower in pairwise(signs))
    if not signs or not in_rows or not all(sign.legible for sign in signs):
        return None
    return Draft(target=text(" ".join(sign.word for sign in signs)))


@builds(evaluation=True)
def visual_dialogue(scene: Scene, rng: random.Random) -> Draft | None:
    """A question about *it*, and the questions and answers before it → a short answer."""
    thing = rng.choice(scene.things)
    if not unique_phrases(scene.things, thing, ("shape",)):
        return None
    turns = [_tell(thing, part, rng) for part in rng.sample(("color", "size"), 2)]
    if coin(rng):
        turns[-1] = _ask_side(scene, thing, rng) or turns[-1]
    history = [f"is there {a(thing.shape)}? yes", *(f"{question} {answer}" for question, answer, _ in turns[:-1])]
    question, answer, balance = turns[-1]
    return Draft(
        question=text(question), context=tuple(text(turn) for turn in history), target=text(answer), balance=balance
    )


Turn = tuple[str, str, Balance | None]  # question, answer, how it is balanced


def _tell(thing: Thing, part: str, rng: random.Random) -> Turn:
    """A question about an attribute of *it*: open, or with yes or no as the answer."""
    value = getattr(thing, part)
    if part == "size":
        return "is it small or large?", value, Balance(value, SIZES, "size")
    if coin(rng):
        return "what color is it?", value, None
    truth = coin(rng)
    said = value if truth else rng.choice([color for color in COLORS if color != value])
    answer = "yes" if truth else "no"
    return f"is it {said}?", answer, Balance(answer, YES_NO, "color")


def _ask_side(scene: Scene, thing: Thing, rng: random.Random) -> Turn | None:
    for first, second in ordered_pairs(scene.things, rng):
        relation = clear_relation(first, second)
        if first is thing and relation and name(second).find(scene.things) == [second]:
            truth = coin(rng)
            said = relation if truth else OPPOSITE[relation]
            answer = "yes" if truth else "no"
            return f"is it {said.text} the {name(second)}?", answer, Balance(answer, YES_NO, said.text)
    return None


def _color_entailment(scene: Scene, rng: random.Random) -> Draft | None:
    thing = rng.choice(scene.things)
    phrases = unique_phrases(scene.things, thing, ("shape", "size shape"))
    hidden = abs(luma(thing.rgb) - luma(scene.background)) < VISIBLE_CONTRAST
    if not phrases or hidden or thing.color not in CHROMATIC:
        return None
    if scene.look == "black and white":
        answer = "not sure"
        said = rng.choice([color for color in CHROMATIC if abs(luma(COLORS[color]) - luma(thing.rgb)) < LIKE_GREY])
    else:
        answer = "yes" if coin(rng) else "no"
        said = thing.color if answer == "yes" else rng.choice([color for color in CHROMATIC if color != thing.color])
    statement = f"the {phrases[0]} is {said}."
    return labelled(answer, ENTAILMENT, rng, text=text(statement), stratum=f"color {said}")


def _word_entailment(scene: Scene, rng: random.Random) -> Draft | None:
    if not scene.signs:
        return None
    sign = rng.choice(scene.signs)
    truth = coin(rng)
    others = [other.word for other in scene.signs if other is not sign]
    if not truth and not others:
        return None
    said = sign.word if truth else rng.choice(others)
    answer = ENTAILMENT[1] if not sign.legible else "yes" if truth else "no"
    statement = f"the {sign.color} sign says {said}."
    return labelled(answer, ENTAILMENT, rng, text=text(statement), stratum="word")


def _count(number: int, phrase: Phrase) -> str:
    return f"{NUMBERS[number]} {phrase if number == 1 else plural(str(phrase))}"


def _ask_move(scene: Scene, rng: random.Random) -> Draft | None:
    for first, second in ordered_pairs(scene.things, rng):
        relation = clear_relation(first, second)
        if relation:
            question = ("which way must ", first.box, " move to reach ", second.box, "?")
            return labelled(MOVES[relation], tuple(MOVES.values()), rng, question=question, stratum="move")
    return None


def _ask_in_common(scene: Scene, rng: random.Random) -> Draft | None:
    wanted = rng.choice(IN_COMMON)
    for first, second in ordered_pairs(scene.things, rng):
        parts = zip(IN_COMMON, ("color", "shape", "size"), strict=False)
        common = [said for said, part in parts if getattr(first, part) == getattr(second, part)]
        if len(common) <= 1 and (common or ["nothing"]) == [wanted]:
            question = ("what do ", first.box, " and ", second.box, " have in common?")
            return labelled(wanted, IN_COMMON, rng, question=question, stratum="common")
    return None
