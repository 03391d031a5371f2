"""Options from pools of answers: none of them is likelier than another to be right."""

import random
from collections import Counter

import pytest

from ofa_mi.data_prep.options.answer_pools import AnswerPool
from ofa_mi.data_prep.options.answer_words import compatible, concept, kind_of


def draw_all(answers, seed=0):
    """Options and answer of every question that is kept."""
    pool = AnswerPool(Counter(answers), seed)
    drawn, number = [], 0
    for answer, times in answers.items():
        for _ in range(times):
            rng = random.Random(f"{seed}/{number}")
            number += 1
            if pool.keeps(answer, rng) and (options := pool.options(answer, rng, ())):
                drawn.append((options, answer))
    return pool, drawn


def guessed_by_options(drawn):
    """Accuracy of the best guess from the set of options alone, learnt on one half and measured on the other."""
    halves = drawn[::2], drawn[1::2]
    right = Counter((frozenset(options), answer) for options, answer in halves[0])
    overall = Counter(answer for _, answer in halves[0])
    guesses = (
        max(options, key=lambda option: (right[frozenset(options), option], overall[option]))
        for options, _ in halves[1]
    )
    return sum(guess == answer for guess, (_, answer) in zip(guesses, halves[1], strict=True)) / len(halves[1])


SKEWED = {"horse": 4000, "zebra": 2500, "giraffe": 1500, "elephant": 800, "lion": 500, "tiger": 300, "goat": 200}


def test_the_options_do_not_tell_the_answer():
    pool, drawn = draw_all(SKEWED)
    assert pool.number == 4  # 5 would keep fewer than half of the questions
    assert len(drawn) > 0.5 * sum(SKEWED.values())
    chance = 1 / pool.number
    assert guessed_by_options(drawn) < chance + 0.03
    answers = Counter(answer for _, answer in drawn)
    most_common = sum(max(options, key=answers.get) == answer for options, answer in drawn)
    least_common = sum(min(options, key=answers.get) == answer for options, answer in drawn)
    assert most_common / len(drawn) == pytest.approx(chance, abs=0.03)
    assert least_common / len(drawn) == pytest.approx(chance, abs=0.03)
    positions = Counter(options.index(answer) for options, answer in drawn)
    assert all(count / len(drawn) == pytest.approx(chance, abs=0.02) for count in positions.values())


def test_a_usual_answer_is_balanced_against_all_others_together():
    pool, drawn = draw_all({"green": 900, "purple": 60, "black": 40})
    assert pool.number == 2
    answers = Counter(answer for _, answer in drawn)
    assert answers["purple"] == 60 and answers["black"] == 40
    assert answers["green"] == pytest.approx(100, abs=30)
    assert all("green" in options for options, _ in drawn)


def test_forms_of_one_concept_share_an_arc():
    _, drawn = draw_all({"dog": 50, "dogs": 50, "cat": 60, "horses": 40, "horse": 30, "zebra": 70})
    for options, answer in drawn:
        assert answer in options
        assert len(set(map(concept, options))) == len(options)
    shown = Counter(option for options, _ in drawn for option in options)
    assert shown["dog"] == pytest.approx(shown["dogs"], abs=25)


def test_answers_known_for_the_photo_are_no_options():
    pool = AnswerPool(Counter(dict.fromkeys(["dog", "cats", "zebra", "giraffe", "lion", "goat", "tiger"], 10)), 0)
    for number in range(100):
        options = pool.options("dog", random.Random(number), {concept("cat")})
        assert options is None or "cats" not in options


def test_a_general_word_is_no_likelier_to_be_right_than_what_it_is_offered_with():
    pool, drawn = draw_all({"animal": 300, "zebra": 300, "dog": 300, "couch": 300})
    assert pool.number == 4
    right = {}
    for options, answer in drawn:
        assert "animal" not in options or not {"zebra", "dog"} & set(options)
        right.setdefault(frozenset(options), Counter())[answer] += 1
    assert set(right) == {frozenset({"animal", "couch"}), frozenset({"zebra", "dog", "couch"})}
    for options, answers in right.items():
        for option in options:
            assert answers[option] / answers.total() == pytest.approx(1 / len(options), abs=0.1)


def test_one_concept_makes_no_options():
    assert AnswerPool(Counter({"dog": 5, "dogs": 3}), 0).number == 0


@pytest.mark.parametrize(
    ("p", "q", "same"),
    [
        ("dog", "dogs", True),
        ("playing tennis", "tennis", True),
        ("red", "dark red", True),
        ("two", "2", True),
        ("men", "person", True),
        ("man", "woman", False),
        ("couch", "sofa", True),
        ("skiing", "skis", True),
        ("zebra", "giraffe", False),
        ("animals", "zebra", True),
        ("bicycle", "motorcycle", False),
        ("surfboarding", "surfing", True),
        ("snowboarding", "skiing", False),
        ("red", "green", False),
        ("left", "right", False),
        ("blue", "green", False),
        ("teal", "green", True),
        ("tennis", "tent", False),
        ("bus", "buses", True),
        ("glasses", "glass", True),
        ("one", "two", False),
    ],
)
def test_answers_that_could_both_be_right(p, q, same):
    assert compatible(p, q) is compatible(q, p) is same


@pytest.mark.parametrize(
    ("answer", "kind"),
    [("Yes", "yes/no"), ("no", "yes/no"), ("two", "number"), ("13", "number"), ("two dogs", "other")],
)
def test_kinds(answer, kind):
    assert kind_of(answer) == kind
