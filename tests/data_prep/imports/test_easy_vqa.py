"""easy-VQA as a data directory: nothing lost, no image in two splits, a second run changes nothing."""

import importlib.util
import json

import pytest

from ofa_mi.data_prep.imports import easy_vqa
from ofa_mi.errors import DataError
from ofa_mi.instances.instance import Instance

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("easy_vqa") is None, reason="the package easy-vqa is not installed"
)


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    out = tmp_path_factory.mktemp("easy_vqa")
    return out, easy_vqa.convert(out, valid_fraction=0.1, seed=3)


def read(out, split):
    path = out / f"{split}.jsonl"
    return [Instance.from_json(line, f"{path}:{n}") for n, line in enumerate(path.read_bytes().splitlines(), 1)]


@needs_package
def test_every_question_is_converted_once(converted):
    out, manifest = converted
    counts = {split: tasks["easy_vqa"] for split, tasks in manifest["counts"].items()}
    assert counts["train"] + counts["valid"] == 38_575 and counts["test"] == 9_673
    instances = [instance for split in counts for instance in read(out, split)]
    assert len({instance.unique_id for instance in instances}) == len(instances) == 48_248
    source = json.loads((easy_vqa.package_data() / "test" / "questions.json").read_bytes())
    test = [(i.question[0], i.target[0], i.image_path) for i in read(out, "test")]
    assert test == [(question, answer, f"images/test/{image}.png") for question, answer, image in source]


@needs_package
def test_splits_share_no_image(converted):
    out, _ = converted
    images = [{instance.image_path for instance in read(out, split)} for split in ("train", "valid", "test")]
    assert [len(paths) for paths in images] == [3600, 400, 1000]
    assert len(set.union(*images)) == 5000
    assert all((out / path).exists() for path in set.union(*images))
    assert {instance.image_size for instance in read(out, "valid")} == {(64, 64)}


@needs_package
def test_finished_output_is_kept_and_other_settings_are_refused(converted):
    out, manifest = converted
    before = (out / "valid.jsonl").stat().st_mtime_ns
    assert easy_vqa.convert(out, valid_fraction=0.1, seed=3) == manifest
    assert (out / "valid.jsonl").stat().st_mtime_ns == before
    with pytest.raises(DataError, match=r"seed 3, now 4.*delete the folder or give another --out"):
        easy_vqa.convert(out, valid_fraction=0.1, seed=4)


def test_missing_package_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install easy-vqa"):
        easy_vqa.convert(tmp_path / "out")
    assert not (tmp_path / "out").exists()
