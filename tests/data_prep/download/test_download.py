"""``ofa-mi data download`` on a web server of this machine, with sources made up for it."""

import hashlib
import io
import re
import tarfile
import zipfile
from dataclasses import replace
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import pytest

import ofa_mi.data_prep.download.downloading as download_module
from ofa_mi import cli
from ofa_mi.data_prep.download.downloading import (
    Options,
    all_files,
    catalogue,
    download,
    human_size,
    markdown,
    plan,
    select,
)
from ofa_mi.data_prep.raw import RawFile
from ofa_mi.errors import ConfigError, DataError
from tests.data_prep.web import Page, Web

REPOSITORY_DOC = "docs/download.md"
PAGE = "https://zoo.example/download"


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def web(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Web()
    server.pages["/zoo.zip"] = Page(zipped({"photos/1.jpg": b"okapi", "zoo.json": b"[1]"}))
    server.pages["/names.txt"] = Page(b"okapi\n")
    yield server
    server.close()


def zoo_files(web, **facts):
    """Two raw files of one archive, a single file, and one that is behind a registration."""
    archive = {"page": PAGE, "url": web.url("/zoo.zip"), "unpack": "zoo"}
    return (
        RawFile(path="zoo/photos/", alternatives=("old-zoo/photos/",), **archive),
        RawFile(path="zoo/zoo.json", **archive, **facts),
        RawFile(path="zoo/names.txt", page=PAGE, url=web.url("/names.txt")),
        RawFile(path="zoo/secret.json", page=PAGE, note="sign the form"),
    )


@pytest.fixture
def zoo(web, monkeypatch):
    """The registry of sources holds these files only."""
    known = type("Known", (), {})
    known.name, known.title, known.page, known.licence, known.size = "zoo", "The Zoo", PAGE, "CC BY 4.0", "1 kB"
    known.files = zoo_files(web)
    monkeypatch.setattr(download_module, "catalogue", lambda: {"zoo": known})
    return known


def run(*words):
    return cli.main(["data", "download", *map(str, words)])


def fetch(files, raw, **options):
    lines = []
    missing = download(files, raw, Options(**options), lines.append)
    return [file.path for file in missing], "\n".join(lines)


def test_everything_that_has_an_address_is_fetched_once(web, tmp_path):
    files = zoo_files(web, sha256=web.pages["/zoo.zip"].sha256)
    missing, said = fetch(files, tmp_path / "raw")
    assert missing == ["zoo/secret.json"]
    assert (tmp_path / "raw/zoo/photos/1.jpg").read_bytes() == b"okapi"
    assert (tmp_path / "raw/zoo/zoo.json").read_bytes() == b"[1]"
    assert (tmp_path / "raw/zoo/names.txt").read_bytes() == b"okapi\n"
    assert not (tmp_path / "raw/zoo/zoo.zip").exists()
    assert f"by hand: {tmp_path}/raw/zoo/secret.json: get it from {PAGE} (sign the form)" in said
    fetch(files, tmp_path / "raw")
    assert [path for path, *_ in web.requests] == ["/zoo.zip", "/names.txt"]


def test_an_alternative_serves_and_what_is_there_is_left(web, tmp_path):
    (tmp_path / "old-zoo/photos").mkdir(parents=True)
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo/zoo.json").write_text("mine")
    missing, _ = fetch(zoo_files(web), tmp_path)
    assert missing == ["zoo/secret.json"] and (tmp_path / "zoo/zoo.json").read_text() == "mine"
    assert [path for path, *_ in web.requests] == ["/names.txt"]


def test_a_failure_does_not_stop_the_rest(web, tmp_path):
    del web.pages["/zoo.zip"]
    missing, said = fetch(zoo_files(web), tmp_path)
    assert missing == ["zoo/photos/", "zoo/zoo.json", "zoo/secret.json"]
    assert "failed" in said and "the server answers 404 Not Found" in said and f"see {PAGE}" in said
    assert (tmp_path / "zoo/names.txt").exists()


def test_a_wrong_checksum_is_refused_unless_accepted(web, tmp_path):
    files = zoo_files(web, sha256="0" * 64)
    missing, said = fetch(files, tmp_path)
    assert "zoo/zoo.json" in missing and "sha256 is" in said and not (tmp_path / "zoo/photos").exists()
    missing, _ = fetch(files, tmp_path, accept_changed=True)
    assert missing == ["zoo/secret.json"] and len(web.requests) == 2


def test_archives_are_kept_on_demand_and_used(web, tmp_path):
    files = zoo_files(web, md5=hashlib.md5(web.pages["/zoo.zip"].body).hexdigest())
    fetch(files, tmp_path, keep_archives=True)
    assert (tmp_path / "zoo/zoo.zip").read_bytes() == web.pages["/zoo.zip"].body
    (tmp_path / "zoo/zoo.json").unlink()
    missing, said = fetch(files, tmp_path)
    assert missing == ["zoo/secret.json"] and [path for path, *_ in web.requests].count("/zoo.zip") == 1
    assert f"{tmp_path}/zoo/zoo.zip is kept" in said and (tmp_path / "zoo/zoo.zip").exists()
    (tmp_path / "zoo/zoo.json").unlink()
    (tmp_path / "zoo/zoo.zip").write_bytes(b"damaged")
    missing, said = fetch(files, tmp_path)
    assert "zoo/zoo.json" in missing and "md5 is" in said and "delete it to fetch it again" in said


def test_an_archive_without_the_file_is_said_and_kept(web, tmp_path):
    web.pages["/zoo.zip"] = Page(zipped({"elsewhere/zoo.json": b""}))
    missing, said = fetch(zoo_files(web), tmp_path)
    assert "zoo/photos/, zoo/zoo.json did not come of it; it holds elsewhere; unpack it by hand" in said
    assert "zoo/photos/" in missing and (tmp_path / "zoo/zoo.zip").exists()


def test_what_no_source_reads_stays_in_the_archive(web, tmp_path):
    web.pages["/zoo.zip"] = Page(zipped({"photos/1.jpg": b"okapi", "zoo.json": b"[1]", "huge/all.json": b"[]"}))
    photos, index, *_ = zoo_files(web)
    download([photos], tmp_path, say=lambda line: None, known=[index])
    assert sorted(path.name for path in (tmp_path / "zoo").iterdir()) == ["photos", "zoo.json"]


def test_a_repository_archive_is_unpacked_without_its_first_folders(web, tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        file.addfile(tarfile.TarInfo("repo-main/data/a.json"))
        file.addfile(tarfile.TarInfo("repo-main/README"))
    web.pages["/main.tar.gz"] = Page(buffer.getvalue())
    file = RawFile(path="zoo/a.json", page=PAGE, url=web.url("/main.tar.gz"), unpack="zoo/", inside="repo-main/data")
    assert fetch([file], tmp_path)[0] == []
    assert [path.name for path in (tmp_path / "zoo").iterdir()] == ["a.json"]


def test_raw_files_that_contradict_each_other(web, tmp_path):
    photos, index, names, _ = zoo_files(web, size=5)
    with pytest.raises(DataError, match="contradict each other"):
        plan([replace(photos, size=6), index], tmp_path)
    with pytest.raises(DataError, match="contradict each other"):
        plan([photos, replace(index, unpack="other")], tmp_path)
    with pytest.raises(DataError, match=r"would both be zoo/names\.txt"):
        plan([names, replace(names, url="https://elsewhere/names.txt")], tmp_path)


def test_a_fact_about_an_archive_holds_for_all_its_files(web, tmp_path):
    photos, index, *_ = zoo_files(web, size=5)
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo/zoo.json").touch()
    (item,) = plan([photos, index], tmp_path).downloads
    assert item.expected.size == 5 and item.path == "zoo/zoo.zip"


def test_command_fetches_and_its_status_tells_what_is_missing(zoo, tmp_path, capsys):
    assert run("zoo", "--raw", tmp_path / "raw") == 1
    out = capsys.readouterr().out
    assert f"missing: {tmp_path}/raw/zoo/secret.json" in out
    assert f"3 of 4 files and folders are in {tmp_path}/raw" in out
    (tmp_path / "raw/zoo/secret.json").touch()
    assert run("all", "--raw", tmp_path / "raw") == 0


def test_command_lists(zoo, tmp_path, capsys, web):
    assert run("--list") == 0
    assert "zoo: The Zoo, 1 kB\n" in capsys.readouterr().out
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo/zoo.json").touch()
    assert run("--list", "--raw", tmp_path) == 0
    out = capsys.readouterr().out
    assert "zoo: The Zoo, 1 kB, 1 of 4 present" in out and "licence: CC BY 4.0" in out
    assert "[x] zoo/zoo.json" in out and "[ ] zoo/secret.json: by hand (sign the form)" in out
    assert web.requests == []


def test_command_shows_what_it_would_do(zoo, tmp_path, capsys, web):
    zoo.files = zoo_files(web, size=2_000_000)
    assert run("zoo", "--raw", tmp_path / "raw", "--dry-run") == 0
    out = capsys.readouterr().out
    assert f"{web.url('/zoo.zip')} (2.0 MB, not verified) -> zoo/, unpacked" in out
    assert "0 present; to fetch: 2.0 MB and 1 whose size is not known; 1 by hand" in out
    assert web.requests == [] and not (tmp_path / "raw").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["zo", "--raw", "x"], "no source zo; there are zoo"),
        (["zoo"], "--raw DIR is needed"),
        (["--raw", "x"], "name a source data set, or all"),
    ],
)
def test_bad_arguments_are_one_line(zoo, capsys, words, message):
    assert run(*words) == 2
    assert message in capsys.readouterr().err


def test_a_raw_folder_that_cannot_be_made(zoo, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert run("zoo", "--raw", tmp_path / "file" / "raw") == 2
    assert "cannot be made" in capsys.readouterr().err


def test_select_keeps_the_order_of_the_registry():
    known = {name: name.upper() for name in "abc"}
    assert select(["c", "a", "c"], known) == ["A", "C"] and select(["all"], known) == ["A", "B", "C"]
    with pytest.raises(ConfigError, match="no source d, e; there are a, b, c"):
        select(["e", "a", "d"], known)


def test_human_size():
    assert [human_size(size) for size in (999, 1_000, 99_900, 2_500_000, 13_510_573_713)] == [
        "999 B",
        "1.0 kB",
        "100 kB",
        "2.5 MB",
        "14 GB",
    ]


def registered():
    return all_files(catalogue().values())


def test_the_registered_files_agree_with_each_other(tmp_path):
    assert plan(registered(), tmp_path / "nowhere").present == ()


def problems(file):
    """What is wrong with a raw file that a source registers."""
    paths = [PurePosixPath(path) for path in (*file.paths, file.unpack or "", file.inside)]
    if any(path.is_absolute() or ".." in path.parts for path in paths):
        yield "a path that is not below the raw folder"
    if not file.page.startswith(("http://", "https://")):
        yield "no page"
    if file.url is None:
        if not file.note:
            yield "no address and no note that says what to do"
        if file.unpack is not None or file.sha256 or file.md5:
            yield "no address, but facts about a download"
        return
    if urlsplit(file.url).scheme != "https" and not (file.sha256 or file.md5 or file.note):
        yield "http, and neither a checksum nor a note that says why"
    if file.unpack is None and (file.path.endswith("/") or file.inside):
        yield "a folder that no archive is unpacked into"
    if file.unpack is not None and not paths[0].is_relative_to(PurePosixPath(file.unpack)):
        yield "a path that is not below the folder that the archive is unpacked into"
    for name, length in (("sha256", 64), ("md5", 32)):
        if (digest := getattr(file, name)) is not None and not re.fullmatch(f"[0-9a-f]{{{length}}}", digest):
            yield f"not a {name}: {digest}"


def test_every_registered_file_can_be_got():
    assert [(file.path, problem) for file in registered() for problem in problems(file)] == []


def test_the_table_of_the_documentation_is_current(request):
    text = (request.config.rootpath / REPOSITORY_DOC).read_text(encoding="utf-8")
    assert markdown(catalogue().values()) in text, (
        "write the output of `ofa-mi data download --list --markdown` into docs/download.md"
    )
