"""The scene generator's files: reproducible, disjoint, well formed, tight boxes, balanced answers."""

import hashlib
import json
import random
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops

from ofa_mi.data_prep.scenes import generate
from ofa_mi.data_prep.scenes.draw import draw_scene
from ofa_mi.data_prep.scenes.tasks import BUILDERS
from ofa_mi.data_prep.scenes.world import MODES, sample_scene
from ofa_mi.errors import ConfigError, DataError
from tests.conftest import REPOSITORY

SMALL = {"train_scenes": 40, "valid_scenes": 5, "test_scenes": 20}


def contents(folder):
    """Relative path → hash, of all files."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_output_does_not_depend_on_workers_and_continues_where_it_stopped(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    generate(one, **SMALL, seed=1, workers=1)
    generate(two, **SMALL, seed=1, workers=2)
    assert contents(one) == contents(two)
    finished = contents(one)
    manifest = json.loads((one / "manifest.json").read_text())
    (one / "manifest.json").write_text(json.dumps({**manifest, "complete": False}))  # as an interrupted run leaves it
    (one / "test.jsonl").unlink()
    (one / "images" / "test" / "00003.png").unlink()
    kept = (one / "images" / "test" / "00004.png").stat().st_mtime_ns
    generate(one, **SMALL, seed=1)
    assert contents(one) == finished
    assert (one / "images" / "test" / "00004.png").stat().st_mtime_ns == kept


def test_finished_output_is_kept_and_other_data_is_never_overwritten(scenes_dir, scene_settings, tmp_path):
    before = (scenes_dir / "train.jsonl").stat().st_mtime_ns
    manifest = generate(scenes_dir, **scene_settings)
    assert manifest["complete"] and (scenes_dir / "train.jsonl").stat().st_mtime_ns == before
    with pytest.raises(DataError, match="seed 5, now 6"):
        generate(scenes_dir, **{**scene_settings, "seed": 6})
    (tmp_path / "train.jsonl").write_text("mine")
    with pytest.raises(DataError, match="no manifest"):
        generate(tmp_path)
    assert (tmp_path / "train.jsonl").read_text() == "mine"
    with pytest.raises(ConfigError, match="train_scenes: expected at least 1, found 0"):
        generate(tmp_path / "new", train_scenes=0)


def test_another_seed_gives_other_scenes(scenes_dir, tmp_path):
    generate(tmp_path, **SMALL, seed=6)
    assert not set(contents(tmp_path / "images").values()) & set(contents(scenes_dir / "images").values())


def test_splits_hold_their_tasks_and_share_no_picture(scenes_dir, scene_instances):
    tasks = {split: {instance.task_name for instance in found} for split, found in scene_instances.items()}
    training = {task for task, builder in BUILDERS.items() if not builder.evaluation}
    assert tasks["train"] == training and len(training) >= 35
    assert tasks["valid"] <= training and len(tasks["valid"]) >= 35
    assert tasks["test"] == set(BUILDERS) - training
    pictures = [set(contents(scenes_dir / "images" / split).values()) for split in ("train", "valid", "test")]
    assert len(set.union(*pictures)) == sum(map(len, pictures))


def test_manifest_counts_what_is_there(scenes_dir, scene_instances):
    counts = json.loads((scenes_dir / "manifest.json").read_text())["counts"]
    for split, found in scene_instances.items():
        assert counts[split] == Counter(instance.task_name for instance in found)


def test_instances_are_well_formed(scenes_dir, scene_instances):
    everything = [instance for found in scene_instances.values() for instance in found]
    assert len({instance.unique_id for instance in everything}) == len(everything)
    sizes = {}
    for instance in everything:
        if instance.image_path not in sizes:
            with Image.open(scenes_dir / instance.image_path) as picture:
                sizes[instance.image_path] = picture.size
        assert instance.image_size == sizes[instance.image_path]
        assert all(isinstance(edge, int) for box in instance.boxes() for edge in box)
        if instance.options is not None:
            answers = instance.target_set or (instance.target,)
            assert all(instance.options.count(answer) == 1 for answer in answers), instance.unique_id
            assert len(set(instance.options)) == len(instance.options) >= 2
    assert len(set(sizes.values())) > 10  # of many aspects


def test_registered_inputs_are_filled(by_task):
    """Every input that the task's instructions name is there, and no answer is left without a form."""
    registry = pytest.importorskip("ofa_mi.instructions.registry").default_registry()
    for task, instances in by_task.items():
        spec = registry[task]
        assert (spec.split == "eval") == BUILDERS[task].evaluation
        for instance in instances:
            filled = {
                "question": instance.question,
                "text": instance.text,
                "context": instance.context,
                "options": instance.options,
                "region": instance.regions,
                "regions": instance.regions,
                "region_1": instance.regions[:1],
                "region_2": instance.regions[1:2],
            }
            assert {key for key in spec.inputs if not filled[key]} == set(), task
            assert (instance.target_set is not None) == (spec.output == "options")
            is_region = [not isinstance(piece, str) for piece in instance.target]
            assert spec.output not in ("region", "regions") or all(is_region)
            assert spec.output != "region" or len(is_region) == 1


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), mode=st.sampled_from(MODES))
def test_box_holds_exactly_the_pixels_that_the_thing_changes(seed, mode):
    scene = sample_scene(random.Random(seed), mode)
    scene = replace(scene, look="clear")
    picture = draw_scene(scene)
    for thing in scene.things:
        without = replace(scene, things=tuple(other for other in scene.things if other is not thing))
        assert ImageChops.difference(picture, draw_scene(without)).getbbox() == thing.box
    assert 1 <= len(scene.things) <= 12


def test_boxes_are_tight_on_the_written_pictures(scenes_dir, by_task):
    """Found from the files alone: the rim of a box has pixels of the thing, the rim around it none."""
    checked = 0
    for instance in by_task["grounded_object_identification"][:100]:
        pixels = np.asarray(Image.open(scenes_dir / instance.image_path).convert("RGB"), dtype=int)
        drawn = (pixels != pixels[0, 0]).any(axis=2)  # H, W
        for thing in instance.meta_data["things"]:
            x0, y0, x1, y1 = thing["box"]
            inner = drawn[y0:y1, x0:x1]
            assert inner[0].any() and inner[-1].any() and inner[:, 0].any() and inner[:, -1].any()
            assert drawn[y0 - 1 : y1 + 1, x0 - 1 : x1 + 1].sum() == inner.sum()
            checked += 1
        covered = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (t["box"] for t in instance.meta_data["things"]))
        assert drawn.sum() <= covered
    assert checked > 200


FIXED_LABELS = {"yes", "no", "not sure", "legible", "illegible"}


def test_labels_are_equally_frequent(by_task):
    for task, instances in by_task.items():
        answers = Counter(instance.target for instance in instances)
        labels = {text for answer in answers for text in answer}
        if labels <= FIXED_LABELS or task in ("counting", "image_quality"):
            assert len(set(answers.values())) == 1, (task, answers)
    missing = Counter(
        0 if i.target_set == (("none",),) else len(i.target_set) for i in by_task["missing_object_selection"]
    )
    assert missing[0] == missing[1] == missing[2] > 0


def test_answer_positions_are_balanced(by_task):
    for task, instances in by_task.items():
        if instances[0].options is None or instances[0].target_set is not None:
            continue
        expected = sum(1 / len(instance.options) for instance in instances)
        first = sum(instance.options[0] == instance.target for instance in instances)
        assert abs(first - expected) <= 4 * (expected + 1) ** 0.5, task


def test_yes_or_no_cannot_be_told_from_the_words(by_task):
    """Naive Bayes on words and pairs of words, tested on the other half, stays near one half."""
    for task, instances in by_task.items():
        if instances[0].target not in (("yes",), ("no",)) or instances[0].options is None:
            continue
        rows = [(words_of(instance), instance.target == ("yes",)) for instance in instances]
        half = len(rows) // 2
        counts = {True: Counter(), False: Counter()}
        for words, label in rows[:half]:
            counts[label].update(words)
        right = 0
        for words, label in rows[half:]:
            odds = sum(np.log((counts[True][word] + 1) / (counts[False][word] + 1)) for word in words)
            right += (odds > 0) == label
        tested = len(rows) - half
        assert right <= 0.5 * tested + 3.5 * (0.25 * tested) ** 0.5, (task, right, tested)


def words_of(instance):
    words = "".join(piece for piece in (*instance.question, *instance.text) if isinstance(piece, str)).split()
    return {*words, *pairwise(words)}


def test_every_task_is_documented():
    page = (REPOSITORY / "docs" / "scenes.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE)) == set(BUILDERS)


def test_every_training_task_is_of_one_kind_of_the_curriculum():
    page = (REPOSITORY / "docs" / "scenes.md").read_text(encoding="utf-8")
    table = page.partition("### Kinds, for a curriculum")[2].partition("## Evaluation tasks")[0]
    named = [
        name for row in re.findall(r"^\| [a-z].*\|$", table, flags=re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    ]
    assert sorted(named) == sorted(task for task, builder in BUILDERS.items() if not builder.evaluation)
