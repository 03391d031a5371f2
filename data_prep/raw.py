"""The raw files of source data sets: what a converter needs, where it lies, and where to get it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ofa_mi.errors import DataError
from ofa_mi.instances.images import UnusableImageError, open_image


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFile:
    """One file or folder of a source data set.

    Attributes:
        path: Where it lies below the raw folder once downloaded and unpacked; a folder ends with ``/``.
        page: The official page where a person finds it.
        url: Official direct address of the file or of the archive that holds it; None if it has none, e.g. because
            it is behind a registration. Several raw files may come out of one archive: they have the same ``url``.
        unpack: Folder below the raw folder that the archive is unpacked into; None if ``url`` is the file itself.
        inside: Folder of the archive that is unpacked, without this prefix, e.g. ``nlvr-master/nlvr`` of the archive of
            a repository; by default everything is.
        size: Bytes of the download, if known.
        sha256: Its checksum in hexadecimal, where one is known; likewise ``md5``.
        md5: See ``sha256``.
        note: What else a person must know to get it, e.g. that it is behind a registration.
        alternatives: What serves as well (another year of the same images): a path below the raw folder, or several
            that do together what one of them does not.
    """

    path: str
    page: str
    url: str | None = None
    unpack: str | None = None
    inside: str = ""
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None
    note: str = ""
    alternatives: tuple[str | tuple[str, ...], ...] = ()

    @property
    def ways(self) -> tuple[tuple[str, ...], ...]:
        """The ways to have it, ``path`` first: paths that must all be there."""
        others = ((way,) if isinstance(way, str) else way for way in self.alternatives)
        return ((self.path,), *others)

    @property
    def paths(self) -> tuple[str, ...]:
        """``path`` and those of its alternatives."""
        return tuple(path for way in self.ways for path in way)

    @property
    def how_to_get(self) -> str:
        """Where to get it, in a few words."""
        return f"{self.url or self.page}{f' ({self.note})' if self.note else ''}"


class DataSet(Protocol):
    """What a download needs to know of a data set; attributes as in :class:`ofa_mi.data_prep.source.Source`."""

    name: str
    title: str
    page: str
    licence: str
    size: str
    files: tuple[RawFile, ...]


class RawFolder:
    """The folder that holds the downloaded data sets.

    Raises:
        DataError: It is not a directory.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise DataError(f"--raw {self.root}: no such directory; `ofa-mi data download NAME --raw DIR` fills it")

    def find(self, file: RawFile) -> Path:
        """Where ``file`` or the first of its alternatives lies; of an alternative of several paths, the first one.

        Raises:
            DataError: None of them is there; says where to get it.
        """
        for way in file.ways:
            if all(map(self._exists, way)):
                return self.root / way[0]
        raise DataError(f"{self.root / file.path}: missing{self.in_vain(file)}; get it from {file.how_to_get}")

    def has(self, file: RawFile) -> bool:
        """Whether :meth:`find` finds it."""
        return any(all(map(self._exists, way)) for way in file.ways)

    def in_vain(self, file: RawFile) -> str:
        """What to say of a missing file's alternatives that are there in part; empty if none is."""
        message = ""
        for way in file.ways:
            there = [path for path in way if self._exists(path)]
            if there and len(there) < len(way):
                absent = " and ".join(path for path in way if path not in there)
                message += f", which {' and '.join(there)} does not replace without {absent}"
        return message

    def _exists(self, path: str) -> bool:
        return (self.root / path).is_dir() if path.endswith("/") else (self.root / path).is_file()

    def first(self, paths: Iterable[str]) -> str | None:
        """The first of some paths below the folder that exists; None if none does."""
        return next((path for path in paths if os.path.isfile(self.root / path)), None)

    def image_size(self, paths: Iterable[str]) -> tuple[int, int] | None:
        """Width and height in pixels, from its header, of the first image that exists; None if it cannot be read."""
        if (found := self.first(paths)) is None:
            return None
        try:
            with open_image(self.root / found) as image:
                return image.size
        except UnusableImageError:
            return None
