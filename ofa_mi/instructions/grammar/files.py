"""Files of instructions: a JSON line for each, ``{"task": …, "instruction": …, "origin": …}``.

What ``ofa-mi instructions augment`` writes is marked by its origin and is for training only. The same lines, with or
without an origin, are what it reads from elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from ofa_mi import __version__
from ofa_mi.errors import ConfigError, DataError, shown
from ofa_mi.instructions.grammar.gate import Refusal
from ofa_mi.instructions.registry import Registry
from ofa_mi.instructions.spec import ENGLISH, TaskSpec, split_template
from ofa_mi.utils.files import atomic_write, read_at_most
from ofa_mi.utils.json_files import decode

FILE, REFUSED_FILE, MANIFEST_FILE = "instructions.jsonl", "refused.jsonl", "manifest.json"
DIGITS = 16  # of a digest, where people read it
LARGEST = 1 << 26  # bytes of a file: some 300,000 instructions


class Line(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A line of a file.

    Attributes:
        task: Name of the task.
        instruction: The template.
        origin: Where it comes from; empty in a file from elsewhere.
    """

    task: str
    instruction: str
    origin: str = ""


_DECODER = msgspec.json.Decoder(Line)


@dataclass(frozen=True)
class Extra:
    """Instructions beside those of the registry, for training.

    Attributes:
        path: The file they come from.
        digest: SHA-256 of the file, in hexadecimal digits.
        instructions: The instructions of each task.
    """

    path: str
    digest: str
    instructions: dict[str, tuple[str, ...]]

    @property
    def name(self) -> str:
        """What tells the file from others wherever it lies."""
        return f"sha256:{self.digest[:DIGITS]}"

    def __str__(self) -> str:
        """``extra.jsonl (sha256:…): 6,200 extra instructions of 62 tasks``."""
        number, tasks = sum(map(len, self.instructions.values())), len(self.instructions)
        return f"{shown(Path(self.path))} ({self.name}): {number:,} extra instructions of {tasks} tasks"

    def added_to(self, registry: Registry) -> Registry:
        """The registry with them behind the instructions that its tasks have."""

        def extended(spec: TaskSpec) -> TaskSpec:
            return replace(spec, instructions=(*spec.instructions, *self.instructions.get(spec.name, ())))

        return Registry(map(extended, registry.values()), registry.language)


def to_lines(lines: Iterable[Line]) -> bytes:
    """The content of a file."""
    encode = msgspec.json.Encoder().encode
    return b"".join(encode(line) + b"\n" for line in lines)


def write(
    folder: Path, lines: Sequence[Line], refused: Sequence[tuple[str, Line, Refusal]], settings: Mapping[str, Any]
) -> None:
    """Write the instructions, what was refused and why, and ``manifest.json``, which says what they were made with.

    Args:
        folder: Made if it does not exist; files of these names in it are replaced.
        lines: The instructions.
        refused: Those that were not let in, each with its place; without any there is no file of them.
        settings: What the instructions follow from, for the manifest.
    """
    content = to_lines(lines)
    manifest = {
        **settings,
        "instructions": len(lines),
        "sha256": hashlib.sha256(content).hexdigest(),
        "ofa_mi": __version__,
    }
    atomic_write(folder / FILE, content)
    reasons = [
        {"place": where, "task": line.task, "instruction": line.instruction, "reason": refusal.reason}
        for where, line, refusal in refused
    ]
    if reasons:
        atomic_write(folder / REFUSED_FILE, b"".join(json.dumps(reason).encode() + b"\n" for reason in reasons))
    else:
        (folder / REFUSED_FILE).unlink(missing_ok=True)
    atomic_write(folder / MANIFEST_FILE, (json.dumps(manifest, indent=2) + "\n").encode())


def read_lines(path: Path) -> list[tuple[str, Line]]:
    """The lines of a file, each with its place ``file:number``; empty ones are left out.

    Raises:
        DataError: It cannot be read, or a line is not one; names the line.
    """
    return _lines(path, _content(path))


def _content(path: Path) -> bytes:
    try:
        return read_at_most(path, LARGEST)
    except OSError as error:
        raise DataError(f"{shown(path)}: cannot be read ({error.strerror})") from None


def _lines(path: Path, content: bytes) -> list[tuple[str, Line]]:
    found = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line.strip():
            where = f"{shown(path)}:{number}"
            what = 'not {"task": …, "instruction": …}'
            found.append((where, decode(line, _DECODER, f"{where}: {what}")))
    return found


def read_extra(path: Path, registry: Registry) -> Extra:
    """A file of generated instructions for training with ``registry``.

    Raises:
        DataError: It cannot be read, or a line is not one.
        ConfigError: An instruction is of an unknown or held-out task, does not use its inputs, is there already, or
            has no origin, so that it has not passed the gate; or the registry's language is another one.
    """
    content = _content(path)
    if registry.language != ENGLISH:
        raise ConfigError(
            f"{shown(path)}: generated instructions are English; they cannot be added to those in {registry.language}"
        )
    seen = {name: set(spec.instructions) for name, spec in registry.items()}
    found: dict[str, list[str]] = {}
    for where, line in _lines(path, content):
        _check(line, where, registry, seen)
        seen[line.task].add(line.instruction)
        found.setdefault(line.task, []).append(line.instruction)
    if not found:
        raise ConfigError(f"{shown(path)}: holds no instruction")
    digest = hashlib.sha256(content).hexdigest()
    return Extra(str(path), digest, {name: tuple(texts) for name, texts in found.items()})


def _check(line: Line, where: str, registry: Registry, seen: dict[str, set[str]]) -> None:
    try:
        spec = registry[line.task]
        used = split_template(line.instruction)[1::2]
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    if not line.origin:
        raise ConfigError(f"{where}: has no origin; let the file pass `ofa-mi instructions augment --from` first")
    if spec.split != "train":
        raise ConfigError(f"{where}: {line.task} is held out; generated instructions are for training tasks only")
    if sorted(used) != sorted(spec.inputs):
        raise ConfigError(f"{where}: does not use the inputs of {line.task} once each; generate the file again")
    if line.instruction in seen[line.task]:
        raise ConfigError(f"{where}: repeats an instruction of {line.task}")
