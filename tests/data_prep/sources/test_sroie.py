"""SROIE: lines of receipts, their boxes, and groups of texts of about the same length."""

import json

import pytest

from ofa_mi.errors import DataError
from tests.data_prep.sources.raw_tree import Picture, build_instances, of_task, write_raw

LINES = {
    "SHOP, LTD": (10, 10, 100, 30), "TEL: 123": (10, 40, 90, 60), "TOTAL": (10, 70, 60, 90), "9.00": (70, 70, 110, 90),
    "THANK YOU": (10, 100, 95, 120), "CASH": (10, 130, 50, 150),
}  # fmt: skip


def corners(box, text):
    x0, y0, x1, y1 = box
    return f"{x0},{y0},{x1},{y0},{x1},{y1},{x0},{y1},{text}\r\n"


def raw_folder(root, extra=""):
    text = "".join(corners(box, line) for line, box in LINES.items())
    twice = corners((60, 130, 90, 150), "0.00") + corners((100, 130, 120, 150), "0.00")
    outside = corners((500, 10, 560, 20), "gone")
    return write_raw(
        root,
        {
            "sroie/train/X1.jpg": Picture(130, 200),
            "sroie/train/X1.txt": text + twice + outside + extra,
            "sroie/train/X2.jpg": Picture(50, 50),
            "sroie/train/X2.txt": corners((1, 1, 20, 10), "CAF\u00c9").encode("cp1252"),
        },
    )


def example_raw(root):
    """A raw folder from which every task is made."""
    return raw_folder(root)


def test_every_line_is_read_and_those_that_stand_once_are_looked_for(tmp_path):
    built = build_instances(raw_folder(tmp_path / "raw"), tmp_path / "out", "sroie")
    read = {(i.target[0], i.regions[0]) for i in of_task(built, "sroie_text_extraction")}
    first = {*LINES.items(), ("0.00", (60, 130, 90, 150)), ("0.00", (100, 130, 120, 150))}
    assert read == {*first, ("CAF\u00c9", (1, 1, 20, 10))}
    found = of_task(built, "sroie_text_localization")
    assert {instance.text[0] for instance in found} == {"CASH", "9.00", "TOTAL", "TEL: 123"}, (
        "those of the most alike lengths"
    )
    for instance in found:
        assert instance.target == (LINES[instance.text[0]],)
        assert set(instance.options) == {(LINES[other.text[0]],) for other in found}
    dropped = json.loads((tmp_path / "out" / "manifest.json").read_bytes())["dropped"]["sroie"]
    assert dropped["all tasks: a line without text, or whose box is not on the scan"] == 1
    assert dropped["sroie_text_localization: the text stands twice on the receipt"] == 2
    assert dropped["sroie_text_localization: left over from groups of four"] == 2 + 1


def test_a_broken_line_is_an_error_that_names_it(tmp_path):
    with pytest.raises(DataError, match=r"X1\.txt:10: expected eight numbers"):
        build_instances(raw_folder(tmp_path / "raw", "1,2,3,text\n"), tmp_path / "out", "sroie")


def test_the_real_receipts(real_raw, tmp_path):
    built = build_instances(real_raw, tmp_path / "out", "sroie", workers=2)
    extraction = of_task(built, "sroie_text_extraction")
    assert len(extraction) > 8000 and len({i.image_path for i in extraction}) == 150
    assert len(of_task(built, "sroie_text_localization")) > 4000
