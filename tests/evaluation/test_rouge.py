"""ROUGE-L: rouge-score's values for English, and sensible ones for everything else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from ofa_mi.evaluation.answers import says_something
from ofa_mi.evaluation.rouge import Tokenizer, has_no_token, rouge_l_f

REFERENCE = RougeScorer(["rougeL"], use_stemmer=True)
WORDS = st.sampled_from(["two", "dogs", "dog's", "running", "generously", "universities", "flies", "1,000", "T-shirt"])
ENGLISH = st.lists(WORDS | st.text(alphabet=st.characters(max_codepoint=127), max_size=8), max_size=8).map(" ".join)


@given(ENGLISH, ENGLISH)
@settings(max_examples=300, deadline=None)
def test_english_values_are_those_of_rouge_score(prediction, reference):
    expected = REFERENCE.score(reference, prediction)["rougeL"].fmeasure
    if all(any(map(str.isalnum, text)) for text in (prediction, reference)):
        assert rouge_l_f(prediction, reference) == expected
    else:  # a text of symbols only, which rouge-score does not see
        assert expected == 0


@pytest.mark.parametrize(
    "text",
    [
        "日本",
        "Привет мир",
        "+",
        "£",
        "größe",
        "สวัสดีชาวโลก",
        "नमस्ते दुनिया",
        "한국 사람",
        "مرحبا بالعالم",
        "😀 👍🏽",
        "->",
        "\ue000",
        "\x07",
    ],
)
def test_an_exact_match_is_100_in_any_script(text):
    assert rouge_l_f(text, text) == rouge_l_f(f" {text}\n", text) == 1.0
    assert rouge_l_f("", text) == rouge_l_f("x", text) == 0.0


@given(st.text(max_size=20))
@settings(max_examples=200, deadline=None)
def test_every_text_that_says_something_matches_itself(text):
    assert rouge_l_f(text, text) == says_something(text)


@pytest.mark.parametrize(
    ("prediction", "reference", "score"),
    [
        ("größe", "gräße", 0),
        ("GRÖSSE 5", "grösse 6", 1 / 2),
        ("日本人", "日本", 4 / 5),  # two of three characters, and two of two
        ("東京タワー", "タワー", 3 / 4),  # the long vowel's mark is a character, too
        ("Привет", "привет мир", 2 / 3),
        ("สวัสดี", "สวัส", 6 / 7),  # vowel signs belong to their consonants: three of four, three of three
        ("नमस्ते", "नमस्ते दुनिया", 2 / 3),
        ("c++", "c", 1),  # as rouge-score: symbols count only where there is nothing else
        ("£5", "$5", 1),
        ("£", "$", 0),
        ("+-", "+", 2 / 3),
        ("the café", "the cafe\u0301s", 1 / 2),  # no stemming outside English
    ],
)
def test_values_by_hand(prediction, reference, score):
    assert rouge_l_f(prediction, reference) == pytest.approx(score)


def test_tokens_of_mixed_scripts():
    assert Tokenizer().tokenize("Toyota トヨタ2024年 cars!") == ["toyota", "ト", "ヨ", "タ", "2024", "年", "car"]


@pytest.mark.parametrize(
    ("text", "without"), [("\ue000", True), ("\x07", True), ("", False), ("\u200b", False), ("£", False), ("a", False)]
)
def test_what_cannot_be_tokenised(text, without):
    assert has_no_token(text) is without
    assert not (without and Tokenizer().tokenize(text))
