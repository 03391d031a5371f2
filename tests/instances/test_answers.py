"""What is the same answer, and what is not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_mi.data_prep.check.findings import option_key
from ofa_mi.instances.answers import canonical, normalise, says_something

SAME = [
    ("café", "cafe\u0301"),
    ("Ångström", "A\u030angstro\u0308m"),
    ("\ud55c\uad6d", "\u1112\u1161\u11ab\u1100\u116e\u11a8"),  # Hangul, whole and in parts
    ("two dogs", "two\u200b dogs\ufeff"),
    ("می\u200cخواهم", "میخواهم"),  # noqa: RUF001
    ("coop\u00aderate", "cooperate"),
    ("❤\ufe0f", "❤"),
    ("don\u2019t know", "don't know"),
    ("\u201cstop\u201d", '"stop"'),
    ("t\u2011shirt", "t-shirt"),
]
DIFFERENT = [("m²", "m2"), ("①", "1"), ("größe", "gräße"), ("resume", "résumé"), ("の", "ノ"), ("", " x")]  # noqa: RUF001


@pytest.mark.parametrize(("one", "other"), SAME)
def test_one_text_in_two_spellings(one, other):
    assert one != other and canonical(one) == canonical(other) and normalise(one) == normalise(other)
    assert option_key((one,)) == option_key((other,))


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_other_texts_stay_other_texts(one, other):
    assert normalise(one) != normalise(other)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Yes.", "yes"), ("はい。", "はい"), ("نعم؟", "نعم"), ("!?", "!?"), ("。", "。"), (" a \n b ", "a b")],
)
def test_final_punctuation_of_any_script_is_dropped_but_not_alone(text, expected):
    assert normalise(text) == expected


@given(st.text(max_size=12) | st.text(alphabet="aB .,!?\n", max_size=12))
@settings(max_examples=200, deadline=None)
def test_normalising_twice_changes_nothing(text):
    assert normalise(normalise(text)) == normalise(text) and canonical(canonical(text)) == canonical(text)
    assert says_something(text) == bool(normalise(text))


@given(st.text(alphabet=st.characters(max_codepoint=127)))
@settings(max_examples=50, deadline=None)
def test_ascii_is_canonical(text):
    assert canonical(text) == text
