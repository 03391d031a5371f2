"""The registry of tasks: what each one reads, answers and is scored by, and its instructions.

Tasks are data: one YAML file per task group in ``tasks/``, checked when it is loaded. Users add
tasks and replace instructions with YAML files of their own (``docs/instructions.md``).
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from ofa_mi.data.instance import Instance
from ofa_mi.errors import ConfigError, DataError

TASK_DIR = Path(__file__).parent / "tasks"

PLACEHOLDERS = ("context", "question", "text", "region", "region_1", "region_2", "regions", "options")
# A task names its input regions in one of these ways, by how many it has: one, two, or any number.
REGION_INPUTS = (("region",), ("region_1", "region_2"), ("regions",))
SPLITS = ("train", "eval")
OUTPUTS = ("text", "option", "options", "region", "regions")
METRICS = (
    "accuracy",
    "rouge_l",
    "region_accuracy",
    "iou",
    "mean_iou",
    "region_f1",
    "set_f1",
    "bleu",
    "chrf",
    "vqa_accuracy",
)
MIN_INSTRUCTIONS = 5  # the evaluation protocol runs every task under five instructions
EXTRA_GROUP = "extra"  # its evaluation tasks count for no total: they are beside those of the paper
EVERYTHING = "all"
GROUP_PREFIX = "group:"

_FILE_KEYS = frozenset({"group", "benchmark", "tasks", "replace"})
_REPLACE_KEYS = frozenset({"version", "instructions"})
_REQUIRED_KEYS = frozenset({"split", "sources", "inputs", "output", "metrics", "version", "description"})
_TASK_KEYS = _REQUIRED_KEYS | {"release", "own_instruction", "labels", "example", "instructions"}
_EXAMPLE_KEYS = frozenset(
    {"image_size", "question", "text", "context", "region", "options", "target_txt", "target_set"}
)
EXAMPLE_ID = "example"
_NAME = re.compile(r"[a-z0-9_]+")


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
            (``"options"``), one box (``"region"``) or several (``"regions"``).
        metrics: Names from :data:`METRICS`; the first is the primary one.
        version: Rises whenever a change to the task or its instructions changes scores.
        instructions: Templates with ``{placeholder}`` for every input; the first five are those of
            the evaluation protocol. Empty if nobody has written any yet.
        benchmark: True for the 62 tasks of the paper.
        description: What the task asks, and what its inputs hold.
        own_instruction: True if every instance brings its own instruction among its inputs, as those of
            Natural Instructions do; such a task needs one template only.
        labels: Its answers if they are the same for every instance, or those that come up again and
            again; no instruction may name one.
        example: A typical instance, on which instructions are shown; its image does not exist.
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
    labels: tuple[str, ...] = ()
    example: Instance | None = None

    @property
    def instruction_ids(self) -> tuple[str, ...]:
        """``"<task>/<number>"`` for every instruction, counted from 1."""
        return tuple(f"{self.name}/{number}" for number in range(1, len(self.instructions) + 1))


class Registry(Mapping[str, TaskSpec]):
    """Tasks by name, in the order in which their files were read."""

    def __init__(self, tasks: Iterable[TaskSpec]) -> None:
        self._tasks = {task.name: task for task in tasks}

    def __getitem__(self, name: str) -> TaskSpec:
        """The task called ``name``; raises :class:`ConfigError` with the closest names if there is none."""
        if name not in self._tasks:
            raise ConfigError(f"unknown task {name!r}{_suggestion(name, self._tasks)}; `ofa-mi tasks` lists them")
        return self._tasks[name]

    def __contains__(self, name: object) -> bool:
        return name in self._tasks

    def get(self, name: str, default: TaskSpec | None = None) -> TaskSpec | None:
        """The task called ``name``, or ``default`` if there is none."""
        return self._tasks.get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def groups(self) -> tuple[str, ...]:
        """Names of the task groups, in order."""
        return tuple(dict.fromkeys(task.group for task in self._tasks.values()))

    def select(self, include: Sequence[str], exclude: Sequence[str] = ()) -> tuple[str, ...]:
        """Names of the tasks in ``include`` and not in ``exclude``, in the registry's order.

        Args:
            include: Names of tasks, names of groups, ``"train"``, ``"eval"`` or ``"all"``. A name
                that a task and a group share (``image_text_matching``) means the task;
                ``"group:NAME"`` always means the group.
            exclude: The same, for tasks to leave out.

        Raises:
            ConfigError: A name is unknown (the closest known ones are suggested), or nothing is left.
        """
        chosen, dropped = ({task for name in names for task in self._resolve(name)} for names in (include, exclude))
        selected = tuple(name for name in self if name in chosen - dropped)
        if not selected:
            without = f" without {', '.join(exclude)}" if exclude else ""
            raise ConfigError(f"no task is selected by {', '.join(include) or 'an empty list'}{without}")
        return selected

    def _resolve(self, name: str) -> list[str]:
        """Names of the tasks that one word of a selection stands for."""
        if name == EVERYTHING:
            return list(self)
        if name in self._tasks:
            return [name]
        group = name.removeprefix(GROUP_PREFIX)
        members = [task.name for task in self._tasks.values() if group == task.group or name == task.split]
        if not members:
            known = [*self, *self.groups(), *SPLITS, EVERYTHING]
            raise ConfigError(
                f"unknown task or group {name!r}{_suggestion(group, known)}; give task names, group names, "
                f"{', '.join(SPLITS)} or {EVERYTHING} (`ofa-mi tasks` lists them)"
            )
        return members


@functools.cache
def default_registry() -> Registry:
    """The packaged tasks."""
    return load_registry()


def load_registry(*extra_dirs: str | Path) -> Registry:
    """Load the packaged tasks and then every ``*.yaml`` file of the given directories.

    Args:
        extra_dirs: Directories whose files add tasks (``tasks:``) or replace the instructions of
            tasks that are already known (``replace:``). Files are read in the order of their names.

    Raises:
        ConfigError: A file breaks the schema; the message names the file, the task and the key.
    """
    tasks: dict[str, TaskSpec] = {}
    for directory in (TASK_DIR, *map(Path, extra_dirs)):
        for path in _yaml_files(directory):
            _File(path, packaged=directory == TASK_DIR).add_to(tasks)
    return Registry(tasks.values())


@functools.lru_cache(maxsize=4096)
def split_template(instruction: str) -> tuple[str, ...]:
    """Literal text and placeholder names in turn: an odd number of parts, literals at even places.

    ``"What is in {region}?"`` gives ``("What is in ", "region", "?")``.

    Raises:
        ConfigError: A brace that does not belong to a placeholder, or an unknown placeholder.
    """
    parts = tuple(re.split(r"\{(\w+)\}", instruction))
    if any(brace in literal for literal in parts[::2] for brace in "{}"):
        raise ConfigError(f"a brace that is not part of a {{placeholder}} in {instruction!r}")
    for name in parts[1::2]:
        if name not in PLACEHOLDERS:
            known = ", ".join(f"{{{placeholder}}}" for placeholder in PLACEHOLDERS)
            raise ConfigError(f"unknown placeholder {{{name}}} in {instruction!r}; known are {known}")
    return parts


def _suggestion(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def _yaml_files(directory: Path) -> list[Path]:
    if not directory.is_dir():
        raise ConfigError(f"instruction directory {directory} does not exist or is not a directory")
    paths = sorted(path for path in directory.iterdir() if path.suffix in (".yaml", ".yml"))
    if not paths:
        raise ConfigError(f"instruction directory {directory} holds no .yaml file")
    return paths


class _UniqueKeyLoader(yaml.SafeLoader):
    """PyYAML's safe loader, except that a repeated key is an error; PyYAML keeps the last one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key!r}", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 (byte {error.start}: {error.reason})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: not valid YAML: {getattr(error, 'problem', None) or error}") from None


class _File:
    """One YAML file; every failure names the file, the task and the key."""

    def __init__(self, path: Path, *, packaged: bool) -> None:
        self.path = path
        self.where = str(path)
        self.content = self.mapping(_read_yaml(path), "the file")
        self.check_keys(self.content, _FILE_KEYS, required=())
        self.benchmark = self.boolean(self.content, "benchmark")
        if self.benchmark and not packaged:
            self.fail("benchmark: only the packaged tasks are the paper's; leave this key out")

    def add_to(self, tasks: dict[str, TaskSpec]) -> None:
        """Add this file's tasks to ``tasks`` and replace the instructions it replaces there."""
        new = self.mapping(self.content.get("tasks", {}), "tasks")
        replaced = self.mapping(self.content.get("replace", {}), "replace")
        if not new and not replaced:
            self.fail("has neither tasks nor replace")
        if new:
            group = self.content.get("group")
            self.check_name(group, "group")
            for name, fields in new.items():
                self.where = f"{self.path}: task {name}"
                if name in tasks:
                    self.fail("duplicate: a task of this name exists already (use replace to change its instructions)")
                tasks[name] = self.task(name, group, fields)
        for name, fields in replaced.items():
            self.where = f"{self.path}: task {name}"
            if name not in tasks:
                self.fail(f"replace: no such task{_suggestion(str(name), tasks)}")
            tasks[name] = self.replaced(tasks[name], fields)

    def task(self, name: Any, group: str, fields: Any) -> TaskSpec:
        """A new task from its fields."""
        self.check_name(name, "name")
        fields = self.mapping(fields, "the task")
        self.check_keys(fields, _TASK_KEYS, required=_REQUIRED_KEYS)
        inputs = self.names(fields, "inputs", PLACEHOLDERS)
        self.check_inputs(inputs, fields["output"])
        release = fields.get("release")
        own_instruction = self.boolean(fields, "own_instruction")
        least = 1 if own_instruction else MIN_INSTRUCTIONS
        return TaskSpec(
            name=name,
            group=group,
            split=self.choice(fields, "split", SPLITS),
            sources=self.strings(fields, "sources"),
            release=None if release is None else self.string(fields, "release"),
            inputs=inputs,
            output=self.choice(fields, "output", OUTPUTS),
            metrics=self.names(fields, "metrics", METRICS, empty=False),
            version=self.version(fields),
            instructions=self.instructions(fields, inputs, least) if "instructions" in fields else (),
            benchmark=self.benchmark,
            description=self.string(fields, "description"),
            own_instruction=own_instruction,
            labels=self.strings(fields, "labels") if "labels" in fields else (),
            example=self.example(name, fields["example"]) if "example" in fields else None,
        )

    def example(self, name: str, fields: Any) -> Instance:
        """The instance in ``fields``, which are those of a JSON line without ids and image."""
        fields = self.mapping(fields, "example")
        self.check_keys(fields, _EXAMPLE_KEYS, required=())
        record = {"unique_id": EXAMPLE_ID, "task_name": name, **fields}
        if "image_size" in fields:
            record["image_path"] = "example.jpg"
        try:
            return Instance.from_record(record, f"{self.where}: example")
        except DataError as error:
            raise ConfigError(str(error)) from None

    def replaced(self, task: TaskSpec, fields: Any) -> TaskSpec:
        """``task`` with the instructions and version in ``fields``."""
        fields = self.mapping(fields, "the task")
        self.check_keys(fields, _REPLACE_KEYS, required=_REPLACE_KEYS)
        version = self.version(fields)
        if version <= task.version:
            self.fail(f"version: must be above {task.version}, the version that it replaces")
        least = 1 if task.own_instruction else MIN_INSTRUCTIONS
        return replace(task, version=version, instructions=self.instructions(fields, task.inputs, least))

    def instructions(self, fields: dict, inputs: tuple[str, ...], least: int) -> tuple[str, ...]:
        """The instructions, at least ``least``; each must use every input, and no other placeholder."""
        instructions = self.strings(fields, "instructions")
        if len(instructions) < least:
            self.fail(f"instructions: has {len(instructions)}, the evaluation protocol needs {least}")
        seen: dict[str, int] = {}
        for number, instruction in enumerate(instructions, start=1):
            key = f"instructions: number {number}"
            self.check_instruction(instruction, inputs, key)
            earlier = seen.setdefault(" ".join(instruction.lower().split()), number)
            if earlier != number:
                self.fail(f"{key} repeats number {earlier}")
        return instructions

    def check_instruction(self, instruction: str, inputs: tuple[str, ...], key: str) -> None:
        try:
            used = split_template(instruction)[1::2]
        except ConfigError as error:
            self.fail(f"{key}: {error}")
        for name in used:
            if name not in inputs:
                known = ", ".join(inputs) or "none"
                self.fail(f"{key} uses {{{name}}}, which is not one of the task's inputs ({known})")
        for name in inputs:
            if used.count(name) != 1:
                self.fail(f"{key} uses the input {{{name}}} {used.count(name)} times; it must appear exactly once")

    def check_inputs(self, inputs: tuple[str, ...], output: Any) -> None:
        regions = tuple(name for name in PLACEHOLDERS if name in inputs and name.startswith("region"))
        if regions and regions not in REGION_INPUTS:
            self.fail("inputs: regions are either region, or region_1 and region_2, or regions")
        if output in ("option", "options") and "options" not in inputs:
            self.fail(f"inputs: must contain options, because output is {output}")

    def check_name(self, value: Any, key: str) -> None:
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            self.fail(f"{key}: must be lower-case letters, digits and underscores, found {value!r}")
        if value in (*SPLITS, EVERYTHING):
            self.fail(f"{key}: {value} is a reserved word of task selections")

    def check_keys(self, fields: dict, known: frozenset[str], required: Iterable[str]) -> None:
        for key in fields:
            if key not in known:
                names = ", ".join(sorted(known))
                self.fail(f"unknown key {key!r}{_suggestion(str(key), known)}; known keys are {names}")
        for key in sorted(required):
            if key not in fields:
                self.fail(f"{key}: is missing")

    def mapping(self, value: Any, key: str) -> dict:
        if not isinstance(value, dict):
            self.fail(f"{key}: must be a mapping, found {value!r}")
        return value

    def boolean(self, fields: dict, key: str) -> bool:
        value = fields.get(key, False)
        if not isinstance(value, bool):
            self.fail(f"{key}: must be true or false, found {value!r}")
        return value

    def string(self, fields: dict, key: str) -> str:
        return self.text(fields[key], key)

    def strings(self, fields: dict, key: str, *, empty: bool = False) -> tuple[str, ...]:
        values = fields[key]
        if not isinstance(values, list) or not (values or empty):
            self.fail(f"{key}: must be a list with at least one entry, found {values!r}")
        return tuple(self.text(value, f"{key}: number {number}") for number, value in enumerate(values, start=1))

    def text(self, value: Any, key: str) -> str:
        if not isinstance(value, str) or not value.strip():
            self.fail(f"{key}: must be text (in quotes if it has a brace or a colon), found {value!r}")
        return value.strip()

    def choice(self, fields: dict, key: str, known: Sequence[str]) -> str:
        if fields[key] not in known:
            self.fail(f"{key}: must be one of {', '.join(known)}, found {fields[key]!r}")
        return fields[key]

    def names(self, fields: dict, key: str, known: Sequence[str], *, empty: bool = True) -> tuple[str, ...]:
        """A list of different names out of ``known``."""
        values = self.strings(fields, key, empty=empty)
        for value in values:
            if value not in known:
                self.fail(f"{key}: unknown name {value!r}{_suggestion(value, known)}; known are {', '.join(known)}")
        if len(set(values)) != len(values):
            self.fail(f"{key}: names something twice: {', '.join(values)}")
        return values

    def version(self, fields: dict) -> int:
        value = fields["version"]
        if type(value) is not int or value < 1:
            self.fail(f"version: must be a whole number from 1, found {value!r}")
        return value

    def fail(self, message: str):
        raise ConfigError(f"{self.where}: {message}")
