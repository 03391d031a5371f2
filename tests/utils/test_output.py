"""Streams that cannot hold a character: it is escaped, and no command ends in a traceback."""

import io
import json
import os
import subprocess
import sys

import pytest

from ofa_mi import cli
from tests.conftest import REPOSITORY


def call(monkeypatch, *arguments):
    """Run a command whose standard streams hold ASCII only; exit status and what it wrote."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", stream)
        try:
            status = cli.main(arguments)
        except SystemExit as end:
            status = end.code
    stream.flush()
    return status, stream.buffer.getvalue()


def test_instructions_in_another_script(monkeypatch):
    status, written = call(monkeypatch, "tasks", "--show", "nlvr", "--instruction-language", "de")
    assert status == 0 and rb"\u201e" in written and "„".encode() not in written


@pytest.mark.parametrize("name", [name for name in cli.COMMANDS if name != "train"])
def test_every_help_can_be_read(monkeypatch, name):
    status, written = call(monkeypatch, name, "--help")
    assert status == 0 and b"usage" in written


def test_an_error_names_a_file_in_any_script(monkeypatch):
    status, written = call(monkeypatch, "score", "größe")
    assert status == cli.BAD_INPUT and rb"gr\xf6\xdfe" in written


def test_streams_that_do_not_encode_stay(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0 and sys.stdout.getvalue().startswith("ofa-mi ")


@pytest.mark.parametrize("program", ["ofa_mi.cli", pytest.param("fairseq_cli.train", marks=pytest.mark.slow)])
def test_processes_whose_output_is_ascii(tmp_path, program):
    """From the file's name in fairseq's log of the settings to the error at the end."""
    data = tmp_path / "größe"
    data.mkdir()
    line = {"unique_id": "1", "task_name": "easy_vqa", "question": "wie groß?", "target_txt": "日本"}
    for split in ("train", "valid"):
        (data / f"{split}.jsonl").write_text(json.dumps(line) + "\n")
    options = ["--task", "multiinstruct", "--arch", "ofa_nano", "--batch-size", "1", "--cpu", "--tasks", "größe"]
    options += ["--optimizer", "adam", "--save-dir", str(tmp_path / "out")]
    start = ["train"] if program == "ofa_mi.cli" else ["--user-dir", str(REPOSITORY / "ofa_mi")]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-m", program, *start, str(data), *options], env=environment, capture_output=True, timeout=200
    )
    assert done.returncode in (1, 2)
    assert rb"gr\xf6\xdfe" in done.stdout, "the log of the settings"
    assert rb"unknown task or group 'gr\xf6\xdfe'" in done.stderr.splitlines()[-1]
    assert b"Traceback" not in done.stderr and b"Logging error" not in done.stderr
