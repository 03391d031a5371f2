"""VAW: wrong options are attributes that the thing lacks, and words alone do not tell the answer."""

import json
from collections import Counter, defaultdict

import pytest

from ofa_mi.data_prep.sources import vaw
from ofa_mi.errors import DataError
from tests.data_prep.sources.raw_tree import Picture, build_instances, write_raw

COLORS = ("red", "green", "blue", "white", "black")


def thing(number, positive, negative, image=1, box=(10, 10, 40, 30)):
    return {
        "image_id": str(image),
        "instance_id": str(number),
        "instance_bbox": list(box),
        "instance_polygon": None,
        "object_name": "car",
        "positive_attributes": positive,
        "negative_attributes": negative,
    }


def things():
    """Red things are frequent; every thing lacks the other colors."""
    colors = [color for color, number in zip(COLORS, (40, 12, 12, 12, 12), strict=True) for _ in range(number)]
    found = [thing(n, [color, "shiny"], [c for c in COLORS if c != color]) for n, color in enumerate(colors)]
    odd = [thing(900, ["old"], ["rare"]), thing(901, ["red"], ["blue"], box=(-90, 10, 40, 30))]
    return found, odd


def raw_folder(root, first=None, second=None):
    found, odd = things()
    return write_raw(
        root,
        {
            "vaw/train_part1.json": first or found,
            "vaw/train_part2.json": second or odd,
            "visual_genome/image_data.json": [{"image_id": 1, "width": 200, "height": 100, "coco_id": 3}],
            "visual_genome/VG_100K/1.jpg": Picture(200, 100),
            "visual_genome/VG_100K_2/2.jpg": Picture(200, 100),
        },
    )


def example_raw(root):
    return raw_folder(root)


@pytest.mark.parametrize(("frequent", "number"), [(1000, 2), (3, 4)])
def test_every_option_is_right_as_often(tmp_path, monkeypatch, frequent, number):
    monkeypatch.setattr(vaw, "FREQUENT", frequent)
    built = build_instances(raw_folder(tmp_path / "raw"), tmp_path / "out", "vaw")
    right = defaultdict(Counter)
    for instance in built["train"]:
        answer = instance.target[0]
        assert len(instance.options) == number and instance.target in instance.options
        assert instance.regions == ((10, 10, 50, 40),) and instance.meta_data == {"object": "car", "coco_id": 3}
        assert answer in COLORS, "nothing is said to lack the other attribute"
        right[frozenset(instance.options)][answer] += 1
    assert right
    for counts in right.values():
        assert len(counts) == number and len(set(counts.values())) == 1


def test_what_cannot_be_used_is_counted(tmp_path):
    build_instances(raw_folder(tmp_path / "raw"), tmp_path / "out", "vaw")
    dropped = json.loads((tmp_path / "out/manifest.json").read_bytes())["dropped"]["vaw"]
    assert dropped == {
        f"{vaw.TASK}: no attribute of it is lacking elsewhere, in exchange for one that it lacks": 1,
        f"{vaw.TASK}: the box is not in the image": 1,
    }


def test_an_unknown_image_is_an_error(tmp_path):
    raw = raw_folder(tmp_path / "raw", second=[thing(5, ["red"], ["blue"], image=77)])
    with pytest.raises(DataError, match="instance 5 is of image 77"):
        build_instances(raw, tmp_path / "out", "vaw")
