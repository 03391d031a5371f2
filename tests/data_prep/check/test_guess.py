"""The guess baseline finds planted leaks, and nothing in balanced random data."""

import random

import numpy as np
import pytest
from scipy.optimize import minimize

from ofa_mi.data_prep.check import guess as module
from ofa_mi.data_prep.check.features import Question
from ofa_mi.data_prep.check.guess import (
    GUESSABLE,
    NEAR_CHANCE,
    TOO_FEW,
    UNCLEAR,
    accuracy,
    guess,
    origin,
    questions_of,
)
from ofa_mi.instances.instance import Instance
from ofa_mi.instructions.registry import default_registry

SPEC = default_registry()["image_text_selection"]
WORDS = [f"word{n}" for n in range(60)]


def question(options, answer, *, text="", regions=(), group):
    options = tuple((option,) for option in options)
    return Question(options, answer, ((text,),) if text else (), tuple(regions), (100, 100), group)


def some_words(rng, number):
    return " ".join(rng.choices(WORDS, k=number))


def box(rng, side=30):
    x, y = rng.uniform(0, 100 - side), rng.uniform(0, 100 - side)
    return (x, y, x + side, y + side)


def make(builder, number=1000, seed=0):
    rng = random.Random(seed)
    return [builder(rng, n) for n in range(number)]


def random_texts(rng, n):
    return question([some_words(rng, 4) for _ in range(4)], n % 4, text=some_words(rng, 6), group=n)


def random_labels(rng, n):
    return question(rng.sample(["yes", "no"], 2), rng.randrange(2), text=some_words(rng, 6), group=n)


def random_boxes(rng, n):
    boxes = [box(rng, rng.uniform(10, 60)) for _ in range(4)]
    return question(boxes, n % 4, regions=[box(rng)], text=some_words(rng, 3), group=n)


@pytest.mark.parametrize("builder", [random_texts, random_labels, random_boxes])
def test_random_data_is_near_chance(builder):
    found = guess(SPEC, make(builder), 1000)
    assert found.verdict == NEAR_CHANCE
    for way in ("options", "options and inputs"):
        assert abs(found.by[way].value - found.chance) < 0.06, way
        assert found.by[way].low < found.chance < found.by[way].high, way


def longest_is_right(rng, n):
    answer = rng.randrange(4)
    return question(["x" * (8 if i == answer else 5) + rng.choice("abc") for i in range(4)], answer, group=n)


def word_gives_label(rng, n):
    options = rng.sample(["yes", "no"], 2)
    answer = rng.randrange(2)
    clue = "sunny" if options[answer] == "yes" else "cloudy"
    return question(options, answer, text=f"{some_words(rng, 5)} {clue}", group=n)


def biggest_is_right(rng, n):
    answer = rng.randrange(4)
    return question([box(rng, 40 if i == answer else rng.uniform(10, 38)) for i in range(4)], answer, group=n)


def first_is_right(rng, n):
    return question([some_words(rng, 3) for _ in range(4)], 0, group=n)


def repeats_the_text(rng, n):
    answer, text = rng.randrange(4), some_words(rng, 6)
    return question(
        [text.rpartition(" ")[0] if i == answer else some_words(rng, 5) for i in range(4)], answer, text=text, group=n
    )


def one_label_is_common(rng, n):
    options = rng.sample(["yes", "no"], 2)
    return question(options, options.index("yes" if rng.random() < 0.8 else "no"), group=n)


def left_is_on_the_left(rng, n):
    boxes = [box(rng) for _ in range(2)]
    word = rng.choice(["left", "right"])
    answer = min if word == "left" else max
    return question(boxes, boxes.index(answer(boxes)), text=f"the {word} one", group=n)


def near_the_region(rng, n):
    region, boxes = box(rng), [box(rng) for _ in range(4)]
    distances = [(b[0] - region[0]) ** 2 + (b[1] - region[1]) ** 2 for b in boxes]
    return question(boxes, distances.index(min(distances)), regions=[region], group=n)


LEAKS = {  # builder: ways that must find it, ways that must not
    longest_is_right: (["options", "longest option"], ["shortest option"]),
    word_gives_label: (["options and inputs"], ["options", "commonest answer"]),
    biggest_is_right: (["options", "largest box"], ["smallest box"]),
    first_is_right: (["options"], ["longest option", "commonest answer"]),
    repeats_the_text: (["options and inputs", "most words in the text"], ["options"]),
    one_label_is_common: (["options", "commonest answer"], []),
    left_is_on_the_left: (["options and inputs"], ["options"]),
    near_the_region: (["options and inputs"], ["largest box"]),
}


@pytest.mark.parametrize("builder", LEAKS)
def test_planted_leaks_are_found(builder):
    found = guess(SPEC, make(builder, 600), 600)
    assert found.verdict == GUESSABLE and found.excess > 0.2
    finders, others = LEAKS[builder]
    for way in finders:
        assert found.by[way].value > found.chance + 0.2, way
    for way in others:
        assert found.by[way].value < found.chance + 0.1, way


def test_what_one_image_gives_away_does_not_count():
    def same_image(rng, n):  # a word names the image, and all questions about it have one answer
        image = n % 40
        return question(["yes", "no"], random.Random(image).randrange(2), text=f"image{image}", group=image)

    found = guess(SPEC, make(same_image, 2000), 2000)
    assert found.images == 40
    assert found.verdict == UNCLEAR  # 2,000 questions, but only 40 answers that are independent


def test_few_questions_give_no_verdict():
    assert guess(SPEC, [], 0).verdict == TOO_FEW
    found = guess(SPEC, make(longest_is_right, 30), 30)
    assert found.verdict == TOO_FEW and found.by == {} and found.excess == 0
    assert guess(SPEC, make(random_labels, 60), 60).verdict == UNCLEAR


def test_the_same_questions_give_the_same_numbers():
    questions = make(random_texts, 200)
    assert guess(SPEC, questions, 200).record() == guess(SPEC, questions, 200).record()


def test_interval_is_wilsons_for_independent_answers():
    correct = np.array([1.0] * 5 + [0.0] * 5)
    found = accuracy(correct, np.full(10, 0.5), np.arange(10))
    assert (round(found.low, 4), round(found.high, 4)) == (0.2366, 0.7634)


def test_interval_widens_where_answers_depend_on_each_other():
    correct = np.repeat([1.0, 0.0] * 25, 20)
    independent = accuracy(correct, np.full(1000, 0.5), np.arange(1000))
    grouped = accuracy(correct, np.full(1000, 0.5), np.repeat(np.arange(50), 20))
    alone = accuracy(correct[::20], np.full(50, 0.5), np.arange(50))
    assert grouped.value == independent.value == 0.5
    assert grouped.high - grouped.low > 4 * (independent.high - independent.low)
    assert grouped.high == pytest.approx(alone.high, abs=1e-6)


def test_optimiser_agrees_with_scipy():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 12)), rng.choice([-1.0, 1.0], 80)

    def objective(weights):
        margin = y * (x @ weights)
        slope = -y / (1 + np.exp(margin))
        return np.log1p(np.exp(-margin)).mean() + 0.005 * weights @ weights, x.T @ slope / 80 + 0.01 * weights

    expected = minimize(objective, np.zeros(12), jac=True, options={"gtol": 1e-9})
    assert objective(module._minimise(objective, np.zeros(12)))[0] == pytest.approx(expected.fun, abs=1e-5)


def test_questions_of_an_instance():
    record = {
        "unique_id": "u",
        "task_name": "missing_object_selection",
        "image_path": "i.png",
        "image_size": [10, 10],
        "region": [[0, 0, 5, 5]],
        "options": ["cat", "dog", "cow"],
        "target_set": ["cat", "cow"],
        "question": "what is missing?",
    }
    found = list(questions_of(Instance.from_record(record, ""), 7))
    assert [(q.options, q.answer) for q in found] == [((("cat",), ("dog",)), 0), ((("dog",), ("cow",)), 1)]
    assert found[0].group == 7 and found[0].regions == ((0, 0, 5, 5),) and found[0].texts == (("what is missing?",),)
    assert list(questions_of(Instance.from_record({**record, "target_set": []}, ""), 7)) == []


def test_origins():
    registry = default_registry()
    assert origin(registry["nlvr"]) == "source"
    assert origin(registry["region_overlap_detection"]) == "coordinates"
    assert origin(registry["object_matching"]) == "conversion"
    assert set(registry) >= module.FROM_SOURCE
