"""Visual Genome's relationships: what is asked for is the only right answer."""

import json

import pytest

from ofa_mi.errors import DataError
from tests.data_prep.sources.raw_tree import Picture, build_instances, of_task, write_raw

SIZE = (400, 300)
BOXES = {"man": (10, 10, 50, 100), "dog": (100, 200, 60, 40), "hat": (15, 5, 30, 20), "ball": (300, 200, 30, 30)}


def party(name, box=None, number=None, key="name"):
    x, y, w, h = box or BOXES[name]
    value = [name] if key == "names" else name
    return {"object_id": number or 1, "x": x, "y": y, "w": w, "h": h, key: value, "synsets": []}


def relationship(subject, predicate, thing, number=1):
    return {"relationship_id": number, "predicate": predicate, "subject": subject, "object": thing, "synsets": []}


FACTS = [
    relationship(party("man"), "wears", party("hat")),
    relationship(party("man"), "HAS ", party("hat", (16, 5, 30, 20), 5)),
    relationship(party("man"), "watches", party("dog", key="names")),
    relationship(party("man"), "watches", party("ball")),
    relationship(party("dog"), "near", party("ball", (300, 200, 30, 30))),
    relationship(party("dog"), "near", party("ball", (200, 20, 30, 30), 9)),
    relationship(party("dog"), "", party("ball")),
    relationship(party("dog"), "is 2 m away from", party("ball")),
    relationship(party("dog"), "is", party("animal", BOXES["dog"])),
    relationship(party("cat", (900, 10, 20, 20)), "on", party("ball")),
]


def raw_folder(root, facts=FACTS, key="image_id"):
    return write_raw(
        root,
        {
            "visual_genome/image_data.json": [{"image_id": 7, "width": 400, "height": 300, "coco_id": None}],
            "visual_genome/relationships.json": [{key: 7, "relationships": facts}],
            "visual_genome/VG_100K/7.jpg": Picture(*SIZE),
            "visual_genome/VG_100K_2/8.jpg": Picture(*SIZE),
        },
    )


def example_raw(root):
    return raw_folder(root)


@pytest.fixture
def everything(monkeypatch):
    """All that an image gives, not a few of it."""
    monkeypatch.setattr("ofa_mi.data_prep.images.visual_genome.PER_IMAGE", 100)


def corners(name):
    x, y, w, h = BOXES[name]
    return (x, y, x + w, y + h)


def built_from(tmp_path, *arguments, **fields):
    return build_instances(
        raw_folder(tmp_path / "raw", *arguments, **fields), tmp_path / "out", "visual_genome_relationships"
    )


def test_relations_of_a_pair_are_all_right(everything, tmp_path):
    built = built_from(tmp_path)
    relations = {(i.regions, i.target[0]): i.references for i in of_task(built, "object_relationship")}
    assert relations[(corners("man"), corners("hat")), "wears"] == ("has",)
    assert relations[(corners("man"), corners("dog")), "watches"] == ()
    assert len(relations) == 5


def test_names_are_asked_for_where_there_is_one(everything, tmp_path):
    built = built_from(tmp_path)
    objects = {(i.regions[0], i.text[0]): i.target[0] for i in of_task(built, "visual_object_identification")}
    assert objects == {
        (corners("man"), "wears"): "hat",
        (corners("man"), "has"): "hat",
        (corners("dog"), "near"): "ball",
    }
    subjects = {(i.regions[0], i.text[0]): i.target[0] for i in of_task(built, "visual_subject_identification")}
    assert subjects[corners("hat"), "wears"] == "man" and subjects[corners("dog"), "watches"] == "man"


def test_places_are_asked_for_where_there_is_one_thing(everything, tmp_path):
    built = built_from(tmp_path)
    objects = {(i.regions[0], i.text[0]): i.target[0] for i in of_task(built, "visual_object_localization")}
    assert objects == {(corners("man"), "wears"): corners("hat"), (corners("man"), "has"): corners("hat")}
    dropped = json.loads((tmp_path / "out/manifest.json").read_bytes())["dropped"]["visual_genome_relationships"]
    assert dropped["visual_object_localization: several things are in this relation"] == 2
    assert dropped["all tasks: a predicate that is empty, long or no words"] == 2
    assert dropped["all tasks: two things in one place"] == 1
    assert dropped["all tasks: a thing without a name, or whose box is not in the image"] == 1


def test_one_place_may_have_several_names(everything, tmp_path):
    """What is asked for is the only right answer whatever the things at a place are called."""
    here, there, far = (10, 10, 50, 100), (12, 11, 50, 100), (300, 10, 40, 40)
    facts = [
        relationship(party("man", here), "watches", party("dog")),
        relationship(party("guy", there), "sees", party("puppy", BOXES["dog"], 8)),
        relationship(party("man", here), "wants", party("ball")),
        relationship(party("guy", there), "wants", party("kite", far, 9)),
    ]
    built = built_from(tmp_path, facts)
    relations = {i.target[0]: i.references for i in of_task(built, "object_relationship")}
    assert relations == {"watches": ("sees",), "sees": ("watches",), "wants": ()}
    objects = {i.text[0]: (i.target[0], i.references) for i in of_task(built, "visual_object_identification")}
    assert objects == {"watches": ("dog", ()), "sees": ("puppy", ())}, "two things are wanted at one place"
    assert {i.text[0] for i in of_task(built, "visual_object_localization")} == {"watches", "sees"}
    subjects = [(i.text[0], i.target[0], i.references) for i in of_task(built, "visual_subject_identification")]
    assert sorted(subjects) == [
        ("sees", "guy", ()),
        ("wants", "guy", ()),
        ("wants", "man", ()),
        ("watches", "man", ()),
    ]


def test_names_in_one_place_are_all_right(everything, tmp_path):
    facts = [
        relationship(party("man"), "walks", party("dog")),
        relationship(party("man"), "walks", party("puppy", BOXES["dog"], 8)),
    ]
    built = built_from(tmp_path, facts)
    (name,) = of_task(built, "visual_object_identification")
    assert (name.target, name.references) == (("dog",), ("puppy",))
    (place,) = of_task(built, "visual_object_localization")
    assert place.target == (corners("dog"),)


def test_another_thing_of_the_name_at_the_given_place_makes_it_unclear(everything, tmp_path):
    facts = [
        relationship(party("dog"), "has", party("leg", (105, 220, 8, 20))),
        relationship(party("leg", (140, 220, 8, 20), 4), "near", party("ball")),
        relationship(party("man"), "has", party("leg", (20, 60, 10, 50), 5)),
    ]
    built = built_from(tmp_path, facts)
    found = {i.regions[0]: i.target[0] for i in of_task(built, "visual_object_localization") if i.text == ("has",)}
    assert found == {corners("man"): (20, 60, 30, 110)}, "a dog has more than one leg"
    dropped = json.loads((tmp_path / "out/manifest.json").read_bytes())["dropped"]["visual_genome_relationships"]
    assert dropped["visual_object_localization: something else of that name touches the given region"] == 1


def test_an_image_gives_a_few_instances_of_a_task(tmp_path):
    built = built_from(tmp_path, key="id")
    assert len(of_task(built, "object_relationship")) == 2


def test_an_image_that_is_not_listed_is_an_error(tmp_path):
    raw = raw_folder(tmp_path / "raw")
    write_raw(raw, {"visual_genome/image_data.json": [{"image_id": 8, "width": 4, "height": 3}]})
    with pytest.raises(DataError, match=r"image 7 is not in .*image_data\.json"):
        build_instances(raw, tmp_path / "out", "visual_genome_relationships")
