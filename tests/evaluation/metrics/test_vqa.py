"""VQA's accuracy against values worked out by hand from the rules of the official script."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_mi.errors import DataError
from ofa_mi.evaluation.metrics import Answer, Truth, score_answer
from ofa_mi.evaluation.metrics.vqa import agreement, processed


def accuracy(prediction, counts):
    """Score of a prediction, with the number of annotators by answer."""
    answers = tuple(answer for answer, count in counts.items() for _ in range(count))
    return score_answer("vqa_accuracy", Answer(prediction), Truth(("the target does not count",), answers=answers))


# The answer, what annotators gave, and what the script makes of it. A single other answer ("x") lets it normalise.
CASES = [
    # number words
    ("two", {"2": 9, "3": 1}, 100),
    ("2", {"two": 9, "3": 1}, 100),
    ("none", {"0": 9, "x": 1}, 100),
    ("zero", {"none": 9, "x": 1}, 100),
    ("Ten", {"10": 9, "x": 1}, 100),
    ("eleven", {"11": 9, "x": 1}, 0),  # the table ends at ten
    ("no", {"0": 9, "x": 1}, 0),
    ("one two", {"1 2": 9, "x": 1}, 100),
    ("one-two", {"1 2": 9, "x": 1}, 100),
    # articles
    ("the dog", {"dog": 9, "cat": 1}, 100),
    ("dog", {"a dog": 5, "the dog": 4, "cat": 1}, 100),
    ("an apple on the tree", {"apple on tree": 9, "x": 1}, 100),
    ("than", {"n": 9, "x": 1}, 0),  # whole words only
    ("the", {"a": 9, "x": 1}, 100),  # both are empty then
    ("a", {"A": 9, "b": 1}, 100),
    # contractions
    ("dont know", {"don't know": 8, "x": 2}, 100),
    ("don't know", {"dont know": 8, "x": 2}, 100),
    ("its", {"it's": 9, "x": 1}, 0),  # is not in the table
    ("oclock", {"o'clock": 9, "x": 1}, 100),
    ("ows'at", {"'ow's'at": 9, "x": 1}, 0),  # two of three apostrophes are missing
    ("'ows'at", {"'ow's'at": 9, "x": 1}, 100),
    ("somebody'd", {"somebodyd": 9, "x": 1}, 100),  # the script's entry is the wrong way round
    ("Im", {"i'm": 9, "x": 1}, 0),  # the script's entry has a capital, and never occurs
    ("dont", {"do not": 9, "x": 1}, 0),
    ("yallll", {"y'all'll": 9, "x": 1}, 0),
    ("y'allll", {"yall'll": 9, "x": 1}, 100),
    # punctuation
    ("1,000", {"1000": 8, "x": 2}, 100),
    ("1,000 m", {"1000m": 9, "x": 1}, 0),
    ("1,000-m", {"1000m": 9, "x": 1}, 100),  # no mark becomes a space beside a comma in a number
    ("a,b", {"b": 9, "x": 1}, 100),  # "a b", and "a" is an article
    ("red,blue", {"red blue": 9, "x": 1}, 100),
    ("red, blue", {"red blue": 9, "x": 1}, 100),
    ("red, green,blue", {"red greenblue": 9, "x": 1}, 100),  # the comma is beside a space somewhere, so all vanish
    ("black-and-white", {"black and white": 9, "x": 1}, 100),
    ("t-shirt", {"tshirt": 9, "x": 1}, 0),
    ("black - white", {"black white": 9, "x": 1}, 100),
    ("yes!", {"yes": 9, "x": 1}, 100),
    ("(left)", {"left": 9, "x": 1}, 100),
    ('"stop"', {"stop": 9, "x": 1}, 100),
    ("10:30", {"10 30": 9, "x": 1}, 0),  # colons are kept
    ("50%", {"50": 9, "x": 1}, 0),
    ("cat & dog", {"cat dog": 9, "x": 1}, 0),
    # periods
    ("yes.", {"yes": 9, "no": 1}, 100),
    ("u.s.", {"us": 9, "x": 1}, 100),
    ("3.5", {"35": 9, "x": 1}, 0),
    ("3.", {"3": 9, "x": 1}, 100),
    (".5", {"5": 9, "x": 1}, 0),
    ("." * 33 + "x", {"." * 1 + "x": 9, "y": 1}, 0),  # 32 of 33 are removed, and the one of the annotators
    ("." * 32 + "x", {"x": 9, "y": 1}, 100),
    # case and white space
    ("YES", {"yes": 9, "no": 1}, 100),
    (" new\tyork\n", {"new york": 9, "x": 1}, 100),
    ("new  york", {"new york": 9, "x": 1}, 100),
    # all annotators agree: nothing is normalised but white space at the ends, tabs and line breaks
    ("yes", {"yes": 10}, 100),
    ("yes.", {"yes": 10}, 0),
    ("Yes", {"yes": 10}, 0),
    ("two", {"2": 10}, 0),
    ("the dog", {"dog": 10}, 0),
    (" yes\n", {"yes ": 5, "yes": 5}, 100),
    ("new  york", {"new york": 10}, 0),
    # counts
    ("red", {"blue": 10}, 0),
    ("red", {"red": 1, "blue": 9}, 30),
    ("red", {"red": 2, "blue": 8}, 60),
    ("Red!", {"red": 3, "blue": 7}, 90),
    ("red", {"a red": 2, "red.": 2, "blue": 6}, 100),
]


@pytest.mark.parametrize(("prediction", "answers", "score"), CASES)
def test_values_of_the_official_script(prediction, answers, score):
    assert accuracy(prediction, answers) == pytest.approx(score)


def test_silence_is_never_right():
    """The script gives 100, since "a" becomes empty, too."""
    for nothing in ("", " \n", "\u200b"):
        assert accuracy(nothing, {"a": 9, "b": 1}) == accuracy(nothing, {"": 10}) == 0


def test_what_cannot_be_seen_makes_no_difference():
    assert accuracy("cafe\u0301", {"café": 10}) == 100
    assert accuracy("don\u2019t know", {"dont know": 9, "x": 1}) == 100
    assert accuracy("y\u200bes", {"yes": 10}) == 100


TEXT = st.text(alphabet="aAtwo1,. ;:/-!?'", max_size=8)


@given(TEXT, st.lists(TEXT, min_size=4, max_size=10))
@settings(max_examples=100, deadline=None)
def test_scores_are_shares_and_do_not_depend_on_the_order_of_annotators(prediction, answers):
    score = agreement(prediction, answers)
    assert 0 <= score <= 1 and agreement(prediction, answers[::-1]) == pytest.approx(score)
    assert "  " not in processed(prediction)


def test_without_enough_annotators_it_is_an_error():
    with pytest.raises(DataError, match=r"d\.jsonl:3: .*annotators' answers .* found 3; at least 4"):
        score_answer("vqa_accuracy", Answer("red"), Truth(("red",), name="d.jsonl:3", answers=("red",) * 3))
