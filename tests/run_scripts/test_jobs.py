"""`spawn` and `join` of run_scripts/experiment.sh with any commands, and what stopping a script does to them."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.experiments.test_processes import running
from tests.run_scripts.helpers import FOLDER

BEGIN = f"source {FOLDER}/experiment.sh; choose_python; DRY_RUN=0 OUT=/o MACHINE='--jobs 2';"


def start(script):
    """A script in a process group of its own, as a terminal starts it."""
    environment = {"PATH": os.environ["PATH"], "OFA_MI_PYTHON": sys.executable}
    command = ["bash", "-c", f"{BEGIN} {script}"]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)


def test_a_script_goes_on_when_all_jobs_have_ended(tmp_path):
    script = start(f"cd {tmp_path}; spawn touch a; spawn touch b; spawn touch c; join; ls > d; spawn touch e; join")
    assert script.communicate(timeout=120) == (None, "") and script.returncode == 0
    assert (tmp_path / "d").read_text().split() == ["a", "b", "c", "d"] and (tmp_path / "e").exists()


def test_a_script_ends_when_a_job_has_failed(tmp_path):
    script = start(f"cd {tmp_path}; spawn false; join; touch after")
    _, stderr = script.communicate(timeout=120)
    assert script.returncode == 1 and not (tmp_path / "after").exists()
    assert stderr == "[ofa-mi] error: false failed, see above; run the same command again to continue\n"


@pytest.mark.parametrize("terminal", [False, True], ids=["kill", "Ctrl-C"])
def test_what_stops_a_script_stops_what_it_has_started(terminal, tmp_path):
    pids = tmp_path / "pids"
    job = f"spawn bash -c 'echo $$ >> {pids}; sleep 1000 & echo $! >> {pids}; wait';"
    script = start(job * 2 + "join")
    while script.poll() is None and (not pids.exists() or len(pids.read_text().split()) < 4):
        time.sleep(0.05)
    if terminal:
        os.killpg(script.pid, signal.SIGINT)
    else:
        script.send_signal(signal.SIGTERM)
    _, stderr = script.communicate(timeout=120)
    assert script.returncode != 0 and "[ofa-mi] stopped; run the same command again to continue\n" in stderr
    assert len(pids.read_text().split()) == 4 and running(pids.read_text().split()) == []
