"""A small data directory with what exports must keep: boxes in texts, options, sets, text without an image."""

import json

import pytest
from PIL import Image

RECORDS = {
    "train": [
        {
            "unique_id": "a/1",
            "task_name": "visual_grounding",
            "image_path": "images/deep/1.png",
            "image_size": [40, 30],
            "text": "ein roter Drachen 🪁",
            "target_txt": [4, 3, 20, 15],
        },
        {
            "unique_id": "a/2",
            "task_name": "grounded_vqa",
            "image_path": "images/2.jpg",
            "image_size": [64, 48],
            "options": [[1, 2, 30, 40], [8, 8, 16.5, 24]],
            "question": "which one?",
            "target_txt": [8, 8, 16.5, 24],
            "meta_data": {"confidence": 0.5, "nested": [1, {"x": None}]},
        },
        {
            "unique_id": "a/3",
            "task_name": "easy_vqa",
            "question": "what colour is snow?",
            "target_txt": "white",
            "references": ["pale"],
        },
    ],
    "test": [
        {
            "unique_id": "b/1",
            "task_name": "visual_entailment",
            "image_path": "images/2.jpg",
            "image_size": [64, 48],
            "options": ["yes", "no", "maybe"],
            "text": "it rains",
            "target_txt": "no",
        }
    ],
}


@pytest.fixture
def data(tmp_path):
    """Folder of the directory."""
    folder = tmp_path / "data"
    for path, size, color in (("images/deep/1.png", (40, 30), "red"), ("images/2.jpg", (64, 48), "blue")):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, color).save(folder / path)
    for split, records in RECORDS.items():
        lines = (json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n" for record in records)
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder
