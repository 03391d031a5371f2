"""VQA v2: answers of ten people, and questions put to photos that cannot answer them."""

from collections import Counter

import pytest

from ofa_mi.data_prep.building.build import BuildOptions, build
from ofa_mi.data_prep.options.coco_words import CategoryWords
from ofa_mi.data_prep.source import held_out
from ofa_mi.errors import DataError
from tests.data_prep.sources.raw_tree import Picture, build_instances, of_task, read_instances, write_raw
from tests.data_prep.sources.vqa_files import annotation, files, question

QUESTIONS = "vqav2/v2_OpenEnded_mscoco_train2014_questions.json"
ANNOTATIONS = "vqav2/v2_mscoco_train2014_annotations.json"
CATEGORIES = ["person", "bicycle", "dog", "train", "wine glass", "tie", "teddy bear", "dining table", "orange", "bear"]
IDS = [n for n in range(1, 40) if not held_out(f"coco/{n:012d}.jpg")][:6]
DOG, TRAIN, MAN, EMPTY, BIKE, UNKNOWN = IDS


def row(number, image_id, asked, answer, answer_type="other"):
    known = {"question_type": "what", "answer_type": answer_type, "multiple_choice_answer": answer}
    return question(number, image_id, asked), annotation(number, image_id, [answer] * 7 + ["Other one"] * 3, **known)


ROWS = [
    row(100, DOG, "What color is the dog's  collar?", "red"),
    row(101, DOG, "Is there a dog?", "yes", "yes/no"),
    row(102, DOG, "Is the cyclist happy?", "yes", "yes/no"),  # nobody is annotated there
    row(200, TRAIN, "Where is this train going?", "right"),
    row(201, TRAIN, "How old is the train?", "unknown"),
    row(300, MAN, "What is the man holding?", "bicycle"),  # so that the photo may show a bicycle
    row(400, EMPTY, "What is the weather like?", "sunny"),
    row(500, BIKE, "Is this bicycle new?", "no", "yes/no"),
    row(600, UNKNOWN, "Is this dog wet?", "no", "yes/no"),  # its objects are not annotated
]
SHOWN = {DOG: "dog", TRAIN: "train", MAN: "person", BIKE: "bicycle"}
CAPTIONS = {DOG: "A dog sits.", TRAIN: "A man waits for a train.", EMPTY: "A field.", BIKE: "A bike.", MAN: "A guy."}


def raw_folder(root, rows=ROWS):
    instances = {
        "images": [{"id": n, "width": 64, "height": 48, "file_name": "x"} for n in IDS if n != UNKNOWN],
        "categories": [{"id": n, "name": name} for n, name in enumerate(CATEGORIES, 1)],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1 + CATEGORIES.index(name), "bbox": [1, 1, 20, 20], "iscrowd": 0}
            for n, name in SHOWN.items()
        ],
    }
    captions = {"images": [], "annotations": [{"id": n, "image_id": n, "caption": c} for n, c in CAPTIONS.items()]}
    images = {f"coco/train2014/COCO_train2014_{n:012d}.jpg": Picture(64, 48) for n in IDS}
    coco = {
        "coco/annotations/instances_train2014.json": instances,
        "coco/annotations/captions_train2014.json": captions,
    }
    return write_raw(root, {**files(QUESTIONS, ANNOTATIONS, rows), **images, **coco})


def example_raw(root):
    """A raw folder from which every task is made."""
    return raw_folder(root)


def test_open_questions_keep_all_answers(tmp_path):
    built = build_instances(raw_folder(tmp_path / "raw"), tmp_path / "out", "vqav2", tasks=["open_domain_vqa"])
    assert len(built["train"]) == len(ROWS)
    instance = next(i for i in built["train"] if i.unique_id == "vqav2/open_domain_vqa/100")
    assert instance.question == ("What color is the dog's collar?",)
    assert instance.target == ("red",) and instance.answers == ("red",) * 7 + ("Other one",) * 3
    assert instance.references == ()
    assert instance.image_path == f"images/coco/{DOG:012d}.jpg"
    assert instance.meta_data == {"question_type": "what", "answer_type": "other"}


def test_the_open_task_does_not_need_the_objects(tmp_path):
    raw = raw_folder(tmp_path / "raw")
    (raw / "coco/annotations/instances_train2014.json").unlink()
    assert build_instances(raw, tmp_path / "out", "vqav2", tasks=["open_domain_vqa"])["train"]
    with pytest.raises(DataError, match=r"instances_train2014\.json is missing .*get it from http"):
        build_instances(raw, tmp_path / "other", "vqav2", tasks=["question_image_matching"])


def matched(raw, out, **options):
    manifest = build(raw, out, BuildOptions(sources=["vqav2"], tasks=["question_image_matching"], **options))
    instances = [i for split in ("train", "valid") for i in read_instances(out / f"{split}.jsonl")]
    return manifest["dropped"]["vqav2"], {(i.question[0], int(i.image_path[-16:-4])): i.target[0] for i in instances}


def test_partners_lack_what_the_other_question_is_about(tmp_path):
    dropped, answers = matched(raw_folder(tmp_path / "raw"), tmp_path / "out")
    dog, train, man, bike = (ROWS[n][0]["question"].replace("  ", " ") for n in (0, 3, 5, 7))
    own = {dog: DOG, train: TRAIN, man: MAN, bike: BIKE}
    # The man's photo may show a bicycle (an answer) and the train's may show a man (a caption): no partners they.
    allowed = {
        (dog, TRAIN),
        (dog, MAN),
        (dog, BIKE),
        (train, DOG),
        (train, BIKE),
        (man, DOG),
        (bike, DOG),
        (bike, TRAIN),
    }
    assert len(answers) in (4, 8)
    for (asked, image_id), answer in answers.items():
        assert answer == ("yes" if own[asked] == image_id else "no")
        assert answer == "yes" or (asked, image_id) in allowed
    for counts in (Counter(asked for asked, _ in answers), Counter(image_id for _, image_id in answers)):
        assert set(counts.values()) == {2}
    assert dropped.pop("question_image_matching: no photo found that lacks what the question is about", 0) == (
        4 - len(answers) // 2
    )
    assert dropped == {
        "question_image_matching: an object that the question takes for granted is not annotated": 1,
        "question_image_matching: people did not know the answer": 1,
        "question_image_matching: the photo's objects are not annotated": 1,
        "question_image_matching: the question takes no MSCOCO object for granted": 2,
    }


def test_partners_depend_on_the_seed_not_on_the_workers(tmp_path):
    raw = raw_folder(tmp_path / "raw")
    results = [
        matched(raw, tmp_path / f"{seed}-{workers}", seed=seed, workers=workers)
        for seed, workers in [(0, 1), (0, 2), *((seed, 1) for seed in range(1, 6))]
    ]
    assert results[0] == results[1]
    assert any(result != results[0] for result in results[2:])
    files = [(tmp_path / name / "train.jsonl").read_bytes() for name in ("0-1", "0-2")]
    assert files[0] == files[1] != b""


def test_people_are_partners_of_photos_without_people(tmp_path):
    """As many pairs as there can be, though most questions are about people."""
    rows = [row(n, MAN, f"Is the man number {n} happy?", "yes") for n in range(30)]
    rows += [row(100 + n, DOG, f"Is the dog number {n} happy?", "yes") for n in range(10)]
    dropped, answers = matched(raw_folder(tmp_path / "raw", rows), tmp_path / "out")
    assert len(answers) == 40 and Counter(answers.values()) == {"yes": 20, "no": 20}
    assert dropped == {"question_image_matching: no photo found that lacks what the question is about": 20}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("What color is the dog's collar?", {"dog"}),
        ("Is the very old man on the red bike?", {"person", "bicycle"}),
        ("Are these dogs wet?", {"dog"}),
        ("Are these dogs?", set()),
        ("Is this a train?", set()),
        ("Is there a dog?", set()),
        ("How many people are on the train?", {"train"}),
        ("Is the dog in the picture?", set()),
        ("Is the dog in the picture wet?", {"dog"}),
        ("What is at the train station?", set()),
        ("Who holds the teddy bear?", {"teddy bear"}),
        ("What is the orange thing?", set()),
        ("Is the table set?", set()),
        ("What does the big brown old dog do?", set()),  # too far from "the"
        ("What is on a dog?", set()),
    ],
)
def test_what_questions_take_for_granted(asked, expected):
    bits = CategoryWords(CATEGORIES).presupposed(asked)
    assert {name for place, name in enumerate(CATEGORIES) if bits >> place & 1} == expected


def test_named_categories_are_found_generously():
    words = CategoryWords(CATEGORIES)
    named = words.named("Two men's ties and glasses on a table by a stuffed animal; oranges.")
    assert {name for place, name in enumerate(CATEGORIES) if named >> place & 1} == {
        "person",
        "tie",
        "wine glass",
        "dining table",
        "teddy bear",
        "orange",
    }
    assert words.named("A teddy bear") == 1 << CATEGORIES.index("teddy bear")


def test_the_real_questions(real_raw, tmp_path):
    built = build_instances(real_raw, tmp_path / "out", "vqav2", workers=2)
    assert len(of_task(built, "open_domain_vqa")) == 87
    assert all(len(i.answers) == 10 and not i.references for i in of_task(built, "open_domain_vqa"))
    matching = of_task(built, "question_image_matching")
    assert len(matching) >= 30
    assert Counter(i.target[0] for i in matching) == {"yes": len(matching) // 2, "no": len(matching) // 2}
    assert set(Counter(i.question for i in matching).values()) == {2}
