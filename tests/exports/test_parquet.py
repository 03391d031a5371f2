"""Parquet: a round trip loses nothing, and a hostile file is refused in one line."""

import json
import os
import signal

import pytest

from ofa_mi import cli
from ofa_mi.data_prep.imports import parquet as imported
from ofa_mi.errors import DataError
from ofa_mi.exports import parquet
from ofa_mi.instances.open import open_store
from tests.instances.test_tsv import ROWS, write

pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is an extra")
pq = pytest.importorskip("pyarrow.parquet")


def test_a_round_trip_is_equal_byte_for_byte(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(parquet, "FILE_BYTES", 1)  # a file for every row group
    monkeypatch.setattr(parquet, "GROUP_ROWS", 2)
    out, back = tmp_path / "out", tmp_path / "back"
    assert cli.main(["data", "export", "--to", "parquet", str(data), str(out)]) == 0
    assert "3 instances of train" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == [
        ".ofa_mi_export",
        "croissant.json",
        "test-00000.parquet",
        "train-00000.parquet",
        "train-00001.parquet",
    ]
    assert cli.main(["data", "import-parquet", str(out), "--out", str(back)]) == 0
    for name in ("train.jsonl", "test.jsonl", "images/deep/1.png", "images/2.jpg"):
        assert (back / name).read_bytes() == (data / name).read_bytes(), name
    assert (back / "valid.jsonl").read_bytes() == b""
    assert len(open_store(back, "train")) == 3
    row = pq.read_table(out / "train-00000.parquet").to_pylist()[1]
    assert (row["question"], row["answer"]) == ("which one?", "[8, 8, 16, 24]")
    assert row["image"]["path"] == "images/2.jpg" and row["image"]["bytes"].startswith(b"\xff\xd8")


def test_an_export_is_finished_or_written_anew(data, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "train-00007.parquet").write_bytes(b"somebody's, or of an export that was stopped")
    assert cli.main(["data", "export", "--to", "parquet", str(data), str(out)]) == 2
    assert "holds 'train-00007.parquet', which no export" in capsys.readouterr().err
    (out / ".ofa_mi_export").touch()
    parquet.export(data, out)
    assert not (out / "train-00007.parquet").exists()
    for name, message in (("out", "holds a finished export"), ("mine", "holds 'notes.txt', which no export")):
        (tmp_path / "mine").mkdir(exist_ok=True)
        (tmp_path / "mine" / "notes.txt").write_text("mine")
        assert cli.main(["data", "export", "--to", "parquet", str(data), str(tmp_path / name)]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"
    assert cli.main(["data", "export", "--to", "parquet", "--seed", "3", str(data), str(tmp_path / "new")]) == 2
    assert "--seed is for --to llava" in capsys.readouterr().err


def test_images_of_tsv_files_become_files(tmp_path):
    write(tmp_path / "vqa_train.tsv", *ROWS["vqa"])
    store = open_store(tmp_path, "train")
    parquet.export(tmp_path, tmp_path / "out")
    imported.import_parquet(tmp_path / "out", tmp_path / "back")
    back = open_store(tmp_path / "back", "train")
    assert len(back) == len(store) > 0
    for first, second in zip(store, back, strict=True):
        assert first.question == second.question and first.target == second.target
        assert store.image_bytes(first) == back.image_bytes(second)


def test_the_croissant_file_names_what_is_there(data, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "FILE_BYTES", 1)
    monkeypatch.setattr(parquet, "GROUP_ROWS", 2)
    parquet.export(data, tmp_path / "out")
    found = json.loads((tmp_path / "out" / "croissant.json").read_text())
    assert found["@type"] == "sc:Dataset" and found["conformsTo"].endswith("croissant/1.0")
    assert [entry["contentUrl"] for entry in found["distribution"]] == [
        "train-00000.parquet",
        "train-00001.parquet",
        "test-00000.parquet",
    ]
    assert [entry["@id"] for entry in found["recordSet"]] == ["train-00000", "train-00001", "test"]
    assert all(len(entry["sha256"]) == 64 for entry in found["distribution"])
    columns = set(parquet.schema().names)
    for record_set in found["recordSet"]:
        assert {field["source"]["extract"]["column"] for field in record_set["field"]} == columns


def test_croissants_own_reader_agrees(data, tmp_path):
    croissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    parquet.export(data, tmp_path / "out")
    rows = list(croissant.Dataset(str(tmp_path / "out" / "croissant.json")).records("train"))
    assert len(rows) == 3


def table(**columns):
    """A table of one row as the importer wants it, but for some columns."""
    line = {"unique_id": "1", "task_name": "easy_vqa", "question": "why?", "target_txt": "so"}
    line |= {"image_path": "images/1.png", "image_size": [40, 30]} | columns.pop("line", {})
    schema = pyarrow.schema([parquet.schema().field(name) for name in ("image", "instance")])
    image = columns.pop("image", {"bytes": columns.pop("png"), "path": line["image_path"]})
    return pyarrow.Table.from_pylist([{"image": image, "instance": columns.pop("text", json.dumps(line))}], schema)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"line": {"image_path": "../outside.png"}}, "must be the relative path of an image"),
        ({"line": {"image_path": "/etc/outside.png"}}, "must be the relative path of an image"),
        ({"line": {"image_path": "train.jsonl"}}, "must be the relative path of an image"),
        ({"line": {"image_path": ".git/1.png"}}, "must be the relative path of an image"),
        ({"line": {"image_size": [41, 30]}}, "is 40x30, but image_size says"),
        ({"line": {"nonsense": 1}}, "unknown field 'nonsense'"),
        ({"text": "{"}, "not valid JSON"),
        ({"text": None}, "must be the JSON line of an instance"),
        ({"image": {"bytes": b"no image", "path": "images/1.png"}}, "is not an image that can be read"),
        ({"image": {"bytes": None, "path": "images/1.png"}}, "image must hold at most"),
        ({"image": {"bytes": b"", "path": "other.png"}}, "the image's path is 'other.png'"),
        ({"image": None}, "has no image, but its image_path says else"),
    ],
)
def test_a_bad_row_is_named(data, tmp_path, change, message):
    png = (data / "images/deep/1.png").read_bytes()
    (tmp_path / "in").mkdir()
    pq.write_table(table(png=png, **change), tmp_path / "in" / "train.parquet")
    with pytest.raises(DataError) as caught:
        imported.import_parquet(tmp_path / "in", tmp_path / "back")
    assert message in str(caught.value) and "train.parquet: row 1" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not any(path.is_file() for path in tmp_path.rglob("outside.png"))


def test_damaged_files_and_other_columns_are_refused(data, tmp_path):
    png = (data / "images/deep/1.png").read_bytes()
    folder = tmp_path / "in"
    folder.mkdir()
    path = folder / "train.parquet"
    pq.write_table(table(png=png), path)
    whole = path.read_bytes()
    other = pyarrow.table({"image": ["x"], "instance": ["y"]})
    for number, content in enumerate((b"", b"PAR1", whole[: len(whole) // 2], whole[:60] + b"\xff" * 40 + whole[100:])):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"train\.parquet") as caught:
            imported.import_parquet(folder, tmp_path / f"back{number}")
        assert "\n" not in str(caught.value)
    pq.write_table(other, path)
    with pytest.raises(DataError, match="must have the columns image: struct<bytes: binary, path: string>, instance"):
        imported.import_parquet(folder, tmp_path / "others")
    with pytest.raises(DataError, match=r"holds none of train\.parquet, valid\.parquet, test\.parquet"):
        imported.import_parquet(tmp_path, tmp_path / "none")


def test_a_file_on_which_the_library_aborts_is_refused(data, tmp_path, monkeypatch):
    parquet.export(data, tmp_path / "in")
    monkeypatch.setattr(imported, "_opened", lambda path: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(DataError, match=r"train-00000\.parquet: not a Parquet file .* aborts on it"):
        imported.import_parquet(tmp_path / "in", tmp_path / "back")


def test_a_changed_byte_of_an_image_is_noticed(data, tmp_path):
    parquet.export(data, tmp_path / "in")
    path = tmp_path / "in" / "train-00000.parquet"
    content = bytearray(path.read_bytes())
    place = content.index((data / "images/deep/1.png").read_bytes()[40:60])
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"train-00000\.parquet: not a Parquet file"):
        imported.import_parquet(tmp_path / "in", tmp_path / "back")


def test_images_of_one_name_must_be_one_image(data, tmp_path):
    rows = [table(png=(data / name).read_bytes()).to_pylist()[0] for name in ("images/deep/1.png", "images/2.jpg")]
    (tmp_path / "in").mkdir()
    pq.write_table(pyarrow.Table.from_pylist(rows, table(png=b"").schema), tmp_path / "in" / "train.parquet")
    with pytest.raises(DataError, match=r"row 2: instance '1': image .images/1\.png. differs from an earlier row's"):
        imported.import_parquet(tmp_path / "in", tmp_path / "back")


def test_without_pyarrow_the_extra_is_named(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    assert cli.main(["data", "export", "--to", "parquet", str(data), str(tmp_path / "out")]) == 2
    assert "pip install 'ofa-mi[parquet]'" in capsys.readouterr().err
