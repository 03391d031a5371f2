"""Files are whole or not there, on the disk before they have their name, and dead processes leave nothing for long."""

import os
import signal
import subprocess
import sys

import pytest

from ofa_mi.errors import DataError
from ofa_mi.utils import files
from ofa_mi.utils.files import atomic_write, copy_atomic, lock, open_atomic, remove_abandoned
from tests.conftest import REPOSITORY, full_disk


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch, durable):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, real=real: (calls.append(name), real(*args))[1])
    atomic_write(tmp_path / "a", b"content", durable=durable)
    assert calls == (["fsync", "replace"] if durable else ["replace"])
    assert (tmp_path / "a").read_bytes() == b"content" and names(tmp_path) == ["a"]


def test_permissions_are_those_of_any_other_file(tmp_path):
    (tmp_path / "plain").touch()
    atomic_write(tmp_path / "a", b"")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_error_within_leaves_nothing_and_the_old_file(tmp_path):
    atomic_write(tmp_path / "a", b"old")
    with pytest.raises(KeyboardInterrupt), open_atomic(tmp_path / "a") as file:
        file.write(b"new")
        raise KeyboardInterrupt
    with full_disk(), pytest.raises(DataError, match="cannot be written"):
        atomic_write(tmp_path / "a", bytes(100_000))
    assert (tmp_path / "a").read_bytes() == b"old" and names(tmp_path) == ["a"]


def test_the_next_write_removes_what_a_killed_process_left(tmp_path):
    code = f"""
import os, signal
from pathlib import Path
from ofa_mi.utils.files import open_atomic
with open_atomic(Path({str(tmp_path)!r}, "a[1].json")) as file:
    file.write(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    assert done.returncode == -signal.SIGKILL
    (left,) = names(tmp_path)
    assert left.startswith(".a[1].json.") and left.endswith(files.TEMPORARY)
    atomic_write(tmp_path / "b.json", b"")
    assert len(names(tmp_path)) == 2, "the temporary file of another one"
    atomic_write(tmp_path / "a[1].json", b"whole")
    assert names(tmp_path) == ["a[1].json", "b.json"]


def test_what_is_being_written_is_not_abandoned(tmp_path):
    with open_atomic(tmp_path / "a") as first:
        first.write(b"first")
        with open_atomic(tmp_path / "a") as second:  # removes what was abandoned, which the first is not
            second.write(b"second")
        remove_abandoned(tmp_path)
    assert (tmp_path / "a").read_bytes() == b"first" and names(tmp_path) == ["a"]


def test_a_temporary_file_that_was_taken_for_abandoned_is_made_again(tmp_path, monkeypatch):
    """Between being made and being locked."""
    taken = []

    def late(file, *, wait=False):
        if not taken:
            taken.append(file.name)
            os.unlink(file.name)
        return lock(file, wait=wait)

    monkeypatch.setattr(files, "lock", late)
    atomic_write(tmp_path / "a", b"content")
    assert taken and (tmp_path / "a").read_bytes() == b"content"


def test_abandoned_files_of_folders_below(tmp_path):
    place = tmp_path / "images" / "x"
    place.mkdir(parents=True)
    (place / ".1.png.abcdefgh.tmp").touch()
    (place / "1.png.tmp").touch()
    remove_abandoned(tmp_path)
    assert len(names(place)) == 2
    remove_abandoned(tmp_path, below=True)
    assert names(place) == ["1.png.tmp"]


def test_copies_and_links(tmp_path):
    atomic_write(tmp_path / "origin", b"content")
    copy_atomic(tmp_path / "origin", tmp_path / "new" / "copy")
    copy_atomic(tmp_path / "origin", tmp_path / "new" / "link", link=True)
    assert [(tmp_path / "new" / name).stat().st_nlink for name in ("copy", "link")] == [1, 2]
