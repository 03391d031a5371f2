"""The held-out combinations: no training task asks for them, and none can be guessed without the image."""

import random
from collections import Counter

import pytest

from ofa_mi.data_prep.check.guess import GUESSABLE, guess, questions_of
from ofa_mi.data_prep.scenes.tasks import BUILDERS
from ofa_mi.data_prep.scenes.world import sample_scene
from ofa_mi.instances.instance import Instance
from ofa_mi.instructions.registry import default_registry

REGISTRY = default_registry()
TASKS = [task for task in BUILDERS if REGISTRY[task].group == "combination"]
SCENES = 900


@pytest.fixture(scope="module")
def scenes():
    return [sample_scene(random.Random(f"scene {number}"), "shapes") for number in range(SCENES)]


def drafts(task, scenes):
    """Drafts of a task by the number of the scene, with equally many of every label in every stratum."""
    sets = {}
    for number, scene in enumerate(scenes):
        draft = BUILDERS[task].build(scene, random.Random(f"{task} {number}"))
        if draft is not None:
            labels = sets.setdefault(draft.balance.stratum, {label: [] for label in draft.balance.labels})
            labels[draft.balance.label].append((number, draft))
    return [kept for labels in sets.values() for members in zip(*labels.values(), strict=False) for kept in members]


def test_there_are_eight_and_they_are_never_trained():
    assert len(TASKS) == 8
    assert all(BUILDERS[task].evaluation and REGISTRY[task].split == "eval" for task in TASKS)
    assert not any(REGISTRY[task].benchmark for task in TASKS)


@pytest.mark.parametrize("task", TASKS)
def test_a_combination_cannot_be_guessed_without_the_image(task, scenes):
    kept = drafts(task, scenes)
    assert len(kept) >= 120
    questions = [
        question
        for number, draft in kept
        for question in questions_of(
            Instance(
                f"{number}",
                task,
                "a.png",
                (scenes[number].width, scenes[number].height),
                regions=draft.regions,
                options=draft.options,
                question=draft.question,
                text=draft.text,
                target=draft.target,
            ),
            number,
        )
    ]
    found = guess(REGISTRY[task], questions, len(questions))
    assert found.verdict != GUESSABLE, {way: share.value for way, share in found.by.items()}


def test_both_attributes_are_asked_about_and_odd_things_differ_in_color_and_in_shape(scenes):
    said = Counter(draft.text for _, draft in drafts("odd_region_selection", scenes))
    assert set(said) == {("color",), ("shape",)} and min(said.values()) > 40
    by_color = ["objects" in draft.question[0].split() for _, draft in drafts("two_attribute_counting", scenes)]
    assert 40 < sum(by_color) < len(by_color) - 40


def test_a_relation_is_right_as_often_wherever_the_region_lies(scenes):
    """For one scene and draw both answers are possible, so neither region nor relation tells."""
    answers = {}
    for number, scene in enumerate(scenes[:300]):
        for draw in range(6):
            draft = BUILDERS["region_relation_matching"].build(scene, random.Random(draw))
            if draft is not None:
                key = number, draft.regions, draft.text[0].split(" the ")[0]
                answers.setdefault(key, []).append(draft.target[0])
    repeated = [found for found in answers.values() if len(found) > 2]
    assert len(repeated) > 40 and sum(len(set(found)) == 2 for found in repeated) > 0.3 * len(repeated)
