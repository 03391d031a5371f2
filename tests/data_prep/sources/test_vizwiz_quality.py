"""VizWiz image quality: one majority makes an answer, and options do not tell which is frequent."""

from collections import Counter

import pytest

from ofa_mi.data_prep.building.build import BuildOptions, build
from ofa_mi.errors import DataError
from tests.data_prep.sources.raw_tree import Picture, read_instances, write_raw

NO_VOTES = dict.fromkeys(("NON", "BLR", "FRM", "ROT", "DRK", "BRT", "OBS", "OTH"), 0)


def photo(number, **votes):
    return {"image": f"VizWiz_train_{number:08d}.jpg", "flaws": NO_VOTES | votes, "unrecognizable": 1}


def raw_folder(root, photos):
    images = {f"vizwiz/train/{p['image']}": Picture(30, 40) for p in photos}
    return write_raw(root, {"vizwiz/annotations/train.json": photos, **images})


def example_raw(root):
    """A raw folder from which every task is made."""
    answers = ["NON", "BLR", "FRM"] * 12
    return raw_folder(root, [photo(n, **{answer: 5}) for n, answer in enumerate(answers)])


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Frequent answers in very different numbers, two rare ones, and photos without one answer."""
    numbers = {"NON": 200, "BLR": 90, "FRM": 70, "DRK": 20, "OTH": 6}
    answers = [flaw for flaw, number in numbers.items() for _ in range(number)]
    photos = [photo(n, **{answer: 4, "ROT": 2}) for n, answer in enumerate(answers)]
    photos += [photo(900, BLR=3, FRM=5), photo(901, BLR=2, NON=2), photo(902, BLR=2)]
    root = tmp_path_factory.mktemp("vizwiz")
    manifest = build(raw_folder(root / "raw", photos), root / "out", BuildOptions(sources=["vizwiz_quality"]))
    return (
        manifest,
        photos,
        [i for split in ("train", "valid") for i in read_instances(root / "out" / f"{split}.jsonl")],
    )


def test_the_answer_is_what_a_majority_said(built):
    _, photos, instances = built
    names = {"NON": "no flaws", "BLR": "blur", "FRM": "bad framing", "DRK": "too dark", "OTH": "other"}
    votes = {p["image"]: p["flaws"] for p in photos}
    for instance in instances:
        flaws = votes[instance.image_path.rpartition("/")[2]]
        assert instance.target == (names[max(flaws, key=flaws.get)],)
        assert instance.meta_data == {"votes": flaws}
        assert instance.target in instance.options


def test_what_is_left_out_is_counted(built):
    manifest, _, _ = built
    dropped = manifest["dropped"]["vizwiz_quality"]
    assert dropped["image_quality: more than one flaw"] == 1
    assert dropped["image_quality: the workers do not agree"] == 2


def test_every_answer_is_equally_often_right_among_the_same_options(built):
    _, _, instances = built
    answers = {}
    for instance in instances:
        answers.setdefault(frozenset(instance.options), Counter())[instance.target] += 1
    frequent = {("no flaws",), ("blur",), ("bad framing",)}
    assert set(answers) <= {frozenset(frequent), *(frozenset(frequent | {(r,)}) for r in ("too dark", "other"))}
    for options, counts in answers.items():
        assert set(counts) == set(options) and len(set(counts.values())) == 1
    assert answers[frozenset(frequent | {("too dark",)})]["too dark",] >= 10
    assert answers[frozenset(frequent)]["blur",] >= 20


def test_another_file_is_an_error(tmp_path):
    raw = write_raw(tmp_path / "raw", {"vizwiz/annotations/train.json": {"images": []}, "vizwiz/train/a.jpg": b""})
    with pytest.raises(DataError, match=r"annotations/train\.json: not in the official format"):
        build(raw, tmp_path / "out", BuildOptions(sources=["vizwiz_quality"]))
