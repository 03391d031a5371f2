"""ROUGE-L for text in any script.

``rouge-score`` knows the letters a to z and the digits; whatever else a text holds it drops, so that texts in other
scripts have no tokens, and "größe" and "gräße" the same. Here a token is

- a word: letters and digits of any script, with the marks that belong to them; English words are stemmed as
  ``rouge-score`` does it, so that ASCII text with a letter or digit has exactly its tokens and scores;
- one character, in the scripts that write no spaces between words;
- one symbol, in a text that holds neither.
"""

from __future__ import annotations

import functools

import regex

from ofa_mi.instances.answers import canonical, normalise, says_something
from ofa_mi.utils.subsequences import CommonSubsequences

# Scripts without spaces between words; the syllables of Tibetan end in a mark, and are words as they are.
_UNSPACED = "".join(
    rf"\p{{scx={name}}}"
    for name in ("Han", "Hiragana", "Katakana", "Bopomofo", "Yi", "Thai", "Lao", "Khmer", "Myanmar", "Tai_Tham")
)
_WORD = regex.compile(rf"[{_UNSPACED}&&\p{{L}}\p{{N}}]\p{{M}}*|[\p{{L}}\p{{N}}\p{{M}}--[{_UNSPACED}]]+", regex.V1)
_SYMBOL = regex.compile(r"[^\s\p{C}]", regex.V1)


def tokenize(text: str) -> list[str]:
    """Tokens in order; none for a text of white space, control characters or characters without a meaning."""
    text = canonical(text.lower())
    words = _WORD.findall(text)
    return [token for word in words for token in _stemmed(word)] if words else _SYMBOL.findall(text)


def rouge_l_f(prediction: str, reference: str) -> float:
    """F-measure of the longest common subsequence of tokens, from 0 to 1.

    Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", section 3.1, rounded as ``rouge-score`` does.

    Args:
        prediction: The answer; one that says nothing scores 0, and one that accuracy takes for the reference 1.
        reference: A right answer.
    """
    if (text := normalise(prediction)) and text == normalise(reference):
        return 1.0
    count, subsequences = _prepared(prediction)
    tokens = tokenize(reference)
    if not (common := subsequences.length(tokens)):
        return 0.0
    precision, recall = common / count, common / len(tokens)
    return 2 * precision * recall / (precision + recall)


def has_no_token(text: str) -> bool:
    """Whether ``text`` holds something, but nothing to tokenise, so that it is right or wrong as a whole."""
    return says_something(text) and _SYMBOL.search(canonical(text)) is None


@functools.lru_cache(1)
def _prepared(prediction: str) -> tuple[int, CommonSubsequences]:
    """Number of tokens, and what they have in common with others; an answer has one reference after the other."""
    tokens = tokenize(prediction)
    return len(tokens), CommonSubsequences(tokens)


@functools.lru_cache(1 << 16)
def _stemmed(word: str) -> list[str]:
    return _english().tokenize(word) if word.isascii() else [word]


@functools.cache
def _english():
    # Imported on first use: it brings NLTK, which takes longer to import than everything else here.
    from rouge_score.tokenizers import DefaultTokenizer

    return DefaultTokenizer(use_stemmer=True)
