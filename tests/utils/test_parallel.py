"""Worker processes: none hangs, none outlives the process that started it, and a killed one is an error of one line."""

import os
import signal
import subprocess
import sys

import pytest

from ofa_mi.errors import WorkerError, root_error
from ofa_mi.utils.parallel import ordered_map
from tests.conftest import REPOSITORY


@pytest.mark.timeout(60)
def test_a_killed_worker_process_is_one_line():
    """And no hang."""

    def work(number):
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    with pytest.raises(WorkerError, match="a worker process was killed, perhaps for want of memory"):
        list(ordered_map(work, range(9), 2))


@pytest.mark.timeout(60)
def test_worker_processes_end_with_the_one_that_started_them(tmp_path):
    code = f"""
import os, signal, time
from pathlib import Path
from ofa_mi.utils.parallel import ordered_map
def work(number):
    Path({str(tmp_path)!r}, str(os.getpid())).touch()
    return number
results = ordered_map(work, range(9), 2)
list(zip(results, range(2)))
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    # Its output ends when the last process that holds it has ended.
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, timeout=50)
    assert done.returncode == -signal.SIGKILL and list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("message", "what"),
    [
        ("DataLoader worker (pid 12) is killed by signal: Killed. ", "killed by signal: Killed"),
        ("DataLoader worker (pid 3) is killed by signal: Bus error. It is possible", "killed by signal: Bus error"),
        ("DataLoader worker (pid(s) 1, 2) exited unexpectedly", "exited unexpectedly"),
    ],
)
def test_a_killed_data_loader_worker_is_one_line(message, what):
    line = str(root_error(RuntimeError(message)))
    assert line.startswith(f"a data-loader worker was lost ({what}), perhaps for want of memory")
    assert root_error(RuntimeError("something else")) is None
