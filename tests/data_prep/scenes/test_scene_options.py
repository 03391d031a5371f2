"""What can be chosen of generated scenes: tasks, instances per scene, sizes of images and things."""

import json
from collections import Counter, defaultdict

import pytest
from PIL import Image

from ofa_mi import cli
from ofa_mi.data_prep.scenes import generate
from ofa_mi.data_prep.scenes.generate import choose_tasks
from ofa_mi.data_prep.scenes.tasks import BUILDERS
from ofa_mi.errors import ConfigError, DataError
from ofa_mi.instances.instance import Instance
from ofa_mi.instructions.registry import default_registry
from tests.data_prep.scenes.test_scenes import contents

FEW = {"train_scenes": 60, "valid_scenes": 4, "test_scenes": 60, "seed": 2}


def instances(folder, split="train"):
    lines = (folder / f"{split}.jsonl").read_bytes().splitlines()
    return [Instance.from_json(line, f"{split}.jsonl:{number}") for number, line in enumerate(lines, 1)]


def test_only_the_chosen_tasks_are_built_and_only_scenes_that_they_use(tmp_path):
    generate(
        tmp_path,
        **FEW,
        tasks=["counting", "dense_detection", "dense_captioning", "dense_grounding"],
        exclude_tasks=["dense_grounding"],
    )
    found = instances(tmp_path)
    assert {i.task_name for i in found} == {"counting", "dense_detection", "dense_captioning"}
    assert len([i for i in found if i.task_name == "dense_detection"]) == 60  # every scene is of shapes
    assert (tmp_path / "test.jsonl").read_bytes() == b"" and not (tmp_path / "images" / "test").exists()
    settings = json.loads((tmp_path / "manifest.json").read_text())["settings"]
    assert set(settings["tasks"]) == {"counting", "dense_detection", "dense_captioning"}


def test_the_words_of_task_selections_mean_what_they_mean_elsewhere():
    registry = default_registry()
    trained = choose_tasks(["train"])
    assert len(trained) == 41 and not any(registry[task].group == "pretraining" for task in trained)
    assert len(choose_tasks(["pretraining"])) == 17 and len(choose_tasks(["combination"])) == 8
    assert len(choose_tasks(["eval"])) == 16
    assert choose_tasks(["all"]) == tuple(BUILDERS)
    with pytest.raises(ConfigError, match="--tasks easy_vqa: scenes cannot be made into this task"):
        choose_tasks(["counting", "easy_vqa"])
    with pytest.raises(ConfigError, match="--tasks temporal_ordering: none of these"):
        choose_tasks(["temporal_ordering"])
    with pytest.raises(ConfigError, match="did you mean counting"):
        choose_tasks(["countin"])


def test_other_tasks_are_other_data(tmp_path):
    generate(tmp_path, **FEW, tasks=["counting"])
    with pytest.raises(DataError, match="holds data made with other settings"):
        generate(tmp_path, **FEW, tasks=["object_detection"])


def test_a_task_depends_on_the_others_only_in_the_kinds_of_scene(tmp_path):
    generate(tmp_path / "one", **FEW, tasks=["text_localization", "image_quality", "counting"])
    generate(tmp_path / "all", **FEW, tasks=["train"])
    one = [i for i in instances(tmp_path / "one") if i.task_name == "counting"]
    every = [i for i in instances(tmp_path / "all") if i.task_name == "counting"]
    assert one and [i.to_record() for i in one] == [i.to_record() for i in every]


def test_several_instances_of_a_task_about_one_scene_ask_for_different_things(tmp_path):
    several = {**FEW, "tasks": ["all"], "train_per_task": 10**6, "test_per_task": 10**6}
    generate(tmp_path / "one", **several)
    generate(tmp_path / "more", **several, per_scene=4, workers=2)
    generate(tmp_path / "again", **several, per_scene=4, workers=1)
    assert contents(tmp_path / "more") == contents(tmp_path / "again")
    for split in ("train", "test"):
        one, more = (instances(tmp_path / folder, split) for folder in ("one", "more"))
        assert len(more) > 2 * len(one)
        assert len({i.unique_id for i in more}) == len(more)
        asked = defaultdict(list)
        for i in more:
            content = i.regions, i.question, i.text, i.context, frozenset(i.options or ()), i.target, i.target_set
            asked[i.image_path, i.task_name].append(content)
        assert all(len(set(found)) == len(found) <= 4 for found in asked.values())
        assert max(map(len, asked.values())) == 4
    # One scene has one caption, but many questions.
    captions = Counter(i.image_path for i in instances(tmp_path / "more") if i.task_name == "image_captioning")
    assert set(captions.values()) == {1}


def test_all_images_of_one_side(tmp_path):
    generate(tmp_path, **FEW, side=128)
    for split in ("train", "test"):
        found = instances(tmp_path, split)
        assert {i.image_size for i in found} == {(128, 128)}
        with Image.open(tmp_path / found[0].image_path) as picture:
            assert picture.size == (128, 128)
    panels = [i.meta_data["panels"] for i in instances(tmp_path, "test") if i.task_name == "nlvr"]
    assert panels and all(0 <= edge <= 128 for boxes in panels for box in boxes for edge in box)


def sides_by_size(folder):
    sides = defaultdict(list)
    for i in instances(folder):
        for thing in i.meta_data["things"]:
            if thing["shape"] in ("circle", "square", "cross"):  # those that fill their square
                x0, y0, x1, y1 = thing["box"]
                sides[thing["size"]].append(max(x1 - x0, y1 - y0))
    return sides


def test_things_of_a_least_size(tmp_path):
    generate(tmp_path / "usual", **FEW, tasks=["counting"], side=128)
    generate(tmp_path / "larger", **FEW, tasks=["counting"], side=128, smallest_side=30)
    usual, larger = (sides_by_size(tmp_path / folder) for folder in ("usual", "larger"))
    assert min(usual["small"]) < 26 and 29 <= min(larger["small"]) <= max(larger["small"]) <= 37
    assert 50 <= min(larger["large"]) <= max(larger["large"]) <= 64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--side", "40"), "--side 40: must be from 96 to 2048 pixels"),
        (
            ("--smallest-side", "40"),
            "--smallest-side 40: must be from 0 to 23 pixels; larger shapes need larger images",
        ),
        (("--side", "128", "--smallest-side", "-1"), "--smallest-side -1: must be from 0 to 31 pixels"),
        (("--per-scene", "0"), "per_scene: expected at least 1, found 0"),
        (("--tasks", "nlvrr"), "did you mean nlvr"),
    ],
)
def test_an_impossible_option_is_one_line(tmp_path, capsys, options, message):
    assert cli.main(["data", "scenes", "--out", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_the_command_passes_every_option_on(tmp_path):
    words = "--train-scenes 20 --valid-scenes 2 --test-scenes 2 --tasks counting nlvr --exclude-tasks nlvr"
    sizes = "--per-scene 2 --side 112 --smallest-side 22 --train-per-task 9 --seed 4 --workers 2"
    assert cli.main(["data", "scenes", "--out", str(tmp_path), *words.split(), *sizes.split()]) == 0
    settings = json.loads((tmp_path / "manifest.json").read_text())["settings"]
    assert settings == {
        "scenes": {"train": 20, "valid": 2, "test": 2},
        "per_task": {"train": 9, "valid": 50, "test": 100},
        "tasks": ["counting"],
        "per_scene": 2,
        "side": 112,
        "smallest_side": 22,
        "seed": 4,
    }
