"""What lmms-eval calls for tasks that ``ofa-mi tasks --lmms-eval`` has written: images, and this project's scores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofa_mi.data.encoding import Answer
from ofa_mi.errors import DataError, shown
from ofa_mi.evaluation.metrics import Truth, score_answer
from ofa_mi.instances.images import load_image
from ofa_mi.instances.instance import Instance
from ofa_mi.other_models.regions import form_of
from ofa_mi.utils.files import path_inside

if TYPE_CHECKING:
    from PIL import Image


def images(document: Mapping[str, Any], folder: Path) -> list[Image.Image]:
    """The image of a question, in a list as lmms-eval wants it; empty for text only.

    Args:
        document: A line of the task's file.
        folder: Folder of the tasks.

    Raises:
        DataError: The image cannot be used.
    """
    if not document["image"]:
        return []
    path = path_inside(str(folder), document["image"])
    if path is None:
        raise DataError(f"{shown(document['id'])}: image {shown(document['image'])} lies outside {folder}")
    return [load_image(path, name=shown(document["id"]))]


def scores(document: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Scores of a model's words, 0 … 100, by the name of the metric; as ``ofa-mi evaluate --model`` gives them.

    Args:
        document: A line of the task's file.
        results: The words.
    """
    reply = results[0] if results else ""
    instance = Instance.from_json(document["instance"], document["id"])
    text, boxes = reply, ()
    if document["regions"] and instance.image_size is not None:
        drawn = [tuple(box) for box in json.loads(document["boxes"])]
        text, boxes = form_of(document["regions"], drawn, instance.image_size, instance.image_size).read(reply)
    answer, truth = Answer(" ".join(text.split()), boxes), Truth.of(instance)
    return {name: score_answer(name, answer, truth) for name in document["metrics"].split()}
