"""TDIUC: options of the answer's kind, from similar questions, that do not tell the answer."""

import random
from collections import Counter

import pytest

from ofa_mi.data_prep.building.build import BuildOptions, build
from ofa_mi.data_prep.raw import RawFolder
from ofa_mi.data_prep.source import NO_IMAGE
from ofa_mi.data_prep.sources.tdiuc import TASKS, Tdiuc
from ofa_mi.errors import DataError
from ofa_mi.instructions.registry import default_registry
from tests.data_prep.sources.raw_tree import Picture, of_task, read_instances, write_raw
from tests.data_prep.sources.vqa_files import annotation, files, question

QUESTIONS = "tdiuc/TDIUC/Questions/OpenEnded_mscoco_train2014_questions.json"
ANNOTATIONS = "tdiuc/TDIUC/Annotations/mscoco_train2014_annotations.json"
VG_PHOTO = 2_400_000
OFFSET = 90_000_000  # of the numbers that TDIUC gives to photos of Visual Genome


class Rows:
    """Questions with answers, numbered, each about a photo of its own unless that is given."""

    def __init__(self):
        self.rows = []

    def add(self, question_type, asked, answers, image_id=None):
        """One question for every answer; ``answers`` is a list, or answer → how many."""
        for answer in answers if isinstance(answers, list) else [a for a, n in answers.items() for _ in range(n)]:
            number = 10_000_000 + len(self.rows)
            photo = image_id or 1 + len(self.rows)
            fields = {"question_type": question_type, "ans_source": "generation"}
            self.rows.append((question(number, photo, asked), annotation(number, photo, [answer], **fields)))
        return self


def raw_folder(root, rows):
    picture = Picture(8, 6).encoded(".jpg")
    photos = {asked["image_id"] for asked, _ in rows}
    images = {f"coco/train2014/COCO_train2014_{n:012d}.jpg": picture for n in {1, *photos} if n < OFFSET}
    numbers = sorted(n - OFFSET for n in photos if n >= OFFSET)
    images |= {f"visual_genome/VG_100K_2/{n}.jpg": Picture(7, 7) for n in numbers if n < VG_PHOTO + 40}
    known = [{"image_id": n, "width": 7, "height": 7, "coco_id": (-1, n)[n % 2]} for n in numbers]
    return write_raw(root, {**files(QUESTIONS, ANNOTATIONS, rows), "visual_genome/image_data.json": known, **images})


def example_raw(root):
    """A raw folder from which every task is made."""
    answers = {"object_presence": ["yes", "no"], "counting": ["one", "two", "three"]}
    rows = Rows()
    for question_type in TASKS:
        rows.add(question_type, "What is it?", answers.get(question_type, ["ball", "tree", "lake"]) * 12)
    return raw_folder(root, rows.rows)


def built(root, rows, **options):
    """Manifest and instances by split, of training and validation."""
    manifest = build(raw_folder(root / "raw", rows), root / "out", BuildOptions(sources=["tdiuc"], **options))
    return manifest, {split: read_instances(root / "out" / f"{split}.jsonl") for split in ("train", "valid")}


def test_every_question_type_but_absurd_has_a_task():
    registry = default_registry()
    assert len(TASKS) == 11 and "absurd" not in TASKS
    assert all("TDIUC" in registry[task].sources for task in TASKS.values())


def test_yes_and_no_equally_often_for_every_wording(tmp_path):
    rows = Rows()
    rows.add("object_presence", "Is there a dog in the photo?", {"yes": 30, "no": 5})
    rows.add("object_presence", "Is there a person in the photo?", {"yes": 4, "no": 20})
    rows.add("object_presence", "Are there any red kites?", ["yes"] * 3)
    rows.add("object_presence", "Are there any blue vans?", ["no"] * 2)
    rows.add("object_presence", "Do you see this?", ["yes"])
    _, instances = built(tmp_path, rows.rows)
    for split in instances.values():  # balanced in each split
        for dog in ("dog", "person"):
            answers = Counter(i.target[0] for i in split if dog in i.question[0])
            assert answers["yes"] == answers["no"]
    detection = of_task(instances, "object_detection")
    assert {i.question[0].split()[-1] for i in detection} <= {"photo?", "kites?", "vans?"}
    assert len([i for i in detection if "dog" in i.question[0]]) >= 6
    assert all(sorted(i.options) == [("no",), ("yes",)] for i in detection)


def test_options_are_of_one_kind_and_exclude_each_other(tmp_path):
    rows = Rows()
    rows.add("counting", "How many dogs are there?", {"one": 40, "two": 30, "3": 20, "zero": 10, "some": 1})
    rows.add("scene_recognition", "What is this place?", {"kitchen": 30, "beach": 30, "park": 20, "yes": 1, "2": 1})
    rows.add("object_recognition", "What animal is this?", {"dog": 30, "dogs": 20, "animal": 30, "cat": 40, "cow": 40})
    _, instances = built(tmp_path, rows.rows)
    counting = of_task(instances, "counting")
    assert len(counting) > 40
    for instance in counting:
        assert {option[0] for option in instance.options} <= {"one", "two", "3", "zero"}
    for instance in of_task(instances, "scene_recognition"):
        assert {option[0] for option in instance.options} <= {"kitchen", "beach", "park"}
    animals = of_task(instances, "object_recognition")
    assert len(animals) > 40
    for instance in animals:
        options = {option[0] for option in instance.options}
        assert not {"dog", "dogs"} <= options and "animal" not in options
        assert instance.target in instance.options


def test_similar_questions_are_those_of_the_same_wording_if_there_are_enough(tmp_path):
    rows = Rows()
    rows.add("sport_recognition", "What sport is this?", {"tennis": 20, "soccer": 20, "surfing": 20})
    rows.add("sport_recognition", "What sport is shown?", {"baseball": 8, "hockey": 8})  # too few: with the next
    rows.add("sport_recognition", "What sport is played?", {"skiing": 8, "golf": 8})
    rows.add("sport_recognition", "Name it!", {"polo": 1, "yoga": 1})
    _, instances = built(tmp_path, rows.rows)
    offered = {}
    for instance in of_task(instances, "sport_understanding"):
        offered.setdefault(instance.question[0], set()).update(option[0] for option in instance.options)
    assert offered["What sport is this?"] == {"tennis", "soccer", "surfing"}
    rare = {"baseball", "hockey", "skiing", "golf"}
    assert offered["What sport is shown?"] == offered["What sport is played?"] == rare
    assert offered.get("Name it!", {"polo", "yoga"}) == {"polo", "yoga"}


def test_what_else_is_true_of_the_photo_is_no_option(tmp_path):
    rows = Rows()
    places = ["cup", "spoon", "candle", "book", "lamp", "clock", "vase"]
    rows.add("positional_reasoning", "What is on the table?", dict.fromkeys(places, 40))
    for photo in range(1, 281):
        rows.add("positional_reasoning", "What is beside the plate?", ["spoons"], image_id=photo)
    _, instances = built(tmp_path, rows.rows)
    asked = [i for i in of_task(instances, "position_reasoning") if "table" in i.question[0]]
    assert len(asked) > 150
    offering = [i for i in asked if ("spoon",) in i.options]
    assert all(i.target == ("spoon",) for i in offering) and len(offering) > 10


def test_text_alone_is_near_chance(tmp_path):
    """A baseline that knows all answers to every wording and how often options are right."""
    rows, rng = Rows(), random.Random(1)
    colors = {"green": 70, "brown": 20, "yellow": 10, "white": 5}
    for thing in ("grass", "field", "lawn"):
        rows.add("color", f"What color is the {thing}?", colors)
    rows.add("color", "What color is the bus?", {"red": 60, "yellow": 50, "blue": 40, "white": 30, "green": 20})
    rng.shuffle(rows.rows)
    _, instances = built(tmp_path, rows.rows)
    asked = of_task(instances, "color_understanding")
    assert len(asked) > 150
    for wording in {i.question[0] for i in asked}:
        group = [i for i in asked if i.question[0] == wording]
        frequent = Counter(i.target for i in group)
        usual = sum(max(i.options, key=frequent.get) == i.target for i in group) / len(group)
        chance = sum(1 / len(i.options) for i in group) / len(group)
        assert usual < chance + 0.15


def test_photos_of_visual_genome_and_missing_ones(tmp_path):
    rows = Rows()
    for number in range(40):
        rows.add("color", "What color is it?", [("red", "blue")[number % 2]], image_id=OFFSET + VG_PHOTO + number)
    rows.add("color", "What color is it?", ["red"] * 3, image_id=OFFSET + VG_PHOTO + 40)
    manifest, instances = built(tmp_path, rows.rows)
    asked = of_task(instances, "color_understanding")
    assert len(asked) >= 30
    assert {i.image_path for i in asked} <= {f"images/visual_genome/{VG_PHOTO + n}.jpg" for n in range(40)}
    assert {i.image_size for i in asked} == {(7, 7)}
    assert manifest["dropped"]["tdiuc"][f"color_understanding: {NO_IMAGE}"] == 3
    for instance in asked:
        number = int(instance.image_path.rpartition("/")[2].removesuffix(".jpg"))
        assert instance.meta_data.get("coco_id") == (number if number % 2 else None)


def test_a_source_that_loses_most_of_its_photos_says_so(tmp_path, caplog):
    rows = Rows().add("color", "What color is it?", {"red": 20, "blue": 20})
    for number in range(40):
        rows.add("color", "What color is it?", [("red", "blue")[number % 2]], image_id=OFFSET + VG_PHOTO + 40 + number)
    built(tmp_path, rows.rows)
    assert "tdiuc: 40 of 80 candidates of color_understanding are left out because they have no image" in caplog.text


def test_what_is_left_out_is_counted(tmp_path):
    rows = Rows()
    rows.add("absurd", "What color is the plane?", ["doesnotapply"] * 5)
    rows.add("color", "What color is it?", ["", "a||||b"])
    rows.add("utility_affordance", "What can be worn?", ["hat", "hats"])
    rows.add("sentiment_understanding", "How do they feel?", ["happy"] * 300 + ["sad", "angry"])
    manifest, _ = built(tmp_path, rows.rows)
    dropped = manifest["dropped"]["tdiuc"]
    assert dropped["color_understanding: no question or no answer"] == 2
    assert dropped["utility_affordance: no other answer to similar questions"] == 2
    reason = "sentiment_understanding: so many similar questions have the answer that it could be guessed"
    assert 290 < dropped[reason] <= 300
    assert not any("absurd" in text for text in dropped)


def test_only_wanted_tasks_are_made(tmp_path):
    rows = Rows().add("color", "What color is it?", {"red": 20, "blue": 20}).rows
    rows += [
        (question(1, 1, "What sport?"), annotation(1, 1, ["golf"], question_type="sport_recognition", ans_source="x"))
    ]
    _, instances = built(tmp_path, rows, tasks=["color_understanding"])
    assert {i.task_name for i in instances["train"]} == {"color_understanding"}
    instance = instances["train"][0]
    assert instance.unique_id.startswith("tdiuc/color_understanding/100000")
    assert instance.meta_data == {"answer_source": "generation"}


def test_the_same_whatever_the_workers(tmp_path, monkeypatch):
    monkeypatch.setattr("ofa_mi.data_prep.building.shards.CHUNK", 5)
    colors = ["red", "green", "blue", "white", "black", "yellow"]
    raw = raw_folder(tmp_path / "raw", Rows().add("color", "What color is it?", dict.fromkeys(colors, 50)).rows)
    for workers in (1, 2):
        build(raw, tmp_path / str(workers), BuildOptions(sources=["tdiuc"], workers=workers))
    first, second = ((tmp_path / name / "train.jsonl").read_bytes() for name in ("1", "2"))
    assert first == second and first.count(b"\n") > 100
    build(raw, tmp_path / "other", BuildOptions(sources=["tdiuc"], seed=1))
    assert (tmp_path / "other/train.jsonl").read_bytes() != first


def test_missing_files_are_named(tmp_path):
    raw = raw_folder(tmp_path / "raw", Rows().add("color", "What color is it?", ["red"]).rows)
    (raw / ANNOTATIONS).unlink()
    with pytest.raises(
        DataError, match=r"mscoco_train2014_annotations\.json .*https://kushalkafle\.com/data/TDIUC\.zip"
    ):
        build(raw, tmp_path / "out", BuildOptions(sources=["tdiuc"]))


def test_numbers_tell_photos_of_mscoco_from_those_of_visual_genome(tmp_path):
    source = Tdiuc(RawFolder(tmp_path), ())
    source.coco_ids = {2_410_408: 17}
    assert source._image(581_929).path == "coco/000000581929.jpg"
    photo = source._image(92_410_408)
    assert (photo.path, photo.photo) == ("visual_genome/2410408.jpg", "coco/000000000017.jpg")
    own = "tdiuc/TDIUC/Images/train2014/COCO_train2014_000092410408.jpg"
    assert photo.files[:2] == (own, "visual_genome/VG_100K/2410408.jpg")
    assert source._image(90_000_001).photo == "visual_genome/1.jpg"
    assert source._image(80_000_001) is None and source._image(0) is None
