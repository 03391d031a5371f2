"""Real data laid out as a raw folder."""

import os

import pytest

# Where the official layout has it → where the folder of real data has it.
LAYOUT = {
    "nlvr": "nlvr",
    "coco/train2017": "coco/images",
    "coco/annotations/instances_train2014.json": "coco/annotations/instances.json",
    "coco/annotations/captions_train2014.json": "coco/annotations/captions.json",
    "vqav2/v2_OpenEnded_mscoco_train2014_questions.json": "coco/annotations/vqa_v2_questions.json",
    "vqav2/v2_mscoco_train2014_annotations.json": "coco/annotations/vqa_v2_annotations.json",
}


@pytest.fixture(scope="session")
def real_raw(shared_data, tmp_path_factory):
    """The real data as a raw folder of links."""
    root = tmp_path_factory.mktemp("raw")
    for official, real in LAYOUT.items():
        path = root / official
        path.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(shared_data / real, path)
    return root
