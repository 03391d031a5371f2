"""Parquet files with the images inside, as ``ofa-mi data export --to parquet`` writes them, as a data directory.

A row is an instance. Two columns are read, the others are for people and search:

- ``instance``: the JSON line of the instance;
- ``image``: ``{bytes, path}``, the image as it was stored and the instance's ``image_path``; null for text only.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import resource
from collections.abc import Iterator
from io import BytesIO
from multiprocessing.connection import Connection
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ofa_mi.data_prep.building.output import SPLITS, OutputDirectory
from ofa_mi.errors import ConfigError, DataError, shown
from ofa_mi.instances.images import IMAGE_SUFFIXES, UnusableImageError, open_image
from ofa_mi.instances.instance import MAX_LINE, Instance
from ofa_mi.instances.store import MOST_IMAGE_BYTES
from ofa_mi.utils.files import atomic_write, path_inside
from ofa_mi.utils.progress import progress_bar

if TYPE_CHECKING:
    import pyarrow.parquet

VERSION = 1
COLUMNS = ("image", "instance")
ROWS = 16  # that are decoded at once
MOST_GROUP_BYTES = 1 << 30  # of a row group's two columns, uncompressed
MOST_MEMORY = 1 << 32  # bytes that the process which reads a file may take
MOST_METADATA = 1 << 28  # bytes of one text in a file's own description
MOST_ENTRIES = 1 << 24  # of one of its lists


def pyarrow_parquet() -> Any:
    """The library.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError:
        raise ConfigError("Parquet files need pyarrow: pip install 'ofa-mi[parquet]'") from None
    return pyarrow.parquet


def import_parquet(folder: str | Path, out_dir: str | Path) -> dict[str, Any]:
    """Write the rows of ``SPLIT.parquet`` or ``SPLIT-NNNNN.parquet`` as a data directory.

    Args:
        folder: Folder of the files.
        out_dir: Data directory to write; a finished one of the same files is left as it is.

    Returns:
        The manifest.

    Raises:
        ConfigError: pyarrow is not installed.
        DataError: There is no such file, or a row, image or file cannot be used; names it.
    """
    pyarrow_parquet()
    files = {split: found for split in SPLITS if (found := files_of(Path(folder), split))}
    if not files:
        raise DataError(f"{folder}: holds none of {', '.join(f'{split}.parquet' for split in SPLITS)}")
    settings = {"files": [[path.name, path.stat().st_size] for paths in files.values() for path in paths]}
    output = OutputDirectory(out_dir, converter="import-parquet", version=VERSION, settings=settings)
    if output.finished:
        return output.finished
    written: dict[str, bytes] = {}
    counts = {}
    for split in SPLITS:
        rows = (row for path in files.get(split, ()) for row in _rows(path))
        bar = progress_bar(rows, desc=f"import {split}", unit="instances")
        counts[split] = output.write_instances(split, (_written(output.path, *row, written) for row in bar))
    return output.finish(counts)


def files_of(folder: Path, split: str) -> list[Path]:
    """The files of a split, in order."""
    found = sorted(folder.glob(f"{split}-[0-9]*.parquet"))
    return found or [path for path in (folder / f"{split}.parquet",) if path.is_file()]


def _rows(path: Path) -> Iterator[tuple[Instance, bytes | None]]:
    """Instances with their images.

    The library reads the file in a process of its own, of limited memory: there are damaged files on which it aborts.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_send_rows, args=(path, sender), daemon=True)
    child.start()
    sender.close()
    row = 0
    try:
        while (message := _received(receiver, path)) is not None:
            if isinstance(message, str):
                raise DataError(message)
            for record in message:
                row += 1
                yield _row(record, f"{path}: row {row}")
    finally:
        receiver.close()
        child.kill()
        child.join()


def _received(receiver: Connection, path: Path) -> list[dict[str, Any]] | str | None:
    """The next rows; an error's text; None at the end."""
    try:
        return receiver.recv()
    except EOFError:
        raise DataError(f"{path}: not a Parquet file that can be read (the library aborts on it)") from None


def _send_rows(path: Path, sender: Connection) -> None:
    """What the process does."""
    _confine()
    try:
        with _opened(path) as file:
            for batch in file.iter_batches(batch_size=ROWS, columns=list(COLUMNS), use_threads=False):
                sender.send(batch.to_pylist())
        sender.send(None)
    except BrokenPipeError:  # nobody wants the rest
        pass
    except DataError as error:
        sender.send(str(error))
    except Exception as error:  # a damaged file may end in any of the library's
        sender.send(f"{path}: not a Parquet file that can be read ({shown(error)})")


def _confine() -> None:
    """Limit what this process may take beside what it has, and keep the library's last words off the terminal."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = taken + MOST_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _opened(path: Path) -> pyarrow.parquet.ParquetFile:
    """The file, whose columns are those that are needed, and of a size that memory can hold."""
    parquet = pyarrow_parquet()
    file = parquet.ParquetFile(
        path,
        page_checksum_verification=True,
        thrift_string_size_limit=MOST_METADATA,
        thrift_container_size_limit=MOST_ENTRIES,
    )
    schema = file.schema_arrow
    types = {name: str(schema.field(name).type) for name in COLUMNS if name in schema.names}
    wanted = {"image": "struct<bytes: binary, path: string>", "instance": "string"}
    if types != wanted:
        file.close()
        columns = ", ".join(f"{name}: {kind}" for name, kind in wanted.items())
        raise DataError(f"{path}: must have the columns {columns}, as `ofa-mi data export --to parquet` writes them")
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        read = (group.column(index) for index in range(group.num_columns))
        size = sum(column.total_uncompressed_size for column in read if column.path_in_schema.split(".")[0] in COLUMNS)
        if not 0 <= size <= MOST_GROUP_BYTES:
            file.close()
            raise DataError(f"{path}: row group {number + 1} takes {size:,} bytes, more than {MOST_GROUP_BYTES:,}")
    return file


def _row(record: dict[str, Any], where: str) -> tuple[Instance, bytes | None]:
    line, image = record["instance"], record["image"]
    if line is None or len(line) > MAX_LINE:
        raise DataError(f"{where}: instance must be the JSON line of an instance, found {shown(line)}")
    instance = Instance.from_json(line, where)
    if (instance.image_path is None) != (image is None):
        raise DataError(f"{instance.name}: has {'no ' if image is None else 'an '}image, but its image_path says else")
    if image is None:
        return instance, None
    content, path = image["bytes"], image["path"]
    if content is None or len(content) > MOST_IMAGE_BYTES:
        raise DataError(f"{instance.name}: image must hold at most {MOST_IMAGE_BYTES:,} bytes")
    if path != instance.image_path:
        raise DataError(f"{instance.name}: the image's path is {shown(path)}, image_path {shown(instance.image_path)}")
    return instance, content


def _written(root: Path, instance: Instance, image: bytes | None, written: dict[str, bytes]) -> Instance:
    """The instance, whose image lies in the data directory now.

    Args:
        root: The data directory.
        instance: The instance.
        image: Its image.
        written: Digest of each image that was written, by its path.
    """
    if image is None or instance.image_path is None:
        return instance
    digest = hashlib.blake2b(image, digest_size=16).digest()
    if (earlier := written.get(instance.image_path)) is not None:
        if earlier != digest:
            raise DataError(f"{instance.name}: image {shown(instance.image_path)} differs from an earlier row's")
        return instance
    path = _image_file(root, instance)
    try:
        with open_image(BytesIO(image)) as found:
            if found.size != instance.image_size:
                raise UnusableImageError(f"is {found.width}x{found.height}, but image_size says {instance.image_size}")
    except UnusableImageError as error:
        raise DataError(f"{instance.name}: image {shown(instance.image_path)} {error}") from None
    atomic_write(path, image, durable=False)
    written[instance.image_path] = digest
    return instance


def _image_file(root: Path, instance: Instance) -> Path:
    """Where the image of an instance goes: below the data directory, where no other file can have its name."""
    name = PurePosixPath(instance.image_path or "")
    hidden = any(part.startswith(".") for part in name.parts)
    path = path_inside(str(root), str(name))
    if path is None or hidden or name.is_absolute() or name.suffix.lower() not in IMAGE_SUFFIXES:
        raise DataError(
            f"{instance.name}: image_path {shown(instance.image_path)} must be the relative path of an image "
            f"({', '.join(IMAGE_SUFFIXES)}), without hidden folders and .."
        )
    return path
