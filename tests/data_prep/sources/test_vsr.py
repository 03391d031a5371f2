"""VSR: statements about photos of MSCOCO, wherever these lie."""

import shutil
from collections import Counter

import pytest

from ofa_mi.data_prep.building.build import BuildOptions, build
from ofa_mi.errors import DataError
from tests.data_prep.sources.raw_tree import Lines, Picture, build_instances, write_raw


def statement(image, label, caption):
    return {
        "image": f"{image:012d}.jpg",
        "image_link": f"http://images.cocodataset.org/train2017/{image:012d}.jpg",
        "caption": caption,
        "label": label,
        "relation": "under",
        "subj": "cat",
        "obj": "car",
        "annotator_id": 1,
        "vote_true_validator_id": "[18, 2]",
        "vote_false_validator_id": "[]",
    }


STATEMENTS = [
    statement(650, 0, "The cat is under the car."),
    statement(461775, 1, "The cat is under the car."),
    statement(461775, 1, "The car is  above the cat. "),
]


def raw_folder(root, *statements):
    return write_raw(
        root,
        {
            "vsr/test.jsonl": Lines(statements),
            "coco/train2014/COCO_train2014_000000000650.jpg": Picture(64, 48),
            "coco/val2014/COCO_val2014_000000461775.jpg": Picture(48, 64),
        },
    )


def example_raw(root):
    """A raw folder from which every task is made."""
    return raw_folder(root, *STATEMENTS)


def test_statements_are_instances_in_order_of_the_file(tmp_path):
    built = build_instances(raw_folder(tmp_path / "raw", *STATEMENTS), tmp_path / "out", "vsr")
    assert not built["train"] and not built["valid"]
    found = [(i.unique_id, i.image_path, i.image_size, i.text[0], i.target[0]) for i in built["test"]]
    assert found == [
        (
            "vsr/visual_spatial_reasoning/test-1",
            "images/coco/000000000650.jpg",
            (64, 48),
            STATEMENTS[0]["caption"],
            "no",
        ),
        (
            "vsr/visual_spatial_reasoning/test-2",
            "images/coco/000000461775.jpg",
            (48, 64),
            STATEMENTS[1]["caption"],
            "yes",
        ),
        (
            "vsr/visual_spatial_reasoning/test-3",
            "images/coco/000000461775.jpg",
            (48, 64),
            "The car is above the cat.",
            "yes",
        ),
    ]
    assert all(sorted(i.options) == [("no",), ("yes",)] and i.meta_data == {"relation": "under"} for i in built["test"])


def test_statements_without_text_are_counted(tmp_path):
    raw = raw_folder(tmp_path / "raw", STATEMENTS[0], statement(650, 1, " "))
    manifest = build(raw, tmp_path / "out", BuildOptions(sources=["vsr"]))
    reason = "visual_spatial_reasoning: the statement is empty or has control characters"
    assert manifest["dropped"]["vsr"] == {reason: 1}


@pytest.mark.parametrize(("field", "value"), [("label", 2), ("image", "../000000000650.jpg")])
def test_a_bad_field_is_an_error_that_names_the_line(tmp_path, field, value):
    raw = raw_folder(tmp_path / "raw", STATEMENTS[0], {**STATEMENTS[1], field: value})
    with pytest.raises(DataError, match=rf"test\.jsonl:2: not in the official format .*{field}"):
        build_instances(raw, tmp_path / "out", "vsr")


def test_the_real_statements(real_raw, tmp_path):
    built = build_instances(real_raw, tmp_path / "out", "vsr")
    assert Counter(i.target[0] for i in built["test"]) == {"no": 20, "yes": 17}
    banana = next(i for i in built["test"] if i.text == ("The banana is part of the sandwich.",))
    assert (banana.image_path, banana.target) == ("images/coco/000000000142.jpg", ("yes",))


def test_one_set_of_the_photos_of_2017_is_refused_before_anything_is_read(tmp_path):
    raw = raw_folder(tmp_path / "raw", *STATEMENTS)
    shutil.rmtree(raw / "coco/val2014")
    write_raw(raw, {"coco/val2017/000000461775.jpg": Picture(48, 64)})
    message = (
        r"vsr: coco/val2014/ is missing .* coco/val2017/ does not replace without coco/train2017/; get it from http"
    )
    with pytest.raises(DataError, match=message):
        build_instances(raw, tmp_path / "out", "vsr")
    (raw / "coco/train2017").mkdir()
    assert len(build_instances(raw, tmp_path / "out", "vsr")["test"]) == len(STATEMENTS)
