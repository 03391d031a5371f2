"""VCR: words and mentions of objects become texts with regions; the options stay the official ones."""

import pytest

from ofa_mi.data_prep.building.build import BuildOptions, build
from ofa_mi.data_prep.sources.vcr import numbered, sentence
from ofa_mi.errors import DataError
from ofa_mi.evaluation.metrics import Truth
from ofa_mi.instances.instance import text_of
from tests.data_prep.sources.raw_tree import Lines, Picture, build_instances, write_raw

FOLDER = "lsmdc_1054_A_Film"
STILL = f"{FOLDER}/1054_A_Film_00.01.46.736-00.01.50.168@0"
ONE, TWO, TIE = (10.26, 5, 30.5, 70), (40, 0, 80, 80), (55, 30, 60, 50)
METADATA = {
    "boxes": [[10.2581, 5.0, 30.5, 70.0, 0.99], [40.0, -2.5, 80.0, 91.5, 0.98], [55.0, 30.0, 60.0, 50.0, 0.7]],
    "segms": [[[[11, 6], [30, 6]]], [], []],
    "names": ["person", "person", "tie"],
    "width": 100,
    "height": 80,
}
ENTRY = {
    "movie": "1054_A_Film",
    "objects": ["person", "person", "tie"],
    "interesting_scores": [0],
    "answer_likelihood": "likely",
    "img_fn": f"{STILL}.jpg",
    "metadata_fn": f"{STILL}.json",
    "question": ["How", "is", [0], "feeling", "?"],
    "answer_choices": [
        [[0], "is", "upset", "with", [1], "."],
        [[0], "feels", "that", [0], "'", "s", "tie", [2], "is", "too", "tight", "."],
        [[1, 0], "are", "happy", "."],
        ["She", "isn", "'", "t", "sure", "."],
    ],
    "answer_label": 0,
    "rationale_choices": [["a"], ["b"], ["c"], ["d"]],
    "rationale_label": 2,
    "img_id": "val-0",
    "annot_id": "val-0",
}


def raw_folder(root, *entries, metadata=METADATA):
    return write_raw(
        root,
        {
            "vcr/val.jsonl": Lines(entries),
            f"vcr/vcr1images/{STILL}.json": metadata,
            f"vcr/vcr1images/{STILL}.jpg": Picture(100, 80),
        },
    )


def example_raw(root):
    """A raw folder from which every task is made."""
    return raw_folder(root, ENTRY)


def test_a_question_with_its_options(tmp_path):
    raw = raw_folder(tmp_path / "raw", ENTRY, {**ENTRY, "annot_id": "val-1", "answer_label": 3})
    built = build_instances(raw, tmp_path / "out", "vcr")
    assert not built["train"] and not built["valid"]
    first, second = built["test"]
    assert first.unique_id == "vcr/commonsense_vqa/val-0"
    assert (first.image_path, first.image_size) == (f"images/vcr/{STILL}.jpg", (100, 80))
    assert first.question == ("How is person 1 ", ONE, " feeling?")
    assert first.options == (
        ("person 1 ", ONE, " is upset with person 2 ", TWO, "."),
        ("person 1 ", ONE, " feels that person 1's tie tie 1 ", TIE, " is too tight."),
        ("person 2 ", TWO, " and person 1 ", ONE, " are happy."),
        ("She isn't sure.",),
    )
    assert first.target == first.options[0] and second.target == first.options[3]


def test_scores_compare_the_names(tmp_path):
    """ROUGE-L does not see boxes: the names keep "person 1 is upset" from being right for "person 2 is upset"."""
    (instance,) = build_instances(raw_folder(tmp_path / "raw", ENTRY), tmp_path / "out", "vcr")["test"]
    truth = Truth.of(instance)
    assert truth.references == ("person 1 is upset with person 2 .",)
    assert truth.boxes == (ONE, TWO)
    assert text_of(instance.options[2]) == "person 2 and person 1 are happy."


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (["Is", "it", "a", "well", "-", "known", "song", ",", "too", "?"], "Is it a well-known song, too?"),
        (["They", "'", "re", "at", "the", "boys", "'", "school", "."], "They're at the boys ' school."),
        (["It", "does", "n't", "cost", "$", "5", "(", "five", ")", "!"], "It doesn't cost $5 (five)!"),
        (["two  words", "end", "-"], "two words end -"),
    ],
)
def test_spaces_are_those_that_people_write(tokens, expected):
    assert sentence(tokens, (), ()) == (expected,)


def test_several_objects_in_one_mention():
    names = numbered(["person", "dog", "person", "person"])
    assert names == ["person 1", "dog 1", "person 2", "person 3"]
    boxes = [(0, 0, n, n) for n in range(1, 5)]
    found = sentence([[3, 0, 1], "and", [0], "'", "s", "cat"], names, boxes)
    assert found == (
        "person 3 ",
        boxes[3],
        ", person 1 ",
        boxes[0],
        " and dog 1 ",
        boxes[1],
        " and person 1's cat",
    )


def test_questions_that_cannot_be_used_are_counted(tmp_path):
    def other(number, **fields):
        return {**ENTRY, "annot_id": f"val-{number}", **fields}

    thin = {**METADATA, "boxes": [*METADATA["boxes"], [99.5, 10.0, 120.0, 20.0, 0.5]]}
    entries = [
        ENTRY,
        other(1, question=["Where", "is", [3], "?"]),
        other(2, question=["Where", "is", [-1], "?"]),
        other(3, objects=[*ENTRY["objects"], "cup"], question=["Where", "is", [3], "?"]),
        other(4, question=[]),
        other(5, answer_choices=[["a\x01"], ["b"], ["c"], ["d"]]),
        other(6, answer_choices=[["a"], ["b"], ["c"], ["a"]]),
    ]
    raw = raw_folder(tmp_path / "raw", *entries, metadata=thin)
    manifest = build(raw, tmp_path / "out", BuildOptions(sources=["vcr"]))
    assert manifest["counts"]["test"] == {"commonsense_vqa": 1}
    assert manifest["dropped"]["vcr"] == {
        "commonsense_vqa: it mentions an object outside the image or less than a pixel wide or high": 1,
        "commonsense_vqa: it mentions an object that is not annotated": 2,
        "commonsense_vqa: the options are not 4 different ones": 1,
        "commonsense_vqa: the question or an option is empty or has control characters": 2,
    }


@pytest.mark.parametrize(
    ("field", "value"), [("answer_label", 4), ("answer_choices", [["a"]]), ("img_fn", "a/../../secret.jpg")]
)
def test_a_bad_field_is_an_error_that_names_the_line(tmp_path, field, value):
    raw = raw_folder(tmp_path / "raw", ENTRY, {**ENTRY, "annot_id": "val-1", field: value})
    with pytest.raises(DataError, match=rf"val\.jsonl:2: not in the official format .*{field}"):
        build_instances(raw, tmp_path / "out", "vcr")


def test_a_missing_metadata_file_is_an_error_that_names_it(tmp_path):
    raw = raw_folder(tmp_path / "raw", ENTRY)
    (raw / f"vcr/vcr1images/{STILL}.json").unlink()
    with pytest.raises(DataError, match=r"1054_A_Film_00.*@0\.json: cannot be read"):
        build_instances(raw, tmp_path / "out", "vcr")
