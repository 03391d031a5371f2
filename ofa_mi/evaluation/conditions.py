"""Conditions of a run beside the normal one: other prompts, changed prompts, and other images.

A run under a condition answers the same questions as the normal run, so that the two compare instance by
instance. What is random here is a function of the run's seed and of the task, instruction or instance alone: it is
the same for any number of processes and whatever else is evaluated.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

import numpy as np
from PIL import Image

from ofa_mi.errors import ConfigError, shown
from ofa_mi.instances.instance import Instance
from ofa_mi.instructions.registry import Registry
from ofa_mi.instructions.rendering import inputs_template, task_name_template
from ofa_mi.instructions.spec import REWORDED, TaskSpec, join_template, split_template
from ofa_mi.utils.seeding import generator

PROMPT_STYLES = ("instruction", "task-name", "options-only")
PERTURBATIONS = ("none", "option-order", "typos", "upper-case", "paraphrase", "other-task")
IMAGES = ("given", "none", "gray", "shuffled")

# Whose instructions `other-task` gives: of the first of these that is not the task itself. Both need nothing but the
# image, and ask for an answer that is none of what other tasks want.
OTHER_TASKS = ("image_captioning", "visual_text_extraction")

GRAY = (128, 128, 128)  # nearly 0 after the normalisation of images
TYPO_SHARE = 0.2  # of the words that may get one; at least one word of an instruction does
TYPO_LETTERS = 5  # shorter words get none: they are what an answer is named by, and hard to guess
_TYPO_STREAM, _ORDER_STREAM, _IMAGE_STREAM = 1, 2, 3
_Image = TypeVar("_Image", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """How the questions of a run differ from those of the normal one.

    Attributes:
        prompt_style: ``instruction``; ``task-name`` for the paper's TaskName prompt; ``options-only`` for a prompt
            of nothing but the options. The last two have one prompt per task.
        perturb: ``none``; ``option-order``: every instance's options in another order; ``typos``: in the words of
            the instruction; ``upper-case``: the instruction, not the instance's own text; ``paraphrase``: a second
            set of instructions; ``other-task``: instructions of a task that asks for something else.
        image: ``given``; ``none``: text only; ``gray``: a gray image of the same size; ``shuffled``: the image of
            another instance of the task.

    Raises:
        ConfigError: A value is unknown, or the two cannot be combined.
    """

    prompt_style: str = "instruction"
    perturb: str = "none"
    image: str = "given"

    def __post_init__(self) -> None:
        for name, known in (("prompt_style", PROMPT_STYLES), ("perturb", PERTURBATIONS), ("image", IMAGES)):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} must be one of {', '.join(known)}, found {shown(getattr(self, name))}")
        if self.perturb not in ("none", "option-order") and self.prompt_style != "instruction":
            raise ConfigError(
                f"perturb {self.perturb} changes instructions, and prompt style {self.prompt_style} has none; "
                "leave one of them out"
            )

    @property
    def label(self) -> str:
        """The conditions in a few words, e.g. ``"typos, image none"``; empty for the normal run."""
        words = [
            value for value, normal in ((self.perturb, "none"), (self.prompt_style, "instruction")) if value != normal
        ]
        return ", ".join([*words, *([f"image {self.image}"] if self.image != "given" else [])])

    def unaffected(self, spec: TaskSpec, has_image: bool) -> str | None:
        """Why a task would be asked just what the normal run asks, or cannot be asked at all; None if it can.

        Args:
            spec: The task.
            has_image: Whether any of its instances has an image.
        """
        needs_options = self.prompt_style == "options-only" or self.perturb == "option-order"
        if needs_options and "options" not in spec.inputs:
            return "it has no options"
        if self.perturb not in ("none", "option-order") and spec.own_instruction:
            return "its instances bring their own instruction"
        if (self.image != "given" or self.perturb == "other-task") and not has_image:
            return "its instances have no image"
        return None


def reworded(spec: TaskSpec, conditions: Conditions) -> TaskSpec:
    """The task as a run knows it: under ``paraphrase`` with the second set of instructions of its language."""
    return spec.in_language(spec.language + REWORDED) if conditions.perturb == "paraphrase" else spec


def templates(spec: TaskSpec, conditions: Conditions, registry: Registry, *, seed: int) -> list[tuple[int, str, str]]:
    """Number, id and template of every prompt of a task.

    Args:
        spec: The task, as :func:`reworded` gives it.
        conditions: Of the run.
        registry: Where other tasks' instructions come from.
        seed: Of the typing errors.

    Raises:
        ConfigError: The task, or the one whose instructions it gets, has no instructions of the kind.
    """
    if conditions.prompt_style == "task-name":
        return [(0, f"{spec.name}/task-name", task_name_template(spec))]
    if conditions.prompt_style == "options-only":
        return [(0, f"{spec.name}/options-only", "{options}")]
    if conditions.perturb == "other-task":
        return _other_task(spec, registry)
    spec.check_instructions()
    numbered = list(zip(range(len(spec.instructions)), spec.instruction_ids, spec.instructions, strict=True))
    if conditions.perturb == "typos":
        return [(number, name, add_typos(text, seed=seed, name=name)) for number, name, text in numbered]
    if conditions.perturb == "upper-case":
        return [(number, name, upper_case(text)) for number, name, text in numbered]
    return numbered


def perturbed(instance: Instance, conditions: Conditions, *, seed: int) -> Instance:
    """The instance as a run asks about it: with its options in another order under ``option-order``."""
    return reorder_options(instance, seed=seed) if conditions.perturb == "option-order" else instance


def reorder_options(instance: Instance, *, seed: int) -> Instance:
    """The instance with its options in another order, drawn evenly among all orders but the given one.

    Fewer than two different options have no other order.
    """
    options = instance.options or ()
    if len(set(options)) < 2:
        return instance
    rng = generator(seed, 0, _number(f"{instance.task_name} {instance.unique_id}"), stream=_ORDER_STREAM)
    while True:  # of n options, one order in n! is refused: this ends soon
        reordered = tuple(options[i] for i in rng.permutation(len(options)))
        if reordered != options:
            return replace(instance, options=reordered)


def add_typos(template: str, *, seed: int, name: str) -> str:
    """The template with typing errors in its own words: a letter left out, doubled, or exchanged with the next one.

    A fifth of the words with five letters or more get one each, and at least one word. Their first letter stays.

    Args:
        template: An instruction with ``{placeholders}``, which are left alone.
        seed: Of the run.
        name: Id of the instruction; with the seed it decides on the errors.
    """
    rng = generator(seed, 0, _number(name), stream=_TYPO_STREAM)
    parts = list(split_template(template))
    words = [part.split(" ") if place % 2 == 0 else [] for place, part in enumerate(parts)]
    places = [(i, j) for i, row in enumerate(words) for j, word in enumerate(row) if _letters(word) >= TYPO_LETTERS]
    count = min(len(places), max(1, round(TYPO_SHARE * len(places))))
    for chosen in sorted(rng.choice(len(places), count, replace=False).tolist()) if places else []:
        i, j = places[chosen]
        words[i][j] = _typo(words[i][j], rng)
    return join_template(part if place % 2 else " ".join(words[place]) for place, part in enumerate(parts))


def upper_case(template: str) -> str:
    """The template with its own words in capital letters; placeholders stay."""
    parts = split_template(template)
    return join_template(part if place % 2 else part.upper() for place, part in enumerate(parts))


def exchange(images: Sequence[_Image], *, seed: int, name: str) -> dict[_Image, _Image]:
    """Another image for every image: the next one on a random circle through all of them.

    Args:
        images: Different images of a task.
        seed: Of the run.
        name: Of the task; with the seed it decides on the circle.

    Raises:
        ConfigError: There is one image only.
    """
    if len(images) == 1:
        raise ConfigError(f"task {name} has one image only, so none to exchange it with; choose another --image")
    order = generator(seed, 0, _number(name), stream=_IMAGE_STREAM).permutation(len(images)).tolist()
    return {images[order[i - 1]]: images[order[i]] for i in range(len(order))}


def gray_image(size: tuple[int, int]) -> Image.Image:
    """An image of nothing, ``(width, height)`` in pixels."""
    return Image.new("RGB", size, GRAY)


def _other_task(spec: TaskSpec, registry: Registry) -> list[tuple[int, str, str]]:
    """The other task's instructions, each followed by all inputs of this one."""
    other = registry[next(name for name in OTHER_TASKS if name != spec.name)]
    other.check_instructions()
    inputs = inputs_template(spec)
    return [
        (number, f"{spec.name}/{other.name}-{number + 1}", f"{text} {inputs}".strip())
        for number, text in enumerate(other.instructions)
    ]


def _letters(word: str) -> int:
    return sum(map(str.isalpha, word))


def _typo(word: str, rng: np.random.Generator) -> str:
    """A word with one typing error, which is never the same word."""
    letters = [i for i, character in enumerate(word) if character.isalpha()][1:]
    changes = [word[:i] + word[i + 1 :] for i in letters]
    changes += [word[:i] + word[i] + word[i:] for i in letters]
    changes += [
        word[:i] + word[j] + word[i] + word[j + 1 :] for i, j in pairwise(letters) if j == i + 1 and word[i] != word[j]
    ]
    return changes[math.floor(rng.random() * len(changes))]


def _number(name: str) -> int:
    return zlib.crc32(name.encode())
