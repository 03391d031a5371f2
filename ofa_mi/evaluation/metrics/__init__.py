"""The metrics, by name: what one generated answer is worth beside the right one, from 0 to 100.

A metric scores one :class:`Answer` against one :class:`Truth` and says how the scores of many
instances become the score of a task under one instruction: their mean, except BLEU and chrF, which
are computed over the whole corpus. Every metric is a function registered by :func:`metric`; its
docstring is its documentation.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ofa_mi.data.encoding import Answer
from ofa_mi.errors import ConfigError, DataError, shown
from ofa_mi.evaluation.metrics.rouge import rouge_l_f
from ofa_mi.evaluation.metrics.vqa import AGREEMENT, agreement
from ofa_mi.geometry import Box, closest, count_matches
from ofa_mi.geometry import iou as box_iou
from ofa_mi.instances.answers import canonical, normalise, says_something
from ofa_mi.instances.instance import Instance, Text, boxes_of, text_of
from ofa_mi.instructions.prompt import OPTION_SEPARATOR
from ofa_mi.instructions.rendering import EMPTY_SET
from ofa_mi.instructions.spec import TaskSpec

IOU_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class Truth:
    """What an answer is compared with.

    Attributes:
        references: Right answers as text: the target's text (unless it is boxes only), then the
            instance's further references. Those that say nothing are left out: silence is never right.
        answers: What annotators answered, for VQA's accuracy only.
        boxes: Boxes of the target.
        options: The options that could be chosen from; None if the task has none.
        target_set: The options that make up the answer of a task whose answer is a set, else None.
        name: How an error message names the instance.
    """

    references: tuple[str, ...]
    boxes: tuple[Box, ...] = ()
    options: tuple[Text, ...] | None = None
    target_set: tuple[Text, ...] | None = None
    name: str = "instance"
    answers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "references", tuple(filter(says_something, self.references)))

    @classmethod
    def of(cls, instance: Instance) -> Truth:
        """The truth of an instance."""
        target = text_of(instance.target)
        return cls(
            references=((target,) if target else ()) + instance.references,
            boxes=boxes_of(instance.target),
            options=instance.options,
            target_set=instance.target_set,
            name=instance.name,
            answers=instance.answers,
        )


@dataclass(frozen=True)
class Metric:
    """A metric of the registry.

    Attributes:
        name: Its name in task files and reports.
        score: ``(answer, truth) -> 0 … 100`` for one instance.
        corpus: ``(texts, references per text) -> 0 … 100`` for many instances; None where it is the
            mean of their scores.
        outputs: Kinds of task output (``TaskSpec.output``) that it can score.
    """

    name: str
    score: Callable[[Answer, Truth], float]
    corpus: Callable[[Sequence[str], Sequence[Sequence[str]]], float] | None
    outputs: tuple[str, ...]

    @property
    def description(self) -> str:
        """First line of its docstring."""
        return self.score.__doc__.strip().splitlines()[0]


METRICS: dict[str, Metric] = {}


def metric(*outputs: str, corpus: Callable | None = None):
    """Register the decorated function under its own name, as a metric of tasks with one of ``outputs``."""

    def register(score: Callable[[Answer, Truth], float]) -> Callable[[Answer, Truth], float]:
        METRICS[score.__name__] = Metric(score.__name__, score, corpus, outputs)
        return score

    return register


def get_metric(name: str) -> Metric:
    """The metric called ``name``; :class:`ConfigError` if there is none."""
    if name not in METRICS:
        raise ConfigError(f"unknown metric {shown(name)}; known are {', '.join(METRICS)}")
    return METRICS[name]


def score_answer(metric_name: str, answer: Answer, truth: Truth) -> float:
    """Score of one answer, 0 … 100.

    Raises:
        ConfigError: There is no such metric.
        DataError: The truth lacks what the metric compares with, e.g. options or boxes.
    """
    return get_metric(metric_name).score(answer, truth)


def score_prediction(metric_name: str, text: str, boxes: Sequence[Box], instance: Instance, spec: TaskSpec) -> float:
    """Score of one generated answer of one instance, 0 … 100; pure, for use while training.

    Args:
        metric_name: One of :data:`METRICS`.
        text: Generated text without its boxes.
        boxes: Generated boxes in pixels.
        instance: The instance that was answered.
        spec: Its task.

    Raises:
        ConfigError: There is no such metric, or it cannot score what the task outputs.
        DataError: The instance lacks what the metric compares with.
    """
    check_metric(metric_name, spec)
    return score_answer(metric_name, Answer(text, tuple(boxes)), Truth.of(instance))


def check_metric(metric_name: str, spec: TaskSpec) -> None:
    """Raise :class:`ConfigError` unless the metric can score the answers of the task."""
    outputs = get_metric(metric_name).outputs
    if spec.output not in outputs:
        raise ConfigError(
            f"task {spec.name}: metric {metric_name} scores tasks with output {' or '.join(outputs)}, not {spec.output}"
        )


# -- text


@metric("text", "option", "labeled_regions")
def accuracy(answer: Answer, truth: Truth) -> float:
    """Exact match with a reference after lower-casing, collapsing white space and dropping final punctuation.

    What cannot be seen makes no difference: two codes of one character, zero-width characters, typographic quotes.
    An answer that mentions regions ("[box] points at [box]") is matched when its text is, and each
    of its boxes overlaps the generated one in its place with IoU 0.5 or more.
    """
    if truth.boxes:
        return 100.0 * (_same_letters(answer, truth) and _same_boxes(answer.boxes, truth.boxes))
    return 100.0 * (normalise(answer.text) in map(normalise, _references(truth, "accuracy")))


@metric("text", "option", "labeled_regions")
def rouge_l(answer: Answer, truth: Truth) -> float:
    """ROUGE-L F-measure with Porter stemming, the best over the references (``rouge-score``, for any script)."""
    return 100.0 * max(rouge_l_f(answer.text, reference) for reference in _references(truth, "rouge_l"))


@metric("text")
def vqa_accuracy(answer: Answer, truth: Truth) -> float:
    """VQA's accuracy: mean over leave-one-out subsets of the annotators' answers of min(matches / 3, 1).

    Answers are compared as the official script compares them. Antol et al. 2015,
    https://visualqa.org/evaluation.html.
    """
    if len(truth.answers) <= AGREEMENT:
        raise DataError(
            f"{truth.name}: vqa_accuracy needs the annotators' answers (VQA has ten) in answers, found "
            f"{len(truth.answers)}; at least {AGREEMENT + 1} are needed. Where older data have them in references, "
            "convert it again"
        )
    return 100.0 * agreement(answer.text, truth.answers)


def _references(truth: Truth, metric_name: str) -> tuple[str, ...]:
    if not truth.references:
        raise DataError(f"{truth.name}: {metric_name} compares text, but the target has none")
    return truth.references


def _same_letters(answer: Answer, truth: Truth) -> bool:
    # Taking boxes out of a text leaves it open where the spaces around them go, so spaces do not count.
    given, wanted = (re.sub(r"\s", "", normalise(text)) for text in (answer.text, "".join(truth.references[:1])))
    return given == wanted


def _same_boxes(given: Sequence[Box], wanted: Sequence[Box]) -> bool:
    if len(given) != len(wanted):
        return False
    return all(box_iou(a, b) >= IOU_THRESHOLD for a, b in zip(given, wanted, strict=True))


# -- text over a corpus


def corpus_bleu(texts: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """sacrebleu's corpus BLEU, lower-cased; each text may have any number of references."""
    return _sacrebleu("BLEU", lowercase=True).corpus_score(_canonical(texts), _streams(references)).score


def corpus_chrf(texts: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """sacrebleu's corpus chrF2, lower-cased; each text may have any number of references."""
    return _sacrebleu("CHRF", lowercase=True).corpus_score(_canonical(texts), _streams(references)).score


@metric("text", corpus=corpus_bleu)
def bleu(answer: Answer, truth: Truth) -> float:
    """BLEU of ``sacrebleu``, over the corpus; lower-cased, because prompts and targets are.

    The score of one instance is sentence BLEU with the effective order, for looking at, not for averaging.
    """
    scorer = _sacrebleu("BLEU", lowercase=True, effective_order=True)
    return scorer.sentence_score(canonical(answer.text), _canonical(_references(truth, "bleu"))).score


@metric("text", corpus=corpus_chrf)
def chrf(answer: Answer, truth: Truth) -> float:
    """chrF2 of ``sacrebleu``, over the corpus; lower-cased, because prompts and targets are."""
    scorer = _sacrebleu("CHRF", lowercase=True)
    return scorer.sentence_score(canonical(answer.text), _canonical(_references(truth, "chrf"))).score


@functools.cache
def _sacrebleu(name: str, **options):
    import sacrebleu.metrics

    return getattr(sacrebleu.metrics, name)(**options)


def _canonical(texts: Sequence[str]) -> list[str]:
    return list(map(canonical, texts))


def _streams(references: Sequence[Sequence[str]]) -> list[list[str | None]]:
    """sacrebleu's form: the first reference of every text, then every second one, …, None where there is none."""
    references = list(map(_canonical, references))
    count = max(map(len, references), default=0)
    return [[refs[i] if i < len(refs) else None for refs in references] for i in range(count)]


# -- regions


@metric("option")
def region_accuracy(answer: Answer, truth: Truth) -> float:
    """Whether the region option with the highest IoU with the generated box is the right one.

    Wrong if no box was generated or if it overlaps none of the options.
    """
    (target,) = _boxes(truth, "region_accuracy")[:1]
    options = [boxes_of(option)[:1] for option in truth.options or ()]
    if not all(options) or not options:
        raise DataError(f"{truth.name}: region_accuracy needs options that are boxes")
    candidates = [box for (box,) in options]
    choice = closest(answer.boxes[0], candidates) if answer.boxes else None
    return 100.0 * (choice is not None and candidates[choice] == target)


@metric("region")
def iou(answer: Answer, truth: Truth) -> float:
    """Whether the generated box overlaps the right one with IoU 0.5 or more."""
    return 100.0 * (_first_iou(answer, truth) >= IOU_THRESHOLD)


@metric("region")
def mean_iou(answer: Answer, truth: Truth) -> float:
    """IoU of the generated box with the right one; 0 if none was generated."""
    return 100.0 * _first_iou(answer, truth)


@metric("region", "regions", "labeled_regions")
def region_f1(answer: Answer, truth: Truth) -> float:
    """F1 of the generated boxes, matched one to one with the right ones at IoU 0.5 (optimal matching)."""
    targets = _boxes(truth, "region_f1")
    return _f1(count_matches(answer.boxes, targets, IOU_THRESHOLD), len(answer.boxes), len(targets))


def _first_iou(answer: Answer, truth: Truth) -> float:
    target = _boxes(truth, "IoU")[0]
    return box_iou(answer.boxes[0], target) if answer.boxes else 0.0


def _boxes(truth: Truth, metric_name: str) -> tuple[Box, ...]:
    if not truth.boxes:
        raise DataError(f"{truth.name}: {metric_name} compares boxes, but the target has none")
    return truth.boxes


# -- sets


@metric("options")
def set_f1(answer: Answer, truth: Truth) -> float:
    """F1 of the generated set of options, separated by ``||||``; ``none`` is the empty set."""
    if truth.target_set is None:
        raise DataError(f"{truth.name}: set_f1 compares sets of options, but the instance has no target_set")
    if any(boxes_of(option) for option in (*(truth.options or ()), *truth.target_set)):
        raise DataError(f"{truth.name}: set_f1 compares text, but an option mentions a region")
    # The empty set is written as a word; an empty answer is no answer.
    wanted = {normalise(text_of(option)) for option in truth.target_set} or {EMPTY_SET}
    given = {normalise(part) for part in answer.text.split(OPTION_SEPARATOR)} - {""}
    if truth.target_set and EMPTY_SET not in {normalise(text_of(option)) for option in truth.options or ()}:
        given -= {EMPTY_SET}
    return _f1(len(given & wanted), len(given), len(wanted))


def _f1(matches: int, given: int, wanted: int) -> float:
    """F1 in 0 … 100 from counts; two empty sets agree."""
    return 200.0 * matches / (given + wanted) if given + wanted else 100.0
