"""SNLI-VE: labels become yes, not sure and no; pairs without a label are counted."""

from collections import Counter

import pytest

from ofa_mi.data_prep.building.build import BuildOptions, build
from ofa_mi.errors import DataError
from tests.data_prep.sources.raw_tree import Lines, Picture, build_instances, write_raw


def pair(number, label, statement="A dog runs.", photo="4705552913"):
    return {
        "Flickr30K_ID": photo,
        "annotator_labels": [label],
        "captionID": f"{photo}.jpg#2",
        "gold_label": label,
        "pairID": f"{photo}.jpg#2r{number}",
        "sentence1": "A caption that is not shown.",
        "sentence2": statement,
    }


def raw_folder(root, *pairs, folder="flickr30k-images"):
    images = {f"flickr30k/{folder}/{photo}.jpg": Picture(50, 40) for photo in {p["Flickr30K_ID"] for p in pairs}}
    return write_raw(root, {"snli_ve/snli_ve_test.jsonl": Lines(pairs), **images})


def example_raw(root):
    """A raw folder from which every task is made."""
    return raw_folder(root, pair(1, "entailment"), pair(2, "neutral"), pair(3, "contradiction"))


def test_labels_become_answers(tmp_path):
    pairs = [pair(1, "entailment"), pair(2, "neutral"), pair(3, "contradiction", "A  cat\tsleeps. ", "123")]
    built = build_instances(raw_folder(tmp_path / "raw", *pairs), tmp_path / "out", "snli_ve")
    assert not built["train"] and not built["valid"]
    found = {i.unique_id: (i.image_path, i.text, i.target) for i in built["test"]}
    assert found == {
        "snli_ve/visual_entailment/4705552913.jpg#2r1": ("images/flickr30k/4705552913.jpg", ("A dog runs.",), ("yes",)),
        "snli_ve/visual_entailment/4705552913.jpg#2r2": (
            "images/flickr30k/4705552913.jpg",
            ("A dog runs.",),
            ("not sure",),
        ),
        "snli_ve/visual_entailment/123.jpg#2r3": ("images/flickr30k/123.jpg", ("A cat sleeps.",), ("no",)),
    }
    for instance in built["test"]:
        assert sorted(instance.options) == [("no",), ("not sure",), ("yes",)]
        assert instance.image_size == (50, 40)
        assert "caption" not in str(instance.to_record())


def test_pairs_that_cannot_be_used_are_counted(tmp_path):
    pairs = [pair(1, "entailment"), pair(2, "-"), pair(3, "-"), pair(4, "neutral", " "), pair(5, "neutral", "a\x00b")]
    raw = raw_folder(tmp_path / "raw", *pairs, folder="flickr30k_images")
    manifest = build(raw, tmp_path / "out", BuildOptions(sources=["snli_ve"]))
    assert manifest["counts"]["test"] == {"visual_entailment": 1}
    assert manifest["dropped"]["snli_ve"] == {
        "visual_entailment: the annotators did not agree on a label": 2,
        "visual_entailment: the statement is empty or has control characters": 2,
    }


@pytest.mark.parametrize(("field", "value"), [("gold_label", "perhaps"), ("Flickr30K_ID", "../../secret")])
def test_a_bad_field_is_an_error_that_names_the_line(tmp_path, field, value):
    raw = raw_folder(tmp_path / "raw", pair(1, "neutral"))
    write_raw(raw, {"snli_ve/snli_ve_test.jsonl": Lines([pair(1, "neutral"), {**pair(2, "neutral"), field: value}])})
    with pytest.raises(DataError, match=rf"snli_ve_test\.jsonl:2: not in the official format .*{field}"):
        build_instances(raw, tmp_path / "out", "snli_ve")


def test_the_real_pairs(real_raw, tmp_path):
    built = build_instances(real_raw, tmp_path / "out", "snli_ve", workers=2)
    assert Counter(i.target[0] for i in built["test"]) == {"no": 1260, "yes": 1188, "not sure": 769}
    assert len({i.image_path for i in built["test"]}) == 233
    first = Counter(i.options[0][0] for i in built["test"])
    assert min(first.values()) > 1000  # of 3,217: options are in random order
