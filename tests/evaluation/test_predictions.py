"""Predictions on disk: what is written is read back, whenever the writer was killed."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_mi.data.encoding import Answer
from ofa_mi.errors import ConfigError, DataError
from ofa_mi.evaluation.predictions import PredictionWriter, Record, read_predictions, write_sorted
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
        (lambda record: record.pop("scores"), "missing or unknown fields scores"),
        (lambda record: record.update(more=1), "missing or unknown fields more"),
        (lambda record: record.update(instruction="0"), "instruction has the wrong type"),
        (lambda record: record.update(target_boxes=["yes"]), "target_boxes: must hold boxes only"),
        (lambda record: record.update(options=[3]), "options: expected text"),
        (lambda record: record.update(prediction={"text": "a"}), "prediction must have text and boxes"),
        (lambda record: record.update(scores={}), "scores is empty"),
        (lambda record: record.update(references=[1]), "references must hold strings"),
        (lambda record: record.update(answers="yes"), "answers has the wrong type"),
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
    path.write_bytes(b"\xff\n")
    with pytest.raises(DataError, match=r"p\.jsonl:1: not valid JSON"):
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
