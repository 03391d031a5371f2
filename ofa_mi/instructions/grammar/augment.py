"""Generated instructions of many tasks, and what the gate refuses of a file from elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ofa_mi.errors import ConfigError
from ofa_mi.instructions.grammar.files import Line
from ofa_mi.instructions.grammar.gate import LEAST_SHARED, MAX_SHARED, Gate, Refusal
from ofa_mi.instructions.grammar.phrases import Phrases, check_inputs, phrases_of
from ofa_mi.instructions.grammar.sentences import Draw, Sentences
from ofa_mi.instructions.spec import TaskSpec

ORIGIN = "grammar"
# A task's first instructions are as different from each other as its grammar allows: one may share so many words with
# those before it; when so many draws in a row were in vain, the next higher share.
SHARES = (LEAST_SHARED, 0.5, 0.6, MAX_SHARED)
PATIENCE = (50, 50, 200, 5000)


@dataclass
class Augmented:
    """What has been made.

    Attributes:
        lines: The instructions, a task's in the order in which they were drawn.
        refused: What the gate refused, with the place of each in its file and the reason. Draws of the grammar are
            counted only.
        drawn: Draws of the grammar.
        refusals: Numbers of refusals by kind.
    """

    lines: list[Line] = field(default_factory=list)
    refused: list[tuple[str, Line, Refusal]] = field(default_factory=list)
    drawn: int = 0
    refusals: Counter[str] = field(default_factory=Counter)


class Writer:
    """Draws the instructions of one task, one after the other, always the same for a seed.

    Args:
        spec: The task.
        phrases: How it may be put into words.
        gate: What the instructions must pass.
        seed: Another one draws other instructions.
    """

    def __init__(self, spec: TaskSpec, phrases: Phrases, gate: Gate, seed: int) -> None:
        check_inputs(spec, phrases)
        self.spec, self.gate = spec, gate
        self._sentences = Sentences(spec, phrases)
        self._draw = Draw(f"{seed}/{spec.name}")
        self._turn, self._level, self._in_vain = 0, 0, 0
        self.made: list[str] = []
        self.refusals: Counter[str] = Counter()

    def next(self) -> str | None:
        """The next instruction; None if the grammar does not have a further one that is different enough."""
        kinds = self._sentences.kinds
        while self._level < len(SHARES):
            text = self._sentences.compose(kinds[self._turn % len(kinds)], self._draw)
            self._turn += 1
            refusal = None if text is None else self._refusal(text)
            if text is not None and refusal is None:
                self.made.append(text)
                self._in_vain = 0
                return text
            self._in_vain += 1
            if self._in_vain == PATIENCE[self._level]:
                self._level, self._in_vain = self._level + 1, 0
        return None

    def _refusal(self, text: str) -> Refusal | None:
        refusal = self.gate.refusal(self.spec.name, text, shared=SHARES[self._level])
        if refusal is None:
            self.gate.let_in(self.spec.name, f"generated instruction {len(self.made) + 1} of {self.spec.name}", text)
        else:
            self.refusals[refusal.kind] += 1
        return refusal


def generate(
    tasks: Mapping[str, TaskSpec], chosen: Sequence[str], table: Mapping[str, Phrases], *, per_task: int, seed: int = 1
) -> Augmented:
    """Let the grammar write so many instructions for each of the chosen tasks.

    The tasks take turns, one instruction each, since all must be unlike those of the others. A larger ``per_task``
    therefore only adds: for the same tasks and seed the first ones stay the same.

    Raises:
        ConfigError: A task is held out, brings its own instructions, or its grammar does not have so many.
    """
    gate = Gate(tasks)
    for name in chosen:
        if (found := gate.refusal_of_task(name)) is not None:
            raise ConfigError(f"{found.reason}; leave it out with --exclude-tasks")
    writers = [Writer(tasks[name], phrases_of(tasks[name], table), gate, seed) for name in chosen]
    for _ in range(per_task):
        for writer in writers:
            if writer.next() is None:
                raise ConfigError(
                    f"task {writer.spec.name}: the grammar has {len(writer.made)} instructions that differ enough, not "
                    f"{per_task}; ask for fewer, give it more phrases (--phrases), or leave it out (--exclude-tasks)"
                )
    lines = [Line(writer.spec.name, text, ORIGIN) for writer in writers for text in writer.made]
    refusals = sum((writer.refusals for writer in writers), Counter())
    return Augmented(lines, drawn=len(lines) + refusals.total(), refusals=refusals)


def admit(tasks: Mapping[str, TaskSpec], lines: Iterable[tuple[str, Line]], origin: str) -> Augmented:
    """Let the instructions of a file from elsewhere pass the gate, in their order.

    Args:
        tasks: All tasks by name.
        lines: The lines with their places.
        origin: What the file is called, for lines that do not say where they come from.
    """
    gate, result = Gate(tasks), Augmented()
    for where, line in lines:
        refusal = gate.refusal(line.task, line.instruction)
        if refusal is None:
            gate.let_in(line.task, where, line.instruction)
            result.lines.append(Line(line.task, line.instruction, line.origin or origin))
        else:
            result.refused.append((where, line, refusal))
            result.refusals[refusal.kind] += 1
    return result
