"""GQA: questions of the balanced training file about photos of Visual Genome."""

import shutil

import pytest

from ofa_mi.data_prep.building.build import BuildOptions, build
from ofa_mi.errors import DataError
from tests.data_prep.sources.raw_tree import Picture, build_instances, write_raw


def question(image, text, answer, structural="verify"):
    return {
        "semantic": [{"operation": "select", "dependencies": [], "argument": "crumbs (1)"}],
        "entailed": ["1276552"],
        "equivalent": ["1276551"],
        "question": text,
        "imageId": image,
        "isBalanced": True,
        "groups": {"global": None, "local": "04-crumbs_on"},
        "answer": answer,
        "semanticStr": "select: crumbs (1)",
        "annotations": {"answer": {}, "question": {}, "fullAnswer": {}},
        "types": {"detailed": "existRelC", "semantic": "rel", "structural": structural},
        "fullAnswer": "No, the crumbs are on a plate.",
    }


QUESTIONS = {
    "1276551": question("2339011", "Are the crumbs on a cookie?", "no"),
    "18905189": question("2379303", " Which place\tis it?", "swimming pool ", "query"),
}


def raw_folder(root, questions=QUESTIONS):
    return write_raw(
        root,
        {
            "gqa/train_balanced_questions.json": questions,
            "gqa/images/2379303.jpg": Picture(50, 40),
            "visual_genome/VG_100K/2339011.jpg": Picture(40, 50),
            "visual_genome/image_data.json": [
                {"image_id": 2339011, "width": 40, "height": 50, "coco_id": 17},
                {"image_id": 2379303, "width": 50, "height": 40, "coco_id": None},
            ],
        },
    )


def example_raw(root):
    """A raw folder from which every task is made."""
    return raw_folder(root)


def test_questions_are_training_instances(tmp_path):
    built = build_instances(raw_folder(tmp_path / "raw"), tmp_path / "out", "gqa")
    assert not built["test"]
    found = {
        i.unique_id: (i.image_path, i.image_size, i.question, i.target, i.meta_data)
        for i in built["train"] + built["valid"]
    }
    assert found == {
        "gqa/compositional_vqa/1276551": (
            "images/visual_genome/2339011.jpg",
            (40, 50),
            ("Are the crumbs on a cookie?",),
            ("no",),
            {"structural": "verify", "semantic": "rel", "coco_id": 17},
        ),
        "gqa/compositional_vqa/18905189": (
            "images/visual_genome/2379303.jpg",
            (50, 40),
            ("Which place is it?",),
            ("swimming pool",),
            {"structural": "query", "semantic": "rel"},
        ),
    }


def test_questions_without_an_answer_are_counted(tmp_path):
    raw = raw_folder(tmp_path / "raw", {**QUESTIONS, "7": question("2339011", "Who is it?", "")})
    manifest = build(raw, tmp_path / "out", BuildOptions(sources=["gqa"]))
    reason = "compositional_vqa: the question or the answer is empty or has control characters"
    assert manifest["dropped"]["gqa"] == {reason: 1}


@pytest.mark.parametrize(("field", "value"), [("answer", 3), ("imageId", "../2339011")])
def test_a_bad_field_is_an_error_that_names_the_question(tmp_path, field, value):
    raw = raw_folder(tmp_path / "raw", {"1": QUESTIONS["1276551"], "42": {**QUESTIONS["1276551"], field: value}})
    with pytest.raises(DataError, match=rf"train_balanced_questions\.json: question 42: not in .*{field}"):
        build_instances(raw, tmp_path / "out", "gqa")


def test_a_truncated_file_is_an_error_that_names_it(tmp_path):
    raw = raw_folder(tmp_path / "raw")
    file = raw / "gqa/train_balanced_questions.json"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(
        DataError, match=r"train_balanced_questions\.json: not in the official format .*download it again"
    ):
        build_instances(raw, tmp_path / "out", "gqa")


def test_half_of_the_photos_of_visual_genome_is_refused_before_anything_is_read(tmp_path):
    raw = raw_folder(tmp_path / "raw")
    shutil.rmtree(raw / "gqa/images")
    (raw / "gqa/train_balanced_questions.json").write_bytes(b"not read")
    with pytest.raises(
        DataError,
        match="gqa: gqa/images/ is missing below the raw folder, which visual_genome/VG_100K/ does not replace without "
        "visual_genome/VG_100K_2/; get it from https",
    ):
        build(raw, tmp_path / "out", BuildOptions(sources=["gqa"]))
    (raw / "visual_genome/VG_100K_2").mkdir()
    with pytest.raises(DataError, match="not in the official format"):
        build(raw, tmp_path / "out", BuildOptions(sources=["gqa"]))


def test_an_image_that_is_no_photo_of_visual_genome_has_no_number_in_mscoco(tmp_path):
    raw = raw_folder(tmp_path / "raw", {"1": question("n2339011", "Who is it?", "she")})
    write_raw(raw, {"gqa/images/n2339011.jpg": Picture(9, 9)})
    built = build_instances(raw, tmp_path / "out", "gqa")
    (instance,) = built["train"] + built["valid"]
    assert instance.image_path == "images/visual_genome/n2339011.jpg" and "coco_id" not in instance.meta_data
