"""Visual Genome's regions: captions belong to their regions, wrong ones do not, and nothing but the image tells."""

import json
import random
from collections import Counter

import pytest

from ofa_mi.data_prep.options.content_words import content_words
from ofa_mi.data_prep.options.overlaps import apart, overlaps
from ofa_mi.data_prep.sources import all_sources
from ofa_mi.errors import DataError
from ofa_mi.geometry import area, intersection, iou
from tests.data_prep.sources.raw_tree import Picture, build_instances, of_task, read_instances, write_raw
from tests.data_prep.sources.region_examples import SIZE, random_boxes

THINGS = "man dog car tree cup window door sign bench horse boat clock lamp bottle book pillow wall bird train flower"
SOURCE = "visual_genome_regions"


def region(number, phrase, x, y, width, height, key="region_id"):
    return {key: number, "image_id": 1, "phrase": phrase, "x": x, "y": y, "width": width, "height": height}


def raw_folder(root, images, key="id"):
    """Images as lists of their regions."""
    return write_raw(
        root,
        {
            "visual_genome/image_data.json": [
                {"image_id": number, "width": SIZE[0], "height": SIZE[1], "coco_id": number + 1000}
                for number, _ in enumerate(images, 1)
            ],
            "visual_genome/region_descriptions.json": [
                {key: number, "regions": regions} for number, regions in enumerate(images, 1)
            ],
            "visual_genome/VG_100K_2/0.jpg": Picture(*SIZE),
            **{f"visual_genome/VG_100K/{number}.jpg": Picture(*SIZE) for number, _ in enumerate(images, 1)},
        },
    )


def random_images(number):
    """Images with many regions, some of which are about the same thing."""
    images = []
    for image in range(number):
        rng = random.Random(image)
        regions, names = [], rng.sample(THINGS.split(), 20)
        for place, ((x0, y0, x1, y1), thing) in enumerate(random_boxes(rng)):
            phrase = f"{rng.choice(('a', 'the', 'part of a'))} {names[thing % 20]}"
            regions.append(region(image * 100 + place, phrase, x0, y0, x1 - x0, y1 - y0))
        images.append(regions)
    return images


def example_raw(root):
    return raw_folder(root, random_images(30))


@pytest.fixture(scope="module")
def built_dir(tmp_path_factory):
    root = tmp_path_factory.mktemp("regions")
    build_instances(example_raw(root / "raw"), root / "out", SOURCE)
    return root / "out"


@pytest.fixture(scope="module")
def built(built_dir):
    return {split: read_instances(built_dir / f"{split}.jsonl") for split in ("train", "valid")}


@pytest.fixture
def everything(monkeypatch):
    """All that an image gives, not a few of it."""
    monkeypatch.setattr("ofa_mi.data_prep.images.visual_genome.PER_IMAGE", 100)


def annotated(image_path):
    """Box → captions of the regions of a random image."""
    number = int(image_path.removesuffix(".jpg").split("/")[-1])
    found = {}
    for one in random_images(number)[-1]:
        box = (one["x"], one["y"], one["x"] + one["width"], one["y"] + one["height"])
        found.setdefault(box, []).append(one["phrase"])
    return found


# -- captions and places

ROW = [  # boxes of 80 x 60 in a row
    region(1, "a red hat.", 10, 10, 80, 60),
    region(2, "the hat", 12, 11, 80, 60),
    region(3, "white dog", 110, 10, 80, 60),
    region(4, "dog", 210, 10, 80, 60),
    region(5, "tall clock", 310, 10, 80, 60),
    region(6, "the old bench", 410, 10, 80, 60),
    region(7, "in the front", 10, 200, 80, 60),
]
HAT, CLOCK, BENCH = (10, 10, 90, 70), (310, 10, 390, 70), (410, 10, 490, 70)


@pytest.fixture(scope="module")
def row(tmp_path_factory):
    """Split → instances, and what was left out."""
    root = tmp_path_factory.mktemp("row")
    built = build_instances(raw_folder(root / "raw", [ROW]), root / "out", SOURCE)
    return built, json.loads((root / "out/manifest.json").read_bytes())["dropped"][SOURCE]


def test_every_region_is_captioned(row):
    built, dropped = row
    captions = {i.regions[0]: (i.target[0], i.references) for i in of_task(built, "grounded_captioning")}
    assert captions == {
        HAT: ("a red hat.", ("the hat",)),
        (110, 10, 190, 70): ("white dog", ()),
        (210, 10, 290, 70): ("dog", ()),
        CLOCK: ("tall clock", ()),
        BENCH: ("the old bench", ()),
        (10, 200, 90, 260): ("in the front", ()),
    }
    assert dropped["grounded_captioning: a region with about the same box as another, where its caption is"] == 1


def test_every_caption_is_grounded_that_fits_nothing_else(row):
    built, dropped = row
    found = [(i.text[0], i.target[0]) for i in of_task(built, "visual_grounding")]
    assert sorted(found) == [
        ("a red hat.", HAT),
        ("tall clock", CLOCK),
        ("the hat", (12, 11, 92, 71)),
        ("the old bench", BENCH),
        ("white dog", (110, 10, 190, 70)),
    ], "dog: there are two; in the front: no content"
    assert dropped["visual_grounding: a caption without content, for several regions, or given again"] == 2


def test_a_caption_that_is_given_again_is_one_instance(tmp_path):
    regions = [region(1, "Red hat", 10, 10, 80, 60), region(2, "red hat", 20, 20, 80, 60)]
    built = build_instances(raw_folder(tmp_path / "raw", [regions]), tmp_path / "out", SOURCE)
    (instance,) = of_task(built, "visual_grounding")
    assert instance.text == ("Red hat",) and instance.target == (HAT,)
    assert [i.target for i in of_task(built, "grounded_captioning")] == [("Red hat",), ("red hat",)], "two regions"


def test_wrong_captions_and_regions_are_of_clearly_other_regions(built):
    selected = of_task(built, "grounded_caption_selection") + of_task(built, "visual_grounding_selection")
    assert len(selected) > 20
    for instance in selected:
        captions = annotated(instance.image_path)
        if instance.task_name == "grounded_caption_selection":
            (shown,) = instance.regions
            assert instance.target[0] in captions[shown]
            said = {
                word
                for box, texts in captions.items()
                if intersection(box, shown) >= 0.3 * area(box)
                for text in texts
                for word in content_words(text)
            }
            assert all(not content_words(o[0]) & said for o in instance.options if o != instance.target)
        else:
            right, wrong = instance.target[0], [o[0] for o in instance.options if o != instance.target]
            assert instance.text[0] in captions[right]
            for box, texts in captions.items():
                if any(content_words(instance.text[0]) <= content_words(text) for text in texts):
                    assert iou(box, right) >= 0.5, "the caption fits elsewhere"
            for box in wrong:
                assert intersection(box, right) <= 0.1 * min(area(box), area(right))
                assert 0.5 <= area(box) / area(right) <= 2
        assert len(set(instance.options)) == 4 and instance.target in instance.options


def test_a_caption_matches_its_region_only(built):
    instances = of_task(built, "region_caption_matching", "train")
    assert Counter(i.target for i in instances) == {("yes",): len(instances) / 2, ("no",): len(instances) / 2}
    assert len(instances) > 20
    for instance in instances:
        own = annotated(instance.image_path)[instance.regions[0]]
        if instance.target == ("yes",):
            assert instance.text[0] in own
        else:
            assert all(not content_words(instance.text[0]) & content_words(caption) for caption in own)


# -- overlaps


def test_overlap_is_clear(built):
    instances = of_task(built, "region_overlap_detection", "train")
    assert len(instances) > 10
    for instance in instances:
        assert (overlaps if instance.target == ("yes",) else apart)(*instance.regions)
    assert len({i.target for i in instances}) == 2


def test_area_is_that_of_the_box_in_the_image(everything, tmp_path):
    regions = [region(1, "a wall", -10, -5, 30, 25), region(2, "a cup", 100, 100, 7, 9)]
    built = build_instances(raw_folder(tmp_path / "raw", [regions]), tmp_path / "out", SOURCE)
    areas = {i.regions[0]: i.target[0] for i in of_task(built, "region_area")}
    assert areas == {(0, 0, 20, 20): "400", (100, 100, 107, 109): "63"}


def test_selected_regions_overlap_as_asked(built):
    for instance in of_task(built, "overlapping_region_selection"):
        (shown,) = instance.regions
        assert [o for o in instance.options if overlaps(shown, o[0])] == [instance.target]
        assert sum(apart(shown, o[0]) for o in instance.options) == len(instance.options) - 1 == 3
    for instance in of_task(built, "non_overlapping_region_selection"):
        (shown,) = instance.regions
        assert [o for o in instance.options if apart(shown, o[0])] == [instance.target]
    for task, sign in (("most_overlapping_region_selection", -1), ("least_overlapping_region_selection", 1)):
        for instance in of_task(built, task):
            by_area, by_iou = (
                sorted(instance.options, key=lambda o, m=measure, i=instance: sign * m(i.regions[0], o[0]))
                for measure in (intersection, iou)
            )
            assert by_area[0] == by_iou[0] == instance.target


# -- files


def test_an_image_gives_all_captions_and_a_few_instances_of_other_tasks(built):
    counts = Counter((i.task_name, i.image_path) for split in built.values() for i in split)
    most = {task: max(n for (of, _), n in counts.items() if of == task) for task in all_sources()[SOURCE].tasks}
    assert most.pop("grounded_captioning") > 20 and most.pop("visual_grounding") > 5
    assert set(most.values()) == {2}
    assert all(i.meta_data["coco_id"] == i.meta_data["image_id"] + 1000 for split in built.values() for i in split)


def test_workers_do_not_change_a_byte(tmp_path, built_dir):
    raw = example_raw(tmp_path / "raw")
    build_instances(raw, tmp_path / "out", SOURCE, workers=2)
    assert (tmp_path / "out/train.jsonl").read_bytes() == (built_dir / "train.jsonl").read_bytes()


def test_what_cannot_be_used_is_counted(tmp_path):
    regions = [
        region(1, "a cloud", 179, -904, 55, 25),
        region(2, "a wall", 480, 0, 60, 25),
        region(3, " ", 0, 0, 50, 50),
        region(4, None, 0, 0, 50, 50),
        region(5, "a cup", 0, 0, 50, 0),
        region(6, "a cup", 0, 0, 50, 20),
        region(6, "a cup", 0, 0, 50, 20),
    ]
    raw = raw_folder(tmp_path / "raw", [[{**one} for one in regions]], key="image_id")
    built = build_instances(raw, tmp_path / "out", SOURCE)
    dropped = json.loads((tmp_path / "out/manifest.json").read_bytes())["dropped"][SOURCE]
    assert dropped["all tasks: a region that does not lie in the image"] == 3
    assert dropped["all tasks: a caption that is empty or has control characters"] == 2
    assert dropped["all tasks: a region without an id of its own"] == 1
    assert dropped["visual_grounding_selection: an image without regions that suit the task"] == 1
    assert [i.unique_id for i in of_task(built, "region_area")] == [f"{SOURCE}/region_area/1-6"]


def test_version_1_has_other_names(tmp_path):
    raw = raw_folder(tmp_path / "raw", [[region(5, "a cup", 1, 2, 30, 40, key="id")]])
    built = build_instances(raw, tmp_path / "out", SOURCE)
    (instance,) = of_task(built, "grounded_captioning")
    assert instance.regions == ((1, 2, 31, 42),) and instance.target == ("a cup",)


def test_errors_name_file_and_image(tmp_path):
    raw = raw_folder(tmp_path / "raw", [[{**region(5, "a cup", 1, 2, 30, 40), "x": "left"}]])
    with pytest.raises(DataError, match=r"region_descriptions\.json: image 1: not in the official format .*\.x"):
        build_instances(raw, tmp_path / "out", SOURCE)
    write_raw(raw, {"visual_genome/region_descriptions.json": [{"id": 1, "regions": []}] * 2})
    with pytest.raises(DataError, match="listed twice"):
        build_instances(raw, tmp_path / "out", SOURCE)
