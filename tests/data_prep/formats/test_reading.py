"""Files of source data sets that are damaged: one short line, whatever they hold."""

import msgspec
import pytest

from ofa_mi.data_prep.formats.reading import read_json, read_json_lines
from ofa_mi.data_prep.imports import easy_vqa
from ofa_mi.errors import DataError


class Item(msgspec.Struct):
    name: str


@pytest.mark.parametrize("read", [read_json, read_json_lines])
@pytest.mark.parametrize(
    "content",
    [b'{"x": ' + b"[" * 100_000, b'{"name": "\xff"}', b'{"name": "\\ud800"}', b'{"name": 3', b"NaN", b"[" * 9],
)
def test_a_damaged_file_is_one_line(tmp_path, read, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.json.*: not in the official format .*download it again$") as error:
        read(tmp_path / "a.json", Item)
    assert str(error.value).isprintable() and len(str(error.value)) < 500


@pytest.mark.parametrize(
    "rows", ["[[", "[1]", '[["a", "b"]]', '[["a", "b", "c"]]', '[["a", "b", 1e999]]', "[" * 100_000]
)
def test_damaged_questions_of_easy_vqa_are_one_line(tmp_path, rows):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "questions.json").write_text(rows)
    with pytest.raises(DataError, match=r"questions\.json: not the questions of easy-VQA; reinstall"):
        easy_vqa._read_questions(tmp_path, "train")
