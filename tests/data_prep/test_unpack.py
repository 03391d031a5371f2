"""Archives, well-meant and not."""

import gzip
import io
import os
import stat
import tarfile
import zipfile

import pytest

from ofa_mi.data_prep import unpack as module
from ofa_mi.data_prep.unpack import unpack
from ofa_mi.errors import DataError

FILES = {"photos/1.jpg": b"one", "photos/sub/2.jpg": b"two" * 1000, "notes.json": b"[]"}


def make_zip(path, files=FILES, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in files.items():
            file.writestr(zipfile.ZipInfo(name) if name.endswith("/") else name, content)
    return path


def make_tar(path, files=FILES, mode="w:gz"):
    with tarfile.open(path, mode) as file:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def add_to_tar(path, **attributes):
    info = tarfile.TarInfo("bad")
    for name, value in attributes.items():
        setattr(info, name, value)
    with tarfile.open(path, "w") as file:
        file.addfile(info)
    return path


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


MAKERS = {
    "zip": make_zip,
    "stored zip": lambda path: make_zip(path, compression=zipfile.ZIP_STORED),
    "tar": lambda path: make_tar(path, mode="w"),
    "tar.gz": make_tar,
    "tar.bz2": lambda path: make_tar(path, mode="w:bz2"),
    "tar.xz": lambda path: make_tar(path, mode="w:xz"),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_every_kind_of_archive_whatever_its_name(tmp_path, kind):
    result = unpack(MAKERS[kind](tmp_path / "download"), tmp_path / "raw" / "set")
    assert tree(tmp_path / "raw" / "set") == FILES
    assert (result.files, result.kept, sum(result.left_out.values())) == (3, 0, 0)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_files_that_are_there_are_left(tmp_path, kind):
    archive, folder = MAKERS[kind](tmp_path / "a"), tmp_path / "set"
    (folder / "photos").mkdir(parents=True)
    (folder / "photos" / "1.jpg").write_bytes(b"ONE")  # the same size
    (folder / "notes.json").write_bytes(b"my own")
    result = unpack(archive, folder)
    assert tree(folder) == FILES | {"photos/1.jpg": b"ONE", "notes.json": b"my own"}
    assert (result.files, result.kept) == (2, 1)
    assert unpack(archive, folder) == result and tree(folder)["notes.json"] == b"my own"


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_interrupted_call_is_continued_and_leaves_no_half_folder(tmp_path, kind, monkeypatch):
    archive, folder = MAKERS[kind](tmp_path / "a"), tmp_path / "set"
    copy, copied = module.shutil.copyfileobj, []

    def stop_at_the_second(source, target, length):
        copied.append(target.name)
        if len(copied) == 2:
            target.write(b"half")
            target.flush()
            raise KeyboardInterrupt
        copy(source, target, length)

    monkeypatch.setattr(module.shutil, "copyfileobj", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        unpack(archive, folder)
    assert not (folder / "photos").exists()
    assert unpack(archive, folder).files == 3
    assert tree(folder) == FILES
    assert len(copied) == 4, "the first file is not unpacked again, the half one is"


def test_only_a_folder_of_the_archive(tmp_path):
    files = {"repo-main/README.md": b"r", "repo-main/data/a/1.json": b"1", "repo-main/database": b"2"}
    assert unpack(make_zip(tmp_path / "a.zip", files), tmp_path / "set", "repo-main/data").files == 1
    assert tree(tmp_path / "set") == {"a/1.json": b"1"}


def test_only_what_is_wanted(tmp_path):
    result = unpack(make_zip(tmp_path / "a.zip"), tmp_path / "set", wanted=["photos/sub", "notes.json", "absent"])
    assert tree(tmp_path / "set") == {name: FILES[name] for name in ("photos/sub/2.jpg", "notes.json")}
    assert result.files == 2 and result.top == {"photos", "notes.json"}


def test_a_single_gzip_file(tmp_path):
    (tmp_path / "dev.jsonl.gz").write_bytes(gzip.compress(b"{}\n" * 9))
    unpack(tmp_path / "dev.jsonl.gz", tmp_path / "set")
    assert tree(tmp_path / "set") == {"dev.jsonl": b"{}\n" * 9}


def test_two_archives_share_a_folder(tmp_path):
    unpack(make_zip(tmp_path / "a.zip", {"annotations/a.json": b"a"}), tmp_path)
    unpack(make_zip(tmp_path / "b.zip", {"annotations/b.json": b"b", "annotations/a.json": b"a"}), tmp_path)
    assert tree(tmp_path / "annotations") == {"a.json": b"a", "b.json": b"b"}


def test_a_folder_that_is_a_link_is_followed(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "photos").symlink_to(tmp_path / "disk", target_is_directory=True)
    unpack(make_zip(tmp_path / "a.zip"), tmp_path)
    assert tree(tmp_path / "disk") == {"1.jpg": b"one", "sub/2.jpg": b"two" * 1000}


def test_a_folder_on_another_disk(tmp_path, monkeypatch):
    rename = os.rename

    def only_folders(source, target):
        if os.path.isfile(source):
            raise OSError(module.errno.EXDEV, "other disk")
        rename(source, target)

    monkeypatch.setattr(module.os, "rename", only_folders)
    unpack(make_zip(tmp_path / "a.zip", {"1.json": b"1"}), tmp_path / "set")
    assert tree(tmp_path / "set") == {"1.json": b"1"}


def test_what_macos_adds_and_links_are_left_out_and_counted(tmp_path):
    archive = make_zip(tmp_path / "a.zip", FILES | {"__MACOSX/photos/._1.jpg": b"x", "photos/.DS_Store": b"x"})
    link = zipfile.ZipInfo("photos/latest.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr(link, "1.jpg")
    result = unpack(archive, tmp_path / "set")
    assert result.left_out == {"files of macOS": 2, "links": 1}
    assert tree(tmp_path / "set") == FILES
    result = unpack(add_to_tar(tmp_path / "b.tar", name="a/b", type=tarfile.SYMTYPE, linkname="../c"), tmp_path / "set")
    assert result.left_out == {"links": 1} and tree(tmp_path / "set") == FILES


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/tmp/evil", "C:/evil", "C:\\evil"])
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_members_outside_of_the_folder_are_refused_before_anything_is_written(tmp_path, name, make):
    with pytest.raises(DataError, match="lies outside of the folder; the archive is not safe"):
        unpack(make(tmp_path / "a", FILES | {name: b"evil"}), tmp_path / "in" / "set")
    assert tree(tmp_path / "in") == {} and not os.path.exists("/tmp/evil")


@pytest.mark.parametrize(
    "attributes",
    [
        {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
        {"type": tarfile.SYMTYPE, "linkname": "../secret"},
        {"type": tarfile.SYMTYPE, "linkname": "a/../../secret"},
        {"type": tarfile.LNKTYPE, "linkname": "../secret"},
        {"type": tarfile.CHRTYPE},
        {"type": tarfile.BLKTYPE},
        {"type": tarfile.FIFOTYPE},
    ],
)
def test_links_out_and_devices_are_refused(tmp_path, attributes):
    with pytest.raises(DataError, match="the archive is not safe"):
        unpack(add_to_tar(tmp_path / "a.tar", **attributes), tmp_path / "set")
    assert tree(tmp_path / "set") == {}


def test_a_member_cannot_be_written_through_a_link_of_the_archive(tmp_path):
    (tmp_path / "target").mkdir()
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        link = tarfile.TarInfo("photos")
        link.type, link.linkname = tarfile.SYMTYPE, "target"
        file.addfile(link)
        info = tarfile.TarInfo("photos/evil")
        info.size = 1
        file.addfile(info, io.BytesIO(b"x"))
    unpack(tmp_path / "a.tar", tmp_path / "set")
    assert tree(tmp_path / "target") == {} and tree(tmp_path / "set") == {"photos/evil": b"x"}


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_an_archive_that_unpacks_to_an_absurd_size_is_refused(tmp_path, make, monkeypatch):
    monkeypatch.setattr(module, "RATIO_FROM", 10_000)
    archive = make(tmp_path / "a", {"big": bytes(3_000_000)})
    with pytest.raises(DataError, match="it is not what it should be"):
        unpack(archive, tmp_path / "set")
    assert tree(tmp_path / "set") == {}


def test_a_gzip_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RATIO_FROM", 10_000)
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(b"0" * 3_000_000))
    with pytest.raises(DataError, match="it is not what it should be"):
        unpack(tmp_path / "a.json.gz", tmp_path / "set")


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_no_room(tmp_path, make, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(DataError, match="no room"):
        unpack(make(tmp_path / "a"), tmp_path / "set")


def test_a_zip_file_that_lies_about_a_size(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"a": b"x" * 500}, zipfile.ZIP_STORED)
    data = bytearray(archive.read_bytes())
    central = data.rindex(b"PK\x01\x02")
    data[central + 24 : central + 28] = (400).to_bytes(4, "little")
    archive.write_bytes(data)
    with pytest.raises(DataError, match="damaged or not complete"):
        unpack(archive, tmp_path / "set")


@pytest.mark.parametrize("kind", ["zip", "stored zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_damaged_archive_is_one_line_and_leaves_nothing(tmp_path, kind):
    archive = MAKERS[kind](tmp_path / "a")
    data = archive.read_bytes()
    archive.write_bytes(data[: len(data) // 3])
    with pytest.raises(DataError, match="delete it to fetch it again"):
        unpack(archive, tmp_path / "set")
    assert tree(tmp_path / "set") == {}


def test_a_tar_file_with_a_damaged_header_in_the_middle(tmp_path):
    """tarfile takes it for the end of the archive."""
    archive = make_tar(tmp_path / "a.tar", mode="w")
    data = bytearray(archive.read_bytes())
    data[1024:1034] = b"\xff" * 10
    archive.write_bytes(data)
    with pytest.raises(DataError, match="bad header at byte 1,024"):
        unpack(archive, tmp_path / "set")


def test_an_encrypted_zip_file(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"a": b"x"})
    data = bytearray(archive.read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(data)
    with pytest.raises(DataError, match="is encrypted; unpack it by hand"):
        unpack(archive, tmp_path / "set")


def test_a_web_page_is_no_archive(tmp_path):
    (tmp_path / "a.zip").write_text("<!DOCTYPE html><p>Not here any more")
    with pytest.raises(DataError, match=r"neither a zip file nor a tar file \(it begins with b'<!DOCTYPE html>"):
        unpack(tmp_path / "a.zip", tmp_path / "set")


def test_a_folder_in_place_of_a_file_is_one_line(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "photos").write_text("a file")
    with pytest.raises(DataError, match=r"photos.*unpacking"):
        unpack(make_zip(tmp_path / "a.zip"), tmp_path / "set")
