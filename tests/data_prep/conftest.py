"""One small output of the scene generator, shared by the tests of it."""

from collections import defaultdict

import pytest

from ofa_mi.data_prep.scenes import generate
from ofa_mi.instances.instance import Instance

SETTINGS = {"train_scenes": 500, "valid_scenes": 60, "test_scenes": 500, "valid_per_task": 20, "seed": 5}


@pytest.fixture(scope="session")
def scene_settings():
    return SETTINGS


@pytest.fixture(scope="session")
def scenes_dir(tmp_path_factory):
    out = tmp_path_factory.mktemp("scenes")
    generate(out, **SETTINGS)
    return out


@pytest.fixture(scope="session")
def scene_instances(scenes_dir):
    """Split → all its instances, read and checked by ``Instance.from_json``."""
    return {
        split: [
            Instance.from_json(line, f"{split}.jsonl:{number}")
            for number, line in enumerate((scenes_dir / f"{split}.jsonl").read_bytes().splitlines(), 1)
        ]
        for split in ("train", "valid", "test")
    }


@pytest.fixture(scope="session")
def by_task(scene_instances):
    """Task → its training or evaluation instances."""
    found = defaultdict(list)
    for instance in scene_instances["train"] + scene_instances["test"]:
        found[instance.task_name].append(instance)
    return found
