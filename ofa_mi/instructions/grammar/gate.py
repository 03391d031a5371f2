"""The gate to training: an instruction beside the protocol's five must pass the linter, and be like no other one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ofa_mi.errors import ConfigError, shown
from ofa_mi.instructions.likeness import Index, order, shared_words, words
from ofa_mi.instructions.lint import MAX_ORDER_ACROSS, MAX_SHARED_ACROSS, faults
from ofa_mi.instructions.spec import ENGLISH, REWORDED, TaskSpec, split_template, suggestion

# Of two instructions of one task; both together are too much. The linter's rule for the protocol's five, either of 0.4
# and 0.45, leaves no room for hundreds: the words of one task are few.
MAX_SHARED, MAX_ORDER = 0.7, 0.75
LEAST_SHARED = 0.4  # below it nothing counts as alike for anybody who asks the gate
_PROTOCOL = (ENGLISH, ENGLISH + REWORDED)  # languages whose instructions an evaluation may ask


@dataclass(frozen=True)
class Refusal:
    """Why an instruction is not let in.

    Attributes:
        kind: One of :data:`KINDS`, for counting.
        reason: What is wrong, for people.
    """

    kind: str
    reason: str


KINDS = ("unknown task", "no training task", "placeholders", "form or answer", "alike", "alike another task's")


class Gate:
    """What has been let in so far, beside the instructions of all tasks that an evaluation may ask.

    Args:
        tasks: All tasks by name, in English with their translations.
    """

    def __init__(self, tasks: Mapping[str, TaskSpec]) -> None:
        self.tasks = tasks
        self._own = {name: _Collection(LEAST_SHARED) for name in tasks}
        self._all = _Collection(MAX_SHARED_ACROSS)
        for spec in tasks.values():
            if not spec.own_instruction:
                for language in _PROTOCOL:
                    if language in spec.languages:
                        translated = spec.in_language(language)
                        for name, text in zip(translated.instruction_ids, translated.instructions, strict=True):
                            self.let_in(spec.name, name, text)

    def refusal(self, task: str, text: str, *, shared: float = MAX_SHARED) -> Refusal | None:
        """Why an instruction cannot be let in; None if it can.

        Args:
            task: Name of its task.
            text: The instruction.
            shared: Share of words from which on it is too much like another one of its task, at least
                :data:`LEAST_SHARED`, if the order of words is like that one's, too.
        """
        if (found := self.refusal_of_task(task)) is not None:
            return found
        if not text.isprintable():
            return Refusal("form or answer", "has characters that cannot be printed")
        spec = self.tasks[task]
        try:
            used = split_template(text)[1::2]
        except ConfigError as error:
            return Refusal("placeholders", str(error))
        if sorted(used) != sorted(spec.inputs):
            wanted = " ".join(f"{{{name}}}" for name in spec.inputs) or "no input"
            return Refusal("placeholders", f"must use each input once and nothing else: {wanted}")
        if (found := self._alike(task, text, shared)) is not None:  # most often, and soonest, found
            return found
        if wrong := "; ".join(faults(spec, text)):
            return Refusal("form or answer", wrong)
        return None

    def let_in(self, task: str, name: str, text: str) -> None:
        """Add an instruction that has been found good; ``name`` is what refusals of others call it."""
        said = words(text)
        self._own[task].add(task, name, said)
        self._all.add(task, name, said)

    def refusal_of_task(self, task: str) -> Refusal | None:
        """Why a task cannot have generated instructions; None if it can."""
        if task not in self.tasks:
            close = suggestion(task, self.tasks)
            return Refusal("unknown task", f"there is no task {shown(task)}{close}; `ofa-mi tasks` lists them")
        spec = self.tasks[task]
        if spec.split != "train":
            return Refusal("no training task", f"{task} is held out; generated instructions are for training only")
        if spec.own_instruction:
            return Refusal("no training task", f"the instances of {task} bring their own instruction")
        return None

    def _alike(self, task: str, text: str, shared: float) -> Refusal | None:
        said = words(text)
        least_order = round(shared + MAX_ORDER - MAX_SHARED, 6)
        for _, name, share, ratio in self._own[task].like(said, shared):
            if share >= shared and ratio() >= least_order:
                return Refusal("alike", f"is nearly {name}: {share:.0%} of the words, {ratio():.0%} in order")
        for owner, name, share, ratio in self._all.like(said, MAX_SHARED_ACROSS):
            if owner != task and share > MAX_SHARED_ACROSS and ratio() > MAX_ORDER_ACROSS:
                return Refusal("alike another task's", f"is nearly {name}")
        return None


class _Collection:
    """Instructions with their names and tasks."""

    def __init__(self, least: float) -> None:
        self._index, self._entries = Index(least), []

    def add(self, task: str, name: str, said: tuple[str, ...]) -> None:
        self._index.add(said)
        self._entries.append((task, name, said))

    def like(self, said: tuple[str, ...], least: float) -> Iterator[tuple[str, str, float, Callable[[], float]]]:
        """Task, name, share of words and a function for the likeness of order of each that may be alike."""
        for place in self._index.perhaps_shared(said):
            task, name, other = self._entries[place]
            if (share := shared_words(other, said)) >= least:
                yield task, name, share, lambda other=other: order(other, said)
