"""Visual7W: training questions with written answers, test questions with regions."""

import pytest

from ofa_mi.data_prep.building.build import BuildOptions, build
from ofa_mi.errors import DataError
from tests.data_prep.sources.raw_tree import Picture, build_instances, write_raw


def photo(image, split, *questions):
    return {"image_id": image, "filename": f"v7w_{image}.jpg", "split": split, "qa_pairs": list(questions)}


def question(number, text, answer, *wrong, kind="what"):
    entry = {"qa_id": number, "question": text, "type": kind, "answer": answer, "multiple_choices": list(wrong)}
    return {**entry, "image_id": 1} if isinstance(answer, str) else entry


def box(number, x, y, width, height, name="chair"):
    return {"box_id": number, "x": x, "y": y, "width": width, "height": height, "name": name}


WATCHING = question(202549, "What is the  man doing?", "Watching.", "Lifting cans.", "Pushups.", "Rejoicing. ")
TELLING = [
    photo(2406730, "train", WATCHING),
    photo(2, "val", question(3, "Who is it?", "A man.", "A cat.", "A dog.", "A cow.")),
    photo(4, "test", question(5, "Who is it?", "A man.", "A cat.", "A dog.", "A cow.")),
]
WHICH = question(294367, "Which is the chair at the desk?", 14, 11, 12, 13, kind="which")
POINTING = [photo(5, "test", WHICH), photo(6, "train", {**WHICH, "qa_id": 1}), photo(7, "val", {**WHICH, "qa_id": 2})]
BOXES = [
    box(14, 40, 30, 50, 40),
    box(11, -1, -1, 20, 20),
    box(13, 10, 60, 100, 100),
    box(12, 60, 5, 20, 20),
    box(15, 99.5, 5, 20, 20),
    box(16, 40, 30, 50, 40, "seat"),
]


def photos_of(images):
    """Visual7W's own copies, and what Visual Genome says of the same photos: every other one is MSCOCO's, too."""
    numbers = sorted({photo["image_id"] for photo in images})
    known = [{"image_id": n, "width": 9, "height": 9, "coco_id": (-1, n + 1)[n % 2]} for n in numbers]
    copies = {f"visual7w/images/v7w_{n}.jpg": Picture(100, 80) for n in numbers}
    return {"visual_genome/image_data.json": known, **copies}


def telling(root, images=TELLING, content=None):
    photos = photos_of(images)
    return write_raw(root, {"visual7w/dataset_v7w_telling.json": content or {"images": images}, **photos})


def pointing(root, images=POINTING, boxes=BOXES):
    photos = photos_of(images)
    return write_raw(root, {"visual7w/dataset_v7w_pointing.json": {"images": images, "boxes": boxes}, **photos})


def example_raw(root):
    """A raw folder from which every task is made."""
    telling(root)
    return pointing(root)


def test_telling_takes_the_training_questions(tmp_path):
    built = build_instances(telling(tmp_path / "raw"), tmp_path / "out", "visual7w_telling")
    (instance,) = built["train"] + built["valid"]
    assert not built["test"]
    assert instance.unique_id == "visual7w_telling/visual7w_vqa/202549"
    assert instance.image_path == "images/visual7w/v7w_2406730.jpg"
    assert instance.question == ("What is the man doing?",)
    assert instance.target == ("Watching.",)
    assert sorted(instance.options) == [("Lifting cans.",), ("Pushups.",), ("Rejoicing.",), ("Watching.",)]
    assert instance.meta_data == {"question_type": "what"}


def test_the_place_of_the_answer_is_random(tmp_path):
    questions = [question(n, "Who is it?", "A man.", "A cat.", "A dog.", "A cow.") for n in range(400)]
    raw = telling(tmp_path / "raw", [photo(1, "train", *questions)])
    built = build_instances(raw, tmp_path / "out", "visual7w_telling")
    places = [i.options.index(i.target) for i in built["train"] + built["valid"]]
    assert len(places) == 400 and all(70 < places.count(place) < 130 for place in range(4))


def test_questions_whose_options_do_not_serve_are_counted(tmp_path):
    questions = [
        question(1, "Who?", "A man.", "A cat.", "a man", "A dog."),  # a wrong answer that scores as right
        question(2, "Who?", "A man.", "A cat.", "A cat", "A dog."),
        question(3, "Who?", "A man.", "A cat.", "A dog."),
        question(4, "Who?", "A man.", "A cat.", "", "A dog."),
        question(5, " ", "A man.", "A cat.", "A cow.", "A dog."),
        WATCHING,
    ]
    raw = telling(tmp_path / "raw", [photo(1, "train", *questions)])
    manifest = build(raw, tmp_path / "out", BuildOptions(sources=["visual7w_telling"]))
    assert manifest["dropped"]["visual7w_telling"] == {
        "visual7w_vqa: an option is empty or has control characters": 1,
        "visual7w_vqa: the options are not 4 different ones": 3,
        "visual7w_vqa: the question is empty or has control characters": 1,
    }


def test_pointing_takes_the_test_questions_and_cuts_regions_to_the_image(tmp_path):
    built = build_instances(pointing(tmp_path / "raw"), tmp_path / "out", "visual7w_pointing")
    (instance,) = built["test"]
    assert not built["train"] and not built["valid"]
    assert instance.unique_id == "visual7w_pointing/grounded_vqa/294367"
    assert (instance.image_path, instance.image_size) == ("images/visual7w/v7w_5.jpg", (100, 80))
    assert instance.question == ("Which is the chair at the desk?",)
    assert instance.target == ((40, 30, 90, 70),)
    assert sorted(instance.options) == [
        ((0, 0, 19, 19),),
        ((10, 60, 100, 80),),
        ((40, 30, 90, 70),),
        ((60, 5, 80, 25),),
    ]


def test_questions_whose_regions_do_not_serve_are_counted(tmp_path):
    outside = question(1, "Which?", 14, 11, 12, 15, kind="which")
    twice = question(2, "Which?", 14, 11, 12, 16, kind="which")
    raw = pointing(tmp_path / "raw", [photo(5, "test", outside, twice, WHICH)])
    manifest = build(raw, tmp_path / "out", BuildOptions(sources=["visual7w_pointing"]))
    assert manifest["counts"]["test"] == {"grounded_vqa": 1}
    assert manifest["dropped"]["visual7w_pointing"] == {
        "grounded_vqa: a region lies outside the image or is less than a pixel wide or high": 1,
        "grounded_vqa: the options are not 4 different ones": 1,
    }


def test_a_missing_image_is_reported_or_left_out_as_usual(tmp_path):
    raw = pointing(tmp_path / "raw", [*POINTING, photo(8, "test", {**WHICH, "qa_id": 9})])
    (raw / "visual7w/images/v7w_8.jpg").unlink()
    with pytest.raises(DataError, match=r"v7w_8\.jpg: image is missing"):
        build_instances(raw, tmp_path / "stopped", "visual7w_pointing")
    built = build_instances(raw, tmp_path / "out", "visual7w_pointing", skip_bad=True)
    assert [i.unique_id for i in built["test"]] == ["visual7w_pointing/grounded_vqa/294367"]


def test_an_unknown_box_is_an_error_that_names_the_file(tmp_path):
    raw = pointing(tmp_path / "raw", boxes=BOXES[1:])
    with pytest.raises(DataError, match=r"dataset_v7w_pointing\.json: an answer is box 14"):
        build_instances(raw, tmp_path / "out", "visual7w_pointing")


def test_a_bad_field_is_an_error_that_names_the_image(tmp_path):
    raw = telling(tmp_path / "raw", [photo(77, "train", {**WATCHING, "answer": 3})])
    with pytest.raises(DataError, match=r"dataset_v7w_telling\.json: image 77: not in the official format .*answer"):
        build_instances(raw, tmp_path / "out", "visual7w_telling")
