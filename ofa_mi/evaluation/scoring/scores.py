"""From ``predictions.jsonl`` to ``scores.json`` and ``scores.csv``, without the model or the data.

Every score of every answer is computed again, so that a run scored twice gives the same bytes, and
a run scored by a newer metric gives what the newer metric says.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from ofa_mi.data.encoding import Answer
from ofa_mi.errors import ConfigError, DataError
from ofa_mi.evaluation.conditions import Conditions
from ofa_mi.evaluation.formats import RunFile, ScoresFile, read_run_file, read_scores_file
from ofa_mi.evaluation.metrics import Truth, get_metric, score_answer
from ofa_mi.evaluation.metrics.rouge import has_no_token
from ofa_mi.evaluation.predictions import Record, read_predictions
from ofa_mi.evaluation.scoring.baselines import baseline_test, correct_tests
from ofa_mi.evaluation.scoring.protocol import TaskScores, aggregated, sensitivity_report
from ofa_mi.evaluation.scoring.resampling import (
    CONFIDENCE,
    REPLICATES,
    SEED,
    ImageSums,
    Interval,
    bootstrap_means,
    interval,
)
from ofa_mi.instances.answers import normalise
from ofa_mi.instances.doubts import count, doubts
from ofa_mi.instances.instance import boxes_of, text_of
from ofa_mi.instructions.spec import GROUPS_APART
from ofa_mi.other_models.troubles import TROUBLES
from ofa_mi.utils.files import atomic_write, open_atomic

logger = logging.getLogger(__name__)

PREDICTIONS, SCORES_JSON, SCORES_CSV, RUN_JSON = "predictions.jsonl", "scores.json", "scores.csv", "run.json"
ROUGE_L = "rouge_l"
ZERO_SHOT, TRAINED = "zero_shot", "trained"
SECTION_OF_SPLIT = {"eval": ZERO_SHOT, "train": TRAINED}
RULES = 2  # raised when the score of an answer changes; scores of other rules do not compare
NO_INTERVALS = {"aggregated_interval": None, "sensitivity_interval": None}


def score_run(run_dir: Path) -> dict[str, Any]:
    """Score a run again; rewrites the scores in its predictions, and its score files.

    Returns:
        The content of ``scores.json``: the number of the ``rules``; the ``conditions`` of the run; ``tasks`` by name
        (group, split, version, language of the instructions, primary metric, remarks, and per metric one score per
        instruction with mean, max, deviation and interval, chance level and score of the majority answer; and the test
        of the primary metric against the better of these two); and for the ``zero_shot`` and the ``trained`` tasks
        apart the aggregated performance and the sensitivity, by primary metric, with their intervals, and how many
        tasks are above their baseline. docs/evaluation.md lists every key.

    Raises:
        DataError: The predictions cannot be read, contradict each other or are empty.
    """
    path = run_dir / PREDICTIONS
    tasks: dict[str, _Task] = {}
    images: dict[tuple[str, ...], int] = {}
    with open_atomic(path) as file:
        for record in scored_records(path):
            file.write(record.to_json())
            tasks.setdefault(record.task, _Task(record)).add(record, images.setdefault(record.image_key, len(images)))
    summaries = {name: tasks[name].summary() for name in sorted(tasks)}
    scores = {
        "rules": RULES,
        "conditions": asdict(record.conditions),
        "bootstrap": {"replicates": REPLICATES, "confidence": CONFIDENCE, "seed": SEED, "images": len(images)},
        "tasks": summaries,
    }
    sums = {name: tasks[name].image_sums() for name in summaries}
    means = bootstrap_means(sums, len(images))
    replicates = {name: tasks[name].by_metric(means[name]) for name in summaries}
    for name, task in summaries.items():
        for metric, summary in task["metrics"].items():
            values = replicates[name].get(metric)
            summary["interval"] = None if values is None or task["images"] < 2 else interval(values.mean(axis=1))
        task["above_baseline"] = tasks[name].above_baseline(sums[name], task["metrics"])
    for split, section in SECTION_OF_SPLIT.items():
        chosen = {name: task for name, task in summaries.items() if task["split"] == split}
        if chosen:
            scores[section] = summary = summarise(chosen)
            summary |= correct_tests(chosen, summary["not_aggregated"])
            primary = {name: replicates[name].get(task["metric"]) for name, task in chosen.items()}
            summary |= section_intervals(summary, primary) if len(images) > 1 else NO_INTERVALS
    atomic_write(run_dir / SCORES_JSON, (json.dumps(scores, indent=1, ensure_ascii=False) + "\n").encode())
    atomic_write(run_dir / SCORES_CSV, _csv(summaries).encode())
    return scores


def scored_records(path: Path) -> Iterator[Record]:
    """The records of a predictions file, in order, each with its scores computed by today's rules.

    Raises:
        DataError: As :func:`~ofa_mi.evaluation.predictions.read_predictions`; or there is no record, or one contradicts
            an earlier one in what all of a run, or of a task, have in common.
    """
    firsts: dict[str, Record] = {}
    for record in read_predictions(path):
        record = replace(record, scores={name: _score(name, record) for name in record.scores})
        first = firsts.setdefault(record.task, record)
        if record.conditions != next(iter(firsts.values())).conditions:
            raise DataError(f"{record.where}: was asked under other conditions than earlier lines")
        for name in ("task_version", "group", "split", "language", "mode"):
            if getattr(record, name) != getattr(first, name):
                raise DataError(f"{record.where}: {name} of {record.task} differs from that of earlier lines")
        if list(record.scores) != list(first.scores):
            raise DataError(f"{record.where}: scores of {record.task} name other metrics than earlier lines")
        yield record
    if not firsts:
        raise DataError(f"{path}: holds no prediction")


def section_intervals(section: dict[str, Any], replicates: dict[str, np.ndarray | None]) -> dict[str, Interval | None]:
    """Intervals of the totals of one kind of tasks.

    Args:
        section: What :func:`summarise` gave for these tasks.
        replicates: By task the replicated scores by primary metric, ``(replicates, instructions)``; None for a
            metric over the corpus, which has none.

    Returns:
        ``aggregated_interval`` and ``sensitivity_interval``; None where the total is, or a task has no replicates.
    """
    aggregated = [values for name, values in replicates.items() if name not in section["not_aggregated"]]
    if not aggregated or any(values is None for values in aggregated):
        return dict(NO_INTERVALS)
    found = {"aggregated_interval": interval(replicated_aggregate(aggregated)), "sensitivity_interval": None}
    sensitive = [
        values
        for name, values in replicates.items()
        if name not in section["not_aggregated"] and name not in section["left_out"]
    ]
    if sensitive:
        found["sensitivity_interval"] = interval(replicated_sensitivity(sensitive))
    return found


def replicated_aggregate(tasks: Sequence[np.ndarray]) -> np.ndarray:
    """Aggregated performance in every replicate; each task is ``(replicates, instructions)``."""
    return np.mean([values.mean(axis=1) for values in tasks], axis=0)


def replicated_sensitivity(tasks: Sequence[np.ndarray]) -> np.ndarray:
    """Sensitivity in every replicate; as in :func:`replicated_aggregate`, of tasks with a mean and two instructions."""
    return 100 * np.mean([values.std(axis=1, ddof=1) / values.mean(axis=1) for values in tasks], axis=0)


def condition_label(scores: Mapping[str, Any]) -> str:
    """What is unusual about how a run was asked, in a few words; empty for a normal run.

    Args:
        scores: Content of its ``scores.json``.
    """
    return Conditions(**scores.get("conditions", {})).label


def read_scores(run_dir: Path) -> ScoresFile:
    """The content of a run's ``scores.json``.

    Raises:
        ConfigError: The run was not scored, or by other rules.
        DataError: The file is damaged.
    """
    path, hint = run_dir / SCORES_JSON, f"run `ofa-mi score {run_dir}` first"
    if not path.exists():
        raise ConfigError(f"{path} does not exist; {hint}")
    return read_scores_file(path, RULES, hint)


def read_run(run_dir: Path) -> RunFile:
    """The content of a run's ``run.json``: ``settings`` and ``notes``.

    Raises:
        ConfigError: There is none.
        DataError: The file is damaged.
    """
    if not (path := run_dir / RUN_JSON).exists():
        raise ConfigError(f"{path} does not exist; {run_dir} is not the directory of a run")
    return read_run_file(path)


def summarise(tasks: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Aggregated performance and sensitivity of tasks by their primary metrics.

    Args:
        tasks: Entries of ``scores["tasks"]``.

    Returns:
        ``tasks`` (names), ``aggregated`` (None if no task counts), ``sensitivity`` (None if no task has
        one), ``left_out`` (task to the reason why it does not count for sensitivity) and
        ``not_aggregated`` (tasks that count for neither: held-out tasks of the groups in
        :data:`~ofa_mi.instructions.spec.GROUPS_APART`, so that the totals stay those of the paper's tasks and of the
        user's own).
    """
    extra = [name for name, task in tasks.items() if task["split"] == "eval" and task["group"] in GROUPS_APART]
    primary = {name: task["metrics"][task["metric"]] for name, task in tasks.items() if name not in extra}
    report = sensitivity_report(
        {name: TaskScores(scores["mean"], scores["deviation"], scores["max"]) for name, scores in primary.items()}
    )
    return {
        "tasks": list(tasks),
        "aggregated": aggregated({name: scores["mean"] for name, scores in primary.items()}) if primary else None,
        "sensitivity": None if math.isnan(report.value) else report.value,
        "left_out": report.left_out,
        "not_aggregated": extra,
    }


@dataclass
class _Task:
    """What is collected of one task while its records pass by."""

    first: Record
    scores: dict[int, dict[str, list[float]]] = field(default_factory=dict)  # instruction, metric
    texts: dict[int, list[str]] = field(default_factory=dict)  # instruction; kept where a metric is over the corpus
    truths: dict[int, list[Truth]] = field(default_factory=dict)  # as texts, and those of the first instruction
    images: dict[int, list[int]] = field(default_factory=dict)  # instruction
    subsets: dict[int, list[str | None]] = field(default_factory=dict)  # instruction
    troubles: Counter[str] = field(default_factory=Counter)  # of answers of models that answer in text alone
    not_tokenised: int = 0  # answers of which ROUGE-L can tokenise nothing, or nothing of what is right

    def add(self, record: Record, image: int) -> None:
        """Collect a record about the image of a number."""
        by_metric = self.scores.setdefault(record.instruction, {name: [] for name in record.scores})
        for name, score in record.scores.items():
            by_metric[name].append(score)
        self.images.setdefault(record.instruction, []).append(image)
        self.subsets.setdefault(record.instruction, []).append(record.subset)
        if record.trouble is not None:
            self.troubles[record.trouble] += 1
        if ROUGE_L in record.scores:
            self.not_tokenised += any(map(has_no_token, (record.prediction.text, *record.truth.references)))
        over_corpus = any(get_metric(name).corpus for name in record.scores)
        if over_corpus:
            self.texts.setdefault(record.instruction, []).append(record.prediction.text)
        if over_corpus or record.instruction == self.first.instruction:
            self.truths.setdefault(record.instruction, []).append(record.truth)

    def summary(self) -> dict[str, Any]:
        """The task's entry of ``scores.json``."""
        instructions = sorted(self.scores)
        primary = next(iter(self.first.scores))
        counts = {len(self.scores[instruction][primary]) for instruction in instructions}
        if len(counts) > 1:
            logger.warning(
                "%s: instructions were answered on %d to %d instances; the run is not complete, and its means "
                "over instructions do not compare like with like",
                *(self.first.task, min(counts), max(counts)),
            )
        summary = {
            "group": self.first.group,
            "split": self.first.split,
            "version": self.first.task_version,
            "language": self.first.language,
            "mode": self.first.mode,
            "metric": primary,
            "instances": max(counts),
            "images": len({image for row in self.images.values() for image in row}),
            "instructions": instructions,
            "metrics": {name: self._metric(name, instructions) for name in self.first.scores},
            "remarks": list(self._remarks()),
        }
        subsets = self._subsets(primary, instructions)
        return summary | ({"subsets": subsets} if subsets else {})

    def _remarks(self) -> Iterator[str]:
        """What a reader must know of the task's scores, in sentences without its name and full stop."""
        truths = self.truths[self.first.instruction]
        yield from doubts(len(truths), *count_answers(truths))
        answers = sum(map(len, self.images.values()))
        for trouble, number in sorted(self.troubles.items()):
            yield f"{number} of {answers} answers {TROUBLES[trouble]}"
        if self.not_tokenised:
            yield (
                f"{self.not_tokenised} answers, or what is right, hold no letter, digit or symbol that ROUGE-L could "
                "tokenise: they count as a whole, right or wrong"
            )

    def image_sums(self) -> ImageSums:
        """Scores added up by image; of the metrics that are means."""
        instructions = sorted(self.scores)
        scores = [[self.scores[i][name] for i in instructions] for name in self._means]
        return ImageSums.of([self.images[i] for i in instructions], scores)

    def by_metric(self, means: np.ndarray) -> dict[str, np.ndarray]:
        """Replicates of :meth:`image_sums`, ``(replicates, metrics, instructions)``, apart by metric."""
        return {name: means[:, number] for number, name in enumerate(self._means)}

    def above_baseline(self, sums: ImageSums, metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, float] | None:
        """Test of the primary metric, not yet corrected; None where it is over the corpus, or has no baseline."""
        primary = next(iter(self.first.scores))
        if primary not in self._means:
            return None
        return baseline_test(sums.over_instructions(self._means.index(primary)), metrics[primary])

    @property
    def _means(self) -> list[str]:
        return [name for name in self.first.scores if get_metric(name).corpus is None]

    def _subsets(self, metric: str, instructions: Sequence[int]) -> dict[str, dict[str, Any]]:
        """Number of instances of every subset and its score by a metric, as the mean over instructions."""
        places: dict[str, dict[int, list[int]]] = defaultdict(lambda: {i: [] for i in instructions})
        for instruction in instructions:
            for place, subset in enumerate(self.subsets[instruction]):
                if subset is not None:
                    places[subset][instruction].append(place)
        return {
            subset: {
                "instances": max(map(len, chosen.values())),
                "mean": fmean(self._score(metric, i, places) for i, places in chosen.items() if places),
            }
            for subset, chosen in sorted(places.items())
        }

    def _score(self, metric: str, instruction: int, places: Sequence[int]) -> float:
        """Score of some of an instruction's answers."""
        if (corpus := get_metric(metric).corpus) is None:
            return fmean(self.scores[instruction][metric][place] for place in places)
        texts, truths = self.texts[instruction], self.truths[instruction]
        return corpus([texts[place] for place in places], [truths[place].references for place in places])

    def _metric(self, name: str, instructions: Sequence[int]) -> dict[str, Any]:
        scores = [self._score(name, i, range(len(self.scores[i][name]))) for i in instructions]
        summary = TaskScores.of(scores)
        truths = self.truths[self.first.instruction]
        return {
            "scores": scores,
            "mean": summary.mean,
            "max": summary.max,
            "deviation": summary.deviation,
            "interval": None,
            "chance": chance_level(name, truths),
            "majority": majority_level(name, truths),
        }


def count_answers(truths: Sequence[Truth]) -> tuple[Counter[str], int]:
    """How often which text is right, and how many instances say it twice, as :func:`doubts` takes them."""
    return count([() if truth.boxes else truth.references for truth in truths])


def chance_level(metric: str, truths: Sequence[Truth]) -> float | None:
    """Expected score of answering with one of the options at random; for accuracy, 100 x mean of 1 / options.

    None for tasks without options, for sets of options, and for metrics over a corpus.
    """
    if get_metric(metric).corpus or any(truth.target_set is not None or not truth.options for truth in truths):
        return None
    return fmean(
        fmean(score_answer(metric, Answer(text_of(option), boxes_of(option)), truth) for option in truth.options)
        for truth in truths
    )


def majority_level(metric: str, truths: Sequence[Truth]) -> float | None:
    """Score of giving the commonest right answer of these instances to all of them; None where answers are boxes.

    It knows the answers, so it is what a model can reach that looks at nothing, not a model to beat easily.
    """
    answers: dict[str, list[str]] = defaultdict(list)  # spelled in any way, by what they are to accuracy
    for truth in truths:
        if truth.references and not truth.boxes:
            answers[normalise(truth.references[0])].append(truth.references[0])
    if not answers:
        return None
    text = max(answers.values(), key=len)[0]
    if (corpus := get_metric(metric).corpus) is not None:
        return corpus([text] * len(truths), [truth.references for truth in truths])
    return fmean(score_answer(metric, Answer(text), truth) for truth in truths)


def _score(name: str, record: Record) -> float:
    try:
        return score_answer(name, record.prediction, record.truth)
    except ConfigError as error:
        raise DataError(f"{record.where}: {error}") from None


def _csv(summaries: dict[str, dict[str, Any]]) -> str:
    """One line per task and metric; instructions count from 1, as in their ids."""
    numbers = sorted({number for task in summaries.values() for number in task["instructions"]})
    keys = ["mean", "max", "deviation", "chance", "majority"]
    columns = ["task", "group", "split", "metric", "instances", *keys, "interval_low", "interval_high"]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*columns, *(f"instruction_{number + 1}" for number in numbers)])
    for name, task in summaries.items():
        for metric, scores in task["metrics"].items():
            by_number = dict(zip(task["instructions"], scores["scores"], strict=True))
            values = [*(scores[key] for key in keys), *(scores["interval"] or (None, None))]
            cells = [name, task["group"], task["split"], metric, task["instances"]]
            writer.writerow(cells + _rounded([*values, *map(by_number.get, numbers)]))
    return file.getvalue()


def _rounded(values: Iterable[float | None]) -> list[str]:
    return ["" if value is None else f"{value:.4f}" for value in values]
