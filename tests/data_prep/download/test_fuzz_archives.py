"""Archives and what servers say, mutated: nothing but our errors, no file outside of the folder, nothing half there."""

import gzip
import io
import shutil
import zlib

import pytest

from ofa_mi.data_prep.download import transfer
from ofa_mi.data_prep.download import unpack as module
from ofa_mi.data_prep.download.transfer import Expected, fetch
from ofa_mi.data_prep.download.unpack import unpack
from ofa_mi.errors import DataError
from tests.data_prep.download.test_unpack import MAKERS, tree
from tests.fuzzing import fuzz, mutate_bytes, mutate_json


@pytest.fixture
def unpacked(tmp_path, monkeypatch):
    """Reads an archive; whatever it is, what is beside the folder stays as it is."""
    monkeypatch.setattr(module, "progress_bar", quiet)
    # For want of room what is unpacked stays, so that the next call goes on: not here, whatever room the disk has.
    monkeypatch.setattr(module, "check_room", lambda *args: None)
    (tmp_path / "secret").write_text("x")
    folder = tmp_path / "in" / "set"

    def read(content):
        shutil.rmtree(folder.parent, ignore_errors=True)
        (tmp_path / "archive").write_bytes(content)
        try:
            unpack(tmp_path / "archive", folder)
        except DataError:
            assert tree(folder) == {}, "left something"
            raise
        finally:
            assert {path.name for path in tmp_path.iterdir()} <= {"secret", "archive", "in"}, "outside"
            assert (tmp_path / "secret").read_text() == "x", "changed"

    return read


class quiet:
    """In place of a progress bar."""

    def __init__(self, *args, **options):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def update(self, number):
        pass


def mutate_tar(content, random):
    """A change to a header of a tar file, and the checksum that belongs to it."""
    blocks = [content[start : start + 512] for start in range(0, len(content), 512)]
    headers = [number for number, block in enumerate(blocks) if block[257:262] == b"ustar" and len(block) == 512]
    if not headers:
        return mutate_bytes(content, random)
    place = random.choice(headers)
    header = bytearray(mutate_bytes(blocks[place], random)[:512].ljust(512, b"\0"))
    if random.random() < 0.3:
        header[156:157] = random.choice(b"0123457gxLKSDVX\0".decode()).encode()  # its kind
    if random.random() < 0.3:
        size = random.choice((0, -1, -512, 1, 3_000_000_000, 1 << 62))
        header[124:136] = bytes([0x80 if size >= 0 else 0xFF]) + size.to_bytes(11, "big", signed=True)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    blocks[place] = bytes(header)
    return b"".join(blocks)


def mutate_packed_tar(content, random):
    """The same of one that gzip has compressed."""
    try:
        inner = gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return mutate_bytes(content, random)
    return gzip.compress(mutate_tar(inner, random))


@pytest.mark.parametrize("kind", MAKERS)
def test_fuzz_archives(unpacked, tmp_path_factory, kind):
    content = MAKERS[kind](tmp_path_factory.mktemp("good") / "archive").read_bytes()
    mutators = {
        "tar": [mutate_tar, mutate_tar, mutate_bytes],
        "tar.gz": [mutate_packed_tar, mutate_packed_tar, mutate_bytes],
    }
    fuzz(f"archive: {kind}", [content], mutators.get(kind, [mutate_bytes]), unpacked)


def test_fuzz_gzip(unpacked):
    fuzz("archive: gz", [gzip.compress(b"[]" * 100)], [mutate_bytes], unpacked)


# -- servers

ANSWERS = (
    b'HTTP/1.1 200 OK\r\nContent-Length: 4\r\nETag: "1"\r\nLast-Modified: Mon, 1 Jan 2024 00:00:00 GMT\r\n\r\nbody',
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nbody",
)
OTHERS = (
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/b\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 503 Busy\r\nRetry-After: 3\r\n\r\n",
    b'HTTP/1.1 206 Part\r\nContent-Range: bytes 2-3/4\r\nETag: "1"\r\n\r\ndy',
)


class Connection:
    """In place of a socket: says the same to whatever is asked."""

    def __init__(self, content):
        self.content = content

    def sendall(self, data):
        pass

    def makefile(self, *args, **options):
        return io.BufferedReader(io.BytesIO(self.content))

    def close(self):
        pass

    def setsockopt(self, *args):
        pass


def test_fuzz_servers(tmp_path, monkeypatch):
    """What a server says, to one who begins and to one who goes on."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(transfer, "progress_bar", quiet)
    said = []
    monkeypatch.setattr("socket.create_connection", lambda *args, **options: Connection(said[0]))
    path = tmp_path / "a.bin"

    def read(content):
        said[:] = [content]
        for begun in (False, True):
            path.unlink(missing_ok=True)
            if begun:
                path.with_name(".a.bin.part").write_bytes(b"bo")
                record = b'{"url":"http://127.0.0.1/a.bin","complete":false,"version":{"etag":"\\"1\\"","last_modified":null,"size":4}}'
                path.with_name(".a.bin.part.json").write_bytes(record)
            try:
                fetch("http://127.0.0.1/a.bin", path, retries=1, sleep=lambda seconds: None, expected=Expected())
                assert path.exists()
            finally:
                assert {entry.name for entry in tmp_path.iterdir()} <= {"a.bin", ".a.bin.part", ".a.bin.part.json"}

    def read_any(content):
        try:
            read(content)
        except DataError:
            if content not in OTHERS:
                raise

    fuzz("servers", [*ANSWERS, *OTHERS], [mutate_bytes, mutate_header], read_any)


def mutate_header(content, random):
    """One header's value is another's, or an extreme number."""
    head, separator, body = content.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    place = random.randrange(len(lines))
    name = lines[place].partition(b":")[0]
    values = (b"-1", b"9" * 5000, b"999999999999999999", b"\xff", b"a\r\n b", b"https://[", b"ftp://x/y", b"chunked")
    lines[place] = name + b": " + random.choice(values)
    return b"\r\n".join(lines) + separator + body


def test_fuzz_parts(tmp_path, monkeypatch):
    """What is remembered of a file that is under way: damaged, it is begun again."""
    monkeypatch.setattr(transfer, "progress_bar", quiet)
    monkeypatch.setattr("socket.create_connection", lambda *args, **options: Connection(ANSWERS[0]))
    path = tmp_path / "a.bin"
    good = (
        b'{"url":"http://127.0.0.1/a.bin","complete":false,"version":{"etag":"\\"1\\"","last_modified":"x","size":4}}'
    )

    def read(content):
        path.with_name(".a.bin.part").write_bytes(b"bo")
        path.with_name(".a.bin.part.json").write_bytes(content)
        fetch("http://127.0.0.1/a.bin", path, retries=0, sleep=lambda seconds: None)
        assert path.read_bytes() in (b"body", b"bo")  # the second if what is remembered is that all of it is there

    fuzz("parts of downloads", [good], [mutate_json, mutate_bytes], read)
