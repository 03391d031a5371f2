"""Which questions a run asks, in which order, and under which prompts."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ofa_mi
from ofa_mi import hub
from ofa_mi.data.encoding import Answer
from ofa_mi.decoding.modes import MODES
from ofa_mi.decoding.predictor import Prediction, Predictor
from ofa_mi.errors import ConfigError, DataError
from ofa_mi.evaluation.conditions import Conditions, exchange, perturbed, reworded, templates
from ofa_mi.evaluation.metrics import Truth, check_metric, score_answer
from ofa_mi.evaluation.predictions import Record
from ofa_mi.evaluation.scoring.scores import count_answers
from ofa_mi.geometry import Box
from ofa_mi.instances.doubts import doubts
from ofa_mi.instances.instance import Instance, boxes_of
from ofa_mi.instances.open import open_store
from ofa_mi.instances.photos import names_of
from ofa_mi.instances.store import LineStore
from ofa_mi.instructions.prompt import OptionsSegment, Prompt, RegionSegment
from ofa_mi.instructions.registry import Registry
from ofa_mi.instructions.rendering import render, render_target
from ofa_mi.instructions.spec import TaskSpec
from ofa_mi.other_models.model import OtherModel
from ofa_mi.packaged import parts_of
from ofa_mi.utils.seeding import generator

logger = logging.getLogger(__name__)

SUBSET_KEYS = ("subset", "task")  # of an instance's meta_data: what its scores are broken down by, the first there is
REGION_WIDTH = OPTION_WIDTH = 16  # characters of text that a region or an option's separator takes about as long as


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """What to evaluate and how; everything here changes the scores, except batches and shards.

    Attributes:
        tasks: Names of tasks or groups, ``eval``, ``train`` or ``all``.
        exclude_tasks: The same, to leave out.
        instructions: Numbers of the instructions, from 0; None for all of a task. A task whose instances
            bring their own instruction is always run under its one template.
        mode: ``generate``, ``constrained`` or ``rank``. A task whose answer is not one of its
            options cannot be ranked; it is decoded ``constrained`` then.
        prompt_style: As in :class:`~ofa_mi.evaluation.conditions.Conditions`, and so are the next two. Tasks that
            they cannot change are left out.
        perturb: What is changed in prompts.
        image: Which image is shown.
        option_markers: Write ``[Options]: a||||b`` (True) or ``a, b`` (False).
        max_instances: At most so many instances per task, a fixed random choice; 0 for all.
        seed: Seed of that choice, of what ``perturb`` changes and of the images that are exchanged.
        split: Which file of the data directories: ``test`` is ``test.jsonl``.
        batch_size: Questions per batch, at most; those about one instance stay together where they fit.
        shard: This process answers every ``num_shards``-th instance, from this one.
        num_shards: Number of processes that share the work and the run directory.
    """

    tasks: tuple[str, ...] = ("eval",)
    exclude_tasks: tuple[str, ...] = ()
    instructions: tuple[int, ...] | None = None
    mode: str = "generate"
    prompt_style: str = "instruction"
    perturb: str = "none"
    image: str = "given"
    option_markers: bool = True
    max_instances: int = 0
    seed: int = 1
    split: str = "test"
    batch_size: int = 16
    shard: int = 0
    num_shards: int = 1

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(f"mode must be one of {', '.join(MODES)}, found {self.mode!r}")
        if self.conditions.perturb == "other-task" and self.mode != "generate":
            raise ConfigError(
                "perturb other-task asks for an answer that is none of the options; it needs mode generate"
            )
        if self.batch_size < 1 or self.max_instances < 0:
            raise ConfigError("batch size must be at least 1 and the number of instances 0 (all) or more")
        if not 0 <= self.shard < self.num_shards:
            raise ConfigError(f"shard {self.shard} of {self.num_shards}: shards count from 0")

    @property
    def conditions(self) -> Conditions:
        """How the run differs from the normal one."""
        return Conditions(prompt_style=self.prompt_style, perturb=self.perturb, image=self.image)


@dataclass(frozen=True, slots=True)
class Question:
    """One instance under one instruction.

    Attributes:
        spec: The task.
        instance: The instance.
        store: Number of the store that it comes from.
        instruction: Number of the instruction, from 0.
        instruction_id: Its id.
        prompt: The rendered instruction.
        mode: How to decode the answer.
    """

    spec: TaskSpec
    instance: Instance
    store: int
    instruction: int
    instruction_id: str
    prompt: Prompt
    mode: str

    @property
    def key(self) -> tuple[str, int, str]:
        """Key of its record."""
        return self.spec.name, self.instruction, self.instance.unique_id

    def record(
        self, described: str, prediction: Prediction, conditions: Conditions, photo: str | None = None
    ) -> Record:
        """The scored record of an answer.

        Args:
            described: The prompt for people.
            prediction: The answer.
            conditions: Of the run.
            photo: The :func:`photo_of` the instance.
        """
        instance, answer = self.instance, Answer(prediction.text, tuple(prediction.boxes))
        truth = Truth.of(instance)
        return Record(
            unique_id=instance.unique_id,
            task=self.spec.name,
            task_version=self.spec.version,
            group=self.spec.group,
            split=self.spec.split,
            subset=subset_of(instance),
            instruction=self.instruction,
            instruction_id=self.instruction_id,
            prompt=described,
            mode=self.mode,
            prompt_style=conditions.prompt_style,
            perturb=conditions.perturb,
            image=conditions.image,
            data_dir=self.store,
            image_path=instance.image_path,
            image_size=instance.image_size,
            photo=photo,
            regions=_regions(self.prompt),
            options=instance.options,
            prediction=answer,
            references=truth.references,
            answers=truth.answers,
            target_boxes=truth.boxes,
            target_set=instance.target_set,
            scores={name: score_answer(name, answer, truth) for name in self.spec.metrics},
            option_scores=prediction.option_scores,
            reply=prediction.reply,
            trouble=prediction.trouble,
        )


class Plan:
    """Which questions a run asks, in which order.

    Attributes:
        specs: The tasks that are asked, by name.
        templates: Number, id and template of the prompts of each.
    """

    def __init__(self, data_dirs: Sequence[str | Path], options: EvaluationOptions, registry: Registry) -> None:
        self.options, self.conditions = options, options.conditions
        self.language = registry.language
        self.stores = [_open(Path(directory), options.split) for directory in data_dirs]
        selected = registry.select(options.tasks, options.exclude_tasks)
        present = {store.task_names[i] for store in self.stores for i in np.unique(store.task_ids)}
        specs = {name: reworded(registry[name], self.conditions) for name in selected if name in present}
        if not specs:
            files = ", ".join(str(store.path) for store in self.stores)
            raise ConfigError(
                f"{files}: no instance of {' '.join(options.tasks)}; it holds {', '.join(sorted(present))}"
            )
        if missing := [name for name in options.tasks if name in registry and name in selected and name not in present]:
            raise ConfigError(f"no data directory holds an instance of {', '.join(missing)}")
        self.specs = self._affected(specs)
        self.templates = {name: self._chosen_templates(spec, registry) for name, spec in self.specs.items()}

    def check(self) -> int:
        """Render every prompt and target and try every metric, so that what cannot work fails now; number of questions.

        A target is refused as in training: one that is none of its options would be scored 0, whatever the answer.
        """
        total = 0
        for spec in self.specs.values():
            for name in spec.metrics:
                check_metric(name, spec)
            seen: dict[str, str] = {}
            truths = []
            if self.conditions.image == "shuffled":
                self.other_images(spec)
            for store, index in self._chosen(spec):
                instance = self._instance(store, index)
                if instance.unique_id in seen:
                    raise DataError(f"{instance.name}: has the same unique_id as {seen[instance.unique_id]}")
                seen[instance.unique_id] = instance.where
                total += len(self._prompts(spec, instance))
                render_target(spec, instance)
                truths.append(Truth.of(instance))
                for name in spec.metrics:
                    score_answer(name, Answer(""), truths[-1])
            for doubt in doubts(len(truths), *count_answers(truths)):
                logger.warning("%s: %s", spec.name, doubt)
        return total

    def questions(self, spec: TaskSpec) -> list[Question]:
        """This shard's questions of a task: long ones first, those about one instance together.

        Similar lengths make batches without much padding, and the longest first means that a batch
        that does not fit in memory is met at once. One instance's image is read once.
        """
        options = self.options
        groups = []
        for store, index in list(self._chosen(spec))[options.shard :: options.num_shards]:
            instance = self._instance(store, index)
            mode = "constrained" if options.mode == "rank" and spec.output != "option" else options.mode
            prompts = self._prompts(spec, instance)
            groups.append([Question(spec, instance, store, *prompt, mode) for prompt in prompts])
        groups.sort(key=lambda group: -max(_length(question.prompt) for question in group))
        return [question for group in groups for question in group]

    def settings_of_other(self, predictor: OtherModel, total: int) -> dict[str, Any]:
        """As :meth:`settings`, of a model that is not OFA; the hash of what it is stands for that of a checkpoint."""
        described = predictor.description()
        digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
        return {"model": described, **self.settings(predictor, digest, total)}

    def settings(self, predictor: Predictor | OtherModel, model: str | None, total: int) -> dict[str, Any]:
        """What a directory's run must agree about before it may go on; ``model`` is its :func:`weights_hash`."""
        options = asdict(self.options)
        for name in ("batch_size", "shard", "num_shards"):
            del options[name]
        tasks = {
            name: {
                "version": spec.version,
                "instructions": {number: template for number, _, template in self.templates[name]},
            }
            for name, spec in self.specs.items()
        }
        return {
            "checkpoint": model,
            "data": [file_hash(store.path) for store in self.stores],
            "options": options,
            "instruction_language": self.language,
            "generation": asdict(predictor.generation),
            "precision": predictor.precision,
            "tasks": tasks,
            "records": total,
        }

    def notes(self, checkpoint: str | Path | None, weights: str) -> dict[str, Any]:
        """What is good to know of a run, but may change while it is under way."""
        return {
            "checkpoint": None if checkpoint is None else str(checkpoint),
            "weights": weights,
            "data": [str(store.root.resolve()) for store in self.stores],
            "ofa_mi": ofa_mi.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        }

    def _chosen(self, spec: TaskSpec) -> Iterator[tuple[int, int]]:
        """(store, index) of the task's instances, in the order of the files."""
        places = self._places[spec.name]
        if 0 < self.options.max_instances < len(places):
            # A task's choice must not depend on which other tasks are evaluated.
            rng = generator(self.options.seed, 0, zlib.crc32(spec.name.encode()))
            places = places[np.sort(rng.permutation(len(places))[: self.options.max_instances])]
        yield from map(tuple, places.tolist())

    @cached_property
    def _places(self) -> dict[str, np.ndarray]:
        """Per task the (store, index) of all its instances, ``(n, 2)``."""
        places: dict[str, list[np.ndarray]] = {name: [] for name in self.specs}
        for number, store in enumerate(self.stores):
            for task, name in enumerate(store.task_names):
                if name in places:
                    indices = np.flatnonzero(store.task_ids == task)
                    places[name].append(np.stack([np.full_like(indices, number), indices], axis=1))
        return {name: np.concatenate(parts) for name, parts in places.items()}

    def other_images(self, spec: TaskSpec) -> dict[tuple[int, str], tuple[int, int]]:
        """For each image of a task, by (store, path), an instance (store, index) with another one."""
        places: dict[tuple[int, str], tuple[int, int]] = {}
        for store, index in self._chosen(spec):
            if (path := self.stores[store][index].image_path) is not None:
                places.setdefault((store, path), (store, index))
        others = exchange(list(places), seed=self.options.seed, name=spec.name)
        return {image: places[other] for image, other in others.items()}

    def _instance(self, store: int, index: int) -> Instance:
        return perturbed(self.stores[store][index], self.conditions, seed=self.options.seed)

    def _prompts(self, spec: TaskSpec, instance: Instance) -> list[tuple[int, str, Prompt]]:
        """Number, id and rendering of each instruction."""
        markers = self.options.option_markers
        return [
            (number, name, render(spec, template, instance, option_markers=markers))
            for number, name, template in self.templates[spec.name]
        ]

    def _affected(self, specs: dict[str, TaskSpec]) -> dict[str, TaskSpec]:
        """The tasks that the conditions change; the others are left out, or an error if they were asked for by name."""
        with_image = {
            store.task_names[task] for store in self.stores for task in np.unique(store.task_ids[store.has_image])
        }
        reasons = {name: self.conditions.unaffected(spec, name in with_image) for name, spec in specs.items()}
        left_out = [f"{name} ({reason})" for name, reason in reasons.items() if reason]
        if len(left_out) == len(specs) or any(reasons[name] for name in self.options.tasks if name in specs):
            raise ConfigError(f"{self.conditions.label} cannot be asked of {', '.join(left_out)}; choose other --tasks")
        if left_out:
            logger.info("%s: left out are %s", self.conditions.label, ", ".join(left_out))
        return {name: spec for name, spec in specs.items() if not reasons[name]}

    def _chosen_templates(self, spec: TaskSpec, registry: Registry) -> list[tuple[int, str, str]]:
        """The templates that a task is asked with."""
        found = templates(spec, self.conditions, registry, seed=self.options.seed)
        numbers = self.options.instructions
        if numbers is None or spec.own_instruction or self.conditions.prompt_style != "instruction":
            return found
        for number in numbers:
            if not 0 <= number < len(found):
                raise ConfigError(f"task {spec.name} has {len(found)} instructions, no number {number + 1}")
        return [found[number] for number in sorted(set(numbers))]


def subset_of(instance: Instance) -> str | None:
    """What part of its task an instance belongs to, such as the task of Natural Instructions; None if it says none."""
    values = (instance.meta_data.get(key) for key in SUBSET_KEYS)
    return next((value for value in values if isinstance(value, str) and value), None)


def photo_of(store: LineStore, instance: Instance) -> str:
    """What is the same for two images of one photo: its number in MSCOCO or Visual Genome, else the hash of its file.

    Raises:
        DataError: The image cannot be read.
    """
    names = names_of(instance.image_path, instance.meta_data)
    if names.coco:
        return f"coco {names.coco}"
    if names.visual_genome:
        return f"visual_genome {names.visual_genome}"
    return f"sha256 {store.image_digest(instance)}"


def _open(directory: Path, split: str) -> LineStore:
    store = open_store(directory, split)
    if store is None:
        raise DataError(f"{directory}: holds no {split}.jsonl")
    return store


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None


def weights_hash(checkpoint: str | Path | None, weights: str) -> str | None:
    """What tells two models apart: the hash of a checkpoint's files or folder, followed by ``ema`` for its average."""
    if checkpoint is None:
        return None
    return "+".join(map(_hash_of_part, parts_of(str(checkpoint)))) + ("" if weights == "model" else f" {weights}")


def _hash_of_part(path: str) -> str:
    folder = hub.folder_of(path)
    return file_hash(path) if folder is None else hub.digest(folder)


def _regions(prompt: Prompt) -> tuple[Box, ...]:
    return tuple(segment.box for segment in prompt if isinstance(segment, RegionSegment))


def _length(prompt: Prompt) -> int:
    """About how long a prompt is, in characters."""
    length = 0
    for segment in prompt:
        if isinstance(segment, RegionSegment):
            length += REGION_WIDTH
        elif isinstance(segment, OptionsSegment):
            length += sum(
                OPTION_WIDTH + REGION_WIDTH * len(boxes_of(option)) + sum(len(p) for p in option if isinstance(p, str))
                for option in segment.options
            )
        else:
            length += len(segment.text)
    return length
