"""TextVQA: the validation set is evaluated, with ten answers each."""

import pytest

from ofa_mi.errors import DataError
from tests.data_prep.sources.raw_tree import Picture, build_instances, write_raw

ANSWERS = ["nous les gosses"] * 4 + ["dakota"] * 6
QUESTION = {
    "question": "what is the brand of this camera?",
    "image_id": "003a8ae2ef43b901",
    "image_classes": ["Cassette deck", "Camera"],
    "flickr_original_url": "https://example.org/o.jpg",
    "flickr_300k_url": "https://example.org/z.jpg",
    "image_width": 1024,
    "image_height": 664,
    "answers": ANSWERS,
    "question_tokens": ["what", "is"],
    "question_id": 34602,
    "set_name": "val",
}


def raw_folder(root, *questions):
    file = {"dataset_type": "val", "dataset_name": "textvqa", "dataset_version": "0.5.1", "data": list(questions)}
    image = "textvqa/train_images/003a8ae2ef43b901.jpg"
    return write_raw(root, {"textvqa/TextVQA_0.5.1_val.json": file, image: Picture(90, 60)})


def example_raw(root):
    """A raw folder from which every task is made."""
    return raw_folder(root, QUESTION)


def test_one_question(tmp_path):
    built = build_instances(raw_folder(tmp_path / "raw", QUESTION), tmp_path / "out", "textvqa")
    (instance,) = built["test"]
    assert not built["train"] and not built["valid"]
    assert instance.unique_id == "textvqa/text_vqa/34602" and instance.task_name == "text_vqa"
    assert instance.question == ("what is the brand of this camera?",)
    assert instance.target == ("dakota",) and instance.answers == tuple(ANSWERS)
    assert instance.references == ()  # the paper's ROUGE-L is against the target alone
    assert instance.image_path == "images/textvqa/003a8ae2ef43b901.jpg" and instance.image_size == (90, 60)
    assert instance.meta_data == {"image_classes": ["Cassette deck", "Camera"]}


def test_an_annotator_who_said_nothing_counts_but_is_no_target(tmp_path):
    answers = ["", "", "", " ", "nokia", "sony", "nokia", "", "", ""]
    raw = raw_folder(tmp_path / "raw", {**QUESTION, "answers": answers})
    (instance,) = build_instances(raw, tmp_path / "out", "textvqa")["test"]
    assert instance.target == ("nokia",)
    assert instance.answers == tuple(answer.strip() for answer in answers)


def test_the_test_set_has_no_answers_and_is_no_replacement(tmp_path):
    without = {key: value for key, value in QUESTION.items() if key != "answers"}
    raw = raw_folder(tmp_path / "raw", without)
    with pytest.raises(DataError, match=r"TextVQA_0\.5\.1_val\.json: not in the official format .*answers"):
        build_instances(raw, tmp_path / "out", "textvqa")


@pytest.mark.parametrize("image_id", ["../../secret", "/secret/../.."])
def test_image_names_that_lead_out_of_the_folder(tmp_path, image_id):
    raw = raw_folder(tmp_path / "raw", {**QUESTION, "image_id": image_id})
    with pytest.raises(DataError, match=r"secret.*outside its folder"):
        build_instances(raw, tmp_path / "out", "textvqa")
