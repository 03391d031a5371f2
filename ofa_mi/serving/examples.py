"""What the page begins with: a few instances of each task, with their images."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ofa_mi.data_prep.scenes import generate
from ofa_mi.errors import DataError
from ofa_mi.instances.instance import Instance, plain, text_to_json
from ofa_mi.instances.open import open_store
from ofa_mi.instances.store import LineStore

MOST_PIXELS_OF_PNG = 1 << 19  # larger images are photos, which JPEG makes a fifth of the size
SCENES = {"train_scenes": 1, "train_per_task": 1, "valid_scenes": 60, "test_scenes": 200}
BALANCED = 12  # instances that can be shared out evenly among the places of two, three or four options
SPLITS = ("test", "valid", "train")


class Examples:
    """Examples, in the form in which the page reads them, and their images.

    Args:
        directories: Data directories, of whose splits the held-out ones are taken first.
        tasks: Names of tasks that can be asked; others are left out.
        per_task: Instances of each task, at most.

    Attributes:
        records: ``task``, ``image`` (a place in ``images``, None for text alone), ``inputs`` (fields of a question),
            ``answer`` (the true one, as text) and ``answer_boxes``.
        images: Content type and content of files.

    Raises:
        DataError: There is no instance of such a task, or one cannot be read.
    """

    def __init__(self, directories: Sequence[str | Path], tasks: Collection[str], *, per_task: int = 3) -> None:
        self.records: list[dict[str, Any]] = []
        self.images: list[tuple[str, bytes]] = []
        self._places: dict[tuple[str, str], int] = {}
        self._found: dict[str, int] = dict.fromkeys(tasks, 0)
        for directory in directories:
            for split in SPLITS:
                if (store := open_store(Path(directory), split)) is not None:
                    self._add(store, per_task)
        if not self.records:
            raise DataError(f"{':'.join(map(str, directories))}: no instance of a task that the registry has")

    def _add(self, store: LineStore, per_task: int) -> None:
        for number, task in enumerate(store.task_names):
            wanted = per_task - self._found.get(task, per_task)
            for index in np.flatnonzero(store.task_ids == number)[: max(0, wanted)].tolist():
                self.records.append(self._record(store, store[index]))
                self._found[task] += 1

    def _record(self, store: LineStore, instance: Instance) -> dict[str, Any]:
        answer = instance.target or tuple(part for option in instance.target_set or () for part in (*option, " "))
        return {
            "task": instance.task_name,
            "image": None if instance.image_path is None else self._image(store, instance),
            "inputs": {
                "region": [list(box) for box in instance.regions],
                "options": None if instance.options is None else [text_to_json(option) for option in instance.options],
                "question": text_to_json(instance.question) if instance.question else None,
                "text": text_to_json(instance.text) if instance.text else None,
                "context": [text_to_json(part) for part in instance.context] or None,
            },
            "answer": plain(tuple(piece for piece in answer if isinstance(piece, str))).strip(),
            "answer_boxes": [list(piece) for piece in answer if not isinstance(piece, str)],
        }

    def _image(self, store: LineStore, instance: Instance) -> int:
        """Place of an instance's image."""
        key = (str(store.path), str(instance.image_path))
        if key not in self._places:
            image, buffer = store.load_image(instance), io.BytesIO()
            kind = "PNG" if image.width * image.height <= MOST_PIXELS_OF_PNG else "JPEG"
            image.save(buffer, kind, **({"quality": 92} if kind == "JPEG" else {}))
            self._places[key] = len(self.images)
            self.images.append((f"image/{kind.lower()}", buffer.getvalue()))
        return self._places[key]


def scenes(directory: Path) -> Path:
    """Draw a few scenes into a directory, as those who have no data yet see them first; returns it."""
    look = {"side": 128, "smallest_side": 26, "seed": 2023}
    generate(directory, **SCENES, **look, valid_per_task=BALANCED, test_per_task=BALANCED)
    return directory
