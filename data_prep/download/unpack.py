"""Unpacks archives of other people with care: nothing leaves the folder, fills the disk or is half there."""

from __future__ import annotations

import bz2
import contextlib
import errno
import functools
import gzip
import hashlib
import io
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from ofa_mi.data_prep.download.transfer import check_room
from ofa_mi.errors import DataError, shown
from ofa_mi.utils.json_files import one_line
from ofa_mi.utils.progress import progress_bar

CHUNK = 1 << 20  # bytes
LARGEST_RATIO = 200  # of the unpacked size to the archive's; JSON compresses to a thirtieth, a zip bomb to a millionth
RATIO_FROM = 1 << 27  # bytes; less than this does no harm whatever its ratio
MOST_MEMBERS = 1_000_000  # of an archive; the largest of the data sets here have 150,000
LARGEST_DIRECTORY = 1 << 26  # bytes of what says what is in a zip file
LARGEST_HEADER = 1 << 20  # bytes of what a tar file says of one member
LONGEST_NUMBER = re.compile(rb"\d{64}")  # over longer ones, tarfile of older Pythons takes for ever (CVE-2024-6232)
LARGEST_PATH = 2000  # characters of a path in an archive
LARGEST_NAME = 255  # bytes of a file's name; no file system of Linux has longer ones
XZ_MEMORY = 1 << 28  # bytes that an xz file may ask for; xz -9 asks for a quarter of it
# LZMA takes whatever memory its header says.
ZIP_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2})
GZIP, BZIP2, XZ = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0"  # what such files begin with
ZIP_KINDS = {0: "file", stat.S_IFREG: "file", stat.S_IFLNK: "link"}  # 0: made on a system that does not say
# What a system says of names that no file has, and of a member that is a file here and a folder there.
CLAIMED = (errno.EINVAL, errno.EOVERFLOW, errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)
# What reading a damaged archive raises, be it on purpose or because what a header says makes no sense.
DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, ValueError, OverflowError, RuntimeError, MemoryError),
)


@dataclass(slots=True)
class Unpacked:
    """What became of the members of an archive.

    Attributes:
        files: Files that were unpacked, now or by an earlier call that was interrupted.
        kept: Files that were left as they are because they had been there before with another size.
        left_out: Kind → number of members that were left out: links, and what macOS adds to archives.
        top: What lies at the top of the archive, wanted or not: names of files and folders.
    """

    files: int = 0
    kept: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    top: set[str] = field(default_factory=set)


class _BadArchiveError(DataError):
    """The archive is damaged or means harm."""


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    size: int
    kind: str  # "file", "folder", "link" or "special"
    open: Callable[[], AbstractContextManager[IO[bytes]]]
    link: str = ""  # target of a link in a tar file, relative to the folder of the archive


def unpack(archive: Path, folder: Path, inside: str = "", wanted: Collection[str] = ("",)) -> Unpacked:
    """Unpack a zip file, a tar file (plain, gz, bz2, xz) or a single gzip file, whatever its name says.

    Members go to a hidden folder first and take their places when all are there; folders that do not exist yet appear
    whole. A call that was interrupted is continued by the next. Files that are there already are left.

    Args:
        archive: The archive.
        folder: The folder to unpack into, made if needed; also if it is a symbolic link to another disk.
        inside: Unpack only this folder of the archive, without its own path.
        wanted: Files and folders of it that are unpacked, as paths below ``folder``; by default everything.

    Raises:
        DataError: The archive is damaged, encrypted or no archive; a member's path or a link leads out of the folder, a
            member is a device or has a name that no file can have; it would unpack to an absurd size or number of
            files; there is no room, or the folder cannot be written.
    """
    unpacking = _Unpacking(archive, folder, inside, wanted)
    try:
        unpacking.stage()
        _move_up(unpacking.staging, folder)
    except _BadArchiveError:
        shutil.rmtree(unpacking.staging, ignore_errors=True)
        raise
    except OSError as error:
        place = one_line(str(error.filename or folder))
        raise DataError(f"{place}: {error.strerror or error} (unpacking {archive})") from error
    return unpacking.result


class _Unpacking:
    """One call of :func:`unpack`."""

    def __init__(self, archive: Path, folder: Path, inside: str, wanted: Collection[str]) -> None:
        self.archive = archive
        self.inside = PurePosixPath(inside)
        self.wanted = {PurePosixPath(path) for path in wanted}
        self.folder = folder
        self.staging = folder / f".unpacking-{hashlib.sha256(archive.name.encode()).hexdigest()[:12]}"
        self.result = Unpacked()

    def stage(self) -> None:
        """Unpack all members that are not in the folder yet into the hidden folder."""
        self.staging.mkdir(parents=True, exist_ok=True)
        total = 0
        try:
            with progress_bar(desc=f"unpacking {self.archive.name}", unit="B", unit_scale=True) as bar:
                for number, member in enumerate(self._members(), start=1):
                    total += member.size
                    self._check_number(number)
                    self._check_ratio(total)
                    self._stage_member(member)
                    bar.update(member.size)
        except DAMAGE as error:
            raise self._damaged(error) from error
        except OSError as error:
            # None: a decompressor's. The others: what the archive claims, since the hidden folder is ours.
            if error.errno not in (None, *CLAIMED):
                raise
            raise self._damaged(error) from error

    def _stage_member(self, member: _Member) -> None:
        path = self._inner_path(member.name)
        self.result.top.update(PurePosixPath(member.name).parts[:1])
        if path is None:
            return
        if why := self._left_out(path, member):
            self.result.left_out[why] += 1
        elif member.kind == "folder":
            (self.staging / path).mkdir(parents=True, exist_ok=True)
        elif not os.path.lexists(final := self.folder / path):
            self._stage_file(member, self.staging / path)
            self.result.files += 1
        elif _has_size(final, member.size):
            self.result.files += 1
        else:
            self.result.kept += 1

    def _lacks(self, path: PurePosixPath | None, size: int) -> bool:
        """Whether a member of this size is wanted and nowhere yet."""
        return path is not None and not os.path.lexists(self.folder / path) and not _has_size(self.staging / path, size)

    def _stage_file(self, member: _Member, staged: Path) -> None:
        if _has_size(staged, member.size):  # by an earlier call
            return
        check_room(self.staging, member.size)
        staged.parent.mkdir(parents=True, exist_ok=True)
        with member.open() as source, staged.open("wb") as target:
            shutil.copyfileobj(source, target, CHUNK)
        if not _has_size(staged, member.size):
            raise self._bad(f"{shown(member.name)} has not the size that the archive says; delete it to fetch it again")

    def _members(self) -> Iterator[_Member]:
        """All members, in the order of the archive."""
        start = _start(self.archive)
        if zipfile.is_zipfile(self.archive):
            yield from self._zip_members()
        elif self._is_tar() or start[:6] == XZ:  # of which it is said below why it cannot be read
            yield from self._tar_members()
        elif start[:2] == GZIP:
            yield self._gzip_member()
        else:
            raise self._bad(
                f"neither a zip file nor a tar file (it begins with {start!r}); delete it to fetch it again, or see in "
                "a browser what the address serves"
            )

    def _zip_members(self) -> Iterator[_Member]:
        """Members of a zip file, all of which are checked before the first is given out."""
        with self.archive.open("rb") as stream, zipfile.ZipFile(_Bounded(stream, LARGEST_DIRECTORY)) as file:
            infos = file.infolist()
            self._check_number(len(infos))
            if any(info.flag_bits & 1 for info in infos):
                raise self._bad("is encrypted; unpack it by hand with its password")
            if other := {info.compress_type for info in infos} - ZIP_METHODS:
                raise self._bad(f"is compressed by a method that is not supported ({min(other)}); unpack it by hand")
            paths = [self._inner_path(info.orig_filename) for info in infos]
            self._check_ratio(sum(info.file_size for info in infos))
            missing = (
                info.file_size for info, path in zip(infos, paths, strict=True) if self._lacks(path, info.file_size)
            )
            check_room(self.staging, sum(missing))
            for info in infos:
                kind = "folder" if info.is_dir() else ZIP_KINDS.get(stat.S_IFMT(info.external_attr >> 16), "special")
                yield _Member(info.orig_filename, info.file_size, kind, functools.partial(file.open, info))

    def _is_tar(self) -> bool:
        """Whether the archive begins with a header of a tar file; a damaged one of gzip may be anything."""
        try:
            with _decompressed(self.archive) as stream:
                tarfile.TarInfo.frombuf(stream.read(tarfile.BLOCKSIZE), tarfile.ENCODING, "surrogateescape")
        except tarfile.EOFHeaderError:  # an empty one
            return True
        except (*DAMAGE, OSError):
            return False
        return True

    def _tar_members(self) -> Iterator[_Member]:
        with _decompressed(self.archive) as stream:
            bounded = _Bounded(stream, LARGEST_HEADER, self._check_ratio)
            with bounded.header():
                file = tarfile.TarFile(fileobj=bounded)
            last = -1
            while (info := _next(file, bounded)) is not None:
                if info.size < 0:
                    raise tarfile.ReadError("negative size")
                if info.offset <= last:  # where sizes lead back, the same members would come for ever
                    raise tarfile.ReadError(f"the header at byte {info.offset:,} stands before the last one")
                last = info.offset
                is_link = info.issym() or info.islnk()
                kind = "file" if info.isreg() else "folder" if info.isdir() else "link" if is_link else "special"
                link = os.path.join(os.path.dirname(info.name), info.linkname) if info.issym() else info.linkname
                size = info.size if kind == "file" else 0
                yield _Member(info.name, size, kind, functools.partial(file.extractfile, info), link)
            if bounded.last.strip(b"\0"):  # where tarfile takes a damaged header for the end
                raise tarfile.ReadError(f"bad header at byte {file.offset:,}")

    def _gzip_member(self) -> _Member:
        size = 0
        with gzip.open(self.archive) as file:
            while data := file.read(CHUNK):
                size += len(data)
                self._check_ratio(size)
        return _Member(self.archive.name.removesuffix(".gz"), size, "file", functools.partial(gzip.open, self.archive))

    def _check_number(self, members: int) -> None:
        if members > MOST_MEMBERS:
            raise self._bad(f"has more than {MOST_MEMBERS:,} members; it is not what it should be")

    def _check_ratio(self, total: int) -> None:
        if total > max(RATIO_FROM, LARGEST_RATIO * self.archive.stat().st_size):
            raise self._bad(f"would unpack to more than {total / 1e9:,.0f} GB; it is not what it should be")

    def _inner_path(self, name: str) -> PurePosixPath | None:
        """Where a member goes below the folder; None if it is not wanted."""
        if not name:
            raise self._bad("a member has no name; the archive is not safe")
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or PureWindowsPath(name).drive or "\0" in name:
            raise self._bad(f"member {shown(name)} lies outside of the folder; the archive is not safe")
        try:
            longest = max((len(part.encode()) for part in path.parts), default=0)
        except UnicodeEncodeError:
            raise self._bad(f"the name of member {shown(name)} is not UTF-8; unpack it by hand") from None
        if longest > LARGEST_NAME or len(name) > LARGEST_PATH:
            raise self._bad(f"the name of member {shown(name)} is too long for a file; unpack it by hand")
        if not path.is_relative_to(self.inside):
            return None
        path = path.relative_to(self.inside)
        return path if not self.wanted.isdisjoint((path, *path.parents)) else None

    def _left_out(self, path: PurePosixPath, member: _Member) -> str:
        """Why a member is left out; nothing if it is not.

        Links are left out because no data set needs them and a later member could be written through them.
        """
        if member.kind == "special":
            raise self._bad(f"{shown(str(path))} is neither a file nor a folder; the archive is not safe")
        if member.kind == "link":
            if _leads_out(member.link):
                raise self._bad(
                    f"{shown(str(path))} links to {shown(member.link)}, outside of the folder; the archive is not safe"
                )
            return "links"
        if member.kind == "file" and not path.parts:
            raise self._bad("a member has no name; the archive is not safe")
        return "files of macOS" if "__MACOSX" in path.parts or path.name == ".DS_Store" else ""

    def _damaged(self, error: Exception) -> _BadArchiveError:
        reason = one_line(str(error)) or type(error).__name__
        return self._bad(f"damaged or not complete ({reason}); delete it to fetch it again")

    def _bad(self, what: str) -> _BadArchiveError:
        return _BadArchiveError(f"{self.archive}: {what}")


class _Bounded:
    """A file that zipfile or tarfile reads, of which no header, whatever it claims, takes more than its share.

    Args:
        stream: Where it is read from.
        most: Bytes that may be read at once, and of one header in all.
        check: Called with the place in the stream, in bytes, before it is read on.

    Attributes:
        last: What was read last.
    """

    def __init__(self, stream: IO[bytes], most: int, check: Callable[[int], None] = lambda place: None) -> None:
        self.stream, self.most, self.check = stream, most, check
        self.left: int | None = None
        self.last = b""

    @contextlib.contextmanager
    def header(self) -> Iterator[None]:
        """Within the block, what is read is one header."""
        self.left = self.most
        try:
            yield
        finally:
            self.left = None

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes; EOFError if that is more than a header may have."""
        if (size := self.most if size == -1 and self.left is None else size) < 0:
            raise EOFError("a header claims a negative size")
        if size > (self.most if self.left is None else self.left):
            raise EOFError(f"a header claims {size:,} bytes")
        self.last = self._read(size)
        if self.left is not None:
            self.left -= size
            if size > tarfile.BLOCKSIZE and LONGEST_NUMBER.search(self.last):
                raise EOFError("a header holds a number of more than 64 digits")
        return self.last

    def _read(self, size: int) -> bytes:
        self.check(self.stream.tell())
        return self.stream.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place; forwards by reading where the stream is compressed, so that it counts."""
        if whence == os.SEEK_SET and not isinstance(self.stream, io.BufferedReader):
            while (ahead := offset - self.stream.tell()) > 0 and self._read(min(ahead, CHUNK)):
                pass
            return self.stream.tell()
        return self.stream.seek(offset, whence)

    def tell(self) -> int:
        return self.stream.tell()

    def seekable(self) -> bool:
        return True


class _Xz:
    """An xz file, read forwards; the memory that its headers ask for is bounded, which `lzma.open` cannot do."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._decompressor = self._new()
        self._place = 0

    def __enter__(self) -> _Xz:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer at the end only; EOFError if the file is cut off."""
        parts = []
        while size and (part := self._some(size)):
            parts.append(part)
            size -= len(part)
            self._place += len(part)
        return b"".join(parts)

    def tell(self) -> int:
        return self._place

    def _some(self, size: int) -> bytes:
        """At least one byte, or none at the end."""
        while True:
            if self._decompressor.eof:
                rest = (self._decompressor.unused_data or self._file.read(CHUNK)).lstrip(b"\0")  # padding
                if not rest:
                    return b""
                self._decompressor = self._new()
            else:
                rest = self._file.read(CHUNK) if self._decompressor.needs_input else b""
                if self._decompressor.needs_input and not rest:
                    raise EOFError("the file ends in the middle")
            if data := self._decompressor.decompress(rest, size):
                return data

    @staticmethod
    def _new() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(memlimit=XZ_MEMORY)


def _next(file: tarfile.TarFile, bounded: _Bounded) -> tarfile.TarInfo | None:
    with bounded.header():
        info = file.next()
    file.members.clear()  # or a million members fill the memory
    return info


def _decompressed(archive: Path):
    """A file as it is, or what it holds where it is compressed."""
    start = _start(archive)
    if start[:2] == GZIP:
        return gzip.open(archive)
    if start[:3] == BZIP2:
        return bz2.open(archive)
    return _Xz(archive) if start[:6] == XZ else archive.open("rb")


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _start(archive: Path) -> bytes:
    with archive.open("rb") as file:
        return file.read(16)


def _leads_out(link: str) -> bool:
    normal = os.path.normpath(link)
    return os.path.isabs(normal) or normal.split(os.sep)[0] == ".."


def _move_up(source: Path, target: Path) -> None:
    """Move everything in ``source`` into ``target``, folders whole where they do not exist yet; remove ``source``."""
    with os.scandir(source) as entries:
        for entry in list(entries):
            place = target / entry.name
            if entry.is_dir(follow_symlinks=False) and place.is_dir():
                _move_up(Path(entry.path), place)
            elif entry.is_dir(follow_symlinks=False):
                os.rename(entry.path, place)
            elif os.path.lexists(place):
                os.unlink(entry.path)
            else:
                _move_file(Path(entry.path), place)
    os.rmdir(source)


def _move_file(source: Path, target: Path) -> None:
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy = target.with_name(f".{target.name}.part")  # the folder is a link to another disk
        shutil.copyfile(source, copy)
        os.replace(copy, target)
        os.unlink(source)
