"""One address becomes one file: resumed where it broke off, verified before it takes its name."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import shutil
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

import msgspec

from ofa_mi import __version__
from ofa_mi.errors import DataError
from ofa_mi.utils.files import lock
from ofa_mi.utils.json_files import Count, one_line, read_json
from ofa_mi.utils.progress import progress_bar

CHUNK = 1 << 20  # bytes
TIMEOUT = 60  # seconds without a byte
LONGEST_WAIT = 60  # seconds between two attempts
LARGEST_UNANNOUNCED = 1 << 36  # bytes of a file of which neither the server nor anybody else says how long it is
ROOM_LEFT = 1 << 30  # bytes of the disk that such a file may not take
ROOM_EVERY = 1 << 26  # bytes after which the room is looked at again
LONGEST_NAME = 240  # bytes of a file's name, with room for what is added to it
MOST_DIGITS = 18  # of a number in a header
RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
HEADERS = {"User-Agent": f"ofa-mi/{__version__}", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What is known of a file before it is fetched; None where nothing is.

    Attributes:
        size: Bytes.
        sha256: Checksum in hexadecimal; likewise ``md5``.
        md5: See ``sha256``.
    """

    size: int | None = None
    sha256: str | None = None
    md5: str | None = None

    def mismatch(self, path: Path) -> str | None:
        """What is wrong with the file, in a few words; None if it is as expected."""
        if self.size is not None and (size := path.stat().st_size) != self.size:
            return f"it has {size:,} bytes instead of {self.size:,}"
        for name, digest in (("sha256", self.sha256), ("md5", self.md5)):
            if digest is not None and (found := _digest(path, name)) != digest.lower():
                return f"its {name} is {found} instead of {digest.lower()}"
        return None


def name_of(url: str) -> str:
    """The file name at the end of an address, without the query.

    Raises:
        DataError: There is none, or it cannot be a file name.
    """
    name = unquote(urlsplit(url).path).rpartition("/")[2]
    if not name or name in (".", "..") or "\0" in name or len(name.encode()) > LONGEST_NAME:
        raise DataError(f"{url}: no file name at the end of the address")
    return name


def fetch(
    url: str,
    path: Path,
    *,
    expected: Expected = Expected(),
    room: int = 1,
    retries: int = 5,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Fetch ``url`` into ``path``.

    What has arrived is kept in ``.NAME.part`` beside it, so that a later call goes on from there if the server still
    has the same file, and starts again if not. Proxies are those of the environment.

    Args:
        url: Address, ``http`` or ``https``; a redirection may lead to ``https``, or from ``http`` to the same host.
        path: The file to make; replaced if it exists.
        expected: What it must be like.
        room: The free space that must be there, in multiples of what is to come (2 if it will be unpacked).
        retries: How often in a row a transfer may break off without a further byte before this gives up.
        sleep: Waits some seconds between attempts.

    Raises:
        DataError: It cannot be had, is not as expected, or there is no room for it.
    """
    with _Part.open(path, url) as part:
        reached = failures = 0
        while not part.complete:
            try:
                _continue(url, part, expected, room)
            except (OSError, http.client.HTTPException, ValueError) as error:  # the last of an address that is none
                if not _temporary(error):
                    raise DataError(f"{url}: {_describe(error)}") from error
                failures = 1 if part.size > reached else failures + 1
                reached = max(reached, part.size)
                if failures > retries:
                    raise DataError(
                        f"{url}: {_describe(error)} ({failures} attempts in a row); try again later"
                    ) from error
                sleep(_wait(error, failures))
        if problem := expected.mismatch(part.path):
            raise DataError(
                f"{url}: {problem}: damaged on the way, or changed by its owners; delete {part.path} to fetch it "
                "again, or pass --accept-changed to take it as it is"
            )
        part.finish()


_SENDABLE = re.compile(r"[ -~]{1,1000}")
HeaderText = Annotated[str, msgspec.Meta(pattern=f"^{_SENDABLE.pattern}$")]


@dataclass(frozen=True, slots=True)
class _Version:
    """What tells whether the file at an address is still the one that was begun; None where the server says nothing."""

    etag: HeaderText | None
    last_modified: HeaderText | None
    size: Count | None

    @classmethod
    def of(cls, response: http.client.HTTPResponse) -> _Version:
        """From the headers of an answer, partial or whole; what cannot be sent back counts as not said."""
        headers = response.headers
        if response.status == 206:
            total = re.fullmatch(r"bytes [0-9]+-[0-9]+/([0-9]+)", headers.get("Content-Range", "").strip())
            size = _number(total[1] if total else "")
        else:
            size = _number(headers.get("Content-Length", ""))
        tags = (headers.get("ETag"), headers.get("Last-Modified"))
        return cls(*(tag if tag and _SENDABLE.fullmatch(tag) else None for tag in tags), size)

    def same_as(self, other: _Version) -> bool:
        """Whether something is known of both, and all that is known of both is equal."""
        pairs = [
            (mine, yours)
            for mine, yours in zip(asdict(self).values(), asdict(other).values(), strict=True)
            if mine is not None and yours is not None
        ]
        return bool(pairs) and all(mine == yours for mine, yours in pairs)

    @property
    def condition(self) -> str | None:
        """Value of ``If-Range``; a weak ETag is not allowed there."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified


class _Record(msgspec.Struct):
    """What is remembered of a file that is under way."""

    url: str
    complete: bool
    version: _Version


_RECORD = msgspec.json.Decoder(_Record)


class _Part(contextlib.AbstractContextManager["_Part"]):
    """What has arrived of a file, in ``.NAME.part``, and of which version, in ``.NAME.part.json``."""

    def __init__(self, target: Path, url: str) -> None:
        self.target = target
        self.url = url
        self.path = target.with_name(f".{target.name}.part")
        self._record = target.with_name(f".{target.name}.part.json")
        self._file = self.path.open("ab")
        self.version = _Version(None, None, None)
        self.complete = False
        self._finished = False

    @classmethod
    def open(cls, target: Path, url: str) -> _Part:
        """Go on with what is there.

        Raises:
            DataError: The folder cannot be written, or another process writes the same file.
        """
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part = cls(target, url)
        except OSError as error:
            raise DataError(f"{target}: cannot be written ({error.strerror or error})") from error
        if not lock(part._file):
            part._file.close()
            raise DataError(f"{target}: another process is fetching it")
        part._recall()
        return part

    def __exit__(self, *_: object) -> None:
        nothing = self.size == 0 and not self._finished
        self._file.close()
        if nothing:
            self.path.unlink(missing_ok=True)
            self._record.unlink(missing_ok=True)

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        return self._file.tell()

    def begin(self, version: _Version) -> None:
        """Start again from nothing, with this version."""
        self._file.truncate(0)
        self._file.seek(0)
        self.version, self.complete = version, False
        self._remember()

    def write(self, data: bytes) -> None:
        """Append."""
        try:
            self._file.write(data)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({error.strerror or error})") from error

    def end(self) -> None:
        """All of it has arrived."""
        self.complete = True
        self._remember()
        self._file.flush()

    def finish(self) -> None:
        """Give it its name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        os.replace(self.path, self.target)
        self._record.unlink(missing_ok=True)
        self._finished = True

    def _remember(self) -> None:
        self._record.write_bytes(msgspec.json.encode(_Record(self.url, self.complete, self.version)))

    def _recall(self) -> None:
        with contextlib.suppress(DataError):  # where nothing is known of what is there, it is begun again
            record = read_json(self._record, _RECORD, "damaged")
            if record.url == self.url:
                self.complete, self.version = record.complete, record.version
                return
        self._file.truncate(0)
        self._file.seek(0)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirection to ``https``, or from ``http`` to ``http`` on the same host."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        there, here = urlsplit(newurl), urlsplit(req.full_url)
        same = there.scheme == here.scheme == "http" and there.hostname == here.hostname
        if there.scheme != "https" and not same:
            raise DataError(f"{one_line(req.full_url)}: is redirected to {one_line(newurl)}, which is not safe")
        found = super().redirect_request(req, fp, code, msg, headers, newurl)
        fp.close()  # urllib would read its body, however long
        return found


def _opener() -> urllib.request.OpenerDirector:
    """An opener for http and https only; proxies as the environment says now."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _SafeRedirects(),
    ):
        opener.add_handler(handler)
    return opener


def _continue(url: str, part: _Part, expected: Expected, room: int) -> None:
    """Fetch what is missing of ``part``; raises whatever breaks the transfer off."""
    with _answer(url, part) as response:
        version = part.version
        if expected.size is not None and version.size is not None and version.size != expected.size:
            part.begin(version)
            raise DataError(
                f"{url}: has {version.size:,} bytes now instead of {expected.size:,}: changed by its owners, or a page "
                "about an error; pass --accept-changed to take it as it is"
            )
        if response.headers.get_content_type() == "text/html" and not name_of(url).endswith((".html", ".htm")):
            raise DataError(f"{url}: a web page comes instead of the file; open it in a browser to see what it says")
        total = version.size if version.size is not None else expected.size
        check_room(part.path.parent, ((total or 0) - part.size) + (room - 1) * (total or 0))
        with progress_bar(desc=part.target.name, total=total, unit="B", unit_scale=True, initial=part.size) as bar:
            # read1, since read trusts a chunk that claims a negative size, and fills the memory
            while data := response.read1(CHUNK):
                part.write(data)
                _check_length(url, part, total, len(data))
                bar.update(len(data))
    if total is not None and part.size < total:
        raise ConnectionError(f"the connection broke off after {part.size:,} of {total:,} bytes")
    part.end()


def _check_length(url: str, part: _Part, total: int | None, added: int) -> None:
    """Raise a DataError if more has come than is due or, where nobody knows how much that is, than there is room."""
    most = LARGEST_UNANNOUNCED if total is None else total
    if (size := part.size) > most:
        part.begin(part.version)
        raise DataError(f"{one_line(url)}: {size:,} bytes come and do not end; it should have {most:,} at most")
    if total is None and part.size // ROOM_EVERY != (part.size - added) // ROOM_EVERY:
        check_room(part.path.parent, ROOM_LEFT)


def _answer(url: str, part: _Part) -> http.client.HTTPResponse:
    """The server's answer, whose body is to be appended to ``part``."""
    if part.size:
        headers = HEADERS | {"Range": f"bytes={part.size}-"}
        if part.version.condition:
            headers["If-Range"] = part.version.condition
        try:
            response = _open(url, headers)
        except urllib.error.HTTPError as error:
            if error.code != 416:  # what is there is longer than the file now is
                raise
        else:
            if response.status == 200:  # it cannot send a part, or the file has changed
                part.begin(_Version.of(response))
                return response
            starts_right = response.headers.get("Content-Range", "").startswith(f"bytes {part.size}-")
            if response.status == 206 and starts_right and _Version.of(response).same_as(part.version):
                return response
            response.close()
    response = _open(url, HEADERS)
    part.begin(_Version.of(response))
    return response


def _open(url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    if urlsplit(url).scheme.lower() not in ("http", "https"):
        raise DataError(f"{url}: not an address of the web")
    response = _opener().open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        response.close()
        raise DataError(
            f"{url}: the server sends it as {one_line(response.headers['Content-Encoding'])}, which was not asked for"
        )
    return response


def _temporary(error: Exception) -> bool:
    """Whether another attempt may go better."""
    if isinstance(error, http.client.InvalidURL) or (isinstance(error, ValueError) and not isinstance(error, OSError)):
        return False
    if isinstance(error, urllib.error.HTTPError):
        return error.code in RETRIED_STATUS
    if isinstance(error, urllib.error.URLError):
        error = error.reason if isinstance(error.reason, Exception) else error
    if isinstance(error, ssl.SSLCertVerificationError):
        return False
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN
    return isinstance(error, (ConnectionError, TimeoutError, ssl.SSLError, http.client.HTTPException)) or (
        isinstance(error, OSError) and not isinstance(error, urllib.error.URLError)
    )


def _describe(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return one_line(f"the server answers {error.code} {error.reason}")
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return one_line(str(reason)) or type(reason).__name__


def _number(text: str) -> int | None:
    """The number in a header; None if it is none, or longer than that of any file."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else None


def _wait(error: Exception, failures: int) -> float:
    """Seconds to wait: what the server asks for, else twice as long after each failure."""
    asked = error.headers.get("Retry-After") if isinstance(error, urllib.error.HTTPError) and error.headers else None
    if (seconds := _number(asked or "")) is not None:
        return min(seconds, LONGEST_WAIT)
    return min(2 ** (failures - 1), LONGEST_WAIT)


def check_room(folder: Path, needed: int) -> None:
    """Raise a DataError unless so many bytes are free in ``folder``."""
    if needed > (free := shutil.disk_usage(folder).free):
        raise DataError(f"{folder}: no room: {needed / 1e9:,.1f} GB are needed, {free / 1e9:,.1f} GB are free")


def _digest(path: Path, name: str) -> str:
    digest = hashlib.new(name, usedforsecurity=False)
    with (
        path.open("rb") as file,
        progress_bar(
            desc=f"{name} of {path.name}", total=path.stat().st_size, unit="B", unit_scale=True, leave=False
        ) as bar,
    ):
        while data := file.read(CHUNK):
            digest.update(data)
            bar.update(len(data))
    return digest.hexdigest()
