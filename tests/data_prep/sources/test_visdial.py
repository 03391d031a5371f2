"""VisDial: the context of a question is what was said before it, and nothing else."""

import pytest

from ofa_mi.data_prep.building.build import BuildOptions, build
from ofa_mi.errors import DataError
from tests.data_prep.sources.raw_tree import Picture, build_instances, read_instances, write_raw

QUESTIONS = ["is the photo in color", "how many beds are there?", "what is on the wall", ""]
ANSWERS = ["yes", "just  1", "a poster of a band", ""]


def dialog(image, *rounds, caption="a bedroom with posters"):
    turns = [
        {"question": question, "answer": answer, "answer_options": [answer, 0, 1], "gt_index": 0}
        for question, answer in rounds
    ]
    return {"image_id": image, "caption": caption, "dialog": turns}


def raw_folder(root, *dialogs):
    data = {"dialogs": dialogs, "questions": QUESTIONS, "answers": ANSWERS}
    images = {
        f"visdial/VisualDialog_val2018/VisualDialog_val2018_{d['image_id']:012d}.jpg": Picture(50, 40) for d in dialogs
    }
    return write_raw(
        root, {"visdial/visdial_1.0_val.json": {"version": "1.0", "split": "val2018", "data": data}, **images}
    )


def example_raw(root):
    """A raw folder from which every task is made."""
    return raw_folder(root, dialog(185565, (0, 0), (1, 1), (2, 2)), dialog(7, (2, 0)))


def test_every_round_is_an_instance_with_the_rounds_before_it_as_context(tmp_path):
    raw = raw_folder(tmp_path / "raw", dialog(185565, (0, 0), (1, 1), (2, 2)), dialog(7, (2, 0)))
    built = build_instances(raw, tmp_path / "out", "visdial")
    assert not built["train"] and not built["valid"]
    image = "images/visdial/VisualDialog_val2018_000000185565.jpg"
    found = [(i.unique_id, i.context, i.question, i.target) for i in built["test"] if i.image_path == image]
    caption, first, second = (
        ("a bedroom with posters",),
        ("is the photo in color? yes",),
        ("how many beds are there? just 1",),
    )
    assert found == [
        ("visdial/visual_dialogue/val-185565-1", (caption,), ("is the photo in color?",), ("yes",)),
        ("visdial/visual_dialogue/val-185565-2", (caption, first), ("how many beds are there?",), ("just 1",)),
        (
            "visdial/visual_dialogue/val-185565-3",
            (caption, first, second),
            ("what is on the wall?",),
            ("a poster of a band",),
        ),
    ]
    (other,) = (i for i in built["test"] if i.image_path != image)
    assert other.context == (caption,) and other.target == ("yes",)


def test_rounds_that_cannot_be_used_are_counted_and_left_out_of_the_context(tmp_path):
    raw = raw_folder(tmp_path / "raw", dialog(1, (3, 0), (0, 3), (1, 1)), dialog(2, (0, 0), (2, 2), caption=" "))
    manifest = build(raw, tmp_path / "out", BuildOptions(sources=["visdial"]))
    assert manifest["counts"]["test"] == {"visual_dialogue": 2}
    assert manifest["dropped"]["visdial"] == {
        "visual_dialogue: the question or the answer is empty or has control characters": 2,
        "visual_dialogue: nothing was said before: the photo has no caption": 1,
    }
    found = [(i.context, i.target) for i in read_instances(tmp_path / "out/test.jsonl")]
    assert found == [
        ((("a bedroom with posters",),), ("just 1",)),
        ((("is the photo in color? yes",),), ("a poster of a band",)),
    ]


def test_a_place_beyond_the_lists_is_an_error_that_names_the_dialogue(tmp_path):
    with pytest.raises(DataError, match=r"visdial_1\.0_val\.json: the dialogue of image 5 refers to a question"):
        build_instances(raw_folder(tmp_path / "raw", dialog(5, (0, 4))), tmp_path / "out", "visdial")


def test_another_file_is_an_error_that_names_it(tmp_path):
    raw = write_raw(raw_folder(tmp_path / "raw", dialog(1)), {"visdial/visdial_1.0_val.json": {"dialogs": []}})
    with pytest.raises(DataError, match=r"visdial_1\.0_val\.json: not in the official format .*data"):
        build_instances(raw, tmp_path / "out", "visdial")
