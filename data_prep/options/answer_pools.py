"""Wrong options for questions with short answers, drawn so that the options do not tell which of them is right.

If wrong answers were drawn evenly, the most common one among the options would mostly be right; if always the most
common ones were drawn, the uncommon one would. What is wanted is a draw in which, given the options, each of them is
equally likely to be the answer.

Such a draw is had by placing the answers of similar questions on a circle, each with an arc as long as it is frequent.
A question's answer gives an arc; a point in it is drawn, and the options are what lies at that point and at the other
*k* - 1 points that divide the circle evenly with it. Every one of the points is equally likely to be the one that was
drawn, hence every option to be the answer. For *k* options no arc may be longer than a *k*-th of the circle: answers
that are more frequent are shortened, and as many of the questions that have them are left out.
"""

from __future__ import annotations

import random
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Container
from itertools import accumulate

from ofa_mi.data_prep.options.answer_words import compatible, concept

MOST_OPTIONS = 6
LEAST_KEPT = 0.5  # share of the questions; with fewer options more of them are kept
TURNS = 16  # orders of the answers around the circle


class AnswerPool:
    """The answers to similar questions.

    Args:
        answers: Answer → questions that have it. Forms of one concept (``dog``, ``dogs``) share an arc, so that no
            two of them are options.
        seed: Seed of the orders around the circle.

    Attributes:
        number: Most options of a question; 0 if all answers are one concept.
    """

    def __init__(self, answers: Counter[str], seed: object) -> None:
        concepts: dict[str, list[str]] = {}
        for answer in sorted(answers):
            concepts.setdefault(concept(answer), []).append(answer)
        totals = [sum(answers[form] for form in forms) for forms in concepts.values()]
        self.number, longest = _shape(totals)
        self._seed = seed
        self._kept: list[float] = []  # share of the questions with each answer that is kept
        self._arcs: list[list[int]] = []  # of each concept its answers, by their places in what follows
        self._answers: list[str] = []
        self._lengths: list[float] = []
        for forms, total in zip(concepts.values(), totals, strict=True):
            share = min(1.0, longest / total)
            self._arcs.append(list(range(len(self._answers), len(self._answers) + len(forms))))
            self._answers += forms
            self._lengths += (answers[form] * share for form in forms)
            self._kept += [share] * len(forms)
        self._places = {answer: place for place, answer in enumerate(self._answers)}
        self._circles: dict[int, _Circle] = {}

    def keeps(self, answer: str, rng: random.Random) -> bool:
        """Draw whether a question with this answer is kept, or left out because the answer is too frequent."""
        return rng.random() < self._kept[self._places[answer]]

    def options(self, answer: str, rng: random.Random, known: Container[str]) -> list[str] | None:
        """Options for a question with this answer, itself among them, in random order.

        Of drawn answers that could both be right only the first is kept, even if the other one is the answer: were it
        always the answer, one could tell it from the options.

        Args:
            answer: The answer; one of the pool's.
            rng: Source of the draw.
            known: Concepts of other answers that may be right for the same photo; none of them becomes an option.

        Returns:
            None if another option took the answer's place, or nothing is left to choose from.
        """
        places = self._circle(rng.randrange(TURNS)).draw(self._places[answer], self.number, rng)
        drawn = [self._answers[place] for place in places]
        rng.shuffle(drawn)
        options: list[str] = []
        for option in drawn:
            if not any(compatible(option, other) for other in options):
                options.append(option)
        options = [option for option in options if option == answer or concept(option) not in known]
        return options if answer in options and len(options) > 1 else None

    def _circle(self, turn: int) -> _Circle:
        if turn not in self._circles:
            arcs = self._arcs.copy()
            random.Random(f"{self._seed}/{turn}").shuffle(arcs)
            self._circles[turn] = _Circle([place for arc in arcs for place in arc], self._lengths)
        return self._circles[turn]


class _Circle:
    """Answers around the circle, in ``order``; a pool has many, so that they are kept in few bytes."""

    def __init__(self, order: list[int], lengths: list[float]) -> None:
        self._order = array("i", order)
        self._ends = array("d", accumulate(lengths[place] for place in order))
        self._turns = array("i", bytes(self._order.itemsize * len(order)))  # where in the order each answer is
        for turn, place in enumerate(order):
            self._turns[place] = turn

    def draw(self, place: int, number: int, rng: random.Random) -> list[int]:
        """The answers at ``number`` evenly spaced points, the first of them in the arc of the answer ``place``."""
        turn, total = self._turns[place], self._ends[-1]
        start = self._ends[turn - 1] if turn else 0.0
        point = start + rng.random() * (self._ends[turn] - start)
        others = ((point + part * total / number) % total for part in range(1, number))
        last = len(self._order) - 1
        return [place, *(self._order[min(bisect_right(self._ends, other), last)] for other in others)]


def _shape(totals: list[int]) -> tuple[int, float]:
    """Number of options and length of the longest arc.

    The most options of which at least half of the questions are kept; two if that is never so.

    Args:
        totals: Questions of each concept.
    """
    if len(totals) < 2:
        return 0, 0.0
    totals = sorted(totals, reverse=True)
    for number in range(min(MOST_OPTIONS, len(totals)), 2, -1):
        longest = _longest_arc(totals, number)
        if sum(min(total, longest) for total in totals) >= LEAST_KEPT * sum(totals):
            return number, longest
    return 2, _longest_arc(totals, 2)


def _longest_arc(totals: list[int], number: int) -> float:
    """The greatest length such that, no arc being longer, it is at most one ``number``-th of all of them.

    Args:
        totals: Lengths of the arcs, the longest first.
        number: Parts of the circle; at most the number of arcs.
    """
    rest = sum(totals)
    for shortened in range(number):
        # So many arcs have this length, the others their own.
        longest = rest / (number - shortened)
        if totals[shortened] <= longest:
            return longest
        rest -= totals[shortened]
    raise AssertionError("the last arc is never longer than all that is left")
