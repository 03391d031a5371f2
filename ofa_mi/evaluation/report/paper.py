"""The paper's rows, as they stand beside a report's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ofa_mi.evaluation import published
from ofa_mi.evaluation.protocol import TaskScores, aggregated, sensitivity_report

PAPER = "paper, OFA-large"
NATURAL_INSTRUCTIONS = "natural_instructions_test"
COMMONSENSE = ("commonsense_vqa", "accuracy")  # a column of the paper's table that counts for no total


@dataclass(frozen=True)
class PaperRow:
    """A row of the paper's tables.

    Attributes:
        cells: By task and metric.
        aggregated: Over the nine tasks, and Natural Instructions where it was evaluated.
        sensitivity: Over the tasks with a deviation; None without one.
    """

    cells: Mapping[tuple[str, str], TaskScores]
    aggregated: float
    sensitivity: float | None

    @classmethod
    def of(cls, name: str) -> PaperRow:
        """The row of a strategy of :data:`published.MODELS`."""
        tasks = published.MODELS[name]
        cells = {(task, published.TASKS[task]): scores for task, scores in tasks.items()}
        cells[COMMONSENSE] = published.COMMONSENSE_ACCURACY[name]
        means = {task: scores.mean for task, scores in tasks.items()}
        if name in published.NATURAL_INSTRUCTIONS:
            means[NATURAL_INSTRUCTIONS] = published.NATURAL_INSTRUCTIONS[name]
            cells[NATURAL_INSTRUCTIONS, "rouge_l"] = TaskScores(means[NATURAL_INSTRUCTIONS], None)
        report = sensitivity_report(tasks)
        return cls(cells, aggregated(means), report.value if report.tasks else None)


def paper_rows(wanted: bool) -> dict[str, PaperRow]:
    """The paper's rows by strategy; none if they are not wanted."""
    return {name: PaperRow.of(name) for name in published.MODELS} if wanted else {}
