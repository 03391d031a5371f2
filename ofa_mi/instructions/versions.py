"""Whether a task's version rose when it should have: hashes of tasks beside the versions they had.

``versions.json`` of a directory of YAML files has an entry per task (``"nlvr"``) and translation
(``"nlvr/de"``) with its version and a hash of everything in it that changes scores.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ofa_mi.data.files import atomic_write, read_at_most
from ofa_mi.errors import ConfigError, DataError, shown
from ofa_mi.instructions.spec import ENGLISH, LAST_VERSION, TaskSpec

VERSIONS_FILE = "versions.json"
HASH_LENGTH = 16
MAX_BYTES = 1 << 24  # of a file of versions: over 100,000 entries
Versions = dict[str, dict[str, Any]]


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
    try:
        entries = json.loads(read_at_most(path, MAX_BYTES))
        if all(_is_version(entry["version"]) and isinstance(entry["hash"], str) for entry in entries.values()):
            return entries
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{shown(path)}: cannot be read ({error.strerror})") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, DataError):
        pass
    raise ConfigError(f"{path}: not a file of versions; restore it, or remove it and run `ofa-mi lint --update`")


def _is_version(value: Any) -> bool:
    return type(value) is int and 1 <= value <= LAST_VERSION


def write_versions(path: Path, entries: Versions) -> None:
    """Write the entries, sorted, one a line."""
    lines = [f"  {json.dumps(name)}: {json.dumps(entries[name])}" for name in sorted(entries)]
    atomic_write(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


def compare(specs: Iterable[TaskSpec], stored: Mapping[str, Mapping[str, Any]]) -> tuple[Versions, dict[str, str]]:
    """What the entries should be, and what stands in the way.

    Returns:
        The entries of ``specs``, except that a task whose version did not rise keeps its stored one;
        and for those tasks, by name of their entry, what is wrong.
    """
    entries: Versions = {}
    problems: dict[str, str] = {}
    for spec in specs:
        name, new = entry_name(spec), {"version": spec.version, "hash": task_hash(spec)}
        old = stored.get(name, new)
        if new["version"] < old["version"]:
            problems[name] = f"version: is {spec.version}, but was {old['version']} before; it never falls"
        elif new["version"] == old["version"] and new["hash"] != old["hash"]:
            problems[name] = (
                f"version: the task or its instructions have changed since version {spec.version} was recorded; "
                f"raise it to {spec.version + 1}"
            )
        entries[name] = dict(old) if name in problems else new
    return entries, problems
