"""What the fuzz tests of the readers rest on: a crash is found, an error of the package is none, and it repeats."""

import csv
import json
import time
from random import Random

import pytest

import tests.fuzzing as fuzzing
from ofa_mi.errors import DataError
from tests.fuzzing import fuzz, mutate_bytes, mutate_json, mutate_json_lines, mutation, write_json

EXAMPLE = json.dumps({"name": "a", "box": [1, 2.5, 3, 4], "inner": {"on": True, "list": []}}).encode()
MUTATORS = (mutate_bytes, mutate_json, mutate_json_lines)


def test_mutations_repeat_and_differ():
    made = [mutation("reader", number, [EXAMPLE], MUTATORS) for number in range(300)]
    assert made == [mutation("reader", number, [EXAMPLE], MUTATORS) for number in range(300)]
    assert len(set(made)) > 240


def test_json_stays_json_under_changes_to_its_values():
    made = [mutate_json(EXAMPLE, Random(number)) for number in range(300)]
    well_formed = [text for text in made if not text.startswith(b"[" * 1000) and b"9" * 4301 not in text]
    for text in well_formed:
        try:
            json.loads(text)
        except RecursionError:
            assert len(text) > 10_000
    assert len(set(made)) > 120


def test_any_length_of_number_is_written():
    assert write_json({"a": [10**6000]}).startswith('{"a": [1000')


def refuse(data):
    raise DataError("file: not good")


def read_example_only(data):
    if data != EXAMPLE:
        refuse(data)


def test_errors_of_the_package_are_no_findings():
    outcome = fuzz("good", [EXAMPLE], MUTATORS, read_example_only, count=50)
    assert (outcome.mutations, outcome.findings) == (50, 0)
    assert outcome.refused >= 45


@pytest.mark.parametrize(
    ("fault", "finding"),
    [
        (lambda: {}["missing"], "KeyError"),
        (lambda: refuse_with("two\nlines"), "several lines"),
        (lambda: refuse_with("x" * 2000), "2,000 characters"),
        (lambda: refuse_with("\x1b[2J"), "cannot be printed"),
        (lambda: bytearray(1 << 34), "MemoryError"),
        (lambda: read_deep(), "RecursionError"),
    ],
)
def test_anything_else_is_a_finding(fault, finding):
    def read(data):
        if data != EXAMPLE:
            fault()

    with pytest.raises(AssertionError, match=finding):
        fuzz("bad", [EXAMPLE], MUTATORS, read, count=5)


def refuse_with(message):
    raise DataError(message)


def read_deep():
    return json.loads("[" * 100_000)


def test_a_row_for_each_reader(tmp_path, monkeypatch):
    table = tmp_path / "table.csv"
    monkeypatch.setattr(fuzzing, "TABLE", str(table))
    fuzz("one", [EXAMPLE], MUTATORS, read_example_only, count=5)
    fuzz("two", [EXAMPLE], MUTATORS, lambda data: time.sleep(0), count=7)
    rows = list(csv.DictReader(table.open()))
    assert [(row["reader"], row["mutations"], row["findings"]) for row in rows] == [
        ("one", "5", "0"),
        ("two", "7", "0"),
    ]
