"""COCO-Text: words, regions, whether they can be read and how they were made."""

from collections import Counter

import pytest

from ofa_mi.data_prep.raw import RawFolder
from ofa_mi.data_prep.sources.coco_text import CocoText
from ofa_mi.errors import DataError
from tests.data_prep.sources.raw_tree import Picture, build_instances, of_task, write_raw

V2 = "coco_text/cocotext.v2.json"
V1 = "coco_text/COCO_Text.json"
# image, box, what is written (None for illegible), class
ANNS = {
    1: (5, [10, 10, 60, 20], "STOP", "machine printed"),
    2: (5, [10, 50, 60, 20], "main", "machine printed"),
    3: (5, [10, 90, 80, 20], "street", "handwritten"),
    4: (5, [100, 10, 60, 20], "Stop!", "machine printed"),  # the same word as 1
    5: (5, [100, 50, 80, 20], "streets", "machine printed"),  # contains 3
    6: (5, [100, 90, 30, 20], None, "machine printed"),
    7: (6, [10, 10, 60, 20], "exit", "others"),
    8: (7, [10, 10, 60, 20], "open", "machine printed"),
    9: (8, [10, 10, 60, 20], "sale", "machine printed"),  # set val
}
SETS = {5: "train", 6: "train", 7: "train", 8: "val", 9: "train"}


def content(anns=ANNS, outline="mask"):
    imgs = {
        str(n): {"id": n, "set": name, "width": 200, "height": 120, "file_name": f"COCO_train2014_{n:012d}.jpg"}
        for n, name in SETS.items()
    }
    found = {}
    for n, (image, box, written, kind) in anns.items():
        ann = {"id": n, "image_id": image, "bbox": box, "class": kind, "language": "english", "area": 1.5}
        ann |= {outline: [1, 2.5, 3, 4], "legibility": "illegible" if written is None else "legible"}
        found[str(n)] = ann | ({} if written is None else {"utf8_string": written})
    groups = {str(n): [a for a, (image, *_) in anns.items() if image == n] for n in SETS}
    return {"cats": {}, "anns": found, "imgs": imgs, "imgToAnns": groups, "info": {}}


def files(anns=ANNS):
    photos = {f"coco/train2014/COCO_train2014_{n:012d}.jpg": Picture(200, 120) for n in SETS}
    return {V2: content(anns), **photos}


def example_raw(root):
    """A raw folder from which every task is made."""
    words = ("alpha", None, "gamma", "delta")
    anns = {
        10 * image + place: (image, [10, 10 + 25 * place, 60, 20], word, ("handwritten", "others")[place % 2])
        for image in (6, 7, 9)
        for place, word in enumerate(words)
    }
    return write_raw(root, files(ANNS | anns))


def converted(root, task, anns=ANNS):
    source = CocoText(RawFolder(write_raw(root, files(anns))), [task])
    return [c for unit in source.load() for c in source.convert(unit)], source.dropped


def corners(number):
    x, y, width, height = ANNS[number][1]
    return x, y, x + width, y + height


def test_a_word_is_chosen_among_those_found_once(tmp_path):
    found, dropped = converted(tmp_path, "text_localization")
    # "streets" contains "street", so one of them is left alone, as are the words of images with a single one.
    answers = {c.draft.text[0]: c.draft.target for c in found}
    assert answers.pop("main") == (corners(2),)
    assert answers in [{"street": (corners(3),)}, {"streets": (corners(5),)}]
    assert len({frozenset(c.draft.options) for c in found}) == 1 and len(found) == 2
    assert dropped == {
        "text_localization: a word that is in the image more than once": 2,
        "text_localization: no other word to choose from": 3,
    }


def test_matching_asks_both_regions_about_both_words(tmp_path):
    found, _ = converted(tmp_path, "region_text_matching")
    written = {(image, box[0], box[1]): word for image, box, word, _ in ANNS.values()}
    for c in found:
        (region,) = c.draft.regions
        said = written[int(c.image.path[-7:-4]), region[0], region[1]]
        assert (c.draft.target == ("yes",)) == (said == c.draft.text[0])
    words = Counter((c.draft.text, c.draft.target) for c in found)
    regions = Counter((c.image.path, c.draft.regions, c.draft.target) for c in found)
    assert set(words.values()) == set(regions.values()) == {1}
    assert len(words) % 4 == 0 and len(words) >= 8
    # A word that is alone in its image is exchanged with one of another image.
    lonely = [c for c in found if c.image.path == "coco/000000000006.jpg"]
    assert sorted(c.draft.target[0] for c in lonely) == ["no", "yes"]


def test_words_that_are_alike_are_not_exchanged(tmp_path):
    anns = {1: (5, [10, 10, 60, 20], "STOP", "others"), 2: (6, [10, 50, 60, 20], "stop.", "others")}
    found, dropped = converted(tmp_path, "region_text_matching", anns)
    assert not found and dropped == {"region_text_matching: no other word to pair it with": 2}


def test_text_without_letters_or_with_control_characters_is_left_out(tmp_path):
    anns = {1: (5, [10, 10, 60, 20], "***", "others"), 2: (5, [10, 50, 60, 20], "a\x07b", "others")}
    found, dropped = converted(tmp_path, "region_text_matching", anns)
    assert not found
    assert dropped == {"region_text_matching: a legible text without usable letters or box": 2}


def test_legibility_is_that_of_the_file(tmp_path):
    found, _ = converted(tmp_path, "text_legibility")
    assert {int(c.key): c.draft.target[0] for c in found} == {
        n: "illegible" if n == 6 else "legible" for n in ANNS if n != 9
    }
    assert {frozenset(c.draft.options) for c in found} == {frozenset({("legible",), ("illegible",)})}


def test_the_type_is_asked_of_legible_text(tmp_path):
    anns = {**ANNS, 10: (9, [0, 0, 20, 20], "x", "stamped"), 11: (9, [300, 0, 20, 20], "y", "others")}
    found, dropped = converted(tmp_path, "text_type_classification", anns)
    assert {int(c.key): c.draft.target[0] for c in found} == {n: ANNS[n][3] for n in (1, 2, 3, 4, 5, 7, 8)}
    assert all(len(c.draft.options) == 3 for c in found)
    assert dropped == {
        "text_type_classification: an illegible text": 1,
        "text_type_classification: no known answer": 1,
        "text_type_classification: less than a pixel of the box is inside the image": 1,
    }


def test_answers_are_balanced_among_boxes_of_one_form(tmp_path):
    """Many large legible texts, one small; as many small illegible ones: only the small ones can be balanced."""
    anns = {n: (5, [10, 10, 100, 50], "word", "others") for n in range(20)}
    anns |= {20: (5, [0, 0, 12, 6], "word", "others")} | {n: (5, [n, 0, 12, 6], None, "others") for n in range(21, 40)}
    root = write_raw(tmp_path / "raw", files(anns))
    built = of_task(build_instances(root, tmp_path / "out", "coco_text"), "text_legibility")
    assert sorted(i.target[0] for i in built) == ["illegible", "legible"]
    assert {i.regions[0][3] - i.regions[0][1] for i in built} == {6}


def test_version_1_serves_as_well(tmp_path):
    root = write_raw(tmp_path / "one", {**files(), V1: content(outline="polygon")})
    (root / V2).unlink()
    source = CocoText(RawFolder(root), ["text_legibility"])
    assert sum(1 for unit in source.load() for _ in source.convert(unit)) == 8


def test_the_build_is_the_same_with_more_workers(tmp_path):
    root = write_raw(tmp_path / "raw", files())
    for workers in (1, 2):
        built = build_instances(root, tmp_path / str(workers), "coco_text", workers=workers)
    assert (tmp_path / "1/train.jsonl").read_bytes() == (tmp_path / "2/train.jsonl").read_bytes()
    assert len(of_task(built, "region_text_matching")) >= 8


def test_an_annotation_of_an_unknown_image_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"cocotext\.v2\.json: annotation 1 is of image 99"):
        converted(tmp_path, "text_legibility", {1: (99, [0, 0, 5, 5], "a", "others")})
