"""Numbers about the instances of a task, counted part by part and added up.

Everything is a histogram or a bounded tally, so that memory does not grow with the number of instances.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from ofa_mi.instances.doubts import repeats
from ofa_mi.instances.instance import Instance, Text, plain, text_of
from ofa_mi.instructions.spec import TaskSpec

MAX_ANSWERS = 1000  # different answers of a task that are told apart
MAX_LABELS = 100  # different options of a task up to which they are labels
LABEL_USES = 10  # times that a label is offered on average; otherwise a few instances would look like fixed labels
QUANTILES = (0.5, 0.9, 0.99)


class Tally:
    """Counts of strings, given up as soon as there are more different ones than ``limit``.

    Attributes:
        counts: How often each string came; None once there are too many.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.counts: Counter[str] | None = Counter()

    def add(self, values: Iterable[str]) -> None:
        """Count strings."""
        if self.counts is not None:
            self.counts.update(values)
            self._bound()

    def merge(self, other: Tally) -> None:
        """Add another tally with the same limit; the result does not depend on the order."""
        if self.counts is None or other.counts is None:
            self.counts = None
        else:
            self.counts.update(other.counts)
            self._bound()

    def _bound(self) -> None:
        if len(self.counts) > self.limit:
            self.counts = None


@dataclass(slots=True)
class TaskCounts:
    """What is counted of the instances of one task in one file.

    Attributes:
        instances: Their number.
        text_only: Those without an image.
        source: Number of instances by tokens of their source fields.
        target: Number of instances by tokens of their target.
        options: Number of instances by number of options.
        positions: Number of right options by (number of options, place among them from 0).
        answers: Answers as text, or the right options where the answer is a set.
        repeating: Instances whose references repeat the right answer or each other.
        offered: Options as text; given up where one of them is a region or there are too many.
        chosen: Number of instances by size of the set that is the answer.
    """

    instances: int = 0
    text_only: int = 0
    source: Counter[int] = field(default_factory=Counter)
    target: Counter[int] = field(default_factory=Counter)
    options: Counter[int] = field(default_factory=Counter)
    positions: Counter[tuple[int, int]] = field(default_factory=Counter)
    repeating: int = 0
    answers: Tally = field(default_factory=lambda: Tally(MAX_ANSWERS))
    offered: Tally = field(default_factory=lambda: Tally(MAX_LABELS))
    chosen: Counter[int] = field(default_factory=Counter)

    def add(self, instance: Instance, spec: TaskSpec | None, source: int, target: int) -> None:
        """Count an instance.

        Args:
            instance: The instance.
            spec: Its task; None if nobody knows it.
            source: Tokens of its source fields.
            target: Tokens of its target.
        """
        self.instances += 1
        self.text_only += instance.image_path is None
        self.repeating += repeats((text_of(instance.target), *instance.references))
        self.source[source] += 1
        self.target[target] += 1
        output = spec.output if spec else "text"
        if output in ("option", "options") and instance.options:
            self._add_options(instance)
        if instance.target_set is not None:
            self.chosen[len(instance.target_set)] += 1
        if output not in ("region", "regions", "labeled_regions"):
            self.answers.add(plain(answer) for answer in right_answers(instance))

    def _add_options(self, instance: Instance) -> None:
        options = instance.options
        self.options[len(options)] += 1
        for answer in right_answers(instance):
            if answer in options:
                self.positions[len(options), options.index(answer)] += 1
        if self.offered.counts is not None:
            if any(is_region(option) for option in options):
                self.offered.counts = None
            else:
                self.offered.add(map(plain, options))

    def merge(self, other: TaskCounts) -> None:
        """Add what was counted in another part of the file."""
        for entry in fields(self):
            mine, theirs = getattr(self, entry.name), getattr(other, entry.name)
            if isinstance(mine, int):
                setattr(self, entry.name, mine + theirs)
            elif isinstance(mine, Counter):
                mine.update(theirs)
            else:
                mine.merge(theirs)

    def labels(self) -> dict[str, tuple[int, int]] | None:
        """Times right and times offered by label, if the options are fixed labels; else None."""
        offered, answers = self.offered.counts, self.answers.counts
        if not offered or answers is None or sum(offered.values()) < LABEL_USES * len(offered):
            return None
        return {label: (answers[label], offered[label]) for label in sorted(offered)}

    def record(self) -> dict[str, Any]:
        """The numbers as JSON values."""
        record: dict[str, Any] = {
            "instances": self.instances,
            "text_only": self.text_only,
            "source_tokens": quantiles(self.source),
            "target_tokens": quantiles(self.target),
        }
        if self.options:
            record["options"] = {str(number): count for number, count in sorted(self.options.items())}
            record["answer_positions"] = {
                str(number): [self.positions[number, place] for place in range(number)]
                for number in sorted(self.options)
            }
            if (labels := self.labels()) is not None:
                record["labels"] = {label: {"right": r, "offered": o} for label, (r, o) in labels.items()}
        if self.chosen:
            record["set_sizes"] = {str(size): count for size, count in sorted(self.chosen.items())}
        answers = self.answers.counts
        if answers is None:
            record["answers"] = {"different": None, "more_than": MAX_ANSWERS}
        elif answers:
            commonest = sorted(answers.items(), key=lambda item: (-item[1], item[0]))[:10]
            record["answers"] = {"different": len(answers), "commonest": dict(commonest)}
        return record


def right_answers(instance: Instance) -> tuple[Text, ...]:
    """The answer, or the options that make it up where it is a set."""
    return (instance.target,) if instance.target_set is None else instance.target_set


def is_region(option: Text) -> bool:
    """Whether an option is one box and nothing else."""
    return len(option) == 1 and not isinstance(option[0], str)


def quantiles(histogram: Counter[int]) -> dict[str, float]:
    """Mean, quantiles (the smallest value that so large a share does not exceed) and maximum; empty for no values."""
    total = sum(histogram.values())
    if not total:
        return {}
    result = {"mean": round(sum(value * count for value, count in histogram.items()) / total, 2)}
    wanted = list(QUANTILES)
    seen = 0
    for value in sorted(histogram):
        seen += histogram[value]
        while wanted and seen >= wanted[0] * total:
            result[f"p{wanted.pop(0) * 100:.0f}"] = value
    return {**result, "max": max(histogram)}
