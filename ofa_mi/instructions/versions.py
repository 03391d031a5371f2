"""Whether a task's version rose when it should have: hashes of tasks beside the versions they had.

``versions.json`` of a directory of YAML files has an entry per task (``"nlvr"``) and translation
(``"nlvr/de"``) with its version and a hash of everything in it that changes scores.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, TypedDict

import msgspec

from ofa_mi.errors import ConfigError, DataError
from ofa_mi.instructions.spec import ENGLISH, LAST_VERSION, TaskSpec
from ofa_mi.utils.files import atomic_write
from ofa_mi.utils.json_files import read_json

VERSIONS_FILE = "versions.json"
HASH_LENGTH = 16


class Entry(TypedDict):
    """What is known of a task or translation."""

    version: Annotated[int, msgspec.Meta(ge=1, le=LAST_VERSION)]
    hash: str


Versions = dict[str, Entry]
_DECODER = msgspec.json.Decoder(Versions)


def entry_name(spec: TaskSpec) -> str:
    """Name of a task's entry."""
    return spec.name if spec.language == ENGLISH else f"{spec.name}/{spec.language}"


def task_hash(spec: TaskSpec) -> str:
    """Hash of what changes the prompts or the scores of a task: inputs, output, metrics and instructions, in order."""
    content = [list(spec.inputs), spec.output, list(spec.metrics), list(spec.instructions)]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()[:HASH_LENGTH]


def read_versions(path: Path) -> Versions:
    """The entries of a file; empty if there is none.

    Raises:
        ConfigError: The file is not one of versions.
    """
    if not path.exists():
        return {}
    try:
        return read_json(
            path, _DECODER, "not a file of versions; restore it, or remove it and run `ofa-mi lint --update`"
        )
    except DataError as error:
        raise ConfigError(str(error)) from None


def write_versions(path: Path, entries: Versions) -> None:
    """Write the entries, sorted, one a line."""
    lines = [f"  {json.dumps(name)}: {json.dumps(entries[name])}" for name in sorted(entries)]
    atomic_write(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


def compare(specs: Iterable[TaskSpec], stored: Mapping[str, Entry]) -> tuple[Versions, dict[str, str]]:
    """What the entries should be, and what stands in the way.

    Returns:
        The entries of ``specs``, except that a task whose version did not rise keeps its stored one;
        and for those tasks, by name of their entry, what is wrong.
    """
    entries: Versions = {}
    problems: dict[str, str] = {}
    for spec in specs:
        name, new = entry_name(spec), Entry(version=spec.version, hash=task_hash(spec))
        old = stored.get(name, new)
        if new["version"] < old["version"]:
            problems[name] = f"version: is {spec.version}, but was {old['version']} before; it never falls"
        elif new["version"] == old["version"] and new["hash"] != old["hash"]:
            problems[name] = (
                f"version: the task or its instructions have changed since version {spec.version} was recorded; "
                f"raise it to {spec.version + 1}"
            )
        entries[name] = old.copy() if name in problems else new
    return entries, problems
