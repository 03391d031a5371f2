"""Small raw folders in the official formats, and building from them."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from ofa_mi.data_prep.building.build import BuildOptions, build
from ofa_mi.instances.instance import Instance


class Picture:
    """A picture of a given size in one colour, as the content of a file."""

    def __init__(self, width: int, height: int, color: str = "teal") -> None:
        self.size, self.color = (width, height), color

    def encoded(self, suffix: str) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", self.size, self.color).save(buffer, "JPEG" if suffix in (".jpg", ".jpeg") else "PNG")
        return buffer.getvalue()


class Lines(list):
    """Values of a file of one JSON value per line."""


def write_raw(root: Path, files: Mapping[str, Any]) -> Path:
    """Write a raw folder and return it.

    Args:
        root: The folder.
        files: Path below it → content: bytes, text, a :class:`Picture`, :class:`Lines`, or any other JSON value.
    """
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_encoded(content, path.suffix.lower()))
    return root


def build_instances(raw: Path, out: Path, *sources: str, **options: Any) -> dict[str, list[Instance]]:
    """Build from some sources and read the result back: split → instances, in order."""
    build(raw, out, BuildOptions(sources=sources, **options))
    return {split: read_instances(out / f"{split}.jsonl") for split in ("train", "valid", "test")}


def read_instances(path: Path) -> list[Instance]:
    """All instances of a file, checked as they are read."""
    return [Instance.from_json(line, f"{path}:{n}") for n, line in enumerate(path.read_bytes().splitlines(), 1)]


def of_task(built: Mapping[str, list[Instance]], task: str, *splits: str) -> list[Instance]:
    """The instances of one task, of all splits or of some."""
    return [i for split in splits or tuple(built) for i in built[split] if i.task_name == task]


def _encoded(content: Any, suffix: str) -> bytes:
    if isinstance(content, bytes):
        return content
    if isinstance(content, Picture):
        return content.encoded(suffix)
    if isinstance(content, Lines):
        return "".join(json.dumps(value) + "\n" for value in content).encode()
    return (content if isinstance(content, str) else json.dumps(content)).encode()
