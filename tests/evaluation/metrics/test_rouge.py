"""ROUGE-L: rouge-score's values for English, and sensible ones for everything else."""

import random
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from ofa_mi.data.encoding import Answer
from ofa_mi.evaluation.metrics import Truth, score_answer
from ofa_mi.evaluation.metrics.rouge import has_no_token, rouge_l_f, tokenize
from ofa_mi.evaluation.scoring.scores import majority_level
from ofa_mi.instances.answers import normalise, says_something

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


class AnyScript:
    """Our tokens, for rouge-score's own table of the longest common subsequence."""

    tokenize = staticmethod(tokenize)


PLAIN = RougeScorer(["rougeL"], tokenizer=AnyScript())


def plain_rouge_l_f(prediction, reference):
    if normalise(prediction) == normalise(reference) != "":
        return 1.0
    return PLAIN.score(reference, prediction)["rougeL"].fmeasure


ELSEWHERE = st.sampled_from(["größe", "привет", "日本", "東京タワー", "สวัสดี", "नमस्ते", "+", "£", "😀"])
TEXT = st.lists(WORDS | ELSEWHERE, max_size=60).map(" ".join) | st.text(max_size=30)


@given(TEXT, st.lists(TEXT, min_size=1, max_size=4))
@settings(max_examples=200, deadline=None)
def test_values_in_any_script_are_those_of_the_plain_table(prediction, references):
    """To the last bit; of several references the best one."""
    expected = [plain_rouge_l_f(prediction, reference) for reference in references]
    assert [rouge_l_f(prediction, reference) for reference in references] == expected
    if any(map(says_something, references)):
        best = max(f for f, text in zip(expected, references, strict=True) if says_something(text))
        assert score_answer("rouge_l", Answer(prediction), Truth(tuple(references))) == 100 * best


def test_the_majority_level_of_long_references_is_that_of_the_plain_table():
    rng = random.Random(5)
    lexicon = ["running", "dogs", "and", "the", "größe", "日本", "1,000", "T-shirt"] + [f"word{i}" for i in range(40)]
    references = [" ".join(rng.choices(lexicon, k=rng.randint(100, 300))) for _ in range(15)]
    references[7] = f" {references[3]}."  # the same to accuracy, so the commonest
    truths = [Truth((text, references[number - 1])[: 1 + number % 2]) for number, text in enumerate(references)]
    expected = fmean(
        100 * max(plain_rouge_l_f(references[3], reference) for reference in truth.references) for truth in truths
    )
    assert majority_level("rouge_l", truths) == expected


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
    assert tokenize("Toyota トヨタ2024年 cars!") == ["toyota", "ト", "ヨ", "タ", "2024", "年", "car"]


@pytest.mark.parametrize(
    ("text", "without"), [("\ue000", True), ("\x07", True), ("", False), ("\u200b", False), ("£", False), ("a", False)]
)
def test_what_cannot_be_tokenised(text, without):
    assert has_no_token(text) is without
    assert not (without and tokenize(text))
