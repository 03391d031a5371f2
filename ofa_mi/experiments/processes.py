"""Child processes that end with this one, and several jobs at once."""

import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from ofa_mi.errors import OfaMiError
from ofa_mi.experiments.folders import PAUSE
from ofa_mi.experiments.logs import say

AGAIN = "run the same command again to continue"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """This process was asked to stop; ``number`` is that of the signal, 0 in a thread that follows."""

    def __init__(self, number: int = 0) -> None:
        super().__init__(number)
        self.number = number


def stop_on_signals() -> None:
    """Let Ctrl-C, ``kill`` and a closed terminal raise :class:`Stopped` in the main thread, once."""

    def stop(number: int, frame: object) -> None:
        for each in SIGNALS:  # a terminal and the script that waits may both send one
            signal.signal(each, lambda number, frame: None)
        raise Stopped(number)

    for each in SIGNALS:
        signal.signal(each, stop)


class Processes:
    """The running children, each with all that it starts in a process group of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen] = set()
        self._stopping = False

    def check(self) -> None:
        """Raise :class:`Stopped` if no more may be started."""
        if self._stopping:
            raise Stopped

    def start(self, command: Sequence[str], **options: Any) -> subprocess.Popen:
        """Start a command; ``options`` are those of :class:`subprocess.Popen`.

        Raises:
            OfaMiError: There is no such program.
            Stopped: This process is about to end.
        """
        with self._lock:
            self.check()
            try:
                process = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0, **options)
            except (FileNotFoundError, PermissionError) as error:
                raise OfaMiError(f"{command[0]} cannot be run: {error.strerror}") from None
            self._running.add(process)
        return process

    def wait(self, process: subprocess.Popen) -> int:
        """Wait for a child; its exit status, or minus the signal that ended it.

        Raises:
            Stopped: This process is about to end, which is why the child has.
        """
        status = process.wait()
        with self._lock:
            self._running.discard(process)
        self.check()
        return status

    def end(self, processes: Sequence[subprocess.Popen]) -> None:
        """Ask some children, and what they have started, to end, and wait until they have.

        A launcher needs the time: it ends its workers, which are in groups of their own.
        """
        for process in processes:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
        for process in processes:
            process.wait()

    def stop(self) -> None:
        """End all children and start no more."""
        with self._lock:
            self._stopping = True
            running = list(self._running)
        self.end(running)


def run_jobs(jobs: Sequence[Callable[[], None]], at_once: int) -> None:
    """Run jobs, ``at_once`` of them at the same time. After a failure those that run go on and no other is started.

    Raises:
        OfaMiError: One has failed. If there are others at the same time, its own error has been printed already.
    """
    waiting, errors = deque(jobs), []
    together = min(at_once, len(waiting)) > 1

    def work() -> None:
        while not errors:
            try:
                job = waiting.popleft()
            except IndexError:
                return
            try:
                job()
            except BaseException as error:  # which ends a thread in silence
                errors.append(error)
                if together and isinstance(error, OfaMiError):
                    say(f"error: {error}")

    # Daemons: what stops this process must not wait for a thread that reads the output of a child.
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(at_once, len(waiting)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(PAUSE)  # a signal that comes just before a wait does not end it
    for error in errors:
        if not together or not isinstance(error, OfaMiError):
            raise error
    if errors:
        raise OfaMiError(f"something failed, see above; {AGAIN}")
