"""The schema of the YAML files that hold tasks, their instructions, and instructions in other languages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import yaml

from ofa_mi.errors import ConfigError, DataError, shown
from ofa_mi.instances.instance import MOST_PIXELS, Instance
from ofa_mi.instructions.spec import (
    ENGLISH,
    EVERYTHING,
    LAST_VERSION,
    METRICS,
    MIN_INSTRUCTIONS,
    OUTPUTS,
    PLACEHOLDERS,
    REGION_INPUTS,
    SPLITS,
    TaskSpec,
    Translation,
    split_template,
    suggestion,
)
from ofa_mi.utils.files import read_at_most

Report = Callable[[ConfigError], None]
EXAMPLE_ID, EXAMPLE_IMAGE = "example", "example.jpg"

MAX_BYTES = 1 << 21  # of a file
MAX_NODES = 60_000  # texts, lists and mappings of a file: some 30,000 instructions, and a second or two
MAX_DEPTH = 50  # levels of lists and mappings; a task needs six
MAX_BRACKETS = 500  # of a file that is decoded without a look at its depth: too few to exhaust the stack
# Signs of anchors, aliases and tags, and lines where blocks may be nested: far to the right, or after many dashes.
_SUSPECT = re.compile(r"[&*!]|^[-? :\t]{100}", re.MULTILINE)

_FILE_KEYS = frozenset({"group", "benchmark", "tasks", "replace"})
_LANGUAGE_FILE_KEYS = frozenset({"language", "tasks"})
_REPLACE_KEYS = frozenset({"version", "instructions"})
_TRANSLATION_KEYS = frozenset({"version", "translates", "instructions"})
_REQUIRED_KEYS = frozenset({"split", "sources", "inputs", "output", "metrics", "version", "description"})
_TASK_KEYS = _REQUIRED_KEYS | {"release", "own_instruction", "text_only", "labels", "example", "instructions"}
_EXAMPLE_KEYS = frozenset(
    {"image_size", "question", "text", "context", "region", "options", "target_txt", "target_set"}
)
MAX_NAME = 100  # characters; a task's name is part of the names of files
_NAME = re.compile(r"[a-z0-9_]+")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z0-9]{1,8}){0,4}")


def raise_error(error: ConfigError) -> None:
    """Raise it: what a :data:`Report` does where one error is enough."""
    raise error


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # pyright: ignore[reportGeneralTypeIssues]
    """PyYAML's safe loader for what task files need: text, true and false, null, and numbers of a few digits.

    A repeated key is an error; PyYAML keeps the last one silently. Dates and other forms of numbers are text.
    """

    yaml_implicit_resolvers: ClassVar = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {shown(key)}", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("bool", "yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF", "yYnNtTfFoO"),
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", "[-+]?(0|[1-9][0-9]{0,17})", "-+0123456789"),
    ("float", r"[-+]?(0|[1-9][0-9]{0,17})\.[0-9]{0,17}", "-+0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), list(_first))


def read_yaml(path: Path) -> Any:
    """The content of a YAML file that was written by people.

    Raises:
        ConfigError: It cannot be read, is not YAML, or is larger, deeper or more than plain data.
    """
    try:
        text = read_at_most(path, MAX_BYTES).decode("utf-8")
        if _may_be_hostile(text):
            _check_structure(text)
        return yaml.load(text, Loader=_Loader)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except DataError as error:
        raise ConfigError(str(error)) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 (byte {error.start}: {error.reason})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or error
        raise ConfigError(f"{path}{line}: not valid YAML: {shown(ValueError(problem))}") from None
    except RecursionError:
        raise ConfigError(f"{path}: not valid YAML: nested more than {MAX_DEPTH} levels deep") from None


def _may_be_hostile(text: str) -> bool:
    """Whether a text could break a rule of :func:`_check_structure`, which takes as long as decoding it."""
    return (
        _SUSPECT.search(text) is not None
        or sum(map(text.count, "[{")) > MAX_BRACKETS
        or sum(map(text.count, "\n,:")) > MAX_NODES // 2
    )


def _check_structure(text: str) -> None:
    """Refuse what can make a small file large, deep or something else than data; this reads without recursion.

    Raises:
        yaml.MarkedYAMLError: The text nests more than :data:`MAX_DEPTH` levels, has more than :data:`MAX_NODES` values,
            or has an anchor, an alias or a tag.
    """
    depth = nodes = 0
    for event in yaml.parse(text, Loader=_Loader):
        nodes += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        problem = None
        if depth > MAX_DEPTH:
            problem = f"nested more than {MAX_DEPTH} levels deep"
        elif nodes > MAX_NODES:
            problem = f"more than {MAX_NODES:,} values; divide it into several files"
        elif getattr(event, "anchor", None) is not None:
            problem = "anchors and aliases (& and *) are not read; write the value out, or in quotes"
        elif getattr(event, "tag", None) is not None:
            problem = "tags (!) are not read; leave the tag out, or put the text in quotes"
        if problem:
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_NAME and _NAME.fullmatch(value) is not None


class TaskFile:
    """One YAML file; every error names the file, the task and the key.

    Args:
        path: The file.
        packaged: Whether it is one of this package, which alone may hold tasks of the benchmark.
        report: What to do with an error in a task; an error of the file itself is always raised.

    Attributes:
        language: The language of the instructions if the file holds nothing else, otherwise None.
    """

    def __init__(self, path: Path, *, packaged: bool, report: Report = raise_error) -> None:
        self.path, self.report = path, report
        self.where = shown(path)
        self.content = self.mapping(read_yaml(path), "the file")
        self.language = self.language_code(self.content["language"]) if "language" in self.content else None
        self.benchmark = False
        if self.language is not None:
            self.check_keys(self.content, _LANGUAGE_FILE_KEYS, required=_LANGUAGE_FILE_KEYS)
            return
        self.check_keys(self.content, _FILE_KEYS, required=())
        self.benchmark = self.boolean(self.content, "benchmark")
        if self.benchmark and not packaged:
            self.fail("benchmark: only the packaged tasks are the paper's; leave this key out")

    def add_to(self, tasks: dict[str, TaskSpec]) -> None:
        """Add this file's tasks to ``tasks``, or its instructions to the tasks there."""
        self.where = shown(self.path)
        try:
            sections = self.sections()
        except ConfigError as error:
            self.report(error)
            return
        for entries, add in sections:
            for name, fields in entries.items():
                self.where = f"{shown(self.path)}: task {name if _is_name(name) else shown(name)}"
                try:
                    tasks[name] = add(name, fields, tasks)
                except ConfigError as error:
                    self.report(error)

    def sections(self) -> list[tuple[dict, Callable[[Any, Any, dict[str, TaskSpec]], TaskSpec]]]:
        """The entries of each part of the file, and what makes a task of one."""
        new = self.mapping(self.content.get("tasks", {}), "tasks")
        replaced = self.mapping(self.content.get("replace", {}), "replace")
        if not new and not replaced:
            self.fail("has no tasks" if self.language else "has neither tasks nor replace")
        if self.language:
            return [(new, self.translated)]
        if new:
            self.check_name(self.content.get("group"), "group")
        return [(new, self.task), (replaced, self.replaced)]

    def task(self, name: Any, fields: Any, tasks: dict[str, TaskSpec]) -> TaskSpec:
        """A new task from its fields."""
        if name in tasks:
            self.fail("duplicate: a task of this name exists already (use replace to change its instructions)")
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
            group=self.content["group"],
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
            text_only=self.boolean(fields, "text_only"),
            labels=self.strings(fields, "labels") if "labels" in fields else (),
            example=self.example(name, fields["example"]) if "example" in fields else None,
            path=str(self.path),
        )

    def example(self, name: str, fields: Any) -> Instance:
        """The instance in ``fields``, which are those of a JSON line without ids and image."""
        fields = self.mapping(fields, "example")
        self.check_keys(fields, _EXAMPLE_KEYS, required=(), place="example: ")
        record = {"unique_id": EXAMPLE_ID, "task_name": name, **fields}
        if "image_size" in fields:
            record["image_path"] = EXAMPLE_IMAGE
        try:
            return Instance.from_record(record, f"{self.where}: example", most_pixels=MOST_PIXELS)  # there is no image
        except DataError as error:
            raise ConfigError(str(error)) from None

    def replaced(self, name: Any, fields: Any, tasks: dict[str, TaskSpec]) -> TaskSpec:
        """The task called ``name`` with the instructions and version in ``fields``."""
        task = self.known(name, tasks, "replace")
        fields = self.mapping(fields, "the task")
        self.check_keys(fields, _REPLACE_KEYS, required=_REPLACE_KEYS)
        version = self.version(fields, above=task.version)
        instructions = self.instructions(fields, task.inputs, task.least_instructions)
        return replace(task, version=version, instructions=instructions, path=str(self.path))

    def translated(self, name: Any, fields: Any, tasks: dict[str, TaskSpec]) -> TaskSpec:
        """The task called ``name`` with its instructions in this file's language."""
        assert self.language is not None, "files of translations name their language"
        task = self.known(name, tasks, "tasks")
        if not task.instructions:
            self.fail("has no English instructions yet, whose version could be named")
        fields = self.mapping(fields, "the task")
        self.check_keys(fields, _TRANSLATION_KEYS, required=_TRANSLATION_KEYS)
        earlier = task.translations.get(self.language)
        translation = Translation(
            language=self.language,
            version=self.version(fields, above=earlier.version if earlier else 0),
            translates=self.number(fields, "translates"),
            instructions=self.instructions(fields, task.inputs, task.least_instructions),
            path=str(self.path),
        )
        if translation.translates > task.version:
            self.fail(f"translates: the task is at version {task.version} only")
        return replace(task, translations={**task.translations, self.language: translation})

    def known(self, name: Any, tasks: dict[str, TaskSpec], key: str) -> TaskSpec:
        if name not in tasks:
            self.fail(f"{key}: no such task{suggestion(str(name), tasks)}")
        return tasks[name]

    def instructions(self, fields: dict, inputs: tuple[str, ...], least: int) -> tuple[str, ...]:
        """The instructions, at least ``least``; each must use every input, and no other placeholder."""
        instructions = self.strings(fields, "instructions")
        if len(instructions) < least:
            self.fail(f"instructions: has {len(instructions)}, the evaluation protocol needs {least}")
        seen: dict[str, int] = {}
        for number, instruction in enumerate(instructions, start=1):
            key = f"instruction {number}"
            try:
                self.check_instruction(instruction, inputs, key)
                earlier = seen.setdefault(" ".join(instruction.lower().split()), number)
                if earlier != number:
                    self.fail(f"{key}: repeats instruction {earlier}")
            except ConfigError as error:
                self.report(error)
        return instructions

    def check_instruction(self, instruction: str, inputs: tuple[str, ...], key: str) -> None:
        try:
            used = split_template(instruction)[1::2]
        except ConfigError as error:
            self.fail(f"{key}: {error}")
        for name in used:
            if name not in inputs:
                known = ", ".join(inputs) or "none"
                self.fail(f"{key}: uses {{{name}}}, which is not one of the task's inputs ({known})")
        for name in inputs:
            if used.count(name) != 1:
                self.fail(f"{key}: uses the input {{{name}}} {used.count(name)} times; it must appear exactly once")

    def check_inputs(self, inputs: tuple[str, ...], output: Any) -> None:
        regions = tuple(name for name in PLACEHOLDERS if name in inputs and name.startswith("region"))
        if regions and regions not in REGION_INPUTS:
            self.fail("inputs: regions are either region, or region_1 and region_2, or regions")
        if output in ("option", "options") and "options" not in inputs:
            self.fail(f"inputs: must contain options, because output is {output}")

    def check_name(self, value: Any, key: str) -> None:
        if not _is_name(value):
            self.fail(
                f"{key}: must be lower-case letters, digits and underscores, at most {MAX_NAME}, found {shown(value)}"
            )
        if value in (*SPLITS, EVERYTHING):
            self.fail(f"{key}: {value} is a reserved word of task selections")

    def check_keys(self, fields: dict, known: frozenset[str], required: Iterable[str], place: str = "") -> None:
        for key in fields:
            if key not in known:
                names = ", ".join(sorted(known))
                self.fail(f"{place}unknown key {shown(key)}{suggestion(str(key), known)}; known keys are {names}")
        for key in sorted(required):
            if key not in fields:
                self.fail(f"{key}: is missing")

    def mapping(self, value: Any, key: str) -> dict:
        if not isinstance(value, dict):
            self.fail(f"{key}: must be a mapping, found {shown(value)}")
        return value

    def boolean(self, fields: dict, key: str) -> bool:
        value = fields.get(key, False)
        if not isinstance(value, bool):
            self.fail(f"{key}: must be true or false, found {shown(value)}")
        return value

    def string(self, fields: dict, key: str) -> str:
        return self.text(fields[key], key)

    def strings(self, fields: dict, key: str, *, empty: bool = False) -> tuple[str, ...]:
        values = fields[key]
        if not isinstance(values, list) or not (values or empty):
            self.fail(f"{key}: must be a list with at least one entry, found {shown(values)}")
        return tuple(self.text(value, f"{key}: number {number}") for number, value in enumerate(values, start=1))

    def text(self, value: Any, key: str) -> str:
        if not isinstance(value, str) or not value.strip():
            self.fail(f"{key}: must be text (in quotes if it has a brace or a colon), found {shown(value)}")
        return value.strip()

    def choice(self, fields: dict, key: str, known: Sequence[str]) -> str:
        if fields[key] not in known:
            self.fail(f"{key}: must be one of {', '.join(known)}, found {shown(fields[key])}")
        return fields[key]

    def names(self, fields: dict, key: str, known: Collection[str], *, empty: bool = True) -> tuple[str, ...]:
        """A list of different names out of ``known``."""
        values = self.strings(fields, key, empty=empty)
        for value in values:
            if value not in known:
                self.fail(f"{key}: unknown name {shown(value)}{suggestion(value, known)}; known are {', '.join(known)}")
        if len(set(values)) != len(values):
            twice = ", ".join(name for name, times in Counter(values).items() if times > 1)
            self.fail(f"{key}: names something twice: {twice}")
        return values

    def version(self, fields: dict, above: int = 0) -> int:
        value = self.number(fields, "version")
        if value <= above:
            self.fail(f"version: must be above {above}, the version that it replaces")
        return value

    def number(self, fields: dict, key: str) -> int:
        value = fields[key]
        if type(value) is not int or not 1 <= value <= LAST_VERSION:
            self.fail(f"{key}: must be a whole number from 1 to {LAST_VERSION:,}, found {shown(value)}")
        return value

    def language_code(self, value: Any) -> str:
        if not isinstance(value, str) or not _LANGUAGE.fullmatch(value):
            self.fail(f"language: must be a code such as de or pt-br (in quotes if it is 'no'), found {shown(value)}")
        if value == ENGLISH:
            self.fail("language: English instructions stand with their task; see replace to change them")
        return value

    def fail(self, message: str):
        raise ConfigError(f"{self.where}: {message}")
