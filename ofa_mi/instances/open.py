"""The file of a split of a data directory, whichever of its two forms it has."""

from __future__ import annotations

from pathlib import Path

from ofa_mi.instances.store import InstanceStore, LineStore
from ofa_mi.instances.tsv import TsvStore, find_tsv


def open_store(directory: Path, split: str, *, skip_bad: bool = False) -> LineStore | None:
    """The store of one split of a data directory; None if the directory does not have that split.

    It is ``DIR/<split>.jsonl`` or, in a folder of OFA's own files, ``DIR/<kind>…_<split>.tsv``.

    Raises:
        DataError: There are several such files, or the file is bad.
    """
    path = Path(directory) / f"{split}.jsonl"
    if path.exists():
        return InstanceStore(path, skip_bad=skip_bad)
    found = find_tsv(Path(directory), split)
    return None if found is None else TsvStore(*found, skip_bad=skip_bad)


def has_split(directory: Path, split: str) -> bool:
    """Whether :func:`open_store` finds a split in a data directory."""
    return (directory / f"{split}.jsonl").exists() or find_tsv(directory, split) is not None
