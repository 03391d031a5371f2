"""Predictions on disk: what is written is read back, whenever the writer was killed."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_mi.data.encoding import Answer
from ofa_mi.errors import ConfigError, DataError
from ofa_mi.evaluation.predictions import PredictionWriter, Record, read_predictions, write_sorted
from ofa_mi.utils import appending
from tests.conftest import full_disk

RECORD = Record(
    unique_id="a",
    task="nlvr",
    task_version=1,
    group="commonsense",
    split="eval",
    subset="part",
    instruction=0,
    instruction_id="nlvr/1",
    prompt="is it\nso? “ü”",
    mode="generate",
    prompt_style="instruction",
    perturb="typos",
    image="given",
    data_dir=0,
    image_path="i.png",
    image_size=(10, 20),
    regions=((0, 0, 5, 5),),
    options=(("yes",), ("the ", (1, 2, 3, 4), " one"), ((1, 2, 3, 4),)),
    prediction=Answer("yes", ((0.5, 1.25, 3, 4), (1, 1, 2, 2))),
    references=("yes", "ja"),
    answers=("yes", "no", "", "yes"),
    target_boxes=((1, 2, 3, 4),),
    target_set=(),
    scores={"accuracy": 100.0},
    option_scores=(-1.5, -2.0, -0.1),
)


def write(path, *names, mode="ab"):
    with open(path, mode) as file:
        file.writelines(replace(RECORD, unique_id=name).to_json() for name in names)


def test_a_record_is_read_back_as_it_was():
    line = RECORD.to_json()
    assert line.count(b"\n") == 1
    assert Record.from_json(line, "f:1") == RECORD
    bare = replace(RECORD, image_path=None, image_size=None, options=None, target_set=None, option_scores=None)
    assert Record.from_json(bare.to_json(), "f:1") == bare


def test_a_file_from_before_there_were_answers_and_photos_is_read():
    record = json.loads(RECORD.to_json())
    del record["answers"], record["photo"]
    record["references"] = ["", "yes", "\u200b"]
    old = Record.from_json(json.dumps(record).encode(), "f:1")
    assert old.answers == () and old.truth.references == ("yes",)
    assert old.photo is None and old.image_key == ("image", "0", "i.png")


def test_answers_about_one_photo_share_its_key_whatever_its_path():
    first = replace(RECORD, photo="coco 139")
    other = replace(first, unique_id="b", task="gqa", data_dir=1, image_path="j.png")
    assert first.image_key == other.image_key != replace(other, photo="coco 140").image_key
    assert Record.from_json(other.to_json(), "f:1") == other
    text = replace(RECORD, image_path=None, image_size=None)
    assert text.image_key != replace(text, unique_id="b").image_key


@given(st.integers(0, 3), st.data())
@settings(max_examples=40, deadline=None)
def test_a_file_cut_anywhere_keeps_its_complete_lines(tmp_path_factory, count, data):
    path = tmp_path_factory.mktemp("cut") / "p.jsonl"
    write(path, *"abc"[:count])
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut])
    kept = content[:cut].count(b"\n")
    with PredictionWriter(path) as writer:
        assert {key[2] for key in writer.done} == set("abc"[:kept])
        writer.write(replace(RECORD, unique_id=name) for name in "abc"[kept:count])
    assert path.read_bytes() == content


def test_a_long_half_line_is_cut_off(tmp_path):
    path = tmp_path / "p.jsonl"
    write(path, "a")
    whole = path.read_bytes()
    for start in (whole, b""):
        path.write_bytes(start + b"x" * 200_000)
        PredictionWriter(path).__exit__()
        assert path.read_bytes() == start


def test_two_processes_cannot_write_one_file(tmp_path):
    with PredictionWriter(tmp_path / "p.jsonl"), pytest.raises(ConfigError, match="another process"):
        PredictionWriter(tmp_path / "p.jsonl")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record.pop("scores"), "Object missing required field `scores`"),
        (lambda record: record.update(more=1), "Object contains unknown field `more`"),
        (lambda record: record.update(instruction="0"), r"Expected `int`, got `str` - at `\$\.instruction`"),
        (lambda record: record.update(data_dir=-1), r"Expected `int` >= 0 - at `\$\.data_dir`"),
        (lambda record: record.update(split="test"), "Invalid enum value 'test'"),
        (lambda record: record.update(task="\x1b[2J"), r"matching regex .* - at `\$\.task`"),
        (lambda record: record.update(instruction_id="a//2"), r"matching regex .* - at `\$\.instruction_id`"),
        (lambda record: record.update(instruction_id="2"), r"matching regex .* - at `\$\.instruction_id`"),
        (lambda record: record.update(target_boxes=["yes"]), r"Expected `array`, got `str` - at `\$\.target_boxes"),
        (lambda record: record.update(target_boxes=[[0, 0, 1]]), r"`array` of length >= 4 - at `\$\.target_boxes"),
        (lambda record: record.update(regions=[[0, 0, 1, 1e300]]), r"`float` <= .* - at `\$\.regions"),
        (lambda record: record.update(options=[3]), r"Expected `str \| array`, got `int` - at `\$\.options"),
        (lambda record: record.update(options=[[1, 2, 3, "a"]]), "options: expected text"),
        (lambda record: record.update(prediction={"text": "a"}), "missing required field `boxes` - at `..prediction`"),
        (lambda record: record.update(scores={}), r"Expected `object` of length >= 1 - at `\$\.scores`"),
        (lambda record: record.update(scores={"iou": 1e300}), r"`float` <= 1000.0 - at `\$\.scores"),
        (lambda record: record.update(references=[1]), r"Expected `str`, got `int` - at `\$\.references"),
        (lambda record: record.update(answers="yes"), "Expected `array`, got `str`"),
        (lambda record: record.update(image_size=[0, 3]), "Expected `int` >= 1"),
    ],
)
def test_a_bad_line_is_named(tmp_path, change, message):
    path = tmp_path / "p.jsonl"
    write(path, "a")
    record = json.loads(RECORD.to_json())
    change(record)
    with open(path, "a") as file:
        file.write(json.dumps(record) + "\n")
    with pytest.raises(DataError, match=rf"p\.jsonl:2: .*{message}"):
        list(read_predictions(path))


def test_garbage_and_repetition_are_named(tmp_path):
    path = tmp_path / "p.jsonl"
    write(path, "a", "b", "a")
    with pytest.raises(DataError, match=r"p\.jsonl:3: instance 'a' is answered under nlvr/1 on line 1 already"):
        list(read_predictions(path))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"\xff", r"p\.jsonl:1: not a prediction \(JSON is malformed"),
        (RECORD.to_json()[:40], r"p\.jsonl:1: not a prediction \(JSON is malformed"),
        (
            RECORD.to_json().replace(b'"nlvr"', b'"\xff"'),
            r"p\.jsonl:1: not a prediction \(not UTF-8: invalid start byte",
        ),
        (RECORD.to_json().replace(b'"part"', b'"\\ud800"'), r"p\.jsonl:1: not a prediction"),
        (RECORD.to_json().replace(b"100.0", b"NaN"), r"p\.jsonl:1: not a prediction \(JSON is malformed"),
        (RECORD.to_json().replace(b'"part"', b"[" * 100_000), r"p\.jsonl:1: not a prediction"),
        (b"[" * 100_000, r"p\.jsonl:1: not a prediction"),
    ],
)
def test_what_is_no_json_of_ours_is_named(tmp_path, line, message):
    path = tmp_path / "p.jsonl"
    path.write_bytes(line + b"\n")
    with pytest.raises(DataError, match=message):
        list(read_predictions(path))


def test_a_line_cannot_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(appending, "LONGEST_LINE", 2000)
    path = tmp_path / "p.jsonl"
    write(path, "a")
    with path.open("ab") as file:
        file.write(b"x" * 10_000)
    with pytest.raises(DataError, match=r"p\.jsonl:2: longer than 2,000 bytes"):
        list(read_predictions(path))


def test_files_are_merged_in_order(tmp_path):
    write(tmp_path / "1", "c", "a")
    write(tmp_path / "2", "d", "b")
    write_sorted([tmp_path / "1", tmp_path / "2"], tmp_path / "all")
    assert [record.unique_id for record in read_predictions(tmp_path / "all")] == list("abcd")


def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_space(tmp_path):
    path = tmp_path / "predictions.jsonl"
    records = [replace(RECORD, unique_id=str(number)) for number in range(3)]
    room = int(2.5 * len(records[0].to_json()))
    with (
        full_disk(room),
        pytest.raises(DataError, match=r"predictions\.jsonl: cannot be written \(File too large\)"),
        PredictionWriter(path) as writer,
    ):
        for record in records:
            writer.write([record])
    with PredictionWriter(path) as writer:
        assert writer.done == {record.key for record in records[:2]}
        writer.write(records[2:])
    assert list(read_predictions(path)) == [replace(r, where=f"{path}:{n}") for n, r in enumerate(records, start=1)]
