"""``ofa-mi data build`` on a made-up source: splits, caps, images, interruptions, and everything that can be wrong."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from ofa_mi import cli
from ofa_mi.data_prep.building import build as build_module
from ofa_mi.data_prep.building import shards
from ofa_mi.data_prep.building.build import BuildOptions, build
from ofa_mi.data_prep.draft import Draft, text, yes_no
from ofa_mi.data_prep.formats.reading import read_json, tidy
from ofa_mi.data_prep.raw import RawFile, RawFolder
from ofa_mi.data_prep.source import Candidate, ImageFile, Source, held_out
from ofa_mi.errors import ConfigError, DataError
from ofa_mi.instances.instance import PIXELS_OPTION
from ofa_mi.instructions.registry import default_registry
from tests.data_prep.sources.raw_tree import Picture, of_task, read_instances, write_raw
from tests.fuzzing import fuzz, mutate_bytes

PAGE = "https://example.org/toys"
NUMBER = 40


class Toys(Source):
    """Captions for training, statements for evaluation."""

    name = "toys"
    title = "Toys"
    page = PAGE
    licence = "CC0"
    size = "1 MB"
    tasks = ("image_captioning", "image_text_matching", "nlvr")
    files = (RawFile(path="toys/toys.json", page=PAGE, note="free"), RawFile(path="toys/photos/", page=PAGE))

    def load(self):
        return read_json(self.raw.find(self.files[0]), list[dict])

    def convert(self, unit):
        number = unit["id"]
        image = ImageFile(f"toys/{number}.png", (f"toys/photos/{number}.png",), unit.get("size"))
        if self.wants("image_captioning"):
            if unit["caption"]:
                yield Candidate("image_captioning", str(number), Draft(target=text(unit["caption"])), image)
            else:
                self.drop("image_captioning", "no caption")
        for task in ("image_text_matching", "nlvr"):
            if self.wants(task):
                rng = self.rng(task, number)
                draft = yes_no(rng.random() < 0.7, rng, text=text(unit["caption"] or "nothing"))
                yield Candidate(task, str(number), draft, image, {"n": number})


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(build_module, "all_sources", lambda: {"toys": Toys})
    monkeypatch.setattr(shards, "CHUNK", 7)


@pytest.fixture
def raw(tmp_path):
    records = [{"id": n, "caption": f"toy {n}" if n else ""} for n in range(NUMBER)]
    pictures = {f"toys/photos/{n}.png": Picture(30 + n, 20) for n in range(NUMBER)}
    return write_raw(tmp_path / "raw", {"toys/toys.json": records, **pictures})


def content(out):
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.json*"))}


def images_of(out, split):
    return {instance.image_path for instance in read_instances(out / f"{split}.jsonl")}


def test_instances_are_complete_and_in_their_splits(raw, tmp_path):
    manifest = build(raw, tmp_path / "out", BuildOptions())
    built = {split: read_instances(tmp_path / "out" / f"{split}.jsonl") for split in ("train", "valid", "test")}
    captions = of_task(built, "image_captioning")
    assert sorted(int(i.image_path.split("/")[-1][:-4]) for i in captions) == list(range(1, NUMBER))
    for instance in captions:
        number = int(instance.image_path.split("/")[-1][:-4])
        assert instance.image_size == (30 + number, 20) and instance.target == (f"toy {number}",)
        assert (tmp_path / "out" / instance.image_path).is_file()
        assert (instance in built["valid"]) == held_out(f"toys/{number}.png")
    assert len(of_task(built, "nlvr", "test")) == len(of_task(built, "nlvr"))
    for task in ("image_text_matching", "nlvr"):
        for split, instances in built.items():
            answers = [i.target[0][0] for i in instances if i.task_name == task]
            assert answers.count("y") == answers.count("n"), (task, split)
    assert manifest["dropped"] == {"toys": {"image_captioning: no caption": 1}}
    assert manifest["counts"]["train"]["image_captioning"] == len(of_task(built, "image_captioning", "train"))
    assert not (tmp_path / "out" / ".build").exists()


def test_the_same_bytes_for_any_number_of_workers_and_other_bytes_for_another_seed(raw, tmp_path):
    for name, options in {"a": {}, "b": {"workers": 2}, "c": {"seed": 1}}.items():
        build(raw, tmp_path / name, BuildOptions(max_train=11, **options))
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert content(tmp_path / "a")["train.jsonl"] != content(tmp_path / "c")["train.jsonl"]


def test_a_task_is_the_same_alone_and_among_others(raw, tmp_path):
    build(raw, tmp_path / "all", BuildOptions())
    build(raw, tmp_path / "one", BuildOptions(tasks=["image_text_matching"]))
    lines = (tmp_path / "all" / "train.jsonl").read_bytes().splitlines()
    assert [line for line in lines if b'"image_text_matching"' in line] == (
        (tmp_path / "one" / "train.jsonl").read_bytes().splitlines()
    )


def test_caps_are_per_task_and_only_needed_images_are_placed(raw, tmp_path):
    manifest = build(raw, tmp_path / "out", BuildOptions(max_train=4, max_eval=2))
    assert manifest["counts"]["train"] == {"image_captioning": 4, "image_text_matching": 4}
    assert manifest["counts"]["test"] == {"nlvr": 2}
    used = set().union(*(images_of(tmp_path / "out", split) for split in ("train", "valid", "test")))
    placed = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out" / "images").rglob("*.png")}
    assert placed == used


def test_images_are_links_or_copies(raw, tmp_path):
    build(raw, tmp_path / "linked", BuildOptions(max_train=1, max_eval=2))
    build(raw, tmp_path / "copied", BuildOptions(max_train=1, max_eval=2, copy_images=True))
    for name, links in (("linked", 2), ("copied", 1)):
        paths = list((tmp_path / name / "images").rglob("*.png"))
        assert paths and {os.stat(path).st_nlink for path in paths} == {links}


def test_a_build_that_was_killed_continues(raw, tmp_path, monkeypatch):
    build(raw, tmp_path / "whole", BuildOptions())
    convert, seen = Toys.convert, []

    def killed(self, unit):
        seen.append(unit["id"])
        if len(seen) > 20:
            raise KeyboardInterrupt
        return convert(self, unit)

    monkeypatch.setattr(Toys, "convert", killed)
    with pytest.raises(KeyboardInterrupt):
        build(raw, tmp_path / "out", BuildOptions())
    assert not list((tmp_path / "out").glob("*.jsonl"))
    again = []
    monkeypatch.setattr(Toys, "convert", lambda self, unit: (again.append(unit["id"]), convert(self, unit))[1])
    build(raw, tmp_path / "out", BuildOptions())
    assert again == list(range(14, NUMBER)), "the two shards that were complete are kept"
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_what_an_interrupted_build_left_half_done_is_made_again(raw, tmp_path, monkeypatch):
    """Temporary files of a killed process, and an image that a power failure has emptied."""
    build(raw, tmp_path / "whole", BuildOptions(copy_images=True))

    def killed(*args, **details):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(build_module.OutputDirectory, "finish", killed)
        build(raw, tmp_path / "out", BuildOptions(copy_images=True))
    folder = tmp_path / "out" / "images" / "toys"
    (folder / "5.png").write_bytes(b"")
    (folder / ".6.png.abcdefgh.tmp").write_bytes(b"half")
    build(raw, tmp_path / "out", BuildOptions(copy_images=True))
    whole, out = (
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (tmp_path / "whole", tmp_path / "out")
    )
    assert out == whole


def test_a_finished_build_is_kept_and_other_settings_are_refused(raw, tmp_path):
    manifest = build(raw, tmp_path / "out", BuildOptions(max_train=4))
    assert build(raw, tmp_path / "out", BuildOptions(max_train=4, workers=2)) == manifest
    with pytest.raises(DataError, match="max_train 4, now 5"):
        build(raw, tmp_path / "out", BuildOptions(max_train=5))


def test_a_change_of_the_raw_file_makes_its_shards_again(raw, tmp_path, monkeypatch):
    def killed(*args, **details):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(build_module.OutputDirectory, "finish", killed)
        build(raw, tmp_path / "out", BuildOptions(tasks=["image_captioning"]))
    write_raw(raw, {"toys/toys.json": [{"id": 3, "caption": "a new toy"}]})
    build(raw, tmp_path / "out", BuildOptions(tasks=["image_captioning"]))
    lines = [line for split in ("train", "valid") for line in read_instances(tmp_path / f"out/{split}.jsonl")]
    assert [instance.target for instance in lines] == [("a new toy",)]


def test_training_images_of_the_evaluation_can_be_left_out(raw, tmp_path):
    manifest = build(raw, tmp_path / "out", BuildOptions(max_eval=10, exclude_eval_images=True))
    images = {split: images_of(tmp_path / "out", split) for split in ("train", "test")}
    assert len(images["test"]) == 10 and images["train"] and not images["train"] & images["test"]
    assert manifest["excluded_eval_images"] == 2 * 10 - (1 if "images/toys/0.png" in images["test"] else 0)


def test_missing_raw_files_are_named_with_where_to_get_them(tmp_path, capsys):
    (tmp_path / "raw").mkdir()
    arguments = ["data", "build", "--raw", str(tmp_path / "raw"), "--out", str(tmp_path / "out")]
    assert cli.main(arguments) == 2
    message = capsys.readouterr().err
    assert "toys: toys/toys.json is missing" in message and f"{PAGE} (free)" in message
    assert cli.main([*arguments, "--skip-missing"]) == 2, "nothing is left"
    with pytest.raises(DataError, match="no such directory"):
        build(tmp_path / "nowhere", tmp_path / "out", BuildOptions())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("missing", r"5\.png: image is missing"),
        ("garbage", r"5\.png: is not an image that can be read"),
        ("too large", r"5\.png: is too large: 35x20 is more than the limit of 699 pixels"),
        ("bomb", r"5\.png: is too large: its size is more than the limit of 698 pixels"),
        ("size", r"toys/\w+/5: images/toys/5\.png is 35x20, but its annotations say 9x9"),
    ],
)
def test_a_bad_image_stops_the_build_or_is_counted(raw, tmp_path, monkeypatch, damage, message):
    photo = raw / "toys/photos/5.png"
    if damage == "missing":
        photo.unlink()
    elif damage == "garbage":
        photo.write_bytes(b"not a picture")
    elif damage in ("too large", "bomb"):
        for number in range(6, NUMBER):  # they are wider
            write_raw(raw, {f"toys/photos/{number}.png": Picture(30, 20)})
        monkeypatch.setenv(PIXELS_OPTION, "699")
        if damage == "bomb":  # Pillow's own limit
            monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 349)
    else:
        records = json.loads((raw / "toys/toys.json").read_bytes())
        records[5]["size"] = [9, 9]
        write_raw(raw, {"toys/toys.json": records})
    options = {"tasks": ["image_captioning"]}
    with pytest.raises(DataError, match=message):
        build(raw, tmp_path / "strict", BuildOptions(**options))
    manifest = build(raw, tmp_path / "lenient", BuildOptions(**options, skip_bad=True))
    assert manifest["left_out"] == 1
    assert sum(manifest["counts"][split].get("image_captioning", 0) for split in ("train", "valid")) == NUMBER - 2
    assert "5.png" in (tmp_path / "lenient" / "left_out.txt").read_text()


@pytest.mark.parametrize(
    ("written", "used"),
    [(" a \n b ", "a b"), ("\u200b", ""), (" \ufeff ", ""), ("a\x07", ""), ("a||||b", "")],
    ids=ascii,
)
def test_a_text_that_cannot_be_used_is_empty(written, used):
    assert tidy(written) == used


def test_a_wrong_size_is_explained_by_the_orientation(raw, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (35, 20)).save(raw / "toys/photos/5.png", exif=exif)
    records = json.loads((raw / "toys/toys.json").read_bytes())
    records[5]["size"] = [20, 35]
    write_raw(raw, {"toys/toys.json": records})
    with pytest.raises(DataError, match=r"5\.png is 35x20, but its annotations say 20x35 \(its EXIF orientation, 6"):
        build(raw, tmp_path / "out", BuildOptions(tasks=["image_captioning"]))


def test_a_source_most_of_whose_images_are_bad_says_so(raw, tmp_path, caplog):
    for number in range(19):
        (raw / f"toys/photos/{number}.png").unlink()
    build(raw, tmp_path / "few", BuildOptions(tasks=["nlvr", "image_captioning"], skip_bad=True))
    assert "images cannot be used" not in caplog.text
    (raw / "toys/photos/19.png").write_bytes(b"not a picture")
    (raw / "toys/photos/20.png").unlink()
    build(raw, tmp_path / "most", BuildOptions(tasks=["image_captioning"], skip_bad=True))
    assert "toys: 20 of 39 images cannot be used, the first: " in caplog.text


def test_an_annotation_that_is_there_twice_is_an_error(raw, tmp_path):
    write_raw(raw, {"toys/toys.json": [{"id": 3, "caption": "a"}, {"id": 3, "caption": "b"}]})
    with pytest.raises(DataError, match=r"toys/image_captioning/3: 1 candidates have the id of another one"):
        build(raw, tmp_path / "out", BuildOptions(tasks=["image_captioning"]))


def test_an_instance_that_does_not_fit_its_task_is_an_error(raw, tmp_path, monkeypatch):
    monkeypatch.setattr(Toys, "convert", lambda self, unit: iter([Candidate("nlvr", str(unit["id"]), Draft(), None)]))
    with pytest.raises(DataError, match="target_txt is missing"):
        build(raw, tmp_path / "out", BuildOptions())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": ["nonsense"]}, "unknown task or group 'nonsense'"),
        ({"sources": ["toy"]}, "--sources toy: unknown"),
        ({"tasks": ["vqa"]}, "no source makes any of the chosen tasks"),
        ({"workers": 0}, "--workers 0: must be at least 1"),
        ({"max_train": -1}, "--max-train -1: must be at least 0"),
    ],
)
def test_bad_options_are_one_line(raw, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        build(raw, tmp_path / "out", BuildOptions(**options))


def test_the_command_prints_what_was_made_and_what_was_left_out(raw, tmp_path, capsys):
    assert cli.main(["data", "build", "--raw", str(raw), "--out", str(tmp_path / "out"), "--max-train", "6"]) == 0
    printed = capsys.readouterr().out
    assert "train.jsonl: 12 instances of 2 tasks" in printed
    assert "toys: made no instance of image_captioning: no caption: 1" in printed


# -- damaged shards


def test_a_build_whose_shards_are_damaged_makes_them_again(raw, tmp_path, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    build(raw, tmp_path / "whole", BuildOptions())
    work = tmp_path / "out" / ".build"
    for _ in range(2):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(build_module, "_select", stop)
            build(raw, tmp_path / "out", BuildOptions())
        for number, index in enumerate(sorted(work.rglob("*.npy"))):
            index.write_bytes(index.read_bytes()[:-30] if number % 2 else b"")
        next(work.rglob("units.json")).write_text("[[")
        next(work.rglob("*.jsonl")).write_text("half")
    build(raw, tmp_path / "out", BuildOptions())
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_damaged_line_of_a_shard_names_what_to_delete(raw, tmp_path):
    registry = default_registry()
    found = shards.Shards(Toys(RawFolder(raw), registry), tmp_path, registry, 1)
    lines = found.folder / "000001.jsonl"
    lines.write_bytes(lines.read_bytes().replace(b'"unique_id"', b'"unique-id"', 1))
    with pytest.raises(DataError, match=r"000001\.jsonl: byte 0: damaged; delete .*toys-"):
        list(found.read(1, np.arange(3)))


def test_fuzz_shards(raw, tmp_path):
    """An index of a shard that is damaged, or whose lines are not there, is made again."""
    registry = default_registry()

    def make():
        return shards.Shards(Toys(RawFolder(raw), registry), tmp_path / "work", registry, 1)

    first = make()
    index = sorted(first.folder.glob("*.npy"))[0]

    def read(content):
        index.write_bytes(content)
        again = make()
        assert [rows.tolist() for rows in again.rows] == [rows.tolist() for rows in first.rows]
        assert (again.dropped, again.repaired) == (first.dropped, first.repaired)

    fuzz("shards", [index.read_bytes()], [mutate_bytes], read)
