"""Published zero-shot results as data, to check arithmetic and to compare with.

They are the paper's (arXiv 2212.10773 v3), and those of InstrAug (arXiv 2402.14492), which trained OFA-large on
MultiInstruct anew, on two sizes of the data, and with instructions that it generated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ofa_mi.evaluation.scoring.protocol import TaskScores, aggregated, sensitivity_report

PAPER = "paper, OFA-large"
INSTRAUG = "InstrAug, OFA-large"
NATURAL_INSTRUCTIONS_TASK = "natural_instructions_test"
COMMONSENSE = ("commonsense_vqa", "accuracy")  # a column of the paper's table that counts for no total

# The nine evaluation tasks with the metric of the table. Commonsense VQA is counted by ROUGE-L;
# its accuracy, COMMONSENSE_ACCURACY below, enters neither aggregated performance nor sensitivity.
TASKS = {
    "commonsense_vqa": "rouge_l",
    "visual_entailment": "accuracy",
    "visual_spatial_reasoning": "accuracy",
    "nlvr": "accuracy",
    "text_vqa": "rouge_l",
    "grounded_vqa": "region_accuracy",
    "visual_text_extraction": "rouge_l",
    "visual_dialogue": "rouge_l",
    "disaster_type_classification": "accuracy",
}


def _row(*cells: tuple[float, ...]) -> dict[str, TaskScores]:
    """A row of cells ``(max, mean, deviation)``, or ``(score,)`` for a single prompt."""
    summaries = [TaskScores(cell[1], cell[2], cell[0]) if len(cell) == 3 else TaskScores.of(cell) for cell in cells]
    return dict(zip(TASKS, summaries, strict=True))


# fmt: off
MODELS: dict[str, dict[str, TaskScores]] = {
    "OFA": _row(
        (17.93, 14.97, 4.30), (49.99, 41.86, 10.99), (54.99, 35.29, 22.21), (56.06, 52.10, 3.35), (15.21, 9.30, 5.42),
        (0.02, 0.00, 0.01), (36.31, 17.62, 16.82), (45.46, 28.71, 9.81), (14.30, 9.64, 4.34),
    ),
    "TaskName": _row(
        (48.99,), (55.70,), (53.76,), (55.35,), (23.80,), (0.00,), (36.30,), (25.18,), (62.65,),
    ),
    "MultiInstruct": _row(
        (52.01, 50.60, 1.12), (55.96, 55.06, 0.76), (55.81, 53.90, 1.38), (56.97, 56.18, 0.95), (27.22, 26.46, 0.83),
        (64.32, 47.22, 23.08), (74.35, 62.43, 11.56), (46.38, 32.91, 7.59), (64.88, 56.00, 12.96),
    ),
    "NaturalInstruct": _row(
        (27.15, 14.99, 9.12), (33.28, 14.86, 16.68), (51.44, 36.44, 20.72), (56.06, 35.98, 21.64), (5.59, 5.40, 0.24),
        (0.00, 0.00, 0.00), (5.65, 1.24, 2.48), (30.94, 27.91, 2.16), (56.64, 38.21, 15.35),
    ),
    "MixedInstruct": _row(
        (50.40, 49.34, 1.04), (54.63, 53.74, 0.97), (55.13, 52.61, 1.64), (56.67, 55.96, 0.48), (24.15, 23.67, 0.47),
        (63.79, 54.99, 18.16), (62.43, 46.56, 14.92), (46.08, 38.02, 5.25), (68.31, 64.31, 2.39),
    ),
    "SeqInstruct": _row(
        (50.93, 50.07, 1.07), (53.66, 52.98, 0.56), (54.86, 53.11, 1.45), (57.58, 56.63, 0.66), (27.03, 26.67, 0.47),
        (64.19, 54.46, 15.96), (71.63, 60.62, 12.31), (46.17, 35.10, 6.92), (64.46, 57.89, 9.51),
    ),
}
# fmt: on

COMMONSENSE_ACCURACY: dict[str, TaskScores] = {
    "OFA": TaskScores(0.40, 0.29, 0.73),
    "TaskName": TaskScores(29.01, None, 29.01),
    "MultiInstruct": TaskScores(31.17, 1.59, 33.01),
    "NaturalInstruct": TaskScores(2.04, 3.01, 7.35),
    "MixedInstruct": TaskScores(30.27, 0.94, 31.31),
    "SeqInstruct": TaskScores(31.23, 1.09, 32.28),
}

# ROUGE-L over the test tasks of Natural Instructions, the tenth entry of aggregated performance.
NATURAL_INSTRUCTIONS = {
    "OFA": 2.25,
    "MultiInstruct": 12.18,
    "NaturalInstruct": 43.61,
    "MixedInstruct": 43.32,
    "SeqInstruct": 30.79,
}

AGGREGATED = {"MultiInstruct": 45.29, "MixedInstruct": 48.25, "SeqInstruct": 47.83}
SENSITIVITY = {"MultiInstruct": 13.84, "MixedInstruct": 10.27}

# Aggregated performance and sensitivity by the number of instructions of a training task, and by the groups of tasks
# trained on, which are added in this order; "+ text-only" is Natural Instructions, which the paper calls NLP.
ABLATIONS: dict[str, dict[str, tuple[float, float]]] = {
    "num_instructions": {"1": (42.81, 24.62), "5": (47.82, 10.45)},
    "task_groups": {
        "image understanding": (20.97, 40.57),
        "+ grounding": (38.79, 23.06),
        "+ matching, miscellaneous": (43.81, 17.87),
        "+ relationship": (43.85, 18.01),
        "+ region": (45.28, 13.83),
        "+ text-only": (48.24, 10.26),
    },
}

# Table 1 of InstrAug: means over five written instructions. Commonsense VQA is counted by accuracy, so that its
# averages are none of the paper's aggregated performance.
INSTRAUG_TASKS = (
    ("visual_text_extraction", "rouge_l"),
    ("text_vqa", "rouge_l"),
    ("visual_dialogue", "rouge_l"),
    COMMONSENSE,
    ("disaster_type_classification", "accuracy"),
    ("grounded_vqa", "region_accuracy"),
    ("visual_entailment", "accuracy"),
    ("visual_spatial_reasoning", "accuracy"),
    ("nlvr", "accuracy"),
)
INSTRAUG_MEANS: dict[str, tuple[float, ...]] = {
    "OFA": (14.97, 10.79, 29.75, 0.64, 4.96, 0.00, 43.65, 52.03, 53.98),
    "MultiInstruct, 59 K": (29.44, 20.75, 35.14, 23.24, 49.28, 20.48, 54.22, 56.27, 62.60),
    "MultiInstruct, 59 K, augmented": (35.33, 21.52, 35.55, 22.70, 54.94, 20.63, 54.24, 67.48, 69.64),
    "MultiInstruct, 564 K": (41.33, 24.49, 36.18, 26.84, 47.68, 49.25, 50.74, 63.96, 54.52),
    "MultiInstruct, 564 K, augmented": (45.43, 24.62, 34.98, 29.16, 51.06, 49.64, 52.76, 66.74, 54.70),
    "MultiInstruct, 564 K, augmented, best variant": (51.71, 24.55, 35.08, 27.52, 52.24, 56.12, 53.06, 66.72, 55.74),
}
# As printed. The last two cannot be computed from the cells, whose means are 45.45 and 46.97.
INSTRAUG_AVERAGES = dict(zip(INSTRAUG_MEANS, (23.42, 39.05, 42.45, 43.89, 44.92, 46.78), strict=True))


@dataclass(frozen=True)
class PaperRow:
    """A row of published results.

    Attributes:
        cells: By task and metric.
        aggregated: Over the nine tasks, and Natural Instructions where it was evaluated; None where it is not known.
        sensitivity: Over the tasks with a deviation; None without one.
        source: What stands below its name: whose it is, and of which model.
    """

    cells: Mapping[tuple[str, str], TaskScores]
    aggregated: float | None
    sensitivity: float | None
    source: str = PAPER

    @classmethod
    def of(cls, name: str) -> PaperRow:
        """The row of a strategy of :data:`MODELS`."""
        tasks = MODELS[name]
        cells = {(task, TASKS[task]): scores for task, scores in tasks.items()}
        cells[COMMONSENSE] = COMMONSENSE_ACCURACY[name]
        means = {task: scores.mean for task, scores in tasks.items()}
        if name in NATURAL_INSTRUCTIONS:
            means[NATURAL_INSTRUCTIONS_TASK] = NATURAL_INSTRUCTIONS[name]
            cells[NATURAL_INSTRUCTIONS_TASK, "rouge_l"] = TaskScores(means[NATURAL_INSTRUCTIONS_TASK], None)
        report = sensitivity_report(tasks)
        return cls(cells, aggregated(means), report.value if report.tasks else None)


def paper_rows(wanted: bool) -> dict[str, PaperRow]:
    """The paper's rows by strategy, and InstrAug's behind them; none if they are not wanted."""
    if not wanted:
        return {}
    return {name: PaperRow.of(name) for name in MODELS} | {
        f"InstrAug: {name}": PaperRow(
            {key: TaskScores(mean, None) for key, mean in zip(INSTRAUG_TASKS, means, strict=True)}, None, None, INSTRAUG
        )
        for name, means in INSTRAUG_MEANS.items()
    }
