"""`ofa-mi serve`: where it listens, and what it needs."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from ofa_mi import cli

pytest.importorskip("uvicorn", reason="needs the extra demo")


def refused(capsys, *options):
    assert cli.main(["serve", "--checkpoint", "nano", *options]) == cli.BAD_INPUT
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_port_that_is_taken_is_said_before_the_model_is_read(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"--port {port}: Address already in use" in refused(capsys, "--port", str(port))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--port", "70000"], "--port 70000: must be from 0 to 65535"),
        (["--host", "example.org"], "--host example.org: is no address"),
        (["--host", "203.0.113.1"], "--host 203.0.113.1 --port 7860: "),
        (["--port", "0", "--examples", "absent"], "absent: no instance"),
    ],
)
def test_what_cannot_be_served_is_one_line(capsys, options, message):
    assert message in refused(capsys, *options)


def test_without_its_packages_it_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert "pip install 'ofa-mi[demo]'" in refused(capsys)


@pytest.mark.slow
def test_it_serves_until_it_is_interrupted():
    command = [sys.executable, "-m", "ofa_mi.cli", "serve", "--checkpoint", "nano", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        address = re.match(r"http://127\.0\.0\.1:\d+", process.stdout.readline()).group()
        body = json.dumps({"questions": [{"instruction": "what is it?"}]}).encode()
        request = urllib.request.Request(f"{address}/api/predict", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as reply:
            assert json.load(reply)["model"] == "ofa_nano"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) in (0, -signal.SIGINT, cli.INTERRUPTED)
    finally:
        process.kill()
        process.stdout.close()
