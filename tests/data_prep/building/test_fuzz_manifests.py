"""What a conversion keeps beside its data, mutated: manifests, cards, versions of tasks."""

import json
from types import SimpleNamespace

import pytest

from ofa_mi.commands.data.shared import print_counts, print_notes
from ofa_mi.data_prep.building.build import Details
from ofa_mi.data_prep.building.output import SPLITS, OutputDirectory
from ofa_mi.data_prep.check.card import open_card
from ofa_mi.data_prep.check.checking import _check_manifests
from ofa_mi.data_prep.check.page import _origins
from ofa_mi.document.html import to_html
from ofa_mi.document.markdown import to_markdown
from ofa_mi.errors import DataError
from ofa_mi.instructions.registry import default_registry
from ofa_mi.instructions.versions import compare, read_versions
from tests.fuzzing import fuzz, mutate_bytes, mutate_json

JSON = (mutate_json, mutate_json, mutate_json, mutate_bytes)
SETTINGS = {"seed": 0, "sources": ["toys"], "max": {"train": 4}}
MANIFEST = {
    **{"converter": "build", "version": 1, "settings": SETTINGS, "complete": True},
    "counts": {split: {"nlvr": 4, "text_vqa": 2} for split in SPLITS},
    **{"dropped": {"toys": {"nlvr: no caption": 1}}, "repaired": {"toys": {}}},
    **{"left_out": 2, "excluded_eval_images": 0, "left_out_names": ["a", 1, None]},
}


def names(path):
    def check(error):
        assert str(path) in str(error), f"does not name {path.name}: {error}"

    return check


def test_fuzz_manifests(tmp_path, capsys):
    """A converter comes to a directory, and prints what it finds there."""
    for split in SPLITS:
        (tmp_path / f"{split}.jsonl").touch()
    path = tmp_path / "manifest.json"

    def read(content):
        path.write_bytes(content)
        output = OutputDirectory(tmp_path, converter="build", version=1, settings=SETTINGS, details=Details)
        if output.finished:
            print_counts("out", output.finished)
            print_notes(output.finished)

    fuzz("manifests", [json.dumps(MANIFEST).encode()], JSON, read, check=names(tmp_path))


def test_fuzz_checked_manifests(tmp_path):
    """A manifest that is checked is a finding at worst, and is shown in the card."""
    path = tmp_path / "manifest.json"
    file = SimpleNamespace(directory=tmp_path, split="train", name="train.jsonl")

    def read(content):
        path.write_bytes(content)
        found = []
        findings = SimpleNamespace(add=lambda kind, file, line, message: found.append(message))
        scan = SimpleNamespace(files=[file], findings=findings, counts={})
        for block in _origins(_check_manifests([tmp_path], scan)):
            to_html(block)
            to_markdown(block)
        assert all(message.isprintable() and len(message) < 1000 for message in found), found
        json.dumps(found).encode()

    fuzz("checked manifests", [json.dumps(MANIFEST).encode()], JSON, read)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counts": {"va\u2028lid": {"nlvr": 1}}}, "matching regex .* - at `key"),  # found by fuzzing
        ({"counts": {"train": {"nl\x7fvr": 1}}}, "matching regex .* - at `key"),  # found by fuzzing
        ({"counts": {"train": {"nlvr": -1}}}, "Expected `int` >= 0"),
        ({"counts": {"train": {"nlvr": None}}}, "Expected `int`, got `null`"),
        ({"settings": ["a"]}, "Expected `object`, got `array`"),
        ({"converter": "x" * 5000}, "holds data made with other settings .converter 'xxx"),
        ({"settings": {"a": [[]] * 3}}, r"holds data made with other settings .a \[\[\], \[\], \[\]\], now None"),
        ({"dropped": {"toys": 3}}, "Expected `object`, got `int` - at `..dropped"),
        ({"left_out": "2"}, "Expected `int`, got `str` - at `..left_out`"),
    ],
)
def test_a_damaged_manifest_names_the_place(tmp_path, change, message):
    for split in SPLITS:
        (tmp_path / f"{split}.jsonl").touch()
    (tmp_path / "manifest.json").write_text(json.dumps(MANIFEST | change))
    with pytest.raises(DataError, match=message) as error:
        OutputDirectory(tmp_path, converter="build", version=1, settings=SETTINGS, details=Details)
    assert str(tmp_path) in str(error.value) and len(str(error.value)) < 1000


def test_fuzz_cards(tmp_path):
    path = tmp_path / "card.json"
    good = {"title": "a", "examples": [{"picture_name": "nlvr-1.jpg", "task": "nlvr"}, {"picture_name": None}]}

    def read(content):
        path.write_bytes(content)
        assert all("/" not in name and name not in (".", "..") for name in open_card(tmp_path))

    fuzz("cards", [json.dumps(good).encode()], JSON, read, check=names(path))


def test_fuzz_versions(tmp_path):
    path = tmp_path / "versions.json"
    specs = [default_registry()["nlvr"]]

    def read(content):
        path.write_bytes(content)
        compare(specs, read_versions(path))

    fuzz("versions", [b'{"nlvr": {"version": 1, "hash": "0"}, "nlvr/de": {"version": 2, "hash": "1"}}'], JSON, read)
