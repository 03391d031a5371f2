"""One photo under two names: it is held out, excluded and counted as one photo."""

import pytest

from ofa_mi.data_prep.building.build import BuildOptions, build
from ofa_mi.data_prep.check.checking import check
from ofa_mi.data_prep.source import held_out
from ofa_mi.instances.photos import Names, known_coco_id, names_of, of_mixed_number
from ofa_mi.instructions.registry import default_registry
from tests.data_prep.sources.raw_tree import Lines, Picture, read_instances, write_raw
from tests.data_prep.sources.test_tdiuc import ANNOTATIONS, QUESTIONS, Rows
from tests.data_prep.sources.test_visual7w import photo, question, telling
from tests.data_prep.sources.test_vsr import statement
from tests.data_prep.sources.vqa_files import files

PHOTOS = 300
TESTED = 100  # photos of the evaluation
GENOME = 2_000_000  # the photo with number n in MSCOCO has number GENOME + n in Visual Genome
SPLITS = ("train", "valid", "test")


def pictures(width, height):
    """A function that makes images of one size, each with a content of its own."""
    content = Picture(width, height).encoded(".jpg")
    return lambda number: content + number.to_bytes(4, "big")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Photos that are in MSCOCO and in Visual Genome, in two sizes, with questions on either; statements on some."""
    rows, answers = Rows(), {}
    for number in range(1, PHOTOS + 1):
        rows.add("object_presence", "Is there a dog?", ["yes", "no"], image_id=number)
        answers[number] = [{"qa_id": number, "question": "Who is it?", "answer": "She."}]
    small, large = pictures(8, 6), pictures(16, 12)
    return write_raw(
        tmp_path_factory.mktemp("raw"),
        {
            **files(QUESTIONS, ANNOTATIONS, rows.rows),
            "vsr/test.jsonl": Lines(statement(number, 1, "It is here.") for number in range(1, TESTED + 1)),
            "visual_genome/question_answers.json": [{"id": GENOME + n, "qas": asked} for n, asked in answers.items()],
            "visual_genome/image_data.json": [
                {"image_id": GENOME + n, "width": 16, "height": 12, "coco_id": n} for n in answers
            ],
            **{f"coco/train2014/COCO_train2014_{n:012d}.jpg": small(n) for n in answers},
            **{f"visual_genome/VG_100K/{GENOME + n}.jpg": large(n) for n in answers},
            "visual_genome/VG_100K_2/1.jpg": b"",
            "coco/val2014/COCO_val2014_000000999999.jpg": b"",
        },
    )


def photos_of(out, split):
    """Source → numbers in MSCOCO of the photos of a split."""
    found = {}
    for instance in read_instances(out / f"{split}.jsonl"):
        name = instance.image_path.rpartition("/")[2].removesuffix(".jpg")
        found.setdefault(instance.unique_id.split("/")[0], set()).add(int(name) % GENOME)
    return found


def test_a_photo_is_held_out_excluded_and_counted_under_both_names(raw, tmp_path):
    sources = ("tdiuc", "visual_genome_qa", "vsr")
    build(raw, tmp_path / "all", BuildOptions(sources=sources))
    train, valid, test = (photos_of(tmp_path / "all", split) for split in SPLITS)
    expected = {n for n in range(1, PHOTOS + 1) if held_out(f"coco/{n:012d}.jpg")}
    assert valid["tdiuc"] == valid["visual_genome_qa"] == expected and len(expected) > 3
    assert not (train["tdiuc"] | train["visual_genome_qa"]) & expected
    assert len(test["vsr"] & train["visual_genome_qa"]) > TESTED / 2

    card = check([tmp_path / "all"], tmp_path / "card", default_registry(), with_guess=False, examples=1).record
    shared = card["images"]["training_and_evaluation"]
    assert (shared["images"], shared["shared"]) == (TESTED, len(test["vsr"] - expected))
    (pair,) = (p for p in card["images"]["splits"] if (p["first"], p["second"]) == ("train", "valid"))
    assert pair["shared"] == 0 and card["images"]["different"] == PHOTOS

    manifest = build(raw, tmp_path / "excluded", BuildOptions(sources=sources, exclude_eval_images=True))
    train, valid, test = (photos_of(tmp_path / "excluded", split) for split in SPLITS)
    assert test["vsr"] == set(range(1, TESTED + 1)) and manifest["excluded_eval_images"] == 3 * TESTED
    for split in (train, valid):
        assert set(split) == {"tdiuc", "visual_genome_qa"} and not set.union(*split.values()) & test["vsr"]


@pytest.mark.parametrize("value", [-1, 0, None, True, "7", 7.0, 10**13])
def test_what_means_that_there_is_no_number(value):
    assert known_coco_id(value) is None
    assert names_of("images/visual_genome/5.jpg", {"coco_id": value}) == Names(0, 5)


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("images/coco/000000000139.jpg", Names(139, 0)),
        ("pictures/COCO_val2014_000000000139.jpg", Names(139, 0)),
        ("images/visual_genome/2410408.jpg", Names(0, 2410408)),
        ("VG_100K_2/2410408.jpg", Names(0, 2410408)),
        ("images/visual7w/v7w_2410408.jpg", Names(0, 2410408)),
        ("COCO_train2014_000092410408.jpg", Names(0, 2410408)),
        ("images/visual_genome/n161313.jpg", Names(0, 0)),
        ("visdial/VisualDialog_val2018_000000000139.jpg", Names(0, 0)),
        ("images/139.jpg", Names(0, 0)),
    ],
)
def test_paths_tell_the_photo(path, names):
    assert names_of(path) == names


def test_a_number_in_the_meta_data_counts_and_mixed_numbers_are_told_apart():
    assert names_of("images/9.jpg", {"coco_id": 139}) == Names(139, 0)
    assert [of_mixed_number(n) for n in (-1, 139, 80_000_000, 90_000_001)] == [(0, 0), (139, 0), (0, 0), (0, 1)]


def test_copies_of_visual7w_are_known_as_visual_genomes_photos(tmp_path):
    numbers = range(1, 400)
    asked = [photo(n, "train", question(n, "Who is it?", "A man.", "A cat.", "A dog.", "A cow.")) for n in numbers]
    raw = telling(tmp_path / "raw", asked)
    small, large = pictures(9, 9), pictures(100, 80)
    write_raw(
        raw,
        {
            "visual_genome/question_answers.json": [
                {"id": n, "qas": [{"qa_id": n, "question": "Who?", "answer": "She."}]} for n in numbers
            ],
            **{f"visual_genome/VG_100K/{n}.jpg": small(n) for n in numbers},
            **{f"visual7w/images/v7w_{n}.jpg": large(n) for n in numbers},
            "visual_genome/VG_100K_2/1000.jpg": b"",
        },
    )
    build(raw, tmp_path / "out", BuildOptions(sources=("visual7w_telling", "visual_genome_qa")))
    by_split = {}
    for split in SPLITS[:2]:
        for instance in read_instances(tmp_path / "out" / f"{split}.jsonl"):
            source = instance.unique_id.split("/")[0]
            by_split.setdefault((source, split), set()).add(names_of(instance.image_path).visual_genome)
            assert instance.image_size == ((100, 80) if source == "visual7w_telling" else (9, 9))
    for split in SPLITS[:2]:
        assert by_split["visual7w_telling", split] == by_split["visual_genome_qa", split]
    card = check([tmp_path / "out"], tmp_path / "card", default_registry(), with_guess=False, examples=1).record
    assert card["images"]["splits"][0]["shared"] == 0 and card["images"]["different"] == 399
