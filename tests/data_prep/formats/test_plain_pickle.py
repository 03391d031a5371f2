"""Plain pickles are read; those that would do anything are refused without doing it."""

import datetime
import io
import pickle
import subprocess

import pytest

from ofa_mi.data_prep.formats.plain_pickle import read_plain_pickle
from ofa_mi.errors import DataError
from tests.fuzzing import fuzz, mutate_bytes

PLAIN = [
    {"id": 7, "words": ["zebra", "caf\u00e9"], "score": 0.5, "big": 2**70, "on": True, "nothing": None},
    {"pair": (1, "x"), "triple": (1, 2, 3), "four": (1, 2, 3, 4), "empty": [(), [], {}], "negative": -3},
]


def written(tmp_path, content):
    path = tmp_path / "refs(unc).p"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_is_what_was_pickled(tmp_path, protocol):
    shared = ["same"]
    data = [*PLAIN, shared, shared]
    read = read_plain_pickle(written(tmp_path, pickle.dumps(data, protocol)))
    assert read == data and read[-1] is read[-2]


def test_strings_of_python_2(tmp_path):
    """``pickle.dumps([{'sent': 'two "dogs"'}])`` in Python 2, protocols 0 and 2."""
    old = b"(lp0\n(dp1\nS'sent'\np2\nS'two \"dogs\"'\np3\nsa."
    binary = b'\x80\x02]q\x00}q\x01U\x04sentq\x02U\ntwo "dogs"q\x03sa.'
    for content in (old, binary):
        assert read_plain_pickle(written(tmp_path, content)) == [{"sent": 'two "dogs"'}]


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return subprocess.check_call, (["touch", str(self.path)],)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_call_is_refused_and_not_made(tmp_path, protocol):
    touched = tmp_path / "touched"
    path = written(tmp_path, pickle.dumps([Harmful(touched)], protocol))
    with pytest.raises(DataError, match="more than plain data"):
        read_plain_pickle(path)
    assert not touched.exists()


@pytest.mark.parametrize("value", [datetime.date(2020, 1, 1), {1, 2}, b"bytes", io.BytesIO, 1j])
def test_other_objects_are_refused(tmp_path, value):
    with pytest.raises(DataError, match=r"refs\(unc\)\.p: holds more than plain data \(instruction [A-Z_]+\)"):
        read_plain_pickle(written(tmp_path, pickle.dumps([value], 4)))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        b"(lp0\nI1\na",  # no end
        b"a.",  # append to nothing
        b"I1\nI2\na.",  # append to a number
        b"(.",  # a mark as the result
        b"I1\nl.",  # a list without a mark
        b"g5\n.",  # not in the memo
        b"(I1\nd.",  # a key without a value
        b"(dI1\n(lI2\ns.",  # a list as a key
        b"}(]I1\nu.",
        b"S'caf\\xe9'\n.",  # not ASCII
        b"I12x\n.",
        b"\x8b\xff\xff\xff\x7f.",  # a number longer than the file
        b"\x8b\xff",  # the end within a length
        b"G\0\0",  # and within a number
    ],
)
def test_damaged_files_are_errors_that_name_the_file(tmp_path, content):
    with pytest.raises(DataError, match=r"refs\(unc\)\.p"):
        read_plain_pickle(written(tmp_path, content))


def test_fuzz_pickles(tmp_path):
    examples = [pickle.dumps(PLAIN, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    fuzz("plain pickles", examples, (mutate_bytes,), lambda content: read_plain_pickle(written(tmp_path, content)))


def test_a_memo_index_reserves_no_memory(tmp_path):
    """The machine of the standard library would reserve gigabytes."""
    assert read_plain_pickle(written(tmp_path, b"I5\nr\xff\xff\xff\xff.")) == 5


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_plain_pickle(tmp_path / "none.p")
