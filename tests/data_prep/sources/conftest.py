"""Real data laid out as a raw folder."""

import json
import os

import pytest

from tests.data_prep.sources.raw_tree import Lines, write_raw

# Where the official layout has it → where the folder of real data has it.
LAYOUT = {
    "nlvr": "nlvr",
    "coco/train2017": "coco/images",
    "coco/annotations/instances_train2014.json": "coco/annotations/instances.json",
    "coco/annotations/captions_train2014.json": "coco/annotations/captions.json",
    "vqav2/v2_OpenEnded_mscoco_train2014_questions.json": "coco/annotations/vqa_v2_questions.json",
    "vqav2/v2_mscoco_train2014_annotations.json": "coco/annotations/vqa_v2_annotations.json",
}


def read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def lay_out_vsr(data, root):
    """All statements there are as the official test file, which has no field for the split."""
    statements = read_lines(data / "coco/annotations/vsr.jsonl")
    for statement in statements:
        del statement["split"]
    write_raw(root, {"vsr/test.jsonl": Lines(statements)})


def lay_out_snli_ve(data, root):
    """The pairs of the development set as the official test file; photos get the names that they have in Flickr30k."""
    pairs = read_lines(data / "flickr8k/snli_ve_dev.jsonl")
    photos = {pair["Flickr30K_ID"]: pair.pop("flickr8k_file") for pair in pairs}
    write_raw(root, {"snli_ve/snli_ve_test.jsonl": Lines(pairs)})
    folder = root / "flickr30k/flickr30k-images"
    folder.mkdir(parents=True)
    for photo, file in photos.items():
        os.symlink(data / "flickr8k/images" / file, folder / f"{photo}.jpg")


# Functions of the folder of real data and the raw folder, for data in another form than the official one.
OTHERS = (
    lay_out_snli_ve,
    lay_out_vsr,
)


@pytest.fixture(scope="session")
def real_raw(shared_data, tmp_path_factory):
    """The real data as a raw folder of links."""
    root = tmp_path_factory.mktemp("raw")
    for official, real in LAYOUT.items():
        path = root / official
        path.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(shared_data / real, path)
    for lay_out in OTHERS:
        lay_out(shared_data, root)
    return root
