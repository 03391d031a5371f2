"""The public release: every line becomes an instance that renders, and its defects are repaired and counted."""

import json
import shutil

import pytest

from ofa_mi import cli
from ofa_mi.data_prep.imports.release import import_release
from ofa_mi.errors import DataError
from ofa_mi.instances.instance import plain
from ofa_mi.instructions.registry import default_registry
from tests.data_prep.sources.raw_tree import Lines, Picture, read_instances, write_raw

SIZE = (1600, 900)
COCO = "./raw_datasets/MSCOCO2014/train2014/COCO_train2014_000000005277.jpg"
AUTHORS = "/projects/lab/meta/seen_data/wikihow/data/1_kite/image/"


def line(task, target, image=COCO, unique_id="a_1", **fields):
    return {
        "unique_id": unique_id,
        "task_name": task,
        "image_path": image,
        "target_txt": target,
        "prompt": "not used",
        "target": target,
        **fields,
    }


def imported(tmp_path, *lines, **options):
    """Import lines, with an image for each path; all instances in the order of the lines, and the manifest."""
    folder = tmp_path / "images"
    paths = {record["image_path"].split("raw_datasets/")[-1].removeprefix("/projects/lab/meta/") for record in lines}
    write_raw(folder, {path: Picture(*SIZE) for path in paths})
    files = write_raw(tmp_path / "files", {"train.jsonl": Lines(lines)})
    manifest = import_release([files / "train.jsonl"], [folder], tmp_path / "out", **options)
    found = [i for split in ("train", "valid", "test") for i in read_instances(tmp_path / "out" / f"{split}.jsonl")]
    return found, manifest


def one(tmp_path, *arguments, **fields):
    (instance,), manifest = imported(tmp_path, line(*arguments, **fields))
    return instance, manifest["repaired"]["release"]


def test_given_regions_come_from_meta_data_and_the_answer_is_a_region(tmp_path):
    instance, _ = one(
        tmp_path,
        "select_overlap_most_region",
        "21 26 381 259",
        region=["21 26 381 259"],
        options=["314 200 345 222", "21 26 381 259"],
        meta_data={"object_regions": {"given_region": ["232 147 344.123456 226"]}},
    )
    assert instance.task_name == "most_overlapping_region_selection"
    assert instance.regions == ((232, 147, 344.12, 226),)
    assert instance.options == (((314, 200, 345, 222),), ((21, 26, 381, 259),))
    assert instance.target == ((21, 26, 381, 259),) and instance.image_size == SIZE
    assert instance.image_path == "images/coco/000000005277.jpg"


def test_two_regions_and_relations(tmp_path):
    overlap, _ = one(
        tmp_path / "1",
        "if_region_overlap",
        "no",
        region=["208 187 234 207"],
        options=["no", "yes"],
        meta_data={"object_regions": {"given_region": ["0 212 494 267"]}},
    )
    assert overlap.regions == ((0, 212, 494, 267), (208, 187, 234, 207))
    regions = {"subject": ["2 444 462 474"], "object": ["0 349 498 481"]}
    place, _ = one(
        tmp_path / "2",
        "visual_object_region",
        "0 349 498 481",
        region=["0 349 498 481"],
        meta_data={"relation": "on", "object_regions": regions},
    )
    assert (place.regions, place.text, place.target) == (((2, 444, 462, 474),), ("on",), ((0, 349, 498, 481),))
    subject, _ = one(
        tmp_path / "3",
        "visual_subject_identification",
        "handrail",
        region=["0 262 42 288", "1 5 331 408"],
        meta_data={"subject": "handrail", "object": "wall", "relation": "on"},
    )
    assert (subject.regions, subject.text, subject.target) == (((1, 5, 331, 408),), ("on",), ("handrail",))


def test_the_answer_leaves_the_context(tmp_path):
    instance, repaired = one(
        tmp_path,
        "wikihow_next_step",
        "Cut the bag.",
        AUTHORS + "step_1.jpg",
        text="Cross the sticks.",
        context=["Measure.", "Cross the sticks.", "Cut the bag.", "Fly."],
        meta_data={"method": "Making the Frame"},
    )
    assert instance.context == (("Making the Frame",), ("Measure.",))
    assert instance.image_path.startswith("images/release/") and "wikihow" in instance.image_path
    assert repaired == {
        "wikihow_next_step_generation: absolute path of the authors": 1,
        "wikihow_next_step_generation: answer in the context": 1,
    }


def test_an_empty_answer_of_an_annotator_is_one_of_ten(tmp_path):
    """VQA's accuracy is a mean over all annotators, those who wrote nothing included."""
    said = {"answers": ["a kite", "", " ", 2]}
    instance, _ = one(tmp_path, "open-domain_VQA", "a kite", question="What flies?", meta_data=said)
    assert instance.answers == ("a kite", "", " ", "2") and instance.references == ()


def test_options_that_only_the_prompt_had(tmp_path):
    lines = [
        line("wikihow_text_image_step_order", "next", unique_id=str(n), text="Tie it.", meta_data={"method": "Kite"})
        for n in range(12)
    ]
    instances, _ = imported(tmp_path, *lines)
    assert {instance.text for instance in instances} == {("Kite: Tie it.",)}
    assert {instance.options for instance in instances} == {(("next",), ("previous",)), (("previous",), ("next",))}


def test_label_sets_are_told_apart(tmp_path):
    instance, repaired = one(
        tmp_path,
        "medic_damage_severity",
        "mild damage",
        options=["informative", "severe damage", "mild damage", "flood"],
        meta_data={"options": ["severe damage", "mild damage", "little or none damage"]},
    )
    assert instance.options == (("severe damage",), ("mild damage",), ("little or none damage",))
    assert repaired == {"damage_severity_classification: options of other tasks": 1}


def test_several_answers_become_a_set(tmp_path):
    instances, manifest = imported(
        tmp_path,
        *(
            line(
                "missing_object_selection", target, unique_id=target, region=["0 0 9 9"], options=["cup", "cow", "None"]
            )
            for target in ("cow, cup", "None", "cup")
        ),
    )
    assert [i.target_set for i in instances] == [(("cup",), ("cow",)), (("None",),), (("cup",),)]
    assert manifest["repaired"]["release"] == {"missing_object_selection: several answers joined in any order": 1}


def test_answers_of_annotators_are_kept_and_only_the_target_is_right(tmp_path):
    meta = {"answers": ["nous", "nous les gosses", "nous les gosses"]}
    instance, _ = one(tmp_path, "text_vqa", "nous les gosses", question="what is the title?", meta_data=meta)
    assert (instance.answers, instance.references) == (("nous", "nous les gosses", "nous les gosses"), ())


def test_named_people_carry_their_regions(tmp_path):
    regions = {"person 1": ["10 20 30 40"], "person 12": ["50 60 70 80"]}
    instance, _ = one(
        tmp_path,
        "commonsense_VQA",
        "person 12 is late .",
        question="How is person 1 feeling ?",
        options=["person 12 is late .", "person 1 and person 12 argue ; person 1 wins .", "It rains ."],
        meta_data={"object_regions": regions},
    )
    assert instance.question == ("How is person 1 ", (10, 20, 30, 40), " feeling ?")
    assert instance.options[1] == (
        "person 1 ",
        (10, 20, 30, 40),
        " and person 12 ",
        (50, 60, 70, 80),
        " argue ; person 1 wins .",
    )
    assert instance.target == instance.options[0] == ("person 12 ", (50, 60, 70, 80), " is late .")


def test_dialogues_have_their_history(tmp_path):
    instance, repaired = one(
        tmp_path,
        "visual_dialog",
        "yes",
        question="is it sunny",
        meta_data={
            "caption": "a dog",
            "dialog_hist": [{"q": "is it big", "a": "no"}, {"q": "any people", "a": "two"}],
        },
    )
    assert [plain(turn) for turn in instance.context] == ["a dog", "is it big? no", "any people? two"]
    assert repaired == {"visual_dialogue: dialogue history that is missing from the prompt": 1}


def test_names_that_tasks_share_and_ids_that_lines_share(tmp_path):
    ids = ("VQAv2_7", "GQA_7", "ok_vqa_train_7", "visualgenome_7", "GQA_7")
    instances, manifest = imported(
        tmp_path, *(line("open-domain_VQA", "yes", unique_id=i, question="is it?") for i in ids)
    )
    tasks = ["open_domain_vqa", "compositional_vqa", "outside_knowledge_vqa", "open_domain_vqa", "compositional_vqa"]
    assert [instance.task_name for instance in instances] == tasks
    assert len({instance.unique_id for instance in instances}) == 5
    assert manifest["repaired"]["release"] == {"compositional_vqa: id that an earlier line has": 1}


def test_regions_are_cut_to_the_image_and_those_outside_are_counted(tmp_path):
    instances, manifest = imported(
        tmp_path,
        line("GC", "a cat", unique_id="1", region=["-5.5 10 1700 20"]),
        line("GC", "a dog", unique_id="2", region=["1700 10 1800 20"]),
    )
    assert [instance.regions for instance in instances] == [((0, 10, 1600, 20),)]
    assert manifest["repaired"]["release"] == {"grounded_captioning: region that reaches outside the image": 1}
    assert manifest["dropped"]["release"] == {
        "grounded_captioning: region outside the image or smaller than a pixel": 1
    }


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"task": "GC", "region": ["1 2 3"]}, r"train\.jsonl:1: 'a_1': expected a region of four numbers"),
        ({"task": "GC"}, "expected a list of regions"),
        ({"task": "no_such_task"}, r"train\.jsonl:1: task 'no_such_task'"),
        ({"task": "missing_object_selection", "region": ["0 0 9 9"], "options": ["cup"]}, "is not an option"),
        ({"task": "image_caption", "target_txt": 3}, r"train\.jsonl:1: not in the official format"),
    ],
)
def test_a_line_that_cannot_be_right_is_an_error_that_names_it(tmp_path, fields, message):
    record = {**line(fields["task"], "a cow"), **{key: value for key, value in fields.items() if key != "task"}}
    with pytest.raises(DataError, match=message):
        imported(tmp_path, record)


def test_images_are_found_by_the_end_of_their_path(tmp_path):
    raw = write_raw(tmp_path / "coco", {"train2014/COCO_train2014_000000005277.jpg": Picture(*SIZE)})
    files = write_raw(tmp_path / "files", {"train.jsonl": Lines([line("image_caption", "a bus")])})
    manifest = import_release([files / "train.jsonl"], [tmp_path / "files", raw], tmp_path / "out")
    assert sum(manifest["counts"]["train"].values()) + sum(manifest["counts"]["valid"].values()) == 1
    shutil.rmtree(raw / "train2014")
    with pytest.raises(DataError, match=r"COCO_train2014_000000005277\.jpg: image is missing.*--skip-bad"):
        import_release([files / "train.jsonl"], [raw], tmp_path / "strict")
    assert import_release([files / "train.jsonl"], [raw], tmp_path / "lenient", skip_bad=True)["left_out"] == 1


def test_every_line_of_the_release_becomes_an_instance_of_its_task(shared_data, tmp_path, capsys):
    files = [shared_data / "release" / name for name in ("train.jsonl", "test.jsonl")]
    records = [json.loads(text) for file in files for text in file.read_text().splitlines()]
    pictures = {record["image_path"].lstrip("./"): Picture(*SIZE) for record in records}
    raw = write_raw(tmp_path / "raw", pictures)
    out = tmp_path / "out"
    arguments = [*map(str, files), "--images", str(raw), "--out", str(out), "--workers", "2"]
    assert cli.main(["data", "import-release", *arguments]) == 0
    assert "answer in the context: 1" in capsys.readouterr().out
    instances = [i for split in ("train", "valid", "test") for i in read_instances(out / f"{split}.jsonl")]
    assert len(instances) == len(records) == 70
    registry = default_registry()
    names = [registry[instance.task_name].release for instance in instances]
    assert sorted(names) == sorted(record["task_name"] for record in records)
    assert len(read_instances(out / "test.jsonl")) == 11


def test_photos_of_visual_genome_are_known_by_their_number_in_mscoco(tmp_path, caplog):
    places = ("VG/VG_100K/7.jpg", "GQA/images/7.jpg", "Visual7W/images/v7w_7.jpg", "VG/VG_100K_2/8.jpg")
    lines = [
        line("image_caption", "a kite", f"./raw_datasets/{place}", unique_id=str(n)) for n, place in enumerate(places)
    ]
    found, _ = imported(tmp_path / "without", *lines)
    assert [instance.meta_data.get("coco_id") for instance in found] == [None] * 4
    assert "4 lines are about photos of Visual Genome" in caplog.text and "image_data.json" in caplog.text
    caplog.clear()
    known = [{"image_id": n, "width": 9, "height": 9, "coco_id": coco_id} for n, coco_id in ((7, 5277), (8, -1))]
    write_raw(tmp_path / "with/images", {"VG/image_data.json": known})
    found, manifest = imported(tmp_path / "with", *lines)
    assert {i.image_path: i.meta_data.get("coco_id") for i in found} == {
        "images/visual_genome/7.jpg": 5277,
        "images/release/Visual7W/images/v7w_7.jpg": 5277,
        "images/visual_genome/8.jpg": None,
    }
    assert not caplog.records and manifest["settings"]["image_data"]
