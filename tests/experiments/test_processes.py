"""Several jobs at once, and their end."""

import signal
import subprocess
import sys
import threading
import time

import pytest

from ofa_mi.errors import OfaMiError
from ofa_mi.experiments.processes import Processes, Stopped, run_jobs
from tests.conftest import REPOSITORY


def test_jobs_run_in_order_and_so_many_at_once():
    started, together, lock = [], [], threading.Barrier(2, timeout=60)

    def job(number):
        started.append(number)
        together.append(lock.wait())

    run_jobs([lambda number=number: job(number) for number in range(4)], 2)
    assert sorted(started[:2]) == [0, 1] and len(together) == 4
    started.clear()
    run_jobs([lambda number=number: started.append(number) for number in range(4)], 1)
    assert started == [0, 1, 2, 3]
    run_jobs([], 2)


def fail(text):
    raise OfaMiError(text)


def test_after_a_failure_nothing_more_is_started(capsys):
    done, failed = [], threading.Event()

    def long():
        assert failed.wait(60)
        done.append("long")

    def fails():
        failed.set()
        fail("no data")

    with pytest.raises(OfaMiError, match=r"^something failed, see above; run the same command again to continue$"):
        run_jobs([long, fails, *[lambda: time.sleep(0.1) or done.append("later")] * 3], 2)
    # The one that ran has ended; the thread of the one that failed took no other.
    assert done.count("long") == 1 and "[ofa-mi] error: no data\n" in capsys.readouterr().err


def test_the_failure_of_one_at_a_time_is_the_only_line(capsys):
    done = []
    with pytest.raises(OfaMiError, match=r"^no data$"):
        run_jobs([lambda: fail("no data"), lambda: done.append(1)], 1)
    with pytest.raises(OfaMiError, match=r"^no data$"):
        run_jobs([lambda: fail("no data")], 2)
    assert done == [] and capsys.readouterr().err == ""


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run_jobs([lambda: 1 / 0, lambda: None], 2)


def test_processes_end_together_and_no_other_begins():
    processes = Processes()
    child = processes.start(["sleep", "1000"])
    processes.stop()
    assert child.returncode == -signal.SIGTERM
    with pytest.raises(Stopped):
        processes.wait(child)
    with pytest.raises(Stopped):
        processes.start(["true"])


def test_program_that_is_not_there():
    with pytest.raises(OfaMiError, match="no-such-program cannot be run: No such file or directory"):
        Processes().start(["no-such-program"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_all_that_was_started(tmp_path, number):
    """Two jobs at once, each with a child of its own, and a third that waits."""
    tell = f"echo $$ >> {tmp_path}/pids; sleep 1000 & echo $! >> {tmp_path}/pids; wait"
    job = ["1", "job", "4", "command", "bash", "-c", tell]
    arguments = ["run", "--out", str(tmp_path), "--jobs", "2", "--", *job * 3]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "ofa_mi.cli", "experiment", *arguments],
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
        stderr=subprocess.PIPE,
        text=True,
    )
    pids = tmp_path / "pids"
    while process.poll() is None and (not pids.exists() or len(pids.read_text().split()) < 4):
        time.sleep(0.05)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert stderr == "[ofa-mi] stopped; run the same command again to continue\n"
    found = pids.read_text().split()
    assert len(found) == 4 and running(found) == []


def running(pids):
    """Those of some processes that have not ended."""
    deadline = time.monotonic() + 60
    while (found := [pid for pid in pids if state(pid) not in ("", "Z")]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def state(pid):
    """As `ps` calls it, empty if there is none; Z of one that has ended and is not waited for."""
    return subprocess.run(["ps", "-o", "state=", "-p", pid], capture_output=True, text=True).stdout.strip()
