"""Files of instances for tests, and indexes that hold something else than they should."""

import json

import numpy as np

from ofa_mi.instances import sidecar


def record(number, **fields):
    return {
        "unique_id": f"id{number}",
        "task_name": f"task{number % 3}",
        "target_txt": "yes",
        "text": "é" * number,
    } | fields


def write(folder, records, name="train.jsonl"):
    """Write records, or lines as they are given in bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [r if isinstance(r, bytes) else json.dumps(r, ensure_ascii=False).encode() + b"\n" for r in records]
    (folder / name).write_bytes(b"".join(lines))
    return folder / name


def with_image(number, **fields):
    return record(number, image_path="image.png", image_size=[40, 30], region=[[1, 2, 3, 4]], **fields)


def rewritten(index, rows=None, **content):
    """Write an index again with other rows and content, and the checksum that belongs to them."""
    with index.open("rb") as file:
        array = np.load(file)
        record = json.loads(file.read()[: -sidecar.CHECKSUM])
    record["content"] |= content
    with index.open("wb") as file:
        rows = array if rows is None else rows(array)
        np.save(file, rows)
        text = json.dumps(record).encode()
        file.write(text + sidecar.checksum(rows, text))
