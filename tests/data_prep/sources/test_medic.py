"""MEDIC: three tasks, each with the labels of its own column."""

import pytest

from ofa_mi.errors import DataError
from tests.data_prep.sources.raw_tree import Picture, build_instances, of_task, write_raw

HEADER = "image_id\tevent_name\timage_path\tdamage_severity\tinformative\thumanitarian\tdisaster_types\n"
ROWS = (
    "1\tecuador_eq\tdata/a/eq_1.jpg\tmild\tinformative\tnot_humanitarian\tearthquake\n"
    "2\tno_event\tdata/b/2.jpg\tlittle_or_none\tnot_informative\tnot_humanitarian\tnot_disaster\n"
)


def raw_folder(root, rows=ROWS):
    pictures = {"medic/data/a/eq_1.jpg": Picture(64, 48), "medic/data/b/2.jpg": Picture(80, 40)}
    return write_raw(root, {"medic/MEDIC_test.tsv": HEADER + rows, **pictures})


def example_raw(root):
    """A raw folder from which every task is made."""
    return raw_folder(root)


def test_every_column_has_its_own_options(tmp_path):
    built = build_instances(raw_folder(tmp_path / "raw"), tmp_path / "out", "medic")
    expected = {
        "disaster_type_classification": (["earthquake", "not disaster"], 7),
        "disaster_informativeness": (["informative", "not informative"], 2),
        "damage_severity_classification": (["mild damage", "little or none damage"], 3),
    }
    for task, (answers, number) in expected.items():
        instances = of_task(built, task, "test")
        assert [instance.target[0] for instance in instances] == answers
        assert all(len(set(instance.options)) == number for instance in instances)
    assert len(built["test"]) == 6 and len({instance.image_path for instance in built["test"]}) == 2


def test_an_unknown_label_is_an_error(tmp_path):
    raw = raw_folder(tmp_path / "raw", ROWS.replace("earthquake", "tsunami"))
    with pytest.raises(DataError, match=r"MEDIC_test\.tsv: row 1: disaster_types 'tsunami' is none of earthquake"):
        build_instances(raw, tmp_path / "out", "medic")


def test_a_missing_column_is_an_error(tmp_path):
    raw = write_raw(raw_folder(tmp_path / "raw"), {"medic/MEDIC_test.tsv": "image_path\ndata/a/eq_1.jpg\n"})
    with pytest.raises(DataError, match="has no column 'disaster_types'"):
        build_instances(raw, tmp_path / "out", "medic")
