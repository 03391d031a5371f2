"""What the JSON files of an evaluation hold, as types: they are checked once, when a file is read.

A file that is not of its type is refused with the place and the reason; code that works with its content may rely on
it. Keys that a type does not name are dropped, except those of ``settings`` and ``notes``, which are kept as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec

from ofa_mi.errors import ConfigError, DataError
from ofa_mi.evaluation.conditions import IMAGES, PERTURBATIONS, PROMPT_STYLES, Conditions
from ofa_mi.evaluation.metrics import METRICS
from ofa_mi.instructions.spec import SPLITS
from ofa_mi.utils.json_files import AnyObject, Count, FilePath, Name, Real, check, one_line, read_json

Interval = Annotated[list[Real], msgspec.Meta(min_length=2, max_length=2)]
Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=1 << 31)]
InstructionNumber = Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]

# -- scores.json


class StoredConditions(TypedDict):
    """Fields of :class:`~ofa_mi.evaluation.conditions.Conditions`."""

    prompt_style: Literal[PROMPT_STYLES]
    perturb: Literal[PERTURBATIONS]
    image: Literal[IMAGES]


class MetricScores(TypedDict):
    """One metric of a task: a score per instruction, what is made of them, and what can be reached without looking."""

    scores: Annotated[list[Real], msgspec.Meta(min_length=1)]
    mean: Real
    max: Real
    deviation: Real | None
    chance: Real | None
    majority: Real | None
    interval: NotRequired[Interval | None]


class BaselineTest(TypedDict):
    """A task's primary metric against the better of chance and majority."""

    level: Real
    difference: Real
    p: Probability
    p_holm: Probability


class Subset(TypedDict):
    """A part of a task."""

    instances: Count
    mean: Real


class TaskEntry(TypedDict):
    """A task of a ``scores.json``."""

    group: Name
    split: Literal[SPLITS]
    version: Count
    language: NotRequired[str]
    mode: str
    metric: Name
    instances: Count
    images: NotRequired[Count]
    instructions: list[InstructionNumber]
    metrics: dict[Name, MetricScores]
    remarks: NotRequired[list[str]]
    subsets: NotRequired[dict[str, Subset]]
    above_baseline: NotRequired[BaselineTest | None]


class AboveBaseline(TypedDict):
    """How many tasks are above their baseline."""

    alpha: Probability
    above: Count
    of: Count


class Section(TypedDict):
    """Totals of the zero-shot tasks, or of the trained ones."""

    tasks: list[Name]
    aggregated: Real | None
    sensitivity: Real | None
    left_out: dict[Name, str]
    not_aggregated: list[Name]
    aggregated_interval: NotRequired[Interval | None]
    sensitivity_interval: NotRequired[Interval | None]
    above_baseline: NotRequired[AboveBaseline | None]
    above_baseline_apart: NotRequired[AboveBaseline | None]


class Bootstrap(TypedDict):
    """How intervals were computed."""

    replicates: Count
    confidence: Probability
    seed: int
    images: NotRequired[Count]


class ScoresFile(TypedDict):
    """A ``scores.json``; docs/evaluation.md says what every key means."""

    rules: int
    conditions: StoredConditions
    bootstrap: NotRequired[Bootstrap]
    tasks: dict[Name, TaskEntry]
    zero_shot: NotRequired[Section]
    trained: NotRequired[Section]


class _Rules(msgspec.Struct):
    rules: Any = None


_SCORES, _RULES = msgspec.json.Decoder(ScoresFile), msgspec.json.Decoder(_Rules)


def read_scores_file(path: Path, rules: int, hint: str) -> ScoresFile:
    """A ``scores.json``.

    Args:
        path: The file.
        rules: Number of the rules by which it must have been computed.
        hint: What to do about a file of other rules, or a damaged one.

    Raises:
        ConfigError: It was computed by other rules.
        DataError: It is not a file of scores, or contradicts itself.
    """
    what = f"not a file of scores; {hint}"
    if read_json(path, _RULES, what).rules != rules:
        raise ConfigError(
            f"{path}: was computed by the rules of another version of OFA-MI, whose scores do not compare; {hint}"
        )
    scores = read_json(path, _SCORES, what)
    for problem in _contradictions(scores):
        raise DataError(f"{path}: {what} ({one_line(problem)})")
    return scores


def _contradictions(scores: ScoresFile) -> Iterable[str]:
    """What types cannot say: parts of a file that must go together and do not."""
    try:
        Conditions(**scores["conditions"])
    except ConfigError as error:
        yield str(error)
    for name, task in scores["tasks"].items():
        if task["metric"] not in task["metrics"]:
            yield f"task {name}: lacks its metric {task['metric']}"
        yield from _unknown_metrics(f"task {name}", task["metrics"])
        numbers = task["instructions"]
        if len(set(numbers)) != len(numbers):
            yield f"task {name}: an instruction is there twice"
        for metric, values in task["metrics"].items():
            if len(values["scores"]) != len(numbers):
                yield f"task {name}: {metric} has {len(values['scores'])} scores for {len(numbers)} instructions"
    for section in ("zero_shot", "trained"):
        if total := scores.get(section):
            names = total["tasks"]
            if len(set(names)) != len(names) or not scores["tasks"].keys() >= set(names):
                yield f"{section}: names a task twice, or one that is not there"
            if not set(names) >= {*total["left_out"], *total["not_aggregated"]}:
                yield f"{section}: leaves out a task that it does not name"


def _unknown_metrics(where: str, metrics: Iterable[str]) -> Iterable[str]:
    return (f"{where}: unknown metric {metric}" for metric in metrics if metric not in METRICS)


# -- run.json


class RunOptions(TypedDict, total=False):
    """What a report and a resumed run read of the options of an evaluation."""

    mode: str
    prompt_style: str
    option_markers: bool
    max_instances: Count | None
    instructions: list[InstructionNumber] | None
    seed: int
    split: str


class RunSettings(TypedDict, total=False):
    """What is read of ``settings``."""

    checkpoint: str | None
    model: AnyObject
    data: list[str]
    options: RunOptions
    instruction_language: str
    generation: dict[str, int | float | str | bool | None]
    precision: str


class RunNotes(TypedDict, total=False):
    """What is read of ``notes``."""

    checkpoint: str | None
    weights: str
    data: list[FilePath]
    ofa_mi: str
    torch: str
    python: str


class RunFile(TypedDict):
    """A ``run.json``."""

    settings: AnyObject
    notes: AnyObject


_RUN = msgspec.json.Decoder(RunFile)


def read_run_file(path: Path) -> RunFile:
    """A ``run.json``; :class:`DataError` if it is none."""
    what = "not the settings of a run; choose another directory, or remove it and evaluate again"
    run = read_json(path, _RUN, what)
    check(run["settings"], RunSettings, f"{path}: settings: {what}")
    check(run["notes"], RunNotes, f"{path}: notes: {what}")
    return run


# -- comparisons


class Compared(TypedDict):
    """A run that was compared."""

    run: FilePath


class Difference(TypedDict):
    """Two scores and their difference; a sensitivity has no p, an aggregated score no correction."""

    a: Real
    b: Real
    difference: Real
    interval: Interval | None
    p: NotRequired[Probability]


class TaskDifference(Difference):
    """Two scores of a task."""

    metric: Name
    instances: Count
    p_holm: NotRequired[Probability]


class ComparedSection(TypedDict):
    """Differences of the tasks of one kind."""

    tasks: dict[Name, TaskDifference]
    aggregated: Difference | None
    sensitivity: Difference | None


class Comparison(TypedDict):
    """A file of ``ofa-mi compare --out``."""

    a: Compared
    b: Compared
    remarks: NotRequired[list[str]]
    not_compared: NotRequired[dict[Name, str]]
    zero_shot: NotRequired[ComparedSection]
    trained: NotRequired[ComparedSection]


_COMPARISON = msgspec.json.Decoder(Comparison)


def read_comparison(path: Path) -> Comparison:
    """A file of ``ofa-mi compare --out``; :class:`DataError` if it is none."""
    what = "must be a file that `ofa-mi compare` wrote"
    comparison = read_json(path, _COMPARISON, what)
    for section in ("zero_shot", "trained"):
        tasks = comparison.get(section, {}).get("tasks", {})
        for name, task in tasks.items():
            for problem in _unknown_metrics(f"task {name}", [task["metric"]]):
                raise DataError(f"{path}: {what} ({one_line(problem)})")
    return comparison


# -- analyses of attention

MOST_LAYERS = 1000  # that a model may have


class Share(TypedDict):
    """Mean share of attention and its standard error."""

    mean: Real
    standard_error: Real | None


class LayerShare(Share):
    """The share in one layer."""

    layer: Positive


class ShareRatio(TypedDict):
    """What is read of a paired difference: the ratio of the means."""

    ratio: Real | None


class ShareDifference(TypedDict):
    """What is read of a difference to another checkpoint."""

    to: str
    share: ShareRatio


class TaskShare(TypedDict):
    """What is read of a task."""

    share: Share


class AnalysedCheckpoint(TypedDict):
    """A checkpoint of an analysis."""

    name: str
    share: Share
    uniform: Real
    by_layer: Annotated[list[LayerShare], msgspec.Meta(min_length=1, max_length=MOST_LAYERS)]
    difference: ShareDifference | None
    tasks: dict[Name, TaskShare]


class AnalysedInstances(TypedDict):
    """How many instances an analysis is about."""

    with_image: Count
    text_only_left_out: NotRequired[Count]


class DrawnAttention(TypedDict):
    """A heat map, as a file beside the analysis."""

    file: FilePath
    task: Name
    unique_id: str
    prompt: str


class AttentionFile(TypedDict):
    """What a report reads of an ``attention.json``; docs/attention.md describes it."""

    instances: AnalysedInstances
    checkpoints: Annotated[list[AnalysedCheckpoint], msgspec.Meta(min_length=1)]
    heat_maps: list[DrawnAttention]


_ATTENTION = msgspec.json.Decoder(AttentionFile)


def read_attention_file(path: Path) -> AttentionFile:
    """A file of ``ofa-mi attention``; :class:`DataError` if it is none."""
    return read_json(path, _ATTENTION, "must be a file that `ofa-mi attention` wrote")


class MeasuredQuestion(TypedDict):
    """Shares of attention by layer of one question."""

    task: Name
    unique_id: str
    instruction_id: str
    text_tokens: Positive
    shares: list[Real]


class MeasuredMap(TypedDict):
    """Attention to every patch, by layer, of one question."""

    task: Name
    unique_id: str
    instruction_id: str
    prompt: str
    attention: list[list[Real]]


class Measurement(TypedDict):
    """What was measured of one checkpoint, as ``ofa-mi attention`` keeps it."""

    format: str
    settings: AnyObject
    layers: Annotated[int, msgspec.Meta(ge=1, le=MOST_LAYERS)]
    patches: Positive
    questions: Annotated[list[MeasuredQuestion], msgspec.Meta(min_length=1)]
    heat_maps: list[MeasuredMap]


class _Format(msgspec.Struct):
    format: Any = None


_MEASUREMENT, _FORMAT = msgspec.json.Decoder(Measurement), msgspec.json.Decoder(_Format)
LARGEST_MEASUREMENT = 1 << 29  # bytes; the whole benchmark with a hundred heat maps is a tenth of it


def read_measurement(path: Path, version: str) -> Measurement:
    """A measurement of ``ofa-mi attention``; :class:`DataError` if it is none of this version, or damaged."""
    what = "is no measurement of this version of ofa-mi attention; remove it to measure again"
    if read_json(path, _FORMAT, what, largest=LARGEST_MEASUREMENT).format != version:
        raise DataError(f"{path}: {what}")
    found = read_json(path, _MEASUREMENT, what, largest=LARGEST_MEASUREMENT)
    layers, patches = found["layers"], found["patches"]
    if any(len(question["shares"]) != layers for question in found["questions"]):
        raise DataError(f"{path}: {what} (a question has not a share for each of its {layers} layers)")
    for drawn in found["heat_maps"]:
        if [len(layer) for layer in drawn["attention"]] != [patches] * layers:
            raise DataError(f"{path}: {what} (a heat map has not {layers} layers of {patches} patches)")
    return found
