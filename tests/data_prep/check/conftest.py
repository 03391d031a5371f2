"""A small data directory, written by hand, that ``check`` has nothing to say about."""

import copy
import json

import pytest
from PIL import Image

SIZE = (40, 30)
RECORDS = {
    "train": [
        {
            "unique_id": "a",
            "task_name": "region_caption_matching",
            "image_path": "images/1.png",
            "image_size": [40, 30],
            "region": [[2, 3, 20, 25]],
            "text": "a <b>bold</b> claim | with a pipe",
            "options": ["yes", "no"],
            "target_txt": "yes",
        },
        {
            "unique_id": "b",
            "task_name": "visual_grounding",
            "image_path": "images/2.png",
            "image_size": [40, 30],
            "text": "the green thing",
            "target_txt": [1, 1, 9, 9],
        },
    ],
    "valid": [
        {
            "unique_id": "c",
            "task_name": "visual_grounding",
            "image_path": "images/3.png",
            "image_size": [40, 30],
            "text": "the red thing on the left",
            "target_txt": [0, 0, 40, 30],
        }
    ],
    "test": [
        {
            "unique_id": "d",
            "task_name": "nlvr",
            "image_path": "images/4.png",
            "image_size": [40, 30],
            "text": "there is a blue thing",
            "options": ["no", "yes"],
            "target_txt": "no",
        },
        {
            "unique_id": "e",
            "task_name": "text_vqa",
            "image_path": "images/4.png",
            "image_size": [40, 30],
            "question": "what does it say?",
            "target_txt": "exit",
            "references": ["the exit"],
        },
    ],
}


def write_lines(directory, split, records):
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    (directory / f"{split}.jsonl").write_text("".join(f"{line}\n" for line in lines))


def write_image(path, color, size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)


@pytest.fixture
def records():
    """Split → records, which a test may change."""
    return copy.deepcopy(RECORDS)


@pytest.fixture
def make_directory(tmp_path):
    """A function that writes records and four images as a data directory."""

    def make(records, name="data"):
        directory = tmp_path / name
        directory.mkdir()
        for number, color in enumerate(["green", "red", "blue", "white"], 1):
            write_image(directory / f"images/{number}.png", color)
        for split, found in records.items():
            write_lines(directory, split, found)
        return directory

    return make
