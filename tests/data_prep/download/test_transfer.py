"""One address becomes one file, whatever the server does."""

import hashlib
import io
import json

import pytest

from ofa_mi.data_prep.download import transfer
from ofa_mi.data_prep.download.transfer import Expected, fetch, name_of
from ofa_mi.errors import DataError
from tests.data_prep.web import Page, Web, answering
from tests.fuzzing import bounded_memory

BODY = bytes(range(256)) * 40


@pytest.fixture
def web(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Web()
    server.pages["/a.bin"] = Page(BODY)
    yield server
    server.close()


class Naps(list):
    """Takes the place of ``time.sleep``."""

    __call__ = list.append


def get(web, path, **settings):
    naps = Naps()
    fetch(web.url("/a.bin"), path, sleep=naps, **settings)
    return naps


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def ranges(web):
    return [asked for _, asked, _ in web.requests]


def test_a_file_is_fetched_verified_and_nothing_else_is_left(web, tmp_path):
    expected = Expected(
        size=len(BODY), sha256=hashlib.sha256(BODY).hexdigest().upper(), md5=hashlib.md5(BODY).hexdigest()
    )
    assert get(web, tmp_path / "new" / "a.bin", expected=expected) == []
    assert (tmp_path / "new" / "a.bin").read_bytes() == BODY
    assert names(tmp_path / "new") == ["a.bin"]


def test_a_broken_connection_is_continued(web, tmp_path):
    web.pages["/a.bin"].breaks = [1000, 2000]
    assert len(get(web, tmp_path / "a.bin")) == 2
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert ranges(web) == [None, "bytes=1000-", "bytes=3000-"]


def test_what_has_arrived_is_kept_for_the_next_call(web, tmp_path):
    web.pages["/a.bin"].breaks = [1000]
    with pytest.raises(DataError, match=r"broke off after 1,000 of 10,240 bytes.*try again later"):
        get(web, tmp_path / "a.bin", retries=0)
    assert names(tmp_path) == [".a.bin.part", ".a.bin.part.json"]
    get(web, tmp_path / "a.bin")
    assert ranges(web) == [None, "bytes=1000-"] and (tmp_path / "a.bin").read_bytes() == BODY
    assert names(tmp_path) == ["a.bin"]


def test_a_server_without_parts_starts_again(web, tmp_path):
    web.pages["/a.bin"].ranges, web.pages["/a.bin"].breaks = False, [1000]
    get(web, tmp_path / "a.bin")
    assert [status for _, _, status in web.requests] == [200, 200]
    assert (tmp_path / "a.bin").read_bytes() == BODY


@pytest.mark.parametrize("etag", ['"2"', None])
def test_a_file_that_changed_starts_again(web, tmp_path, etag):
    """With an ETag the server sees it, without one the size shows it."""
    page = web.pages["/a.bin"]
    page.etag, page.breaks = etag and '"1"', [1000]
    with pytest.raises(DataError):
        get(web, tmp_path / "a.bin", retries=0)
    page.body, page.etag = BODY[::-1] + b"more", etag
    get(web, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == page.body


def test_a_file_that_became_shorter_than_what_is_there_starts_again(web, tmp_path):
    web.pages["/a.bin"].etag, web.pages["/a.bin"].breaks = None, [9000]
    with pytest.raises(DataError):
        get(web, tmp_path / "a.bin", retries=0)
    web.pages["/a.bin"].body = b"short"
    get(web, tmp_path / "a.bin")
    assert [status for *_, status in web.requests] == [200, 416, 200]
    assert (tmp_path / "a.bin").read_bytes() == b"short"


@pytest.mark.parametrize("record", ["", "[]", '{"url": "http://elsewhere/a.bin", "complete": false}'])
def test_a_part_of_unknown_origin_is_not_used(web, tmp_path, record):
    (tmp_path / ".a.bin.part").write_bytes(b"something")
    (tmp_path / ".a.bin.part.json").write_text(record)
    get(web, tmp_path / "a.bin")
    assert ranges(web) == [None] and (tmp_path / "a.bin").read_bytes() == BODY


def test_the_wait_doubles_until_there_is_progress_and_follows_the_server(web, tmp_path):
    web.pages["/a.bin"].statuses = [500, 503, 429]
    assert get(web, tmp_path / "a.bin") == [1, 2, 4]
    web.pages["/b.bin"] = Page(BODY, statuses=[502], breaks=[10, 0, 0])
    naps = Naps()
    fetch(web.url("/b.bin"), tmp_path / "b.bin", sleep=naps)
    assert naps == [1, 1, 2, 4]


def test_retries_are_counted_without_progress_only(web, tmp_path):
    page = web.pages["/a.bin"]
    page.breaks = [500] * 12
    assert len(get(web, tmp_path / "a.bin", retries=1)) == 12
    page.ranges, page.breaks = False, [500] * 12
    with pytest.raises(DataError, match=r"3 attempts in a row"):
        get(web, tmp_path / "a.bin", retries=2)


def test_what_the_server_refuses_is_not_tried_again(web, tmp_path):
    web.pages["/a.bin"].statuses = [403]
    with pytest.raises(DataError, match="the server answers 403 Forbidden"):
        get(web, tmp_path / "a.bin")
    assert len(web.requests) == 1 and names(tmp_path) == []


def test_a_wrong_checksum_never_takes_the_name(web, tmp_path):
    with pytest.raises(DataError, match=rf"sha256 is {hashlib.sha256(BODY).hexdigest()} instead of 00.*accept-changed"):
        get(web, tmp_path / "a.bin", expected=Expected(sha256="00" * 32))
    assert not (tmp_path / "a.bin").exists()
    get(web, tmp_path / "a.bin")
    assert len(web.requests) == 1, "what was fetched in vain is taken as it is, without fetching it again"
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_another_size_is_seen_before_the_file_is_fetched(web, tmp_path):
    with pytest.raises(DataError, match=r"has 10,240 bytes now instead of 7: changed by its owners"):
        get(web, tmp_path / "a.bin", expected=Expected(size=7))
    assert names(tmp_path) == []


def test_a_file_without_a_length_is_checked_against_the_size_that_is_known(web, tmp_path):
    page = web.pages["/a.bin"]
    page.has_length, page.breaks = False, [100]
    get(web, tmp_path / "a.bin", expected=Expected(size=len(BODY)))
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_a_web_page_is_not_a_data_set(web, tmp_path):
    web.pages["/a.bin"].content_type = "text/html; charset=utf-8"
    with pytest.raises(DataError, match="a web page comes instead of the file"):
        get(web, tmp_path / "a.bin")


def test_redirections_lead_to_the_web_only(web, tmp_path):
    web.pages["/moved"] = Page(redirect=web.url("/a.bin"))
    fetch(web.url("/moved"), tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == BODY
    secret = tmp_path / "secret"
    secret.write_text("x")
    web.pages["/file"] = Page(redirect=secret.as_uri())
    with pytest.raises(DataError, match=r"Redirection to url .file:.* is not allowed"):
        fetch(web.url("/file"), tmp_path / "b.bin")
    with pytest.raises(DataError, match="not an address of the web"):
        fetch(secret.as_uri(), tmp_path / "b.bin")


def test_redirections_never_leave_https(web):
    request = transfer.urllib.request.Request("https://example.org/a")
    with pytest.raises(DataError, match=r"is redirected to http://example\.org/b, which is not safe"):
        transfer._SafeRedirects().redirect_request(request, None, 302, "", {}, "http://example.org/b")


@pytest.mark.parametrize(
    ("there", "allowed"),
    [
        ("https://other.example/b", True),
        ("http://example.org:8080/b", True),
        ("http://other.example/b", False),
        ("http://example.org.evil.example/b", False),
        ("http://user@evil.example/b", False),
        ("ftp://example.org/b", False),
    ],
)
def test_redirections_without_encryption_stay_on_their_host(there, allowed):
    request = transfer.urllib.request.Request("http://example.org/a")
    if allowed:
        assert transfer._SafeRedirects().redirect_request(request, io.BytesIO(), 302, "", {}, there).full_url == there
    else:
        with pytest.raises(DataError, match=r"is redirected to .*, which is not safe"):
            transfer._SafeRedirects().redirect_request(request, None, 302, "", {}, there)


NINES = b"9" * 5000


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 302 x\r\nLocation: http://[::1/a\r\n\r\n", "Invalid IPv6 URL"),
        (b"HTTP/1.1 302 x\r\nLocation: http://127.0.0.1:x/a\r\n\r\n", "nonnumeric port"),
        (b"HTTP/1.1 302 x\r\nLocation: /" + b"x" * 5000 + b"\r\n\r\n", "the server answers 302"),
        (b"HTTP/1.1 302 x\r\nLocation: /b\r\nContent-Length: " + b"9" * 18 + b"\r\n\r\n", "the server answers 302"),
        (b"HTTP/1.1 302 x\r\nLocation: /b\r\nContent-Length: " + b"9" * 500 + b"\r\n\r\n", "the server answers 302"),
        (b"HTTP/1.1 404 \x1b[2J" + b"no" * 5000 + b"\r\n\r\n", r"the server answers 404 \\x1b\[2Jnono"),
        (b"HTTP/1.1 503 x\r\nRetry-After: " + NINES + b"\r\n\r\n", "the server answers 503"),
        (b"HTTP/1.1 200 x\r\nContent-Encoding: \x1b[2J\r\n\r\n", r"sends it as \\x1b\[2J"),
        (b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n" + NINES, "IncompleteRead"),
        (b"HTTP/1.1 200 x\r\nContent-Length: 999999999999999\r\n\r\n", "no room: 1,000,000.0 GB are needed"),
        (b"HTTP/1.1 20", "20"),
        (b"\x16\x03\x01" + bytes(300), r"\\x16\\x03"),
    ],
)
def test_what_a_server_should_not_say_is_one_line(tmp_path, answer, message):
    with answering(answer) as url, pytest.raises(DataError, match=message) as error:
        fetch(url, tmp_path / "a.bin", sleep=Naps(), retries=1)
    assert str(error.value).isprintable() and len(str(error.value)) < 1000
    assert names(tmp_path) == []


@pytest.mark.parametrize("length", [NINES, b"-5", b"x", "٣".encode(), b""])
def test_a_length_that_is_none_counts_as_not_said(tmp_path, length):
    answer = b"HTTP/1.1 200 x\r\nContent-Length: " + length + b"\r\nETag: a\r\n b\r\n\r\nbody"
    with answering(answer) as url:
        fetch(url, tmp_path / "a.bin", sleep=Naps())
    assert (tmp_path / "a.bin").read_bytes() == b"body" and names(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("headers", [b"", b"Transfer-Encoding: chunked\r\n"])
def test_a_body_without_an_end_is_given_up(tmp_path, monkeypatch, headers):
    """The chunk claims a negative size, which http.client takes for all that comes."""
    monkeypatch.setattr(transfer, "LARGEST_UNANNOUNCED", 3 << 20)
    answer = b"HTTP/1.1 200 x\r\n" + headers + b"\r\n-5\r\n"
    with (
        answering(answer, endless=bytes(1 << 16)) as url,
        pytest.raises(DataError, match=r"bytes come and do not end; it should have 3,145,728 at most"),
        bounded_memory(1 << 28),
    ):
        fetch(url, tmp_path / "a.bin", sleep=Naps())
    assert names(tmp_path) == []


def test_a_body_without_a_length_leaves_room_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "ROOM_EVERY", 1 << 20)
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1_000_000}))
    with (
        answering(b"HTTP/1.1 200 x\r\n\r\n", endless=bytes(1 << 16)) as url,
        pytest.raises(DataError, match="no room"),
    ):
        fetch(url, tmp_path / "a.bin", sleep=Naps())


def test_more_than_the_size_that_is_known_is_not_taken(tmp_path):
    with (
        answering(b"HTTP/1.1 200 x\r\n\r\n", endless=bytes(1 << 16)) as url,
        pytest.raises(DataError, match="it should have 1,000 at most"),
    ):
        fetch(url, tmp_path / "a.bin", sleep=Naps(), expected=Expected(size=1000))


def test_a_part_goes_through_redirections_too(web, tmp_path):
    web.pages["/moved"] = Page(redirect=web.url("/a.bin"))
    web.pages["/a.bin"].breaks = [1000]
    fetch(web.url("/moved"), tmp_path / "a.bin", sleep=Naps())
    assert [asked for path, asked, _ in web.requests if path == "/a.bin"] == [None, "bytes=1000-"]
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_no_room(web, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 15_000}))
    with pytest.raises(DataError, match="no room"):
        get(web, tmp_path / "a.bin", room=2)
    get(web, tmp_path / "a.bin", room=1)


def test_two_processes_do_not_write_one_file(web, tmp_path):
    with (
        transfer._Part.open(tmp_path / "a.bin", web.url("/a.bin")) as part,
        pytest.raises(DataError, match="another process is fetching it"),
    ):
        part.begin(transfer._Version(None, None, None))
        part.write(b"x")
        get(web, tmp_path / "a.bin")


def test_proxies_of_the_environment_are_used(web, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", web.url(""))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    web.pages["http://data.invalid/a.bin"] = Page(BODY)
    fetch("http://data.invalid/a.bin", tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_an_unwritable_folder_is_one_line(web, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        get(web, tmp_path / "file" / "a.bin")


def test_a_complete_part_needs_no_server(web, tmp_path):
    """A process that was killed between the last byte and the check goes on with the check."""
    web.pages["/a.bin"].breaks = [10_239]
    with pytest.raises(DataError):
        get(web, tmp_path / "a.bin", retries=0)
    (tmp_path / ".a.bin.part").write_bytes(BODY)
    record = json.loads((tmp_path / ".a.bin.part.json").read_text())
    (tmp_path / ".a.bin.part.json").write_text(json.dumps(record | {"complete": True}))
    get(web, tmp_path / "a.bin")
    assert len(web.requests) == 1 and (tmp_path / "a.bin").read_bytes() == BODY


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://x.org/a/visdial.zip?dl=1", "visdial.zip"),
        ("https://x.org/refcoco+.zip", "refcoco+.zip"),
        ("https://x.org/refs%28unc%29.p#top", "refs(unc).p"),
    ],
)
def test_name_of(url, name):
    assert name_of(url) == name


@pytest.mark.parametrize("url", ["https://x.org/", "https://x.org", "https://x.org/a/..", "https://x.org/a%00b"])
def test_an_address_without_a_name(url):
    with pytest.raises(DataError, match="no file name"):
        name_of(url)
