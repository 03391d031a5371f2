"""MSCOCO instances: what is asked about objects is right, and nothing but the image gives it away."""

from collections import Counter

import pytest

from ofa_mi.data_prep.formats.coco_objects import ObjectTable, apart, disjoint_groups
from ofa_mi.data_prep.raw import RawFolder
from ofa_mi.data_prep.sources.coco_instances import CocoInstances
from ofa_mi.errors import DataError
from tests.data_prep.sources.raw_tree import Picture, build_instances, of_task, write_raw

FILE = "coco/annotations/instances_train2014.json"
NAMES = ("person", "dog", "cup", "kite", "bed", "car")
# Objects of image 1, [x, y, width, height]: two persons, a dog, a cup and a kite, all apart, one tiny person.
OBJECTS = (
    (1, [10, 10, 50, 90]),
    (1, [100, 10, 40, 80]),
    (2, [200, 100, 60, 50]),
    (3, [10, 150, 20, 30]),
    (4, [300, 20, 40, 40]),
    (1, [360, 200, 8, 9]),
)


def instances_file(objects=OBJECTS, image_id=1, crowd=()):
    return {
        "info": {"year": 2014},
        "images": [{"id": image_id, "width": 400, "height": 300, "file_name": "x.jpg", "license": 1}],
        "categories": [{"id": n, "name": name, "supercategory": "x"} for n, name in enumerate(NAMES, 1)],
        "annotations": [
            {
                "id": 1000 * image_id + n,
                "image_id": image_id,
                "category_id": category,
                "bbox": box,
                "iscrowd": int(n in crowd),
                "area": 1.0,
                "segmentation": [[0.5, 1, 2, 3]],
            }
            for n, (category, box) in enumerate(objects)
        ],
    }


def merged(*files):
    both = {key: [element for file in files for element in file[key]] for key in ("images", "annotations")}
    return {**files[0], **both}


def raw_folder(root, content):
    photos = {
        f"coco/train2014/COCO_train2014_{i['id']:012d}.jpg": Picture(i["width"], i["height"]) for i in content["images"]
    }
    return write_raw(root, {FILE: content, **photos})


def example_raw(root):
    """A raw folder from which every task is made."""
    several = [instances_file(OBJECTS[: 2 + n % 5], n) for n in range(1, 13)]
    pairs = [instances_file([(1, [10, 10, 50, 90]), (1 + n % 2, [100, 10, 40, 80])], n) for n in range(13, 25)]
    return raw_folder(root, merged(*several, *pairs))


def source(root, content, *tasks):
    write_raw(root, {FILE: content, "coco/train2014/x": b""})
    return CocoInstances(RawFolder(root), tasks or CocoInstances.tasks)


def converted(source):
    found = {}
    for unit in source.load():
        for candidate in source.convert(unit):
            found.setdefault(candidate.task, []).append(candidate)
    return found


def truth(candidate):
    return candidate.draft.target == ("yes",)


def test_an_object_of_each_category_is_named(tmp_path):
    made = source(tmp_path, instances_file(), "grounded_object_identification")
    found = [c.draft for c in converted(made)["grounded_object_identification"]]
    named = {draft.target[0]: draft.regions for draft in found}
    assert len(found) == 4 and named.keys() == {"person", "dog", "cup", "kite"}
    assert named["dog"] == ((200, 100, 260, 150),) and named["cup"] == ((10, 150, 30, 180),)
    assert named["person"] in [((10, 10, 60, 100),), ((100, 10, 140, 90),)]
    assert list(made.dropped.values()) == [1]  # the tiny person


def test_objects_in_one_place_are_not_named(tmp_path):
    content = instances_file([(1, [10, 10, 100, 100]), (2, [12, 10, 100, 100]), (3, [200, 10, 50, 50])])
    found = converted(source(tmp_path, content))["grounded_object_identification"]
    assert [c.draft.target for c in found] == [("cup",)]


def test_all_objects_of_a_category_are_found_from_left_to_right(tmp_path):
    found = converted(source(tmp_path, instances_file()))["object_grounding"]
    answers = {c.draft.text[0]: c.draft.target for c in found}
    assert answers["person"] == ((10, 10, 60, 100), (100, 10, 140, 90), (360, 200, 368, 209))
    assert answers.keys() == {"person", "dog", "cup", "kite"}


def test_crowds_and_many_objects_are_not_grounded(tmp_path):
    many = [(2, [10 * n, 0, 9, 20]) for n in range(9)]
    made = source(tmp_path, instances_file([*OBJECTS, *many], crowd={0}), "object_grounding")
    assert {c.draft.text[0] for c in converted(made)["object_grounding"]} == {"cup", "kite"}
    assert made.dropped == {
        "object_grounding: a category with a crowd or an object outside the image": 1,
        "object_grounding: more than 8 objects": 1,
    }


def test_matching_asks_both_regions_about_both_categories(tmp_path):
    found = converted(source(tmp_path, instances_file()))["object_region_matching"]
    assert len(found) == 4
    assert Counter((c.draft.text, truth(c)) for c in found).keys() == {
        (c.draft.text, value) for c in found for value in (True, False)
    }
    assert set(Counter((c.draft.regions, truth(c)) for c in found).values()) == {1}
    boxes = {(x, y, x + w, y + h): NAMES[category - 1] for category, (x, y, w, h) in OBJECTS}
    for c in found:
        assert truth(c) == (boxes[c.draft.regions[0]] == c.draft.text[0])


def test_a_region_that_shows_the_other_object_is_not_used(tmp_path):
    inside = instances_file([(1, [10, 10, 200, 200]), (2, [50, 50, 60, 60])])
    made = source(tmp_path, inside, "object_region_matching", "object_region_selection")
    assert converted(made) == {}
    assert sum(made.dropped.values()) == 2


def test_a_crowd_counts_as_an_object_that_a_region_shows(tmp_path):
    objects = [(1, [10, 10, 50, 50]), (2, [100, 10, 50, 50]), (2, [0, 0, 70, 70])]
    assert "object_region_matching" in converted(source(tmp_path / "a", instances_file(objects[:2])))
    assert "object_region_matching" not in converted(source(tmp_path / "b", instances_file(objects, crowd={2})))


def test_selection_asks_for_every_option(tmp_path):
    found = converted(source(tmp_path, instances_file()))["object_region_selection"]
    assert sorted(c.draft.text[0] for c in found) == ["cup", "dog", "kite", "person"]
    (options,) = {frozenset(c.draft.options) for c in found}
    assert options == {c.draft.target for c in found} and len(options) == 4


def test_object_matching_is_right(tmp_path):
    found = converted(source(tmp_path, instances_file()))["object_matching"]
    boxes = {(x, y, x + w, y + h): category for category, (x, y, w, h) in OBJECTS}
    assert Counter(map(truth, found)) == {True: 1, False: 4}  # of six combinations of two categories
    for c in found:
        first, second = c.draft.regions
        assert truth(c) == (boxes[first] == boxes[second]) and first != second


def test_missing_objects_of_one_image(tmp_path):
    found = converted(source(tmp_path, instances_file()))["missing_object_selection"]
    boxes = {(x, y, x + w, y + h): NAMES[category - 1] for category, (x, y, w, h) in OBJECTS}
    assert len(found) == 2
    assert not set(found[0].draft.regions) & set(found[1].draft.regions)
    for c in found:
        check_missing(c.draft, {boxes[box] for box in c.draft.regions})


def check_missing(draft, shown):
    *names, none = (option[0] for option in draft.options)
    assert none == "none" and len(names) == len(draft.regions) == len(set(names))
    missing = tuple((name,) for name in names if name not in shown)
    assert draft.target_set == (missing or (("none",),))
    assert len(missing) < len(names)


def test_missing_objects_of_two_images(tmp_path):
    """Images without four objects that are apart are paired, if they have no category in common."""
    content = merged(
        instances_file([(1, [10, 10, 50, 90]), (2, [100, 10, 40, 80])], 1),
        instances_file([(1, [10, 10, 50, 90]), (3, [100, 10, 40, 80])], 2),
        instances_file([(4, [10, 10, 50, 90]), (5, [100, 10, 40, 80])], 3),
    )
    made = source(tmp_path, content, "missing_object_selection")
    found = converted(made)["missing_object_selection"]
    shown = {1: {"person", "dog"}, 2: {"person", "cup"}, 3: {"kite", "bed"}}
    images = [int(c.image.path[-7:-4]) for c in found]
    assert len(found) == 2 and 3 in images
    for image, c in zip(images, found, strict=True):
        check_missing(c.draft, shown[image])
    assert made.dropped == {"missing_object_selection: no image without a common category to pair it with": 1}


def test_no_object_is_in_two_pairs_of_one_category(tmp_path):
    objects = [(1, [60 * n, 10, 50, 50]) for n in range(4)] + [(2, [60 * n, 100, 50, 50]) for n in range(2)]
    found = [c.draft for c in converted(source(tmp_path, instances_file(objects)))["object_matching"]]
    same = [draft.regions for draft in found if draft.target == ("yes",)]
    assert sorted(regions[0][1] for regions in same) == [10, 10, 100]
    assert len({box for regions in same for box in regions}) == 6


def test_groups_have_no_category_in_common():
    masks = [0b001, 0b001, 0b010, 0b110, 0b100]
    groups = list(disjoint_groups(range(5), 3, masks.__getitem__))
    assert groups == [(0, 2, 4)]
    pairs = list(disjoint_groups(range(5), 2, masks.__getitem__, compatible=lambda p, q: (p, q) != (0, 2)))
    assert pairs == [(1, 2), (0, 3)]


def test_apart_means_a_tenth_of_the_smaller_box():
    assert apart((0, 0, 10, 10), (9, 0, 100, 10))
    assert not apart((0, 0, 10, 10), (8, 0, 100, 10))


def test_boxes_are_cut_to_the_image(tmp_path):
    root = write_raw(tmp_path, {FILE: instances_file([(1, [390, 290, 50, 50]), (2, [500, 10, 5, 5])])})
    cut, outside = ObjectTable(root / FILE).of(1)
    assert cut.box == (390, 290, 400, 300) and outside.box is None


def test_the_build_is_the_same_with_more_workers(tmp_path):
    content = merged(*(instances_file(OBJECTS[: 2 + n % 5], n) for n in range(1, 13)))
    root = raw_folder(tmp_path / "raw", content)
    outputs = [tmp_path / "one", tmp_path / "two"]
    for workers, out in enumerate(outputs, 1):
        build_instances(root, out, "coco_instances", workers=workers)
    assert (outputs[0] / "train.jsonl").read_bytes() == (outputs[1] / "train.jsonl").read_bytes()
    assert (outputs[0] / "train.jsonl").stat().st_size > 10_000


@pytest.mark.parametrize(
    "content, message",
    [
        (
            {"images": [], "annotations": [{"id": 1}], "categories": []},
            r"instances_train2014\.json: not in the official",
        ),
        ({**instances_file(), "images": []}, r"annotation 1000 is of image 1 and category 1"),
    ],
)
def test_a_bad_file_is_an_error_that_names_it(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        source(tmp_path, content).load()


def test_the_real_photos(real_raw, tmp_path):
    built = build_instances(real_raw, tmp_path / "out", "coco_instances", workers=2)
    assert all(len(of_task(built, task)) > 200 for task in CocoInstances.tasks)
    matching = of_task(built, "object_region_matching")
    said = Counter((i.text, i.target) for i in matching)
    assert all(said[text, ("yes",)] == said[text, ("no",)] for text, _ in said)
    missing = of_task(built, "missing_object_selection")
    answers = Counter(len(i.target_set) * (i.target_set != (("none",),)) for i in missing)
    assert answers.keys() == {0, 1, 2} and min(answers.values()) > 20
    same = Counter(i.target for i in of_task(built, "object_matching", "train"))
    assert same["yes",] == same["no",]
