"""RefCOCO, RefCOCO+, RefCOCOg: expressions of training images, and other objects to choose from."""

import pickle

import pytest

from ofa_mi.data_prep.raw import RawFolder
from ofa_mi.data_prep.sources.refcoco import RefCoco, RefCocoG, RefCocoPlus
from ofa_mi.errors import DataError
from tests.data_prep.sources.raw_tree import Picture, build_instances, of_task, write_raw

REFS = {RefCoco: "refcoco/refcoco/refs(unc).p", RefCocoPlus: "refcoco/refcoco+/refs(unc).p"}
REFS[RefCocoG] = "refcoco/refcocog/refs(umd).p"
CATEGORIES = [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}]
# Objects: id → image, category, [x, y, width, height], crowd.
OBJECTS = {
    1: (5, 1, [0, 0, 50, 100], 0),
    2: (5, 1, [60, 0, 50, 100], 0),
    3: (5, 2, [120, 0, 60, 90], 0),
    4: (5, 1, [190, 0, 50, 90], 0),
    5: (5, 1, [250, 0, 10, 10], 0),  # too small to be chosen, as nothing refers to it
    6: (5, 1, [62, 2, 50, 100], 0),  # in the place of 2
    7: (5, 1, [260, 0, 50, 100], 1),
    8: (6, 1, [0, 0, 50, 50], 0),
    9: (7, 1, [0, 0, 50, 50], 0),
}


def ref(ref_id, ann_id, *sentences, split="train", image_id=5):
    found = [
        {"tokens": s.split(), "raw": s.upper(), "sent_id": 10 * ref_id + n, "sent": s} for n, s in enumerate(sentences)
    ]
    return {
        "ref_id": ref_id,
        "ann_id": ann_id,
        "image_id": image_id,
        "split": split,
        "sentences": found,
        "sent_ids": [s["sent_id"] for s in found],
        "category_id": 1,
        "file_name": "COCO_train2014_000000000005_1.jpg",
    }


TRAIN = [ref(0, 1, "left man", "man in red"), ref(1, 2, "second man"), ref(2, 3, "the dog")]


def files(refs=TRAIN, kind=RefCoco):
    path = REFS[kind]
    numbers = sorted({image for image, *_ in OBJECTS.values()})
    annotations = [
        {"id": n, "image_id": i, "category_id": c, "bbox": b, "iscrowd": crowd, "segmentation": [], "area": 1}
        for n, (i, c, b, crowd) in OBJECTS.items()
    ]
    images = [{"id": n, "width": 320, "height": 120, "file_name": "x.jpg"} for n in numbers]
    instances = {"info": {}, "images": images, "annotations": annotations, "categories": CATEGORIES}
    photos = {f"coco/train2014/COCO_train2014_{n:012d}.jpg": Picture(320, 120) for n in numbers}
    return {path: pickle.dumps(refs, 0), path.rpartition("/")[0] + "/instances.json": instances, **photos}


def example_raw(root):
    """A raw folder from which every task is made."""
    refs = [ref(n, n, *(f"{word} {n}" for word in ("number", "object", "thing", "box"))) for n in (1, 2, 3, 4)]
    for kind in REFS:
        write_raw(root, files(refs, kind))
    return root


def converted(root, refs=TRAIN, kind=RefCoco):
    source = kind(RawFolder(write_raw(root, files(refs, kind))), kind.tasks)
    found = {task: {} for task in kind.tasks}
    for unit in source.load():
        for candidate in source.convert(unit):
            found[candidate.task][candidate.key] = candidate.draft
    return found, source.dropped


def test_an_expression_is_grounded(tmp_path):
    found, dropped = converted(tmp_path)
    drafts = found["referring_expression_grounding"]
    assert {key: (draft.text[0], draft.target) for key, draft in drafts.items()} == {
        "0": ("left man", ((0, 0, 50, 100),)),
        "1": ("man in red", ((0, 0, 50, 100),)),
        "10": ("second man", ((60, 0, 110, 100),)),
        "20": ("the dog", ((120, 0, 180, 90),)),
    }
    assert not dropped


def test_a_region_is_described_by_any_of_its_expressions(tmp_path):
    drafts = converted(tmp_path)[0]["referring_expression_generation"]
    assert [(d.regions, d.target, d.references) for d in drafts.values()][:2] == [
        (((0, 0, 50, 100),), ("left man",), ("man in red",)),
        (((0, 0, 50, 100),), ("man in red",), ("left man",)),
    ]
    assert len(drafts) == 4


def test_options_are_objects_that_something_refers_to_first(tmp_path):
    drafts = converted(tmp_path)[0]["referring_expression_selection"]
    boxes = {n: (x, y, x + w, y + h) for n, (_, _, (x, y, w, h), _) in OBJECTS.items()}
    for draft in drafts.values():  # 1, 2 and 3 are referred to; 4 is the only other one that is alike, alone, no crowd
        assert {option for (option,) in draft.options} == {boxes[n] for n in (1, 2, 3, 4)}
        assert draft.target in draft.options
    assert drafts["10"].target == (boxes[2],)


def test_without_another_object_nothing_is_to_be_chosen(tmp_path):
    found, dropped = converted(tmp_path, [ref(0, 8, "man", image_id=6)])
    assert not found["referring_expression_selection"] and len(found["referring_expression_grounding"]) == 1
    assert dropped == {"referring_expression_selection: no other object to choose from": 1}


def test_images_of_other_splits_are_left_out_and_counted(tmp_path):
    refs = [
        *TRAIN,
        ref(3, 8, "a b", "c d", split="val", image_id=6),
        ref(4, 9, "e f", split="testA", image_id=7),
        ref(5, 9, "g h", image_id=7),
    ]
    found, dropped = converted(tmp_path, refs)
    assert set(found["referring_expression_grounding"]) == {"0", "1", "10", "20"}
    assert {reason: n for reason, n in dropped.items() if "grounding" in reason} == {
        "referring_expression_grounding: the object is in the validation or test splits": 3,
        "referring_expression_grounding: the image has an object in the validation or test splits": 1,
    }


def test_expressions_that_do_not_tell_objects_apart_are_left_out(tmp_path):
    refs = [ref(0, 1, "man", "left  man", "Left man"), ref(1, 2, "Man", "\x00"), ref(2, 99, "ghost")]
    found, dropped = converted(tmp_path, refs)
    assert [d.text for d in found["referring_expression_grounding"].values()] == [("left man",)]
    assert {reason: n for reason, n in dropped.items() if "generation" in reason} == {
        "referring_expression_generation: an expression for two objects of one image": 2,
        "referring_expression_generation: the expression is empty, repeated, or has control characters": 2,
        "referring_expression_generation: an object that has no box in instances.json": 1,
    }


@pytest.mark.parametrize("kind", REFS)
def test_the_three_data_sets_build_alike(tmp_path, kind):
    root = write_raw(tmp_path / "raw", files(kind=kind))
    for workers in (1, 2):
        built = build_instances(root, tmp_path / str(workers), kind.name, workers=workers)
    assert (tmp_path / "1/train.jsonl").read_bytes() == (tmp_path / "2/train.jsonl").read_bytes()
    (first, *_) = of_task(built, "referring_expression_grounding")
    assert first.unique_id == f"{kind.name}/referring_expression_grounding/0"
    assert (first.image_path, first.image_size) == ("images/coco/000000000005.jpg", (320, 120))


@pytest.mark.parametrize(
    "refs, message",
    [
        ({"refs": []}, r"refs\(unc\)\.p: not in the official format"),
        ([{**TRAIN[0], "ann_id": "x"}], r"refs\(unc\)\.p: not in the official format .*ann_id"),
        ([ref(0, 1, "man", image_id=77)], r"refs\(unc\)\.p: object 0 is in image 77"),
        ([{1, 2}], r"refs\(unc\)\.p: holds more than plain data"),
    ],
)
def test_a_bad_file_is_an_error_that_names_it(tmp_path, refs, message):
    with pytest.raises(DataError, match=message):
        converted(tmp_path, refs)
