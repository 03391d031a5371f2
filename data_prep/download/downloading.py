"""Fetches the official files of source data sets into the raw folder, and says what a person must fetch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ofa_mi.data_prep.download.transfer import Expected, fetch, name_of
from ofa_mi.data_prep.download.unpack import unpack
from ofa_mi.data_prep.raw import DataSet, RawFile, RawFolder
from ofa_mi.errors import ConfigError, DataError

ALL = "all"  # in place of the names of sources


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """One address and what comes of it.

    Attributes:
        url: The address.
        path: Where the download goes, below the raw folder.
        unpack: Folder below the raw folder that it is unpacked into; None if it is a raw file itself.
        inside: Folder of the archive that is unpacked.
        expected: What is known of it.
        files: The raw files that come of it.
        wanted: Files and folders of the archive that are unpacked, as paths below ``unpack``.
    """

    url: str
    path: str
    unpack: str | None
    inside: str
    expected: Expected
    files: tuple[RawFile, ...]
    wanted: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What there is to do for some raw files.

    Attributes:
        present: Those that are there, or one of their alternatives.
        downloads: Those that are missing and have an address.
        by_hand: Those that are missing and have none.
    """

    present: tuple[RawFile, ...]
    downloads: tuple[Download, ...]
    by_hand: tuple[RawFile, ...]


def plan(files: Iterable[RawFile], raw: Path, known: Iterable[RawFile] = ()) -> Plan:
    """What there is to do until ``raw`` holds ``files``; a file that several sources name is there once.

    Args:
        files: The raw files.
        raw: The raw folder.
        known: Raw files that others may need; they are unpacked too if they come of an archive that is fetched.

    Raises:
        DataError: Two raw files contradict each other about one address.
    """
    files = tuple(dict.fromkeys(files))
    missing = {file for file in files if not is_present(file, raw)}
    by_url: dict[str, list[RawFile]] = {}
    for file in dict.fromkeys((*files, *known)):
        if file.url is not None:
            by_url.setdefault(file.url, []).append(file)
    downloads = tuple(_download(url, group) for url, group in by_url.items())
    _check_distinct(downloads)
    return Plan(
        present=tuple(file for file in files if file not in missing),
        downloads=tuple(item for item in downloads if not missing.isdisjoint(item.files)),
        by_hand=tuple(file for file in files if file in missing and file.url is None),
    )


def is_present(file: RawFile, raw: Path) -> bool:
    """Whether a raw file or one of its alternatives is there; nothing is if ``raw`` does not exist."""
    return raw.is_dir() and RawFolder(raw).has(file)


def _download(url: str, files: Sequence[RawFile]) -> Download:
    """One download for the files that come of it; what one of them knows of it holds for all."""
    unpack_into, inside = _one(url, {(file.unpack, file.inside) for file in files})
    facts = {
        name: _one(url, {value for file in files if (value := getattr(file, name)) is not None} or {None})
        for name in ("size", "sha256", "md5")
    }
    if unpack_into is None:
        path = _one(url, {file.path for file in files})
    else:
        path = (PurePosixPath(unpack_into) / name_of(url)).as_posix()
    return Download(
        url=url,
        path=path,
        unpack=unpack_into,
        inside=inside,
        expected=Expected(**facts),
        files=tuple(files),
        wanted=tuple(_below(unpack_into, (path for file in files for path in file.paths))),
    )


def _below(folder: str | None, paths: Iterable[str]) -> Iterator[str]:
    """The paths that lie below a folder, relative to it."""
    for path in map(PurePosixPath, paths):
        if folder is not None and path.is_relative_to(folder):
            yield path.relative_to(folder).as_posix()


def _check_distinct(downloads: Iterable[Download]) -> None:
    urls: dict[str, str] = {}
    for item in downloads:
        if urls.setdefault(item.path, item.url) != item.url:
            raise DataError(f"{item.url} and {urls[item.path]} would both be {item.path}")


def _one(url: str, values: Collection[Any]) -> Any:
    if len(values) > 1:
        raise DataError(f"{url}: raw files contradict each other: {sorted(map(str, values))}")
    return next(iter(values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How :func:`download` goes about it.

    Attributes:
        keep_archives: Keep archives once they are unpacked, each in the folder that it was unpacked into.
        accept_changed: Take files that do not have the size or the checksum that is expected.
        retries: How often in a row a transfer may break off without a further byte before this gives up.
    """

    keep_archives: bool = False
    accept_changed: bool = False
    retries: int = 5


def download(
    files: Iterable[RawFile],
    raw: Path,
    options: Options = Options(),
    say: Callable[[str], None] = print,
    known: Iterable[RawFile] = (),
) -> tuple[RawFile, ...]:
    """Fetch all that can be fetched of the files that are missing; what fails is said, and the rest goes on.

    An archive that is in its place already, fetched by hand or kept by an earlier call, is used.

    Args:
        files: The raw files.
        raw: The raw folder, made if needed.
        options: See :class:`Options`.
        say: Takes a line about each file.
        known: See :func:`plan`.

    Returns:
        The files that are missing still.

    Raises:
        DataError: The raw folder cannot be made, or raw files contradict each other.
    """
    files = tuple(files)
    try:
        raw.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"--raw {raw}: cannot be made ({error.strerror or error})") from error
    todo = plan(files, raw, known)
    for number, item in enumerate(todo.downloads, 1):
        say(f"[{number}/{len(todo.downloads)}] {describe(item)}")
        try:
            _carry_out(item, files, raw, options, say)
        except DataError as error:
            say(f"  failed: {error}")
            say(f"  see {item.files[0].page}{_remark(item.files[0])}")
    for file in todo.by_hand:
        say(by_hand(file, raw))
    return tuple(dict.fromkeys(file for file in files if not is_present(file, raw)))


def _carry_out(
    item: Download, files: Collection[RawFile], raw: Path, options: Options, say: Callable[[str], None]
) -> None:
    """Fetch, verify and unpack; an archive that this call fetched is removed when all that should come of it has."""
    path = raw / item.path
    expected = Expected() if options.accept_changed else item.expected
    if fetched := not path.exists():
        fetch(item.url, path, expected=expected, room=1 if item.unpack is None else 2, retries=options.retries)
    elif problem := expected.mismatch(path):
        raise DataError(f"{path}: {problem}; delete it to fetch it again, or pass --accept-changed to take it as it is")
    if item.unpack is None:
        return
    unpacked = unpack(path, raw / item.unpack, item.inside, item.wanted)
    say(f"  {unpacked.files:,} files in {raw / item.unpack}")
    if unpacked.kept:
        say(f"  {unpacked.kept:,} files had been there before with another size; they are left as they were")
    for kind, number in unpacked.left_out.items():
        say(f"  {number:,} {kind} are left out")
    absent = [file.path for file in item.files if file in files and not is_present(file, raw)]
    if absent:
        holds = ", ".join(sorted(unpacked.top)[:10])
        raise DataError(f"{path}: {', '.join(absent)} did not come of it; it holds {holds}; unpack it by hand")
    if fetched and not options.keep_archives:
        path.unlink()
    else:
        say(f"  {path} is kept")


def by_hand(file: RawFile, raw: Path) -> str:
    """What a person must do to get a file that has no address."""
    return f"by hand: {raw / file.path}: get it from {file.page}{_remark(file)}"


def describe(item: Download) -> str:
    """A download in one line."""
    size = "size unknown" if item.expected.size is None else human_size(item.expected.size)
    into = item.path if item.unpack is None else f"{item.unpack.rstrip('/')}/, unpacked"
    checked = "" if item.expected.sha256 or item.expected.md5 or item.url.startswith("https:") else ", not verified"
    return f"{item.url} ({size}{checked}) -> {into}"


def _remark(file: RawFile) -> str:
    return f" ({file.note})" if file.note else ""


def human_size(size: int) -> str:
    """Bytes for people, in decimal units."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:.{1 if size < 10 * unit else 0}f} {name}"
    return f"{size} B"


def catalogue() -> dict[str, DataSet]:
    """Name → data set: all sources of `ofa-mi data build`, and Natural Instructions."""
    from ofa_mi.data_prep.imports.natural_instructions import release
    from ofa_mi.data_prep.sources import all_sources

    return {**all_sources(), release.NAME: release.RELEASE}


def select(names: Sequence[str], sources: dict[str, DataSet]) -> list[DataSet]:
    """The sources of these names, each once, in the order of ``sources``; all of them for ``all``.

    Raises:
        ConfigError: A name is unknown.
    """
    unknown = sorted(set(names) - set(sources) - {ALL})
    if unknown:
        raise ConfigError(f"no source {', '.join(unknown)}; there are {', '.join(sources)}")
    return [source for name, source in sources.items() if ALL in names or name in names]


def listing(sources: Iterable[DataSet], raw: Path | None) -> str:
    """What sources need, and what of it ``raw`` holds."""
    lines = []
    for source in sources:
        there = "" if raw is None else f", {_present(source, raw)}"
        lines.append(f"{source.name}: {source.title}, {source.size}{there}")
        lines.append(f"  {source.page}")
        lines.append(f"  licence: {source.licence}")
        lines += [f"  {_mark(file, raw)}{file.path}{_how(file)}" for file in source.files]
    return "\n".join(lines)


def _present(source: DataSet, raw: Path) -> str:
    return f"{sum(is_present(file, raw) for file in source.files)} of {len(source.files)} present"


def _mark(file: RawFile, raw: Path | None) -> str:
    return "" if raw is None else "[x] " if is_present(file, raw) else "[ ] "


def _how(file: RawFile) -> str:
    if file.url is None:
        return f": by hand{_remark(file)}"
    return "" if file.size is None else f": {human_size(file.size)}{' of archive' if file.unpack else ''}"


def markdown(sources: Iterable[DataSet]) -> str:
    """Two Markdown tables: the sources, and every file with its address and what is known of it."""
    sources = list(sources)
    lines = ["| name | data set | download | licence | by hand |", "|---|---|---|---|---|"]
    for source in sources:
        manual = sum(file.url is None for file in source.files)
        hand = "" if not manual else "all" if manual == len(source.files) else f"{manual} of {len(source.files)}"
        title = f"[{_cell(source.title)}]({source.page})"
        lines.append(f"| `{source.name}` | {title} | {_cell(source.size)} | {_cell(source.licence)} | {hand} |")
    lines += ["", "| file or folder | address | bytes | checksum | remark |", "|---|---|---|---|---|"]
    files = dict.fromkeys(file for source in sources for file in source.files)
    for file in sorted(files, key=lambda file: file.path):
        address = f"<{file.url}>" if file.url else f"by hand: <{file.page}>"
        check = f"sha256 `{file.sha256[:12]}…`" if file.sha256 else f"md5 `{file.md5[:12]}…`" if file.md5 else ""
        size = "" if file.size is None else f"{file.size:,}"
        lines.append(f"| `{file.path}` | {address} | {size} | {check} | {_cell(file.note)} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def all_files(sources: Iterable[DataSet]) -> tuple[RawFile, ...]:
    """Every raw file of some sources, each once."""
    return tuple(dict.fromkeys(file for source in sources for file in source.files))


def total_size(downloads: Iterable[Download]) -> tuple[int, int]:
    """Bytes of all downloads whose size is known, and the number of the others."""
    sizes = [item.expected.size for item in downloads]
    return sum(size for size in sizes if size is not None), sizes.count(None)
