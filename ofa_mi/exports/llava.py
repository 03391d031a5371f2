"""A data directory as the conversation JSON that LLaVA and the many trainers after it read.

``SPLIT.json`` is a list of ``{"id", "image", "conversations": [{"from": "human", "value": "<image>…"}, {"from": "gpt",
"value": "…"}]}``; ``image`` is a path below the folder, and absent where there is none. Questions and regions are
written as other models are asked them in evaluation (:mod:`ofa_mi.other_models`), answers in the same way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofa_mi.data_prep.building.output import IMAGES
from ofa_mi.decoding.predictor import Query
from ofa_mi.errors import ConfigError, DataError, shown
from ofa_mi.exports import croissant
from ofa_mi.exports.croissant import Field
from ofa_mi.exports.folder import begin, finish, image_name, open_splits
from ofa_mi.geometry import Box
from ofa_mi.instances.instance import Instance, plain
from ofa_mi.instances.store import LineStore
from ofa_mi.instructions.prompt import describe
from ofa_mi.instructions.registry import Registry
from ofa_mi.instructions.rendering import render, render_target
from ofa_mi.instructions.spec import TaskSpec
from ofa_mi.other_models.messages import MessageWriter
from ofa_mi.utils.files import atomic_write, open_atomic, path_inside
from ofa_mi.utils.hashing import hash64
from ofa_mi.utils.progress import progress_bar

if TYPE_CHECKING:
    from PIL import Image

IMAGE_TOKEN = "<image>"
FIELDS = (
    Field("id", "sc:Text", "the instance, and the number of its instruction", {"jsonPath": "$[*].id"}),
    Field("image", "sc:Text", "path of the image", {"jsonPath": "$[*].image"}),
    Field("question", "sc:Text", "the instruction with its inputs", {"jsonPath": "$[*].conversations[0].value"}),
    Field("answer", "sc:Text", "the right answer", {"jsonPath": "$[*].conversations[1].value"}),
)


@dataclass(frozen=True)
class LlavaOptions:
    """What is written.

    Attributes:
        regions: How boxes are written, one of :data:`~ofa_mi.other_models.REGION_FORMS`.
        instructions: ``all`` writes an instance once with every instruction of its task, ``random`` once with one.
        seed: Of that choice, which depends on nothing but the seed and the instance.
        option_markers: Whether options are written ``[Options]: a||||b`` or ``a, b``.
    """

    regions: str = "pixels"
    instructions: str = "all"
    seed: int = 1
    option_markers: bool = True


def export(directory: str | Path, out: str | Path, options: LlavaOptions, registry: Registry) -> dict[str, int]:
    """Write ``SPLIT.json`` of every split, its images below ``images/``, and ``croissant.json``.

    Args:
        directory: Data directory.
        out: Folder to write.
        options: What is written.
        registry: The tasks.

    Returns:
        Split → number of conversations.

    Raises:
        ConfigError: A task is unknown or has no instructions, or regions cannot be drawn.
        DataError: The data cannot be read, or the folder cannot be written.
    """
    stores = open_splits(directory)
    for store in stores.values():
        for name in store.task_names:
            if not registry[name].instructions:
                raise ConfigError(f"task {name} has no instructions, with which its instances could be asked")
    out = begin(out, ["*.json", IMAGES])
    exporter = _Exporter(out, options, registry)
    counts = {split: exporter.write(store, split) for split, store in stores.items()}
    text = "Conversations about images, exported from a data directory of OFA-MI."
    files = {split: [out / f"{split}.json"] for split, count in counts.items() if count}
    name = Path(directory).resolve().name
    finish(out, croissant.describe(name, text, files, root=out, encoding="application/json", fields=FIELDS))
    return counts


class _Exporter:
    def __init__(self, out: Path, options: LlavaOptions, registry: Registry) -> None:
        self.out, self.options, self.registry = out, options, registry
        self.writer = MessageWriter(options.regions)
        self.names: dict[str, str] = {}  # of the images that are there, by their image_path

    def write(self, store: LineStore, split: str) -> int:
        """Write a split; the number of its conversations."""
        count = 0
        with open_atomic(self.out / f"{split}.json") as file:
            file.write(b"[")
            for instance in progress_bar(store, desc=f"export {split}", unit="instances"):
                for entry in self._entries(store, instance):
                    file.write((",\n" if count else "\n").encode() + json.dumps(entry, ensure_ascii=False).encode())
                    count += 1
            file.write(b"\n]\n")
        return count

    def _entries(self, store: LineStore, instance: Instance) -> Iterator[dict[str, Any]]:
        spec = self.registry[instance.task_name]
        for number in self._chosen(spec, instance):
            yield self._entry(store, instance, spec, number)

    def _chosen(self, spec: TaskSpec, instance: Instance) -> Sequence[int]:
        every = range(len(spec.instructions))
        if self.options.instructions == "all":
            return every
        return [hash64(self.options.seed, instance.task_name, instance.unique_id) % len(every)]

    def _entry(self, store: LineStore, instance: Instance, spec: TaskSpec, number: int) -> dict[str, Any]:
        draws = self.options.regions == "drawn" and instance.image_path is not None and bool(instance.boxes())
        prompt = render(spec, spec.instructions[number], instance, option_markers=self.options.option_markers)
        message = self.writer.message(
            Query(
                prompt=prompt,
                image=store.load_image(instance) if draws else None,
                image_size=instance.image_size,
                options=instance.options,
                output=spec.output,
                name=instance.name,
            )
        )
        write = plain_box if message.form is None else message.form.write
        question, answer = message.text, describe(render_target(spec, instance), str, write)
        entry: dict[str, Any] = {"id": f"{instance.unique_id}#{number + 1}"}
        if instance.image_path is not None:
            drawn = draws and message.form is not None and message.image is not None
            entry["image"] = self._drawn(message.image, instance, number) if drawn else self._copied(store, instance)
            question = f"{IMAGE_TOKEN}\n{question}"
        turns = (("human", question), ("gpt", answer))
        return {**entry, "conversations": [{"from": who, "value": text} for who, text in turns]}

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
