"""A data directory as Parquet files, one row an instance, with the bytes of its image inside.

The columns ``image`` (as the ``datasets`` library stores images) and ``instance`` (the JSON line) are the whole
instance: :mod:`ofa_mi.data_prep.imports.parquet` makes the same data directory of them. The others are for search and
viewers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ofa_mi.data_prep.building.output import instance_line
from ofa_mi.data_prep.imports.parquet import pyarrow_parquet
from ofa_mi.exports import croissant
from ofa_mi.exports.croissant import Field
from ofa_mi.exports.folder import begin, finish, image_name, open_splits
from ofa_mi.instances.instance import Instance, Text, plain
from ofa_mi.instances.store import LineStore
from ofa_mi.instructions.prompt import OPTION_SEPARATOR
from ofa_mi.utils.files import open_atomic
from ofa_mi.utils.progress import progress_bar

GROUP_BYTES, GROUP_ROWS = 1 << 25, 1000  # of a row group: whichever is reached first
FILE_BYTES = 1 << 29  # of images in a file
FIELDS = (
    Field("unique_id", "sc:Text", "unique among all instances", {"column": "unique_id"}),
    Field("task", "sc:Text", "name of the task", {"column": "task"}),
    Field("question", "sc:Text", "question about the image; boxes in pixels", {"column": "question"}),
    Field("text", "sc:Text", "caption, statement or expression that the task is about", {"column": "text"}),
    Field("answer", "sc:Text", "the right answer; boxes in pixels", {"column": "answer"}),
    Field("image", "sc:ImageObject", "the image, as it is stored", {"column": "image"}, {"jsonPath": "bytes"}),
    Field("instance", "sc:Text", "all of the instance, as its JSON line", {"column": "instance"}),
)


def export(directory: str | Path, out: str | Path) -> dict[str, int]:
    """Write ``SPLIT-NNNNN.parquet`` of every split, and ``croissant.json``.

    A few thousand bytes and one row group are held in memory, whatever the size of the data.

    Args:
        directory: Data directory.
        out: Folder to write.

    Returns:
        Split → number of instances.

    Raises:
        ConfigError: pyarrow is not installed.
        DataError: The data cannot be read, or the folder cannot be written.
    """
    pyarrow_parquet()
    stores = open_splits(directory)
    out = begin(out, ["*.parquet"])
    files = {split: _write_split(store, out, split) for split, store in stores.items()}
    filled = {split: paths for split, paths in files.items() if paths}
    text = "Instances of MultiInstruct's tasks with their images, exported from a data directory of OFA-MI."
    finish(
        out,
        croissant.describe(
            Path(directory).resolve().name, text, filled, root=out, encoding="application/x-parquet", fields=FIELDS
        ),
    )
    return {split: len(store) for split, store in stores.items()}


def _write_split(store: LineStore, out: Path, split: str) -> list[Path]:
    """The files of a split, each of so many instances that their images have :data:`FILE_BYTES`."""
    bar = progress_bar(store, desc=f"export {split}", unit="instances")
    rows = (_row(store, instance) for instance in bar)
    paths: list[Path] = []
    first = next(rows, None)
    while first is not None:
        path = out / f"{split}-{len(paths):05}.parquet"
        first = _write_file(path, first, rows)
        paths.append(path)
    return paths


def _write_file(path: Path, first: dict[str, Any], rows: Iterator[dict[str, Any]]) -> dict[str, Any] | None:
    """Write rows until the file is full; the first row that has no place in it, or None."""
    import pyarrow

    parquet = pyarrow_parquet()
    written, row = 0, first
    with (
        open_atomic(path) as file,
        parquet.ParquetWriter(file, schema(), compression="zstd", write_page_checksum=True) as writer,
    ):
        while row is not None and written < FILE_BYTES:
            group, size = [], 0
            while row is not None and len(group) < GROUP_ROWS and size < GROUP_BYTES:
                group.append(row)
                size += len(row["image"]["bytes"]) if row["image"] else 0
                row = next(rows, None)
            writer.write_table(pyarrow.Table.from_pylist(group, schema=schema()))
            written += size
    return row


def schema() -> Any:
    """The columns of the files."""
    import pyarrow

    image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    kinds = {field.name: image if field.name == "image" else pyarrow.string() for field in FIELDS}
    return pyarrow.schema(list(kinds.items()))


def _row(store: LineStore, instance: Instance) -> dict[str, Any]:
    image = None
    if instance.image_path is not None:
        content = store.image_bytes(instance)
        instance = replace(instance, image_path=image_name(instance, content))
        image = {"bytes": content, "path": instance.image_path}
    line = instance_line(instance)
    return {
        "unique_id": instance.unique_id,
        "task": instance.task_name,
        "question": plain(instance.question),
        "text": plain(instance.text),
        "answer": plain(instance.target) if instance.target_set is None else _joined(instance.target_set),
        "image": image,
        "instance": line,
    }


def _joined(options: Iterable[Text]) -> str:
    return OPTION_SEPARATOR.join(map(plain, options))
