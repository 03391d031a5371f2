"""The data directory that a converter writes: instances, images, and a manifest that says what they were made from.

The manifest is written first with ``"complete": false`` and last with ``true``. A run that was
interrupted therefore continues in its directory (images that exist are kept), a finished one is
recognised and skipped, and a directory made with other settings is never overwritten.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, TypedDict

import msgspec

from ofa_mi.errors import DataError, shown
from ofa_mi.instances.instance import Instance
from ofa_mi.utils.files import atomic_write, open_atomic, remove_abandoned
from ofa_mi.utils.json_files import AnyObject, Count, Name, check, one_line, read_json

SPLITS = ("train", "valid", "test")
MANIFEST = "manifest.json"
IMAGES = "images"
NO_MANIFEST = "not a manifest; delete the folder or give another --out"
_DECODER = msgspec.json.Decoder(AnyObject)


class Manifest(TypedDict, total=False):
    """What every manifest may hold."""

    converter: str
    version: int
    settings: AnyObject
    complete: bool
    counts: dict[Name, dict[Name, Count]]  # split → task → number of instances


class Finished(TypedDict):
    """What the manifest of a finished directory must hold."""

    counts: dict[Name, dict[Name, Count]]


class OutputDirectory:
    """Writes one data directory.

    Args:
        path: The directory; made if it does not exist.
        converter: Name of the converter, kept in the manifest.
        version: Version of the converter; a change of what it writes raises it.
        settings: Everything that the output depends on (JSON values).
        details: Type of what the manifest holds once the output is finished.

    Raises:
        DataError: The directory holds data that was made by something else or with other settings, or it
            cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        converter: str,
        version: int,
        settings: Mapping[str, Any],
        details: type = Finished,
    ) -> None:
        self.path, self.details = Path(path), details
        self.made_from = {"converter": converter, "version": version, "settings": dict(settings)}
        self.finished = self._open()

    def _open(self) -> dict[str, Any] | None:
        """Return the manifest if the output is finished; otherwise mark the directory as begun."""
        manifest_file = self.path / MANIFEST
        if manifest_file.exists():
            manifest = read_manifest(manifest_file)
            found = {key: manifest.get(key) for key in self.made_from}
            if found != self.made_from:
                raise DataError(
                    f"{self.path}: holds data made with other settings ({_difference(found, self.made_from)}); "
                    "delete the folder or give another --out"
                )
            if manifest.get("complete") and all((self.path / f"{split}.jsonl").exists() for split in SPLITS):
                check(manifest, self.details, f"{manifest_file}: {NO_MANIFEST}")
                return manifest
            self._tidy()
        elif any((self.path / f"{split}.jsonl").exists() for split in SPLITS):
            raise DataError(f"{self.path}: holds instances but no {MANIFEST}; give another --out")
        atomic_write(manifest_file, _dump({**self.made_from, "complete": False}))
        return None

    def _tidy(self) -> None:
        """Remove what an interrupted run may have left half done: temporary files, and images without content.

        Images are written without waiting for the disk; a power failure can take their content and leave their names.
        """
        images = self.path / IMAGES
        remove_abandoned(images, below=True)
        for folder, _, names in os.walk(images):
            for name in names:
                path = Path(folder, name)
                if path.is_file() and not path.stat().st_size:
                    path.unlink()

    def write_instances(self, split: str, instances: Iterable[Instance]) -> dict[str, int]:
        """Write ``split.jsonl`` and return the number of instances per task."""
        counts: Counter[str] = Counter()
        lines = []
        for instance in instances:
            counts[instance.task_name] += 1
            lines.append(instance_line(instance))
        self.write_lines(split, lines)
        return dict(sorted(counts.items()))

    def write_lines(self, split: str, lines: Iterable[str]) -> None:
        """Write ``split.jsonl`` from lines made by :func:`instance_line`."""
        with self.open_split(split) as file:
            for line in lines:
                file.write(f"{line}\n".encode())

    def open_split(self, split: str) -> AbstractContextManager[BinaryIO]:
        """``split.jsonl`` to be written in bytes; it takes its name when the block ends without an error."""
        return open_atomic(self.path / f"{split}.jsonl")

    def finish(self, counts: Mapping[str, Mapping[str, int]], **details: Any) -> dict[str, Any]:
        """Write the final manifest and return it.

        Args:
            counts: Number of instances, split → task → number.
            details: What else is worth keeping, e.g. what was left out (JSON values).
        """
        manifest = {**self.made_from, "complete": True, "counts": dict(counts), **details}
        os.sync()  # the images, before the manifest says that they are there
        atomic_write(self.path / MANIFEST, _dump(manifest))
        return manifest


def instance_line(instance: Instance) -> str:
    """The JSON line of an instance, without the line break."""
    return json.dumps(instance.to_record(), ensure_ascii=False, separators=(",", ":"))


def read_manifest(path: Path, what: str = NO_MANIFEST) -> dict[str, Any]:
    """A manifest with whatever else it holds; :class:`DataError` that says ``what`` if the file is none."""
    manifest = read_json(path, _DECODER, what)
    check(manifest, Manifest, f"{path}: {what}")
    return manifest


def _difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """The first thing in which two ``made_from`` differ, for an error message."""
    for key in ("converter", "version"):
        if found[key] != wanted[key]:
            return f"{key} {shown(found[key])}, now {shown(wanted[key])}"
    old, new = found["settings"] or {}, wanted["settings"]
    key = next((key for key in sorted({*old, *new}) if old.get(key) != new.get(key)), "settings")
    return f"{one_line(key)} {shown(old.get(key))}, now {shown(new.get(key))}"


def _dump(value: Any) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()
