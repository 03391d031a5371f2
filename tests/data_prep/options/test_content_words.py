"""Content words of captions: what makes two captions be about the same thing."""

import pytest

from ofa_mi.data_prep.options.content_words import content_words


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("The clock is green in colour.", {"clock", "green", "colour"}),
        ("a man's hat", {"person", "hat"}),
        ("two women wearing caps", {"two", "person", "wearing", "hat"}),
        ("Horses\u2019 legs, boxes and berries", {"horse", "leg", "box", "berry"}),
        ("a glass on the grass", {"cup", "grass"}),
        ("there are some in the background", set()),
        ("t-shirt no. 7", {"shirt", "7"}),
        ("", set()),
    ],
)
def test_words_without_grammar_and_endings(caption, words):
    assert content_words(caption) == words
