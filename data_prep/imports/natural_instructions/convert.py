"""Task files to a data directory.

Every task file is read, filtered, sampled and rendered by one job, whose random generator is seeded by (seed, name of
the task): the output is byte for byte the same for any number of workers. Lines are written as the jobs deliver
them, so memory holds a few task files, whatever their number.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

from ofa_mi.data_prep.building.output import SPLITS, Finished, OutputDirectory, instance_line
from ofa_mi.data_prep.imports.natural_instructions.release import (
    NAME,
    OFFICIAL,
    Example,
    Item,
    Release,
    Selection,
    TaskFile,
    read_task,
)
from ofa_mi.errors import ConfigError, DataError
from ofa_mi.instances.instance import Instance, is_blank
from ofa_mi.utils.files import open_atomic
from ofa_mi.utils.json_files import Count
from ofa_mi.utils.parallel import ordered_map
from ofa_mi.utils.progress import progress_bar

VERSION = 3
TASK_OF_SPLIT = {
    "train": "natural_instructions",
    "valid": "natural_instructions",
    "test": "natural_instructions_test",
}
EMPTY = "(empty)"  # stands in a prompt for an input, or the output of an example, that is empty
# Debris of bad conversions, in some released files: control characters but white space, and halves of characters.
_DEBRIS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


class _Tasks(TypedDict):
    train: dict[str, Count]
    valid: dict[str, Count]
    test: dict[str, Count]


class Details(Finished):
    """What the manifest of a finished import holds; :func:`convert` says what it means."""

    tasks: _Tasks
    train_from: str
    missing: list[str]
    not_english: list[str]
    no_answer: dict[str, Count]
    repaired: dict[str, Count]
    repeated: dict[str, Count]
    lacks_examples: list[str]


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """What is imported, and how a prompt is built.

    Attributes:
        test_tasks: ``official`` (all of ``test_tasks.txt``), ``paper`` (MultiInstruct's 20), or names or numbers.
        allow_missing: Go on without tasks that a list names but that have no file.
        max_per_task: Training instances of a task, drawn by the seed; 0 for all.
        eval_per_task: Evaluation instances of a task: the first so many, as the release means it; 0 for all.
        valid_fraction: Validation instances of a training task, as a share of those that it offers to training.
        positive_examples: Positive examples in a prompt: the first so many of the task.
        negative_examples: Negative examples, likewise.
        explanations: Write why an example is right or wrong.
        seed: Seed of the choice of training and validation instances.

    Raises:
        ConfigError: A value is out of range, or explanations are wanted without examples.
    """

    test_tasks: str | tuple[str, ...] = OFFICIAL
    allow_missing: bool = False
    max_per_task: int = 100
    eval_per_task: int = 100
    valid_fraction: float = 0.02
    positive_examples: int = 0
    negative_examples: int = 0
    explanations: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("max_per_task", "eval_per_task", "positive_examples", "negative_examples"):
            if getattr(self, name) < 0:
                raise ConfigError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be at least 0")
        if not 0 <= self.valid_fraction < 1:
            raise ConfigError(f"--valid-fraction {self.valid_fraction}: must be from 0 and below 1")
        if self.explanations and not self.positive_examples + self.negative_examples:
            raise ConfigError("--explanations are those of examples; add --positive-examples or --negative-examples")


@dataclass(slots=True)
class Converted:
    """What a job makes of one task file.

    Attributes:
        name: The task.
        english: Whether it is in English; if not, nothing is made of it.
        lines: JSON lines by split.
        no_answer: Instances left out because they have no answer.
        repaired: Instances written without debris that they held.
        repeated: Instances whose input an earlier one of those that can be used has.
        lacks_examples: Whether it has fewer examples than were asked for.
    """

    name: str
    english: bool = True
    lines: dict[str, list[bytes]] = field(default_factory=dict)
    no_answer: int = 0
    repaired: int = 0
    repeated: int = 0
    lacks_examples: bool = False


def convert(
    raw_dir: str | Path, out_dir: str | Path, options: ImportOptions | None = None, *, workers: int = 1
) -> dict[str, Any]:
    """Import the release as a data directory of text-only instances.

    Args:
        raw_dir: The raw folder of all data sets, or the release itself.
        out_dir: Data directory to write; a finished one is left as it is, an interrupted one is made anew.
        options: What is imported; None for the defaults.
        workers: Processes; the output does not depend on it.

    Returns:
        The manifest. Besides ``counts`` it has ``tasks`` (split → name of the task → number of instances),
        ``train_from`` (which tasks train), ``missing``, ``not_english`` and ``lacks_examples``
        (names of tasks), ``no_answer`` (name of the task → number of instances left out), ``repaired`` (→ number of
        instances that lost control characters) and ``repeated`` (of training tasks → number of instances whose input an
        earlier one has).

    Raises:
        ConfigError: ``workers`` is below 1.
        DataError: A file is missing or malformed, or ``out_dir`` holds other data or cannot be written.
    """
    options = options or ImportOptions()
    if workers < 1:
        raise ConfigError(f"--workers {workers}: must be at least 1")
    selection = Release(raw_dir).select(options.test_tasks, allow_missing=options.allow_missing)
    settings = asdict(options) | {"test_tasks": list(selection.test)}
    del settings["allow_missing"]  # it changes nothing but that what is missing is an error
    output = OutputDirectory(out_dir, converter=NAME, version=VERSION, settings=settings, details=Details)
    return output.finished or _write(output, selection, options, workers)


def prompt_context(task: TaskFile, options: ImportOptions, where: object) -> tuple[str, ...]:
    """What a prompt says before the input: the definition, then the examples that the options ask for.

    Raises:
        DataError: The definition is empty; names ``where``.
    """
    parts = [task.definition] if isinstance(task.definition, str) else task.definition
    definition = " ".join(filter(None, map(clean, parts)))
    if not definition:
        raise DataError(f"{where}: Definition is empty")
    positive = task.positive[: options.positive_examples]
    negative = task.negative[: options.negative_examples]
    return (
        definition,
        *_examples("Positive", positive, options.explanations),
        *_examples("Negative", negative, options.explanations),
    )


def clean(text: str) -> str:
    """``text`` without debris and without white space at its ends."""
    return _DEBRIS.sub("", text).strip()


def sample(groups: Sequence[Hashable], name: str, options: ImportOptions) -> dict[str, list[int]]:
    """Split the instances of a training task into ``train`` and ``valid``, each in the order of the file.

    Validation instances are drawn first, so that a task with enough instances still has ``max_per_task`` to train on.
    Those that repeat each other stay together: a group is held out as a whole, if there is room for it, or not at all.

    Args:
        groups: Of each instance that can be used, what it shares with those that repeat it.
        name: Name of the task, which the draw depends on besides the seed.
        options: How many are wanted.

    Returns:
        Split → places in ``groups``.
    """
    cap = min(options.max_per_task or len(groups), len(groups))
    room = round(options.valid_fraction * cap)
    drawn = random.Random(f"{options.seed}/{name}").sample(range(len(groups)), len(groups))
    sizes, held_out = Counter(groups), {}
    for place in drawn:
        if not room:
            break
        if (group := groups[place]) not in held_out:
            held_out[group] = sizes[group] <= room
            room -= sizes[group] * held_out[group]
    valid = [place for place in drawn if held_out.get(groups[place])]
    train = [place for place in drawn if not held_out.get(groups[place])]
    return {"train": sorted(train[:cap]), "valid": sorted(valid)}


def _write(output: OutputDirectory, selection: Selection, options: ImportOptions, workers: int) -> dict[str, Any]:
    """Convert all task files, write the splits as the lines come, and return the manifest."""
    jobs = [("train", path) for path in selection.train.values()] + [("test", path) for path in selection.test.values()]
    tasks: dict[str, dict[str, int]] = {split: {} for split in SPLITS}
    no_answer: dict[str, int] = {}
    repaired: dict[str, int] = {}
    repeated: dict[str, int] = {}
    not_english, lacks_examples = [], []
    with ExitStack() as stack:
        files = {split: stack.enter_context(open_atomic(output.path / f"{split}.jsonl")) for split in SPLITS}
        results = ordered_map(partial(_convert_task, options), jobs, min(workers, len(jobs)))
        for result in progress_bar(results, desc="Natural Instructions", total=len(jobs), unit="tasks"):
            for split, lines in result.lines.items():
                files[split].writelines(lines)
                tasks[split][result.name] = len(lines)
            no_answer |= {result.name: result.no_answer} if result.no_answer else {}
            repaired |= {result.name: result.repaired} if result.repaired else {}
            repeated |= {result.name: result.repeated} if result.repeated else {}
            not_english += [] if result.english else [result.name]
            lacks_examples += [result.name] if result.lacks_examples else []
    return output.finish(
        {split: _count(TASK_OF_SPLIT[split], numbers.values()) for split, numbers in tasks.items()},
        tasks=tasks,
        train_from=selection.train_from,
        missing=list(selection.missing),
        not_english=not_english,
        no_answer=no_answer,
        repaired=repaired,
        repeated=repeated,
        lacks_examples=lacks_examples,
    )


def _count(task: str, numbers: Iterable[int]) -> dict[str, int]:
    total = sum(numbers)
    return {task: total} if total else {}


def _convert_task(options: ImportOptions, job: tuple[str, Path]) -> Converted:
    """The lines of one task file; runs in a worker process."""
    split, path = job
    task, name = read_task(path), path.stem
    if not task.is_english:
        return Converted(name, english=False)
    context = prompt_context(task, options, path)
    offered = range(len(task.instances))
    if split == "test" and options.eval_per_task:
        offered = offered[: options.eval_per_task]
    usable = [index for index in offered if _answers(task.instances[index])]
    if split == "test":
        chosen, repeated = {"test": usable}, 0
    else:
        groups = [_group(task.instances[index]) for index in usable]
        places = sample(groups, name, options)
        chosen = {part: [usable[place] for place in places[part]] for part in places}
        repeated = len(groups) - len(set(groups))
    return Converted(
        name,
        lines={part: [_line(part, name, task, index, context) for index in chosen[part]] for part in chosen},
        no_answer=len(offered) - len(usable),
        repaired=sum(_has_debris(task.instances[index]) for indices in chosen.values() for index in indices),
        repeated=repeated,
        lacks_examples=len(task.positive) < options.positive_examples or len(task.negative) < options.negative_examples,
    )


def _answers(item: Item) -> list[str]:
    """Its different right answers in the order of the file, without empty ones."""
    return list(dict.fromkeys(answer for output in item.output if not is_blank(answer := clean(output))))


def _group(item: Item) -> tuple[str, ...]:
    """What instances have in common that repeat each other: the input or, if that is empty, the answers."""
    given = clean(item.input)
    return (given,) if given else ("", *_answers(item))


def _has_debris(item: Item) -> bool:
    return any(map(_DEBRIS.search, (item.input, *item.output)))


def _line(split: str, name: str, task: TaskFile, index: int, context: tuple[str, ...]) -> bytes:
    """The JSON line of one instance: its first answer is the target, the others are references."""
    item = task.instances[index]
    target, *references = _answers(item)
    instance = Instance(
        unique_id=f"{TASK_OF_SPLIT['train']}-{name}-{index}",
        task_name=TASK_OF_SPLIT[split],
        context=tuple((part,) for part in context),
        text=(clean(item.input) or EMPTY,),
        target=(target,),
        references=tuple(references),
        meta_data={"task": name, "categories": task.categories, "domains": task.domains, "id": item.id},
    )
    return f"{instance_line(instance)}\n".encode()


def _examples(kind: str, examples: Sequence[Example], explanations: bool) -> list[str]:
    """Examples as a prompt has them: ``Positive example 1. Input: … Output: … Explanation: …``."""
    texts = []
    for number, example in enumerate(examples, 1):
        given, answer = (clean(value) or EMPTY for value in (example.input, example.output))
        text = f"{kind} example {number}. Input: {given} Output: {answer}"
        if explanations and (reason := clean(example.explanation)):
            text += f" Explanation: {reason}"
        texts.append(text)
    return texts
