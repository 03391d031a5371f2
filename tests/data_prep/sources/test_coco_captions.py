"""MSCOCO captions: every caption is a target, and wrong captions are wrong and as likely right as others."""

from collections import Counter

import pytest

from ofa_mi.data_prep.raw import RawFolder
from ofa_mi.data_prep.sources.coco_captions import CocoCaptions, content_words
from ofa_mi.errors import DataError
from tests.data_prep.sources.raw_tree import Picture, build_instances, of_task, write_raw

CAPTIONS = "coco/annotations/captions_train2014.json"
INSTANCES = "coco/annotations/instances_train2014.json"
# Image → category of its object, and captions (of five words each, but for one).
PHOTOS = {
    1: ("dog", ["Brown puppy chases red ball.", "Dog runs  across green lawn.\n"]),
    2: ("pizza", ["Hot pizza lies on plate.", "Cheese melts over a pizza."]),
    3: ("boat", ["Sails glow in evening light.", "Boat crosses the blue lake."]),
    4: ("bed", ["Pillows rest on tidy bed.", "Bedroom holds a made bed."]),
}
CATEGORIES = ("dog", "pizza", "boat", "bed")


def files(photos=PHOTOS, extra=()):
    images = [{"id": n, "width": 40, "height": 30, "file_name": "x.jpg", "license": 1} for n in photos]
    texts = [(n, caption) for n, (_, captions) in photos.items() for caption in captions]
    captions = [{"id": 10 + k, "image_id": n, "caption": caption} for k, (n, caption) in enumerate([*texts, *extra])]
    boxes = [
        {"id": n, "image_id": n, "category_id": CATEGORIES.index(name), "bbox": [1, 1, 20, 20], "iscrowd": 0}
        for n, (name, _) in photos.items()
        if name
    ]
    categories = [{"id": n, "name": name} for n, name in enumerate(CATEGORIES)]
    return {
        CAPTIONS: {"info": {}, "images": images, "licenses": [], "annotations": captions},
        INSTANCES: {"info": {}, "images": images, "annotations": boxes, "categories": categories},
        **{f"coco/train2014/COCO_train2014_{n:012d}.jpg": Picture(40, 30) for n in photos},
    }


def example_raw(root):
    """A raw folder from which every task is made."""
    return write_raw(root, files())


def converted(root, content, *tasks):
    source = CocoCaptions(RawFolder(write_raw(root, content)), tasks or CocoCaptions.tasks)
    return [candidate for unit in source.load() for candidate in source.convert(unit)], source.dropped


def test_every_caption_is_a_target_and_the_others_are_references(tmp_path):
    photos = {7: ("dog", ["A  dog.\n", "One dog.", "A dog.", "Brown\x07dog.", "A||||dog."])}
    found, dropped = converted(tmp_path, files(photos), "image_captioning")
    assert [(c.key, c.draft.target, c.draft.references) for c in found] == [
        ("10", ("A dog.",), ("One dog.",)),
        ("11", ("One dog.",), ("A dog.",)),
        ("12", ("A dog.",), ("One dog.",)),
    ]
    assert found[0].image.path == "coco/000000000007.jpg"
    assert dropped == {"image_captioning: the caption is empty or has control characters": 2}


def test_captioning_needs_no_instances(tmp_path):
    content = files()
    del content[INSTANCES]
    root = write_raw(tmp_path / "raw", content)
    built = build_instances(root, tmp_path / "out", "coco_captions", tasks=("image_captioning",))
    assert len(of_task(built, "image_captioning")) == 8
    with pytest.raises(DataError, match=r"instances_train2014\.json is missing"):
        build_instances(root, tmp_path / "all", "coco_captions")


def test_matching_exchanges_captions_in_pairs(tmp_path):
    found, dropped = converted(tmp_path, files(), "image_text_matching")
    own = {" ".join(caption.split()): n for n, (_, captions) in PHOTOS.items() for caption in captions}
    assert len(found) == 16 and not dropped
    for c in found:
        image = int(c.image.path[-7:-4])
        assert c.draft.target == (("yes",) if own[c.draft.text[0]] == image else ("no",))
    said = Counter((c.draft.text[0], c.draft.target[0]) for c in found)
    assert said == {(caption, answer): 1 for caption in own for answer in ("yes", "no")}
    asked = Counter((c.image.path, c.draft.target[0]) for c in found)
    assert set(asked.values()) == {2}


def test_selection_offers_the_same_captions_with_every_image(tmp_path):
    found, dropped = converted(tmp_path, files(), "image_text_selection")
    assert len(found) == 8 and not dropped
    offered = Counter(frozenset(c.draft.options) for c in found)
    assert set(offered.values()) == {4} and all(len(options) == 4 for options in offered)
    own = {" ".join(caption.split()): n for n, (_, captions) in PHOTOS.items() for caption in captions}
    for c in found:
        assert own[c.draft.target[0]] == int(c.image.path[-7:-4])
    assert len({c.draft.target for c in found}) == 8


@pytest.mark.parametrize(
    "photos",
    [
        {1: ("dog", ["Brown fur shines in sun."]), 2: ("dog", ["Paws rest on warm sand."])},  # a category in common
        {1: ("dog", ["Brown fur shines in sun."]), 2: ("bed", ["Pillow lies under a dog."])},  # named in a caption
        {1: ("dog", ["Sun shines on green grass."]), 2: ("boat", ["Green grass beside the lake."])},  # the same words
        {1: ("dog", ["Brown fur shines in sun."]), 2: ("boat", ["Sails glow in light."])},  # of other length
        {1: ("dog", ["Brown fur shines in sun."]), 2: ("boat", ["The picture of another one."])},  # no content
    ],
)
def test_captions_that_may_be_right_are_not_exchanged(tmp_path, photos):
    found, dropped = converted(tmp_path, files(photos), "image_text_matching")
    assert not found
    assert dropped == {"image_text_matching: no images without a common category to exchange captions with": 2}


def test_an_image_of_which_nothing_is_known_is_left_out(tmp_path):
    photos = {1: ("dog", ["Brown fur shines in sun."]), 2: (None, ["Clouds drift over dark hills."])}
    found, dropped = converted(tmp_path, files(photos), "image_text_matching")
    assert not found and sorted(dropped.values()) == [1, 1]


def test_content_words():
    assert content_words("Two Dogs are in the photo, on glass") == {"dog", "glass"}


def test_a_caption_of_an_unknown_image_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"captions_train2014\.json: caption 18 is of image 99"):
        converted(tmp_path, files(extra=[(99, "A dog.")]))


def test_the_build_is_the_same_with_more_workers(tmp_path):
    root = write_raw(tmp_path / "raw", files())
    for workers in (1, 2):
        build_instances(root, tmp_path / str(workers), "coco_captions", workers=workers)
    assert (tmp_path / "1/train.jsonl").read_bytes() == (tmp_path / "2/train.jsonl").read_bytes()


def test_the_real_photos(real_raw, tmp_path):
    built = build_instances(real_raw, tmp_path / "out", "coco_captions", workers=2)
    assert len(of_task(built, "image_captioning")) == 1536
    matching = Counter((i.text, i.target) for i in of_task(built, "image_text_matching"))
    assert sum(matching.values()) > 2000
    assert all(matching[text, ("yes",)] == matching[text, ("no",)] for text, _ in matching)
    selection = of_task(built, "image_text_selection")
    assert len(selection) > 450
    assert all(len({len(option[0].split()) for option in i.options}) == 1 for i in selection)
