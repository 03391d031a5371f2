"""The data card: what a data directory holds, as numbers (JSON), and for people as HTML and Markdown."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ofa_mi.data_prep.check.counts import TaskCounts
from ofa_mi.data_prep.check.examples import Example
from ofa_mi.data_prep.check.findings import Finding
from ofa_mi.data_prep.check.page import PICTURES, build_blocks
from ofa_mi.data_prep.check.scan import Scan, directory_names
from ofa_mi.document import html, markdown
from ofa_mi.errors import DataError
from ofa_mi.instructions.registry import Registry
from ofa_mi.utils.files import atomic_write
from ofa_mi.utils.json_files import FilePath, read_json


class _EarlierExample(msgspec.Struct):
    picture_name: FilePath | None


class _EarlierCard(msgspec.Struct):
    """What is read of a card that is there already."""

    examples: list[_EarlierExample]


_EARLIER = msgspec.json.Decoder(_EarlierCard)


def build_record(
    scan: Scan,
    registry: Registry,
    *,
    images: Mapping[str, Any],
    manifests: Mapping[str, Any],
    guesses: Sequence[Mapping[str, Any]] | None,
    examples: Sequence[Example],
) -> dict[str, Any]:
    """Everything that the card says, as JSON values.

    Args:
        scan: What was read.
        registry: The tasks.
        images: What :func:`ofa_mi.data_prep.check.images.sharing` returned.
        manifests: Manifests by name of the directory.
        guesses: Results of the guess baseline; None if it was not run.
        examples: Examples.
    """
    splits = list(dict.fromkeys(file.split for file in scan.files))
    tasks = {}
    for task in sorted(scan.tasks, key=lambda name: _order(registry, name)):
        by_split = {
            split: [c for (n, t), c in scan.counts.items() if t == task and scan.files[n].split == split]
            for split in splits
        }
        spec = registry.get(task)
        tasks[task] = {
            "group": spec.group if spec else None,
            "kind": spec.split if spec else None,
            "output": spec.output if spec else None,
            "images": images["by_task"].get(task, 0),
            **_merged([counts for parts in by_split.values() for counts in parts]).record(),
            "splits": {split: _merged(parts).record() for split, parts in by_split.items() if parts},
        }
    return {
        "title": ", ".join(directory_names([file.directory for file in scan.files]).values()),
        "files": {file.name: lines for file, lines in zip(scan.files, scan.lines, strict=True)},
        "manifests": dict(manifests),
        "instances": len(scan.rows),
        "findings": {
            "counts": {kind: scan.findings.counts[kind] for kind in scan.findings.kinds()},
            "first": [
                {"kind": finding.kind, "where": where(scan, finding), "message": finding.message}
                for finding in scan.findings
            ],
        },
        "splits": {
            split: {
                "instances": sum(task["splits"].get(split, {}).get("instances", 0) for task in tasks.values()),
                "tasks": sum(split in task["splits"] for task in tasks.values()),
            }
            for split in splits
        },
        "tasks": tasks,
        "images": dict(images),
        "guess": None if guesses is None else list(guesses),
        "examples": [example.record() for example in examples],
    }


def where(scan: Scan, finding: Finding) -> str:
    """``file:line`` without the path of the directory; the file alone for what is about it as a whole."""
    name = scan.files[finding.file].name
    if finding.kind == "manifest":
        return name.rpartition("/")[0] + "/" * ("/" in name) + "manifest.json"
    return f"{name}:{finding.line}" if finding.line else name


def open_card(out_dir: Path) -> set[str]:
    """Make the folder of a card; names of the pictures of an earlier card.

    Raises:
        DataError: The folder cannot be written, or holds another card.json.
    """
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{out_dir}: cannot be made ({error.strerror}); give another --out") from None
    if not os.access(out_dir, os.W_OK):
        raise DataError(f"{out_dir}: cannot be written; give another --out")
    path = out_dir / "card.json"
    if not path.exists():
        return set()
    card = read_json(path, _EARLIER, "is not a data card, and would be overwritten; give another --out")
    names = {example.picture_name for example in card.examples}
    return {name for name in names if name and Path(name).name == name and name not in (".", "..")}


def write_card(out_dir: Path, record: Mapping[str, Any], examples: Sequence[Example], earlier: set[str]) -> None:
    """Write card.json, card.html, card.md and its pictures.

    Args:
        out_dir: Folder of the card.
        record: Its numbers.
        examples: Its examples.
        earlier: Names of the pictures of an earlier card; those that are not used any more are deleted.

    Raises:
        DataError: The folder cannot be written.
    """
    blocks = build_blocks(record, examples)
    title = f"Data card: {record['title']}"
    names = set()
    for example in examples:
        if example.picture is not None:
            names.add(example.picture_name)
            atomic_write(out_dir / PICTURES / example.picture_name, example.picture)
    atomic_write(out_dir / "card.md", markdown.document(title, blocks).encode())
    atomic_write(out_dir / "card.html", html.document(title, blocks).encode())
    atomic_write(out_dir / "card.json", (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())
    for name in earlier - names:
        (out_dir / PICTURES / name).unlink(missing_ok=True)


def _merged(parts: Sequence[TaskCounts]) -> TaskCounts:
    total = TaskCounts()
    for part in parts:
        total.merge(part)
    return total


def _order(registry: Registry, name: str) -> tuple[int, str]:
    names = list(registry)
    return (names.index(name), "") if name in registry else (len(names), name)
