"""Real data laid out as a raw folder."""

import json
import os

import pytest

from tests.data_prep.sources.raw_tree import Lines, write_raw

# Where the official layout has it → where the folder of real data has it.
LAYOUT = {
    "nlvr": "nlvr",
    "coco/train2017": "coco/images",
    "coco/val2017": "coco/images",
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


def lay_out_daquar(data, root):
    """Questions as the official file has them, all as training questions but those of every tenth photo."""
    texts = {"train": [], "test": []}
    for pair in read_lines(data / "daquar/qa.jsonl"):
        split = "test" if pair["image_id"].endswith("0") else "train"
        texts[split] += [f"{pair['question']} in the {pair['image_id']} ?", pair["answer"]]
    files = {f"daquar/qa.894.raw.{split}.txt": "\n".join(lines) + "\n" for split, lines in texts.items()}
    write_raw(root, files)
    os.symlink(data / "daquar/images", root / "daquar/nyu_depth_images")


def lay_out_sroie(data, root):
    """A text file with corners for every scan."""
    for scan in read_lines(data / "sroie/annotations.jsonl"):
        name = scan["file_name"].removesuffix(".jpg")
        lines = []
        for line in scan["lines"]:
            x0, y0, x1, y1 = line["bbox_xyxy"]
            lines.append(f"{x0},{y0},{x1},{y0},{x1},{y1},{x0},{y1},{line['text']}\n")
        write_raw(root, {f"sroie/train/{name}.txt": "".join(lines)})
        os.symlink(data / "sroie/images" / scan["file_name"], root / f"sroie/train/{scan['file_name']}")


def lay_out_flickr8k(data, root):
    """Captions with their numbers; every tenth photo is one of the test set."""
    records = read_lines(data / "flickr8k/captions.jsonl")
    tokens = "".join(
        f"{record['file_name']}#{number}\t{caption}\n"
        for record in records
        for number, caption in enumerate(record["captions"])
    )
    names = [record["file_name"] for record in records]
    write_raw(
        root,
        {
            "flickr8k/Flickr8k.token.txt": tokens,
            "flickr8k/Flickr_8k.trainImages.txt": "\n".join(n for i, n in enumerate(names) if i % 10) + "\n",
            "flickr8k/Flickr_8k.testImages.txt": "\n".join(names[::10]) + "\n",
        },
    )
    os.symlink(data / "flickr8k/images", root / "flickr8k/Flicker8k_Dataset")


# Functions of the folder of real data and the raw folder, for data in another form than the official one.
OTHERS = (
    lay_out_daquar,
    lay_out_flickr8k,
    lay_out_snli_ve,
    lay_out_sroie,
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
