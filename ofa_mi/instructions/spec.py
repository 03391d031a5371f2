"""What is known of a task, and what a template may hold."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ofa_mi.errors import SHOWN, ConfigError, shown
from ofa_mi.instances.instance import Instance

PLACEHOLDERS = ("context", "question", "text", "region", "region_1", "region_2", "regions", "options")
# A task names its input regions in one of these ways, by how many it has: one, two, or any number.
REGION_INPUTS = (("region",), ("region_1", "region_2"), ("regions",))
SPLITS = ("train", "eval")
OUTPUTS = ("text", "option", "options", "region", "regions", "labeled_regions")
# Metrics by name, as tables call them; the functions are registered by these names (`ofa_mi.evaluation.metrics`).
METRICS = {
    "accuracy": "accuracy",
    "rouge_l": "ROUGE-L",
    "region_accuracy": "region accuracy",
    "iou": "IoU ≥ 0.5",
    "mean_iou": "mean IoU",
    "region_f1": "region F1",
    "set_f1": "set F1",
    "bleu": "BLEU",
    "chrf": "chrF",
    "vqa_accuracy": "VQA accuracy",
}
MIN_INSTRUCTIONS = 5  # the evaluation protocol runs every task under five instructions
# Packaged groups beside the paper's whose evaluation tasks count for no total of a run.
GROUPS_APART = ("extra", "combination")
PRETRAINING_GROUP = "pretraining"  # trained only where it is named: "train" stands for instruction tuning
EVERYTHING = "all"
GROUP_PREFIX = "group:"
ENGLISH = "en"
REWORDED = "-x-reworded"  # a language's second set of instructions, a "language" of its own (private use in BCP 47)
LAST_VERSION = 10**9  # of a task or its translation
_TOKENS = re.compile(r"\{\{|\}\}|\{\w+\}|[{}]|[^{}]+")  # of a template


@dataclass(frozen=True)
class Translation:
    """The instructions of a task in a language other than English.

    Attributes:
        language: Its code, e.g. ``"de"``.
        version: Rises whenever a change to these instructions changes scores.
        translates: Version of the task whose English instructions they were written after.
        instructions: Templates, as those of a :class:`TaskSpec`.
        path: The YAML file they come from.
    """

    language: str
    version: int
    translates: int
    instructions: tuple[str, ...]
    path: str


@dataclass(frozen=True)
class TaskSpec:
    """One task.

    Attributes:
        name: Name in data files, options and reports.
        group: Task group, e.g. ``"grounded_matching"``.
        split: ``"train"`` or ``"eval"``; evaluation tasks are to be held out from training.
        sources: Data sets that its instances come from.
        release: Its name in the public MultiInstruct data release; None if it is not there.
        inputs: What an instruction must mention: names from :data:`PLACEHOLDERS`.
        output: What the answer is: ``"text"``, one of the options (``"option"``), a set of options
            (``"options"``), one box (``"region"``), several (``"regions"``), or several with words after
            each (``"labeled_regions"``).
        metrics: Names from :data:`METRICS`; the first is the primary one.
        version: Rises whenever a change to the task or its instructions changes scores.
        instructions: Templates with ``{placeholder}`` for every input; the first five are those of
            the evaluation protocol. Empty if nobody has written any yet.
        benchmark: True for the 62 tasks of the paper.
        description: What the task asks, and what its inputs hold.
        own_instruction: True if every instance brings its own instruction among its inputs, as those of
            Natural Instructions do; such a task needs one template only.
        text_only: True if its instances have no image.
        labels: Its answers if they are the same for every instance, or those that come up again and
            again; no instruction may name one.
        example: A typical instance, on which instructions are shown; its image does not exist.
        path: The YAML file that its instructions come from.
        language: Language of ``instructions``.
        translations: The instructions in other languages, by their codes.
    """

    name: str
    group: str
    split: str
    sources: tuple[str, ...]
    release: str | None
    inputs: tuple[str, ...]
    output: str
    metrics: tuple[str, ...]
    version: int
    instructions: tuple[str, ...]
    benchmark: bool
    description: str
    own_instruction: bool = False
    text_only: bool = False
    labels: tuple[str, ...] = ()
    example: Instance | None = field(default=None, hash=False)
    path: str = ""
    language: str = ENGLISH
    translations: Mapping[str, Translation] = field(default_factory=dict, hash=False)

    @property
    def instruction_ids(self) -> tuple[str, ...]:
        """``"<task>/<number>"`` of every instruction, from 1; ``"<task>/<language>/<number>"`` if not English."""
        prefix = self.name if self.language == ENGLISH else f"{self.name}/{self.language}"
        return tuple(f"{prefix}/{number}" for number in range(1, len(self.instructions) + 1))

    @property
    def least_instructions(self) -> int:
        """How many instructions it must have."""
        return 1 if self.own_instruction else MIN_INSTRUCTIONS

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages that it has instructions in, English first."""
        in_english = self.language != ENGLISH or self.instructions
        return (*((ENGLISH,) if in_english else ()), *self.translations)

    def in_language(self, language: str) -> TaskSpec:
        """The task with its instructions in another language, and their version; with none if it has none.

        A task whose instances bring their own instruction stays as it is: the language is that of its data.
        """
        if language == ENGLISH or self.own_instruction or not self.languages:
            return self
        translation = self.translations.get(language)
        if translation is None:
            return replace(self, language=language, instructions=())
        return replace(
            self,
            language=language,
            version=translation.version,
            instructions=translation.instructions,
            path=translation.path,
        )

    def check_instructions(self) -> None:
        """Raise :class:`ConfigError` if the task has no instruction to be asked with."""
        if self.instructions:
            return
        if self.languages:
            raise ConfigError(
                f"task {self.name} has no instructions in language {shown(self.language)}, only in "
                f"{', '.join(self.languages)}; leave it out, or write some in a YAML file of your own"
            )
        raise ConfigError(f"task {self.name} has no instructions yet; leave it out, or write some in YAML")


@functools.lru_cache(maxsize=1 << 16)  # a training with 500 instructions a task comes back to 40,000 of them
def split_template(instruction: str) -> tuple[str, ...]:
    """Literal text and placeholder names in turn: an odd number of parts, literals at even places.

    ``"What is in {region}?"`` gives ``("What is in ", "region", "?")``. As in Python's format strings, ``{{`` and
    ``}}`` are braces of the text: ``"Answer as {{x, y}}"`` gives ``("Answer as {x, y}",)``.

    Raises:
        ConfigError: A brace that does not belong to a placeholder, or an unknown placeholder.
    """
    parts = [""]
    for token in _TOKENS.findall(instruction):
        if token in ("{{", "}}"):
            parts[-1] += token[0]
        elif token in ("{", "}"):
            raise ConfigError(
                f"a brace that is not part of a {{placeholder}} in {shown(instruction)}; a brace of the text is "
                "written twice, {{ or }}"
            )
        elif token.startswith("{"):
            parts += [_known_placeholder(token[1:-1], instruction), ""]
        else:
            parts[-1] += token
    return tuple(parts)


def join_template(parts: Iterable[str]) -> str:
    """The template that :func:`split_template` splits into these parts."""
    return "".join(
        f"{{{part}}}" if place % 2 else part.replace("{", "{{").replace("}", "}}") for place, part in enumerate(parts)
    )


def _known_placeholder(name: str, instruction: str) -> str:
    if name not in PLACEHOLDERS:
        known = ", ".join(f"{{{placeholder}}}" for placeholder in PLACEHOLDERS)
        raise ConfigError(f"unknown placeholder {shown(f'{{{name}}}')} in {shown(instruction)}; known are {known}")
    return name


def suggestion(name: str, known: Iterable[str]) -> str:
    """``" (did you mean …?)"`` with the names in ``known`` that are close to ``name``; empty if none is."""
    close = difflib.get_close_matches(name, known, n=3) if len(name) <= SHOWN else []
    return f" (did you mean {' or '.join(close)}?)" if close else ""
