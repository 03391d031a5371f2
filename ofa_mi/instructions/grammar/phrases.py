"""What the grammar is made of: sentence patterns for all tasks (``patterns.yaml``), phrases of each (``phrases.yaml``).

A task that has no phrases is asked for by the first sentence of its description.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ofa_mi.errors import ConfigError, shown
from ofa_mi.instructions.schema import read_yaml
from ofa_mi.instructions.spec import PLACEHOLDERS, TaskSpec, suggestion

PATTERN_FILE, PHRASE_FILE = (Path(__file__).parent / name for name in ("patterns.yaml", "phrases.yaml"))
KINDS = ("do", "know", "ask", "want")  # of a phrase: verb phrase, indirect question, direct question, noun phrase
_TABLES = frozenset({"bases", "tasks"})
_MENTIONED = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Phrases:
    """How a task may be put into words.

    Attributes:
        do, know, ask, want: The phrases of each of :data:`KINDS`.
        names: What an input is called, by input; those of the patterns for inputs that are missing here.
        image: What the image is called; empty for the patterns' own words.
        answer: Noun phrases that say what the answer looks like; empty for what the patterns say of the task's output.
        options: What the options are called, ``name/names``; or one of the patterns' sets of fixed answers.
    """

    do: tuple[str, ...] = ()
    know: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    want: tuple[str, ...] = ()
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    image: tuple[str, ...] = ()
    answer: tuple[str, ...] = ()
    options: str | tuple[str, ...] = ()


_LISTS = frozenset(entry.name for entry in fields(Phrases)) - {"names", "options"}
_KEYS = _LISTS | {"names", "options", "base"}


@functools.cache
def patterns() -> Mapping[str, Any]:
    """The patterns, as they stand in their file."""
    return read_yaml(PATTERN_FILE)


def phrases_of(spec: TaskSpec, table: Mapping[str, Phrases]) -> Phrases:
    """The phrases of a task: those in a table, and its description as one more thing to do."""
    found = table.get(spec.name, Phrases())
    aim = spec.description.partition(". ")[0].removesuffix(".").replace("the image", "the {image}")
    verdict = {} if spec.name in table or not _answers_yes_or_no(spec) else {"options": "yes_no"}
    return replace(found, do=(*found.do, aim[0].lower() + aim[1:]), **verdict)


def _answers_yes_or_no(spec: TaskSpec) -> bool:
    options = spec.example.options if spec.example is not None else None
    return {("yes",), ("no",)} == set(options or ())


def read_phrases(*paths: Path) -> dict[str, Phrases]:
    """The phrases of tasks by name: the packaged ones and those of further files, of which the last one counts.

    Raises:
        ConfigError: A file breaks the rules; names file, task and key.
    """
    table: dict[str, Phrases] = {}
    bases: dict[str, dict] = {}
    for path in (PHRASE_FILE, *paths):
        content = _mapping(read_yaml(path), f"{shown(path)}: the file")
        _check_keys(content, _TABLES, shown(path))
        bases |= _named(content.get("bases", {}), f"{shown(path)}: bases")
        for name, entry in _mapping(content.get("tasks", {}), f"{shown(path)}: tasks").items():
            where = f"{shown(path)}: task {shown(name)}"
            table[name] = _phrases(_mapping(entry, where), bases, where)
    return table


def _phrases(entry: dict, bases: Mapping[str, Any], where: str) -> Phrases:
    _check_keys(entry, _KEYS, where)
    shared: dict = {}
    if (base := entry.get("base")) is not None:
        if not isinstance(base, str) or base not in bases:
            raise ConfigError(f"{where}: base: must be one of {', '.join(bases)}, found {shown(base)}")
        shared = _mapping(bases[base], f"{where}: base {base}")
    lists = {
        key: (*_texts(entry.get(key, []), f"{where}: {key}"), *_texts(shared.get(key, []), f"{where}: base: {key}"))
        for key in _LISTS
    }
    names = _named(entry.get("names", {}), f"{where}: names")
    options = entry.get("options", [])
    if isinstance(options, str):
        if options not in patterns()["verdicts"]:
            known = ", ".join(patterns()["verdicts"])
            raise ConfigError(f"{where}: options: must be a list of names or one of {known}, found {shown(options)}")
    else:
        options = _texts(options, f"{where}: options")
    return Phrases(
        **lists,
        names={key: _texts(value, f"{where}: names: {key}") for key, value in names.items()},
        options=options,
    )


def check_inputs(spec: TaskSpec, phrases: Phrases) -> None:
    """Raise :class:`ConfigError` if phrases speak of inputs that the task does not have."""
    used = {name for kind in KINDS for text in getattr(phrases, kind) for name in _MENTIONED.findall(text)}
    for name in sorted((used | set(phrases.names)) - {*spec.inputs, "image"}):
        known = ", ".join((*spec.inputs, "image"))
        why = "" if name in PLACEHOLDERS else suggestion(name, spec.inputs)
        raise ConfigError(f"phrases of {spec.name}: {shown(f'{{{name}}}')} is none of its inputs ({known}){why}")


def _mapping(value: Any, where: str) -> dict:
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: must be a mapping, found {shown(value)}")
    return value


def _named(value: Any, where: str) -> dict[str, Any]:
    """A mapping whose keys are words, which messages can then quote."""
    for name in _mapping(value, where):
        if not isinstance(name, str) or not name.isidentifier():
            raise ConfigError(f"{where}: a name must be a word of letters, digits and _, found {shown(name)}")
    return value


def _check_keys(content: dict, known: frozenset[str], where: str) -> None:
    for key in content:
        if key not in known:
            names = ", ".join(sorted(known))
            raise ConfigError(f"{where}: unknown key {shown(key)}{suggestion(str(key), known)}; known keys are {names}")


def _texts(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) and text for text in value):
        raise ConfigError(f"{where}: must be a list of texts, found {shown(value)}")
    return tuple(value)
