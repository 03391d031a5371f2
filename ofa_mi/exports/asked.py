"""An instance as one question and its answer for a model that is not OFA, with its image in the folder of an export."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_mi.data_prep.building.output import IMAGES
from ofa_mi.decoding.predictor import Query
from ofa_mi.errors import DataError, shown
from ofa_mi.exports.folder import image_name
from ofa_mi.geometry import Box
from ofa_mi.instances.instance import Instance, plain
from ofa_mi.instances.store import LineStore
from ofa_mi.instructions.prompt import describe
from ofa_mi.instructions.rendering import render, render_target
from ofa_mi.instructions.spec import TaskSpec
from ofa_mi.other_models.messages import Message, MessageWriter
from ofa_mi.utils.files import atomic_write, path_inside
from ofa_mi.utils.hashing import hash64

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Asked:
    """One question.

    Attributes:
        message: The question, and how an answer is read; its image is left out unless boxes are drawn on it.
        answer: The right answer, whose boxes are written as the question's.
        image: Path of the image below the folder; None for text only.
    """

    message: Message
    answer: str
    image: str | None


class Asker:
    """Writes questions as :mod:`ofa_mi.other_models` asks them, and the images that they are about.

    Args:
        out: Folder of the export; images lie in ``images/`` below it.
        regions: How boxes are written, one of :data:`~ofa_mi.other_models.REGION_FORMS`.
        option_markers: Whether options are written ``[Options]: a||||b`` or ``a, b``.
    """

    def __init__(self, out: Path, regions: str, *, option_markers: bool = True) -> None:
        self.out, self.regions, self.option_markers = out, regions, option_markers
        self.writer = MessageWriter(regions)
        self.names: dict[str, str] = {}  # of the images that are there, by their image_path

    def ask(self, store: LineStore, instance: Instance, spec: TaskSpec, number: int) -> Asked:
        """The question with instruction ``number`` (from 0) of the instance's task.

        Raises:
            ConfigError: Regions cannot be drawn.
            DataError: The instance or its image cannot be used, or the image cannot be written.
        """
        draws = self.regions == "drawn" and instance.image_path is not None and bool(instance.boxes())
        message = self.writer.message(
            Query(
                prompt=render(spec, spec.instructions[number], instance, option_markers=self.option_markers),
                image=store.load_image(instance) if draws else None,
                image_size=instance.image_size,
                options=instance.options,
                output=spec.output,
                name=instance.name,
            )
        )
        write = plain_box if message.form is None else message.form.write
        image = None
        if draws and message.form is not None and message.image is not None:
            image = self._drawn(message.image, instance, number)
        elif instance.image_path is not None:
            image = self._copied(store, instance)
        return Asked(message, describe(render_target(spec, instance), str, write), image)

    def _copied(self, store: LineStore, instance: Instance) -> str:
        """Path of an instance's image below the folder, where it lies now."""
        assert instance.image_path is not None
        if (name := self.names.get(instance.image_path)) is None:
            content = store.image_bytes(instance)
            name = self._written(image_name(instance, content).removeprefix(f"{IMAGES}/"), content)
            self.names[instance.image_path] = name
        return name

    def _drawn(self, image: Image.Image, instance: Instance, number: int) -> str:
        """The same of an image with boxes on it, which are numbered in the order of a question."""
        file = BytesIO()
        image.save(file, "PNG")
        return self._written(f"drawn/{hash64(instance.unique_id):016x}-{number + 1}.png", file.getvalue())

    def _written(self, name: str, content: bytes) -> str:
        path = path_inside(str(self.out / IMAGES), name)
        if path is None:  # not from a data directory: there they are checked
            raise DataError(f"image {shown(name)} lies outside {self.out / IMAGES}")
        atomic_write(path, content, durable=False)
        return f"{IMAGES}/{name}"


def plain_box(box: Box) -> str:
    """A box of an answer whose question mentions none and asks for none."""
    return plain((box,))
