"""The accuracy of VQA, as its official script computes it.

The rules are those of ``vqaEval.py`` in GT-Vision-Lab/VQA, as it has been since March 2021 (commit a013f00). With its
oddities, since the published numbers have them, too:

- If all annotators gave the same answer, nothing is normalised: "yes." or "Yes" is then not "yes". (Before
  that commit predictions were always normalised, and annotators' answers lost their punctuation only.)
- A mark of punctuation becomes a space, but vanishes if it stands beside a space somewhere in the text, and all
  marks vanish from a text that has a comma between two digits: "1,000" is "1000", "a,b" is "a b".
- The expression that was meant to keep the period of "3." keeps periods before a digit only, and of the others the
  first 32 are removed: the script passes ``re.UNICODE``, which is 32, in the place of the number of replacements.
- Apostrophes and colons are kept; the table of contractions supplies an apostrophe that is missing, and takes the one
  of "somebody'd" away. It knows some words in capitals, which never occur, since the text is in lower case by then.

Two things differ. Text is made canonical first (``answers.canonical``), which changes nothing of ASCII. And an empty
prediction is never right, where the script takes it for an annotator's "a" or "the", which become empty.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ofa_mi.instances.answers import canonical, says_something

AGREEMENT = 3  # of the other annotators must have given an answer that is fully right

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_COMMA_IN_NUMBER = re.compile(r"[0-9],[0-9]")
_PERIOD = re.compile(r"\.(?![0-9])")
_MOST_PERIODS = int(re.UNICODE)
_ARTICLES = frozenset(("a", "an", "the"))
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS = {"none": "0"} | {word: str(number) for number, word in enumerate(_DIGITS)}
_WITH_APOSTROPHES = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd
    he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am might've mightn't mightn't've must've mustn't
    needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've
    somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll
    that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've
    weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll
    why're why's won't would've wouldn't wouldn't've y'all y'all'd've y'all'll you'd you'd've you'll you're you've
"""
# From the spellings that lack one apostrophe to the word.
_CONTRACTIONS = {
    word[:place] + word[place + 1 :]: word
    for word in _WITH_APOSTROPHES.split()
    for place, letter in enumerate(word)
    if letter == "'"
} | {"somebody'd": "somebodyd"}


def agreement(prediction: str, answers: Sequence[str]) -> float:
    """Mean over the subsets that leave one annotator out of ``min(equal answers / 3, 1)``, from 0 to 1.

    Args:
        prediction: The answer to be judged.
        answers: The annotators' answers, at least one.
    """
    if not says_something(prediction):
        return 0.0
    given, *answers = map(_plain, (prediction, *answers))
    if len(set(answers)) > 1:
        given, *answers = map(processed, (given, *answers))
    matches = [answer == given for answer in answers]
    return sum(min((sum(matches) - match) / AGREEMENT, 1.0) for match in matches) / len(matches)


def processed(text: str) -> str:
    """``text`` without punctuation and articles, with digits for number words, and apostrophes in contractions."""
    words = (_NUMBERS.get(word, word) for word in _without_punctuation(text).lower().split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def _plain(text: str) -> str:
    return canonical(text).replace("\n", " ").replace("\t", " ").strip()


def _without_punctuation(text: str) -> str:
    result = text
    in_number = _COMMA_IN_NUMBER.search(text) is not None
    for mark in _PUNCTUATION:
        joined = in_number or f"{mark} " in text or f" {mark}" in text
        result = result.replace(mark, "" if joined else " ")
    return _PERIOD.sub("", result, count=_MOST_PERIODS)
