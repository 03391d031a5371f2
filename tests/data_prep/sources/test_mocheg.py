"""MOCHEG: evidence of a claim is gathered, its verdict is the answer and stands nowhere else."""

import csv
import io
import json

import pytest

from ofa_mi.errors import DataError
from tests.data_prep.sources.raw_tree import Picture, build_instances, write_raw

COLUMNS = ("claim_id", "Claim", "Evidence", "cleaned_truthfulness", "ruling_outline")
ROWS = (
    ("7", "A bridge fell, <b>twice</b>.", "<p>The bridge is&nbsp;up.</p>", "refuted", "We rate this claim False."),
    ("7", "A bridge fell, <b>twice</b>.", "<p>Nobody saw it.</p>", "refuted", "We rate this claim False."),
    ("7", "A bridge fell, <b>twice</b>.", "<p>Nobody saw it.</p>", "refuted", "We rate this claim False."),
    ("8", "It rained.", "Wet streets.", "supported", ""),
    ("9", "It snowed.", "Cold, \"very\" cold.", "NEI", ""),
    ("10", "No picture.", "None.", "NEI", ""),
    ("11", "No evidence.", "", "NEI", ""),
)  # fmt: skip
IMAGES = (  # with leading zeros, as in the archive; the table has none
    *("00007-proof-00-abc.jpg", "00007-proof-01-def.jpg", "00008-proof-00-a.jpg", "9-proof-02-b.png"),
    *("00011-proof-00-c.jpg", "00100007-proof-00-d.jpg"),
)


def raw_folder(root, rows=ROWS):
    table = io.StringIO()
    csv.writer(table).writerows([COLUMNS, *rows])
    pictures = {f"mocheg/train/images/{name}": Picture(60, 40) for name in IMAGES}
    return write_raw(root, {"mocheg/train/Corpus2.csv": table.getvalue(), **pictures})


def example_raw(root):
    """A raw folder from which every task is made."""
    return raw_folder(root)


def test_claims_with_their_evidence(tmp_path):
    built = build_instances(raw_folder(tmp_path / "raw"), tmp_path / "out", "mocheg")
    found = {instance.text[0]: instance for split in ("train", "valid") for instance in built[split]}
    assert {claim: instance.target[0] for claim, instance in found.items()} == {
        "A bridge fell, twice .": "no",
        "It rained.": "yes",
        "It snowed.": "not sure",
    }
    bridge = found["A bridge fell, twice ."]
    assert bridge.context == (("The bridge is up.",), ("Nobody saw it.",))
    assert bridge.image_path.startswith("images/mocheg/00007-proof-0")
    assert sorted(option[0] for option in bridge.options) == ["no", "not sure", "yes"]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    assert manifest["dropped"]["mocheg"] == {
        "multimodal_factual_checking: claim or evidence is empty or has control characters": 1,
        "multimodal_factual_checking: it has no image, or its image is missing": 1,
    }


def test_claims_without_images_are_said_where_they_are_many(tmp_path, caplog):
    few = [(str(number), f"Claim {number}.", "Evidence.", "NEI", "") for number in (7, 8, 12)]
    build_instances(raw_folder(tmp_path / "raw", few), tmp_path / "few", "mocheg")
    assert not caplog.records
    many = [*few, ("13", "Claim 13.", "Evidence.", "NEI", "")]
    build_instances(raw_folder(tmp_path / "raw", many), tmp_path / "many", "mocheg")
    assert "mocheg: 2 of 4 candidates of multimodal_factual_checking are left out" in caplog.text


def test_a_claim_without_a_number_is_an_error(tmp_path):
    raw = raw_folder(tmp_path / "raw", [("a1", "x", "y", "NEI", "")])
    with pytest.raises(DataError, match=r"Corpus2\.csv: row 1: claim_id 'a1' is not a number"):
        build_instances(raw, tmp_path / "out", "mocheg")


def test_an_unknown_verdict_is_an_error(tmp_path):
    raw = raw_folder(tmp_path / "raw", [("1", "x", "y", "half-true", "")])
    with pytest.raises(DataError, match=r"Corpus2\.csv: row 1: verdict 'half-true' is none of supported"):
        build_instances(raw, tmp_path / "out", "mocheg")
