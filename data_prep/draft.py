"""An instance in the making, and the usual ways of making one: labelled, by choice among options, yes or no."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ofa_mi.geometry import Box
from ofa_mi.instances.instance import Instance, Text

YES_NO = ("yes", "no")


@dataclass(frozen=True, slots=True)
class Balance:
    """How an instance is counted when answers are balanced.

    Within a task and a stratum every label is kept equally often. A stratum holds instances whose
    texts are equally likely for every label, e.g. all questions of one form.

    Attributes:
        label: What is balanced, mostly the answer.
        labels: All labels.
        stratum: Anything that the text gives away.
    """

    label: str
    labels: tuple[str, ...]
    stratum: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """An instance without its image; fields as in :class:`ofa_mi.instances.instance.Instance`."""

    target: Text = ()
    regions: tuple[Box, ...] = ()
    options: tuple[Text, ...] | None = None
    question: Text = ()
    text: Text = ()
    context: tuple[Text, ...] = ()
    target_set: tuple[Text, ...] | None = None
    references: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    balance: Balance | None = None

    def instance(self, **given: Any) -> Instance:
        """The instance; ``given`` are its other fields: id, task, image and ``meta_data``."""
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "balance"}
        return Instance(**own, **given)


def text(value: object) -> Text:
    """Rich text without regions."""
    return (str(value),)


def choice_of(
    answer: Text, others: Iterable[Text], rng: random.Random, *, number: int = 4, **fields: Any
) -> Draft | None:
    """A draft with ``answer`` among ``number`` options in random order, balanced over the answer's position.

    Args:
        answer: The right option.
        others: Wrong options; ``number - 1`` of them are drawn.
        rng: Source of the draw and the order.
        number: Options in all; None is returned if there are not enough.
        fields: The other fields of the draft.
    """
    pool = list(dict.fromkeys(other for other in others if other != answer))
    if len(pool) < number - 1:
        return None
    options = [answer, *rng.sample(pool, number - 1)]
    rng.shuffle(options)
    return choice(answer, options, **fields)


def choice(answer: Text, options: Sequence[Text], **fields: Any) -> Draft:
    """A draft with these options, balanced over the position of ``answer`` among them."""
    positions = tuple(str(position) for position in range(len(options)))
    balance = Balance(str(options.index(answer)), positions, f"{len(options)} options")
    return Draft(target=answer, options=tuple(options), balance=balance, **fields)


def one_of(answer: str, labels: Sequence[str], rng: random.Random, **fields: Any) -> Draft:
    """A draft whose options are fixed labels in random order, not balanced: official test sets stay whole."""
    options = rng.sample([text(label) for label in labels], len(labels))
    return Draft(target=text(answer), options=tuple(options), **fields)


def labelled(answer: str, labels: Sequence[str], rng: random.Random, *, stratum: object = "", **fields: Any) -> Draft:
    """A draft whose options are fixed labels in random order, balanced over the labels."""
    balance = Balance(answer, tuple(labels), str(stratum))
    return one_of(answer, labels, rng, balance=balance, **fields)


def yes_no(truth: bool, rng: random.Random, **fields: Any) -> Draft:
    """A draft with the options yes and no."""
    return labelled("yes" if truth else "no", YES_NO, rng, **fields)


def coin(rng: random.Random) -> bool:
    return rng.random() < 0.5
