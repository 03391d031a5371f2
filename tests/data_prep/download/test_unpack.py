"""Archives, well-meant and not."""

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import zipfile
import zlib

import pytest

from ofa_mi.data_prep.download import unpack as module
from ofa_mi.data_prep.download.unpack import unpack
from ofa_mi.errors import DataError
from tests.fuzzing import bounded_memory

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


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a"), ("a/", "a"), ("a", "a/b/c")])
def test_a_member_that_is_a_file_here_and_a_folder_there_is_damage(tmp_path, names):
    """What the system says of it is not for want of room, after which an unpacked half would stay."""
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as file:
        for name in names:
            info = tarfile.TarInfo(name.rstrip("/"))
            info.type, info.size = (tarfile.DIRTYPE, 0) if name.endswith("/") else (tarfile.REGTYPE, 1)
            file.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(DataError, match="damaged or not complete"):
        unpack(archive, tmp_path / "set")
    assert tree(tmp_path / "set") == {}


# -- names, headers and numbers that are made up


def tar_header(name=b"bad", size=0, kind=b"0"):
    """A header of a tar file, whatever it claims; ``size`` may be negative or beyond what octal digits hold."""
    number = (
        b"%011o\0" % size
        if 0 <= size < 8**11
        else bytes([0x80 if size > 0 else 0xFF]) + size.to_bytes(11, "big", signed=True)
    )
    fields = name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + number + b"00000000000\0"
    header = fields + b" " * 8 + kind + bytes(100) + b"ustar\0" + b"00"
    header = header.ljust(512, b"\0")
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


def padded(content):
    return content + bytes(-len(content) % 512)


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        *((tar_header(size=3_000_000_000, kind=bytes([kind])), "a header claims 3,000,000,") for kind in b"xgLK"),
        (tar_header(size=-512, kind=b"x"), "a header claims a negative size"),
        (tar_header(size=-512) + tar_header(b"b"), "negative size|claims"),
        (tar_header(size=1 << 62) + bytes(1024), "would unpack to more than|no room"),
        (tar_header(size=512, kind=b"L") * 3000, "damaged or not complete"),
        (tar_header(size=1 << 20, kind=b"x") + b"1" * (1 << 20), "a header"),
        (tar_header(size=1 << 19, kind=b"x") + b"1" * (1 << 19), "a number of more than 64 digits"),
        (tar_header(b"\xff\xfe.jpg"), r"the name of member '\\udcff\\udcfe.jpg' is not UTF-8"),
        (tar_header(b""), "a member has no name"),
        (tar_header(b"./"), "a member has no name"),
        (tar_header(size=3000, kind=b"L") + padded(b"a" * 3000) + tar_header(), "name of member 'aaaa.* is too long"),
        (tar_header(size=3000, kind=b"L") + padded(b"a/" * 1500) + tar_header(), "name of member 'a/a/.* is too long"),
        (tar_header(b"a" * 100, kind=b"3"), "is neither a file nor a folder"),
        (tar_header(b"\x1b[2J", kind=b"3"), r"'\\x1b\[2J' is neither a file nor a folder"),
    ],
)
def test_a_tar_header_that_claims_too_much_takes_nothing(tmp_path, content, message, compress):
    (tmp_path / "a.tar").write_bytes(compress(content + bytes(1024)))
    with bounded_memory(1 << 28), pytest.raises(DataError, match=message) as error:
        unpack(tmp_path / "a.tar", tmp_path / "set")
    assert str(error.value).isprintable() and len(str(error.value)) < 1000
    assert tree(tmp_path / "set") == {}


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_headers_count_for_the_size_that_an_archive_unpacks_to(tmp_path, monkeypatch, compress):
    """Members of no size behind headers of half a megabyte each."""
    monkeypatch.setattr(module, "RATIO_FROM", 3_000_000)
    comment = b"500000 comment=" + b"a" * (500_000 - 16) + b"\n"
    content = (tar_header(size=len(comment), kind=b"g") + padded(comment) + tar_header()) * 8
    (tmp_path / "a.tar").write_bytes(compress(content))
    with pytest.raises(DataError, match="it is not what it should be"):
        unpack(tmp_path / "a.tar", tmp_path / "set")


@pytest.mark.parametrize("size", [-512, -1024])
def test_a_tar_header_that_leads_back_is_damage(tmp_path, size):
    """tarfile would give out the same members for ever."""
    archive = tmp_path / "a.tar"
    archive.write_bytes(tar_header(b"a") + tar_header(b"b", size=size, kind=b"S") + bytes(1024))
    with pytest.raises(DataError, match="damaged or not complete"):
        unpack(archive, tmp_path / "set")
    assert tree(tmp_path / "set") == {}


def test_an_xz_file_cannot_ask_for_the_whole_memory(tmp_path):
    data = bytearray(make_tar(tmp_path / "a", mode="w:xz").read_bytes())
    size = 4 * (data[12] + 1)  # of the block's header, which ends with a checksum
    assert data[14:16] == b"\x21\x01", "LZMA2, with one byte that says how large the dictionary is"
    data[16] = 39  # 3 GiB
    data[12 + size - 4 : 12 + size] = zlib.crc32(data[12 : 12 + size - 4]).to_bytes(4, "little")
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(DataError, match=r"damaged or not complete \(Memory usage limit exceeded"):
        unpack(tmp_path / "a", tmp_path / "set")


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_the_number_of_members_has_a_limit(tmp_path, monkeypatch, make):
    monkeypatch.setattr(module, "MOST_MEMBERS", 2)
    with pytest.raises(DataError, match="has more than 2 members; it is not what it should be"):
        unpack(make(tmp_path / "a"), tmp_path / "set")
    assert tree(tmp_path / "set") == {}


def test_the_directory_of_a_zip_file_has_a_limit(tmp_path, monkeypatch):
    archive = make_zip(tmp_path / "a.zip", {f"{number:04d}": b"" for number in range(2000)})
    monkeypatch.setattr(module, "LARGEST_DIRECTORY", 70_000)
    with pytest.raises(DataError, match="a header claims 100,000 bytes"):
        unpack(archive, tmp_path / "set")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (b"\xff\xfeaa", "damaged or not complete .*codec can't decode"),
        (b"./.", "a member has no name"),
        (b"a" * 300, "name of member 'aaa.* is too long"),
        (b"aa\0b", "outside of the folder"),
    ],
)
def test_names_in_a_zip_file(tmp_path, name, message):
    archive = make_zip(tmp_path / "a.zip", {"n" * len(name): b"x"})
    data = bytearray(archive.read_bytes().replace(b"n" * len(name), name))
    for place in (6, data.rindex(b"PK\x01\x02") + 8):
        data[place + 1] |= 8  # the name is in UTF-8
    archive.write_bytes(data)
    with pytest.raises(DataError, match=message):
        unpack(archive, tmp_path / "set")
    assert tree(tmp_path / "set") == {}


def test_a_zip_member_without_any_name_is_refused(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"n": b"x"})
    data = bytearray(archive.read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 28], data[entry + 30] = 0, 1  # the name's letter belongs to the extra field
    archive.write_bytes(data)
    with pytest.raises(DataError, match="a member has no name"):
        unpack(archive, tmp_path / "set")


def test_a_zip_member_compressed_by_lzma_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"a method that is not supported \(14\); unpack it by hand"):
        unpack(make_zip(tmp_path / "a.zip", compression=zipfile.ZIP_LZMA), tmp_path / "set")
