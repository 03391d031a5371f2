"""DAQUAR: questions lose the name of their photo; answers of several things are right in any order."""

import re

import pytest

from ofa_mi.errors import DataError
from tests.data_prep.sources.raw_tree import Picture, build_instances, write_raw

TRAIN = (
    "what is on the left of the bed in the image3 ?\ntable\n"
    "what colors are the mugs in this image12 ?\nwhite, black\n"
    "what is on the right side of the image12 ?\ngarbage_bin\n"
    "what is it ?\nnothing\n"
)
TEST = "how many chairs are there in the image7 ?\n4\nwhat do you see in the image7 ?\na, b, c, d\n"


def raw_folder(root, train=TRAIN):
    pictures = {f"daquar/nyu_depth_images/image{n}.png": Picture(56, 42) for n in (3, 7, 12)}
    return write_raw(root, {"daquar/qa.894.raw.train.txt": train, "daquar/qa.894.raw.test.txt": TEST, **pictures})


def example_raw(root):
    """A raw folder from which every task is made."""
    return raw_folder(root)


def test_questions_and_answers(tmp_path):
    built = build_instances(raw_folder(tmp_path / "raw"), tmp_path / "out", "daquar")
    train = {instance.question[0]: instance for split in ("train", "valid") for instance in built[split]}
    assert set(train) == {
        "what is on the left of the bed",
        "what colors are the mugs",
        "what is on the right side of the image",
    }
    assert train["what is on the right side of the image"].target == ("garbage bin",)
    assert train["what is on the left of the bed"].image_path == "images/daquar/image3.png"
    mugs = train["what colors are the mugs"]
    assert mugs.target == ("white, black",) and mugs.references == ("black, white",)
    assert [(i.question[0], i.target[0], i.references) for i in built["test"]] == [
        ("how many chairs are there", "4", ()),
        ("what do you see", "a, b, c, d", ()),
    ]


def test_a_question_without_an_answer_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"train\.txt: has an odd number of lines"):
        build_instances(raw_folder(tmp_path / "raw", TRAIN + "what is in the image3 ?\n"), tmp_path / "out", "daquar")


def test_the_real_questions(real_raw, tmp_path):
    built = build_instances(real_raw, tmp_path / "out", "daquar", workers=2)
    assert sum(map(len, built.values())) == 4259
    assert built["valid"] and built["test"]
    assert not any(re.search(r"image\s*\d", instance.question[0]) for instance in built["train"])
