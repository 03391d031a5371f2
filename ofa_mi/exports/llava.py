"""A data directory as the conversation JSON that LLaVA and the many trainers after it read.

``SPLIT.json`` is a list of ``{"id", "image", "conversations": [{"from": "human", "value": "<image>…"}, {"from": "gpt",
"value": "…"}]}``; ``image`` is a path below the folder, and absent where there is none. Questions and regions are
written as other models are asked them in evaluation (:mod:`ofa_mi.other_models`), answers in the same way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofa_mi.data_prep.building.output import IMAGES
from ofa_mi.errors import ConfigError
from ofa_mi.exports import croissant
from ofa_mi.exports.asked import Asker
from ofa_mi.exports.croissant import Field
from ofa_mi.exports.folder import begin, finish, open_splits
from ofa_mi.instances.instance import Instance
from ofa_mi.instances.store import LineStore
from ofa_mi.instructions.registry import Registry
from ofa_mi.instructions.spec import TaskSpec
from ofa_mi.utils.files import open_atomic
from ofa_mi.utils.hashing import hash64
from ofa_mi.utils.progress import progress_bar

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
        self.asker = Asker(out, options.regions, option_markers=options.option_markers)

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
        asked = self.asker.ask(store, instance, spec, number)
        image = {} if asked.image is None else {"image": asked.image}
        question = as_text(asked.message.text)
        question = question if asked.image is None else f"{IMAGE_TOKEN}\n{question}"
        turns = (("human", question), ("gpt", as_text(asked.answer)))
        return {
            "id": f"{instance.unique_id}#{number + 1}",
            **image,
            "conversations": [{"from": who, "value": text} for who, text in turns],
        }


def as_text(text: str) -> str:
    """An instance's own text, in which trainers must not find the place of an image."""
    return text.replace(IMAGE_TOKEN, f"{IMAGE_TOKEN[0]} {IMAGE_TOKEN[1:]}")
