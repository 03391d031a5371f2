"""Steps of an experiment: a training, an evaluation, or any command."""

import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import IO, NamedTuple

from ofa_mi.errors import OfaMiError
from ofa_mi.experiments.folders import PAUSE, is_finished, keep_settings, locked, settings_text
from ofa_mi.experiments.logs import last_error, progress_line, say, size_of
from ofa_mi.experiments.needs import Needs, check_needs
from ofa_mi.experiments.processes import AGAIN, Processes
from ofa_mi.packaged import parts_of

Command = list[str]


class Machine(NamedTuple):
    """This node among all that share the work."""

    gpus: int  # of each node; 0: the CPU
    local: int  # processes of this node
    nodes: int
    rank: int  # of this node
    master: str  # host and port of node 0, for several nodes
    port: int

    @property
    def processes(self) -> int:
        """Processes of all nodes."""
        return self.local * self.nodes


class Run(NamedTuple):
    """What all steps of a script share."""

    machine: Machine
    out: str  # the folder OUT
    alone: bool  # nothing else writes to the terminal meanwhile
    dry_run: bool
    processes: Processes


class Shell(NamedTuple):
    """A command that speaks for itself, such as another script."""

    words: Command

    def run(self, run: Run) -> None:
        """Run it to its end, with this process's own output."""
        if run.processes.wait(run.processes.start(self.words)) != 0:
            raise OfaMiError(f"{self.words[-1]} failed, see above; {AGAIN}")


class Training(NamedTuple):
    """One training into a folder: skipped when finished, resumed when not."""

    folder: Path
    label: str  # of its lines, e.g. "MultiInstruct, seed 1"
    end: str  # what is said of a finished one: "already END"
    batch_size: int  # instances per process and step
    update_freq: int  # steps per update
    needs: Needs
    recipe: Command  # arguments that its results depend on
    how: Command  # those that they do not depend on

    def commands(self, machine: Machine) -> list[Command]:
        """The command of this node."""
        before, after = launch(machine)
        batch = ["--batch-size", str(self.batch_size), "--update-freq", str(self.update_freq)]
        return [[*before, *self.recipe, *batch, *self.how, *after]]

    def run(self, run: Run) -> None:
        """Train, unless it is done."""
        first = run.machine.rank == 0
        with locked(self.folder, run.processes.check) if first else nullcontext() as lock:
            effective = str(self.batch_size * self.update_freq * run.machine.processes)
            settings = settings_text([*self.recipe, "--effective-batch", effective], run.out)
            if prepare(self.folder, "done", settings, self.needs, run.machine):
                say(f"{self.label}: already {self.end}")
                return
            log = self.folder / ("train.log" if first else f"train.node{run.machine.rank}.log")
            say(f"{self.label}: training; log in {log}")
            self._train(run, log, lock)
            if first:
                (self.folder / "done").touch()

    def _train(self, run: Run, log: Path, lock: IO | None) -> None:
        (command,), start = self.commands(run.machine), size_of(log)
        process = run.processes.start(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=descriptors(lock)
        )
        try:
            self._read(process, log)
            status = run.processes.wait(process)
        finally:
            run.processes.end([process])  # where its log cannot be written
        if status != 0:
            raise stopped(self.label, log, start, status)

    def _read(self, process: subprocess.Popen, log: Path) -> None:
        assert process.stdout is not None, "it is a pipe"
        updates = updates_of(self.recipe)
        with open(log, "ab", buffering=0) as file:
            for line in process.stdout:
                file.write(line)
                if (text := progress_line(line.decode("utf-8", errors="replace"), updates)) is not None:
                    say(f"{self.label}: {text}")


class Evaluation(NamedTuple):
    """One evaluation into a folder, shared by the processes of all nodes: skipped when finished, resumed when not."""

    folder: Path
    label: str
    what: str  # name of the run, e.g. "zero_shot"; empty if there is one only
    checkpoint: str
    needs: Needs
    command: Command  # with all that its results depend on
    how: Command

    def commands(self, machine: Machine) -> list[Command]:
        """The commands of this node, one for each process."""
        return [[*self.command, *self.how, *part_options(machine, part)] for part in range(machine.local)]

    def run(self, run: Run) -> None:
        """Evaluate, unless it is done."""
        with locked(self.folder, run.processes.check) if run.machine.rank == 0 else nullcontext() as lock:
            scores, settings = self.folder / "scores.json", settings_text(self.command, run.out)
            if prepare(self.folder, scores.name, settings, self.needs, run.machine):
                if newer := [part for part in parts_of(self.checkpoint) if is_newer(Path(part), scores)]:
                    raise OfaMiError(f"{self.folder} is older than {newer[0]}: remove it")
                say(f"{self.label}: {self.what} already evaluated".replace("  ", " "))
                return
            say(f"{self.label}: evaluating {self.what}".rstrip())
            self._evaluate(run, lock)
            while not scores.is_file():  # the last process of all nodes writes it
                run.processes.check()
                time.sleep(PAUSE)
            say(f"{self.label}: evaluated {self.what}".rstrip())

    def _evaluate(self, run: Run, lock: IO | None) -> None:
        commands, first = self.commands(run.machine), run.machine.rank * run.machine.local
        logs = [self.folder / f"evaluate.part{first + part}.log" for part in range(len(commands))]
        if run.machine.processes == 1:
            logs = [self.folder / "evaluate.log"]
        parts: list[subprocess.Popen] = []
        try:
            for command, log in zip(commands, logs, strict=True):
                parts.append(self._start(run, command, log, lock))
            for process, log in zip(parts, logs, strict=True):
                if (status := run.processes.wait(process)) != 0:
                    raise stopped(f"{self.label}: {self.what}".removesuffix(": "), log, 0, status)
        finally:
            run.processes.end(parts)  # where one has failed; the answers of the others are kept

    @staticmethod
    def _start(run: Run, command: Command, log: Path, lock: IO | None) -> subprocess.Popen:
        shown = run.alone and run.machine.processes == 1
        with open(log, "wb", buffering=0) as file:
            output = subprocess.PIPE if shown else file
            process = run.processes.start(command, stdout=output, stderr=subprocess.STDOUT, pass_fds=descriptors(lock))
            for line in process.stdout or ():
                file.write(line)
                sys.stderr.write(line.decode("utf-8", errors="replace"))
        return process


def launch(machine: Machine) -> tuple[Command, Command]:
    """The words that start the processes of a training on this node, before and after its arguments."""
    train = ["-m", "ofa_mi.cli", "train"]
    cpu = [] if machine.gpus else ["--cpu"]
    if machine.nodes > 1:
        nodes = ["torchrun", "--nnodes", str(machine.nodes), "--node-rank", str(machine.rank)]
        nodes += ["--nproc-per-node", str(machine.gpus), "--master-addr", machine.master]
        return [*nodes, "--master-port", str(machine.port), *train], []
    if machine.local > 1:
        return ["torchrun", "--standalone", "--nproc-per-node", str(machine.local), *train], cpu
    # fairseq would start a process on every GPU that it sees.
    return ["ofa-mi", "train"], ["--distributed-world-size", "1", *cpu]


def part_options(machine: Machine, part: int) -> Command:
    """How a process of this node takes its share of an evaluation."""
    options = []
    if machine.gpus == 0:
        options += ["--device", "cpu"]
    elif machine.processes > 1:
        options += ["--device", f"cuda:{part}"]
    if machine.processes > 1:
        options += ["--shard", f"{machine.rank * machine.local + part}/{machine.processes}"]
    return options


def prepare(folder: Path, mark: str, settings: str, needs: Needs, machine: Machine) -> bool:
    """Whether a folder is finished; if it is not, see to it that the work on it can begin.

    Raises:
        OfaMiError: It was made with other settings, or something that it needs is not there.
    """
    finished = is_finished(folder, mark, settings)
    if not finished:
        check_needs(needs)
    folder.mkdir(parents=True, exist_ok=True)
    if machine.rank == 0:
        keep_settings(folder, settings)
    return finished


def updates_of(recipe: Sequence[str]) -> int:
    """The updates of a training by its arguments, of which the last counts; 0: as many as its epochs have."""
    given = [value for name, value in pairwise(recipe) if name == "--max-update"]
    return int(given[-1]) if given and given[-1].isdecimal() else 0


def is_newer(path: Path, than: Path) -> bool:
    """Whether a file exists and was changed after another one."""
    return path.exists() and path.stat().st_mtime_ns > than.stat().st_mtime_ns


def descriptors(lock: IO | None) -> tuple[int, ...]:
    """What a child inherits, so that a folder stays locked as long as somebody works on it."""
    return () if lock is None else (lock.fileno(),)


def stopped(what: str, log: Path, start: int, status: int) -> OfaMiError:
    """The error of a command that has failed."""
    cause = last_error(log, start) or f"no error in its output, exit status {status}"
    return OfaMiError(f"{what} stopped: {cause} ({log}); {AGAIN}")
