"""The benchmark of sources and builds, and that a build's memory does not grow with what instances hold."""

import csv

import pytest

from ofa_mi.data_prep.benchmark import in_child, main, measure_memory, write_coco
from ofa_mi.data_prep.raw import RawFolder
from ofa_mi.data_prep.sources.coco_instances import CocoInstances
from tests.data_prep.sources import test_gqa, test_nlvr


@pytest.fixture
def raw(tmp_path):
    test_gqa.example_raw(tmp_path / "raw")
    return test_nlvr.example_raw(tmp_path / "raw")


def test_table_of_sources_and_builds(raw, tmp_path, capsys):
    out = tmp_path / "results" / "table.csv"
    assert main(["--raw", str(raw), "--least", "30", "--out", str(out)]) == 0
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["what"], row["workers"], row["number"]) for row in rows] == [
        *(("gqa", "1", "2"), ("nlvr", "1", "12")),
        *(("build", "1", "14"), ("build", "2", "14")),
    ]
    for row in rows:
        assert float(row["seconds"]) >= 0 and "Python" in row["versions"] and row["machine"] and row["date"]
        assert bool(row["load"]) == (row["what"] != "build")
    assert "gqa" in capsys.readouterr().out


def test_what_cannot_be_measured_is_an_error(raw, tmp_path, capsys):
    for arguments, message in (
        (["--raw", str(raw), "--sources", "nlvr", "vcr"], "no folder holds the files of vcr"),
        (["--raw", str(raw), "--sources", "nlvr2"], "nlvr2: unknown"),
        (["--raw", str(raw), str(tmp_path)], "a build has one folder"),
        ([], "give --raw, --coco or --memory"),
    ):
        assert main(arguments) == 2
        assert message in capsys.readouterr().err


def test_made_up_annotations_make_every_task_of_coco(tmp_path):
    write_coco(tmp_path / "coco/annotations/instances_train2014.json", 50)
    source = CocoInstances(RawFolder(tmp_path), CocoInstances.tasks)
    assert {c.task for unit in source.load() for c in source.convert(unit)} == set(CocoInstances.tasks)


@pytest.mark.slow
def test_memory_grows_by_the_index_alone():
    """A candidate takes 48 bytes, some while they are sorted; kept as Python objects, it would take thousands."""
    few, many = 10_000, 90_000
    grown = in_child(lambda: measure_memory(many)).peak - in_child(lambda: measure_memory(few)).peak
    assert grown * 2**20 / (many - few) < 400
