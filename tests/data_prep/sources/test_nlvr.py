"""NLVR: every drawing is an instance, and answers are those of the file."""

import pytest

from ofa_mi.errors import DataError
from tests.data_prep.sources.raw_tree import Lines, Picture, build_instances, write_raw

EXAMPLES = Lines(
    [
        {"sentence": "There is a blue box.", "label": "true", "identifier": "7-0", "directory": "3", "evals": {}},
        {"sentence": "No box is empty.", "label": "false", "identifier": "8-1", "directory": "0", "evals": {}},
    ]
)


def raw_folder(root, examples=EXAMPLES):
    images = {
        f"nlvr/test/images/{example['directory']}/test-{example['identifier']}-{k}.png": Picture(400, 100)
        for example in examples
        for k in range(6)
    }
    return write_raw(root, {"nlvr/test/test.json": examples, **images})


def example_raw(root):
    """A raw folder from which every task is made."""
    return raw_folder(root)


def test_every_drawing_is_an_instance(tmp_path):
    built = build_instances(raw_folder(tmp_path / "raw"), tmp_path / "out", "nlvr")
    assert not built["train"] and not built["valid"] and len(built["test"]) == 12
    assert len({instance.image_path for instance in built["test"]}) == 12
    for instance in built["test"]:
        assert instance.image_size == (400, 100)
        assert sorted(instance.options) == [("no",), ("yes",)]
        expected = {"There is a blue box.": "yes", "No box is empty.": "no"}[instance.text[0]]
        assert instance.target == (expected,)
    assert {instance.options for instance in built["test"]} == {(("yes",), ("no",)), (("no",), ("yes",))}


@pytest.mark.parametrize(("field", "value"), [("label", "maybe"), ("identifier", "7-0/../x"), ("directory", "..")])
def test_a_bad_field_is_an_error_that_names_the_line(tmp_path, field, value):
    raw = raw_folder(tmp_path / "raw")
    write_raw(raw, {"nlvr/test/test.json": Lines([EXAMPLES[0], {**EXAMPLES[1], field: value}])})
    with pytest.raises(DataError, match=rf"test\.json:2: not in the official format .*{field}"):
        build_instances(raw, tmp_path / "out", "nlvr")


def test_the_real_test_set(real_raw, tmp_path):
    built = build_instances(real_raw, tmp_path / "out", "nlvr", workers=2)
    assert len(built["test"]) == 990 * 6
