"""Values in messages: short, printable, in one line, whatever a file holds."""

import pickle
from pathlib import Path

import pytest

from ofa_mi.errors import SHOWN, DataError, shown

DEEP = []
for _ in range(5000):
    DEEP = [DEEP]


class Silent:
    def __repr__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("cat", "'cat'"),
        ([1, 2.5, "x"], "[1, 2.5, 'x']"),
        (None, "None"),
        (Path("a folder/b.png"), "a folder/b.png"),
        (ValueError("one\ntwo"), "one two"),
        ("a\nb\x1b\ud800", r"'a\nb\x1b\ud800'"),
        (Path("a\nb"), r"'a\nb'"),
        (DEEP, "[[[[[…]]]]]"),
        (1 << 20_000, "a value of the type int"),
        (Silent(), "<Silent instance at"),
    ],
    ids=range(10),
)
def test_values_are_shown_as_they_are_written(value, text):
    assert shown(value).startswith(text)


@pytest.mark.parametrize(
    "value",
    ["x" * 10**6, ["x" * 1000] * 1000, {"x" * 1000: 1}, 10**4000, Path("x" * 5000), KeyError("x" * 5000), b"x" * 5000],
    ids=range(7),
)
def test_long_values_are_shortened(value):
    assert len(shown(value)) <= SHOWN and "…" in shown(value)


def test_the_kind_of_an_error_comes_through_another_process():
    sent = pickle.dumps(DataError("a.jsonl:1: box", kind="box"))
    error = pickle.loads(sent)  # safe: the test's own bytes, as worker processes send them
    assert (str(error), error.kind, DataError("a").kind) == ("a.jsonl:1: box", "box", "")
