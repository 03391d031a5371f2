"""The folder that an export writes, and the splits that it reads.

The description (:data:`DESCRIPTION`) is written last: a folder without it is unfinished, and the same command writes it
again from the beginning.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from ofa_mi.data_prep.building.output import SPLITS
from ofa_mi.errors import DataError, shown
from ofa_mi.instances.images import IMAGE_SUFFIXES, UnusableImageError, open_image
from ofa_mi.instances.instance import Instance
from ofa_mi.instances.open import open_store
from ofa_mi.instances.store import LineStore
from ofa_mi.utils.files import atomic_write, remove_abandoned

DESCRIPTION = "croissant.json"
MARK = ".ofa_mi_export"  # a file by which an export knows its folder: it deletes nothing in others


def open_splits(directory: str | Path) -> dict[str, LineStore]:
    """The stores of the splits that a data directory has.

    Raises:
        DataError: It has none, or a file cannot be read.
    """
    stores = {split: open_store(Path(directory), split) for split in SPLITS}
    found = {split: store for split, store in stores.items() if store is not None}
    if not found:
        raise DataError(f"{directory}: holds none of {', '.join(f'{split}.jsonl' for split in SPLITS)}")
    return found


def image_name(instance: Instance, content: bytes) -> str:
    """Path of an instance's image in an export: its own, or one below ``images/`` where that names no file of images.

    The images of OFA's TSV files have no files of their own.

    Raises:
        DataError: The image cannot be used.
    """
    assert instance.image_path is not None
    if instance.image_path.lower().endswith(IMAGE_SUFFIXES):
        return instance.image_path
    try:
        with open_image(BytesIO(content)) as image:
            return f"images/{instance.image_path}.{(image.format or '').lower()}"
    except UnusableImageError as error:
        raise DataError(f"{instance.name}: image {error}") from None


def begin(out: str | Path, patterns: Sequence[str]) -> Path:
    """Make a folder ready to be written, and remove what an earlier export has left there.

    Args:
        out: The folder: a new or empty one, or one that an export has begun (:data:`MARK`).
        patterns: Glob patterns of what the export writes at its top.

    Raises:
        DataError: It is finished, holds other things, or cannot be made.
    """
    out = Path(out)
    if (out / DESCRIPTION).exists():
        raise DataError(f"{out}: holds a finished export; delete the folder or give another")
    try:
        out.mkdir(parents=True, exist_ok=True)
        began = (out / MARK).exists()
        if began:
            remove_abandoned(out, below=True)
        found = sorted(path for path in out.iterdir() if path.name != MARK)
        for path in found:
            if not began or not any(path.match(pattern) for pattern in patterns):
                raise DataError(f"{out}: holds {shown(path.name)}, which no export has written; give a new folder")
        (out / MARK).touch()
        for path in found:
            if path.is_file():
                path.unlink()
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror})") from None
    return out


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def finish(out: Path, description: dict[str, Any]) -> None:
    """Write the description, which makes the folder a finished export."""
    atomic_write(out / DESCRIPTION, (json.dumps(description, indent=1, ensure_ascii=False) + "\n").encode())
