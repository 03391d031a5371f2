"""Visual Genome's questions: one instance per question, answers as VQA writes them."""

import json

import pytest

from ofa_mi.data_prep.sources.visual_genome_qa import without_full_stop
from ofa_mi.errors import DataError
from tests.data_prep.sources.raw_tree import Picture, build_instances, write_raw

SOURCE, TASK = "visual_genome_qa", "open_domain_vqa"


def qa(number, question, answer):
    return {"qa_id": number, "image_id": 7, "question": question, "answer": answer, "a_objects": [], "q_objects": []}


QUESTIONS = [
    qa(1, "What color is the clock?", "Green."),
    qa(2, "When was  this taken?", "10 a.m."),
    qa(3, "What color is the clock? ", "Light green"),
    qa(4, "what color is the clock?", "Green."),
    qa(5, "Who is there?", " . "),
    qa(6, "Who is\u0007 here?", "Nobody."),
]


def raw_folder(root, questions=QUESTIONS):
    return write_raw(
        root,
        {
            "visual_genome/image_data.json": [{"id": 7, "width": 40, "height": 30, "coco_id": 5}],
            "visual_genome/question_answers.json": [{"id": 7, "qas": questions}],
            "visual_genome/VG_100K/7.jpg": Picture(40, 30),
            "visual_genome/VG_100K_2/8.jpg": Picture(40, 30),
        },
    )


def example_raw(root):
    return raw_folder(root)


def test_a_question_is_one_instance(tmp_path):
    built = build_instances(raw_folder(tmp_path / "raw"), tmp_path / "out", SOURCE)
    first, second = built["train"]
    assert first.unique_id == f"{SOURCE}/{TASK}/7-1" and first.image_path == "images/visual_genome/7.jpg"
    assert (first.question, first.target, first.references) == (
        ("What color is the clock?",),
        ("Green",),
        ("Light green",),
    )
    assert first.meta_data == {"image_id": 7, "qa_id": 1, "coco_id": 5}
    assert (second.question, second.target) == (("When was this taken?",), ("10 a.m.",))
    dropped = json.loads((tmp_path / "out/manifest.json").read_bytes())["dropped"][SOURCE]
    assert dropped == {
        f"{TASK}: the question is asked again about the same image": 2,
        f"{TASK}: the question or the answer is empty or has control characters": 2,
    }


@pytest.mark.parametrize(
    ("answer", "kept"),
    [("Green.", "Green"), ("10 a.m.", "10 a.m."), ("On the U.S. flag.", "On the U.S. flag"), (".", ""), ("", "")],
)
def test_a_full_stop_is_no_part_of_an_answer(answer, kept):
    assert without_full_stop(answer) == kept


def test_an_error_names_file_and_image(tmp_path):
    raw = raw_folder(tmp_path / "raw", [{"qa_id": 1, "question": "Why?"}])
    with pytest.raises(DataError, match=r"question_answers\.json: image 7: not in the official format .*answer"):
        build_instances(raw, tmp_path / "out", SOURCE)
