"""What a script hands over: its jobs, each a sequence of steps, as one list of words."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from ofa_mi.errors import ConfigError
from ofa_mi.experiments.needs import evaluation_needs, training_needs
from ofa_mi.experiments.steps import Command, Evaluation, Run, Shell, Training

Step: TypeAlias = Shell | Training | Evaluation
PLAIN = re.compile(r"[A-Za-z0-9_./:=,+@%-]+")  # words that a shell takes as they are


def read_plan(words: Sequence[str]) -> list[list[Step]]:
    """The jobs of a plan.

    Args:
        words: Groups of words, each after the number of its words. A group ``job`` begins a job. A step is

            - ``command WORD…``;
            - ``training FOLDER LABEL END DATA VOCABULARY START BATCH_SIZE UPDATE_FREQ``, followed by two groups: the
              arguments that its results depend on, and those that they do not;
            - ``evaluation FOLDER LABEL RUN DATA CHECKPOINT ORIGIN``, followed by the same two groups.

            A step that follows no ``job`` is a job.

    Raises:
        ConfigError: It is none.
    """
    jobs: list[list[Step]] = []
    groups = _groups(words)
    for kind, *fields in groups:
        if kind == "job":
            jobs.append([])
            continue
        if not jobs:
            jobs.append([])
        try:
            jobs[-1].append(_step(kind, fields, groups))
        except (IndexError, StopIteration, TypeError, ValueError):
            raise ConfigError(f"no plan of jobs: {kind} {' '.join(fields)}") from None
    return jobs


def _groups(words: Sequence[str]) -> Iterator[list[str]]:
    rest = iter(words)
    for number in rest:
        if not number.isdecimal() or number == "0":
            raise ConfigError(f"no plan of jobs: {number} is no number of words")
        group = [word for _, word in zip(range(int(number)), rest, strict=False)]
        if len(group) < int(number):
            raise ConfigError("no plan of jobs: it is cut off")
        yield group


def _step(kind: str, fields: Sequence[str], groups: Iterator[list[str]]) -> Step:
    if kind == "command":
        return Shell(list(fields))
    if kind == "training":
        folder, label, end, data, vocabulary, start, batch_size, update_freq = fields
        needs = training_needs(data, vocabulary, start)
        return Training(Path(folder), label, end, int(batch_size), int(update_freq), needs, next(groups), next(groups))
    if kind == "evaluation":
        folder, label, run, data, checkpoint, origin = fields
        needs = evaluation_needs(data, checkpoint, origin)
        return Evaluation(Path(folder), label, run, checkpoint, needs, next(groups), next(groups))
    raise ValueError(kind)


def quoted(command: Command) -> str:
    """A command as a line that can be pasted into a shell."""
    return " ".join(word if PLAIN.fullmatch(word) else "'{}'".format(word.replace("'", r"'\''")) for word in command)


def run_job(steps: Sequence[Step], run: Run) -> None:
    """Run the steps of a job in order; a dry run prints the commands of trainings and evaluations instead."""
    for step in steps:
        if run.dry_run and not isinstance(step, Shell):
            print(*map(quoted, step.commands(run.machine)), sep="\n", flush=True)
        else:
            step.run(run)
