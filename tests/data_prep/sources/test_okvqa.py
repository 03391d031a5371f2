"""OK-VQA: the most frequent of ten answers, and files that belong together."""

import pytest

from ofa_mi.data_prep.building.build import BuildOptions, build
from ofa_mi.errors import DataError
from tests.data_prep.sources.raw_tree import Picture, build_instances, write_raw
from tests.data_prep.sources.vqa_files import annotation, files, question

QUESTIONS = "okvqa/OpenEnded_mscoco_train2014_questions.json"
ANNOTATIONS = "okvqa/mscoco_train2014_annotations.json"
ROWS = [
    (
        question(516065, 51606, "What is the hairstyle of the blond  called? "),
        annotation(516065, 51606, ["braid"] * 2 + ["pony tail"] * 6 + ["ponytail"] * 2, question_type="four"),
    ),
    (question(816295, 81629, "  "), annotation(816295, 81629, ["milk"] * 10, question_type="seven")),
    (question(816296, 81629, "Who eats this?"), annotation(816296, 81629, ["", "\u0000"], question_type="seven")),
    (
        question(816297, 81629, "Who drinks this?"),
        annotation(816297, 81629, ["calf", "baby"] * 5, question_type="seven"),
    ),
]


def raw_folder(root, rows=ROWS):
    images = {f"coco/train2014/COCO_train2014_{n:012d}.jpg": Picture(64, 48) for n in (51606, 81629)}
    return write_raw(root, {**files(QUESTIONS, ANNOTATIONS, rows), **images})


def example_raw(root):
    """A raw folder from which every task is made."""
    return raw_folder(root)


def test_target_and_answers(tmp_path):
    built = build_instances(raw_folder(tmp_path / "raw"), tmp_path / "out", "okvqa")
    by_id = {i.unique_id: i for i in built["train"] + built["valid"]}
    assert sorted(by_id) == ["okvqa/outside_knowledge_vqa/516065", "okvqa/outside_knowledge_vqa/816297"]
    hair, drink = (by_id[key] for key in sorted(by_id))
    assert hair.question == ("What is the hairstyle of the blond called?",)
    assert hair.target == ("pony tail",)
    assert hair.answers == ("braid",) * 2 + ("pony tail",) * 6 + ("ponytail",) * 2 and hair.references == ()
    assert hair.image_path == "images/coco/000000051606.jpg" and hair.image_size == (64, 48)
    assert hair.meta_data == {"question_type": "four"}
    assert drink.target == ("calf",)  # the first of equals


def test_what_is_left_out_is_counted(tmp_path):
    manifest = build(raw_folder(tmp_path / "raw"), tmp_path / "out", BuildOptions(sources=["okvqa"]))
    assert manifest["dropped"]["okvqa"] == {
        "outside_knowledge_vqa: no answer": 1,
        "outside_knowledge_vqa: the question is empty": 1,
    }


@pytest.mark.parametrize("rows", [[(ROWS[0][0], ROWS[1][1])], [(ROWS[0][0], {**ROWS[0][1], "image_id": 3})]])
def test_files_that_do_not_belong_together(tmp_path, rows):
    raw = raw_folder(tmp_path / "raw", rows)
    with pytest.raises(DataError, match=r"mscoco_train2014_annotations\.json: question 516065 .*download both again"):
        build_instances(raw, tmp_path / "out", "okvqa")
