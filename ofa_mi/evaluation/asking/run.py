"""Running a model over evaluation instances, once per instruction.

A run has a directory of its own: ``run.json`` says what is run, ``predictions.jsonl`` grows with
every batch and is put in order at the end. A run that was stopped goes on where it was; a directory
whose ``run.json`` says something else is refused.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import Image

from ofa_mi.decoding.predictor import Prediction, Predictor, Query
from ofa_mi.errors import ConfigError, shown
from ofa_mi.evaluation.asking.plan import EvaluationOptions, Plan, Question, photo_of, weights_hash
from ofa_mi.evaluation.conditions import Conditions, gray_image
from ofa_mi.evaluation.predictions import PredictionWriter, Record, count_complete_lines, write_sorted
from ofa_mi.evaluation.scoring.scores import PREDICTIONS, RUN_JSON, read_run, score_run
from ofa_mi.instances.instance import Instance
from ofa_mi.instructions.registry import Registry, default_registry
from ofa_mi.instructions.spec import TaskSpec
from ofa_mi.other_models.model import OtherModel
from ofa_mi.utils.files import atomic_write
from ofa_mi.utils.json_files import one_line
from ofa_mi.utils.progress import progress_bar

logger = logging.getLogger(__name__)


def evaluate(
    predictor: Predictor | OtherModel,
    data_dirs: Sequence[str | Path],
    out_dir: str | Path,
    options: EvaluationOptions,
    *,
    registry: Registry | None = None,
    checkpoint: str | Path | None = None,
    weights: str = "model",
    progress: bool = True,
) -> dict[str, Any] | None:
    """Answer every question that ``out_dir`` does not hold an answer to, then score the run.

    Args:
        predictor: The model.
        data_dirs: Data directories.
        out_dir: Directory of the run; made if it does not exist.
        options: What to evaluate and how.
        registry: Tasks; None for the packaged ones.
        checkpoint: The model's file, whose hash ``run.json`` records; None for a model without one.
        weights: Which of its weights the model has, ``"model"`` or ``"ema"``.
        progress: Show a progress bar.

    Returns:
        The scores as :func:`~ofa_mi.evaluation.scoring.scores.score_run` gives them; None if other shards
        have not finished (the last one puts them together).

    Raises:
        ConfigError: No instance is selected, a task has no such instruction, or ``out_dir`` holds a
            run with other settings; or the model cannot be asked in this way, or cannot tell ``upper-case`` from
            lower case.
        DataError: An instance cannot be used. All are checked before the first is answered.
        ServerError: The model is behind a server that gives no answer.
    """
    out_dir = Path(out_dir)
    if options.perturb == "upper-case" and predictor.encoder.text_case == "lower":
        raise ConfigError("perturb upper-case changes nothing: this model reads all text in lower case")
    plan = Plan(data_dirs, options, registry or default_registry())
    if isinstance(predictor, OtherModel):
        predictor.check(plan.specs.values(), options.mode, options.image)
    total = plan.check()
    if isinstance(predictor, OtherModel):
        settings, notes = plan.settings_of_other(predictor, total), plan.notes(predictor.label, weights)
    else:
        settings = plan.settings(predictor, weights_hash(checkpoint, weights), total)
        notes = plan.notes(checkpoint, weights)
    _start_run(out_dir, settings, notes)
    path = out_dir / _shard_file(options)
    with PredictionWriter(path) as writer:
        _answer(predictor, plan, writer, total, progress)
    if options.num_shards == 1:
        write_sorted([path], path)
        return score_run(out_dir)
    shards = [out_dir / _shard_file(replace(options, shard=shard)) for shard in range(options.num_shards)]
    if sum(map(count_complete_lines, shards)) < total:
        logger.info("shard %d of %d is finished; the last one to finish scores the run", options.shard, len(shards))
        return None
    write_sorted(shards, out_dir / PREDICTIONS)
    return score_run(out_dir)


def _answer(
    predictor: Predictor | OtherModel, plan: Plan, writer: PredictionWriter, total: int, progress: bool
) -> None:
    """Answer what has no answer yet; every answer is written as soon as it is there."""
    share = -(-total // plan.options.num_shards)
    with progress_bar(desc="evaluate", total=share, unit="answers", initial=len(writer.done), show=progress) as bar:
        for spec in plan.specs.values():
            bar.set_description(spec.name)
            images = _Images(plan, spec)
            left = [question for question in plan.questions(spec) if question.key not in writer.done]
            if isinstance(predictor, OtherModel):
                found = _one_by_one(predictor, left, images, plan.conditions)
            else:
                found = _in_batches(predictor, left, images, plan)
            with closing(found) as answered:  # at once, if a record cannot be written: requests may be on their way
                for records in answered:
                    writer.write(records)
                    bar.update(len(records))


def _in_batches(
    predictor: Predictor, questions: Sequence[Question], images: _Images, plan: Plan
) -> Iterator[list[Record]]:
    """Records of questions of one task, batch by batch."""
    for batch in batches(questions, plan.options.batch_size):
        predictions = predictor.predict([_query(question, images) for question in batch], batch[0].mode)
        yield [
            _record(predictor, question, prediction, plan.conditions, images.photo(question))
            for question, prediction in zip(batch, predictions, strict=True)
        ]


def batches(questions: Sequence[Question], size: int) -> Iterator[list[Question]]:
    """Questions in their order, at most ``size`` at once; those about one instance, which follow each other, together.

    Its image is then encoded once. More of them than ``size`` are spread over batches of their own.
    """
    batch: list[Question] = []
    for _, group in groupby(questions, key=lambda question: (question.store, question.instance.unique_id)):
        about_one = list(group)
        if batch and len(batch) + len(about_one) > size:
            yield batch
            batch = []
        batch += about_one
        while len(batch) > size:
            yield batch[:size]
            batch = batch[size:]
    if batch:
        yield batch


def _one_by_one(
    model: OtherModel, questions: Sequence[Question], images: _Images, conditions: Conditions
) -> Iterator[list[Record]]:
    """The record of each question of one task, in the order in which they are answered."""
    photos: dict[int, str | None] = {}

    def queries() -> Iterator[Query]:
        for number, question in enumerate(questions):
            photos[number] = images.photo(question)
            yield _query(question, images)

    mode = questions[0].mode if questions else "generate"
    with closing(model.answers(queries(), mode)) as answers:
        for number, prediction in answers:
            yield [_record(model, questions[number], prediction, conditions, photos.pop(number))]


def _query(question: Question, images: _Images) -> Query:
    return Query(
        question.prompt,
        images.load(question),
        question.instance.image_size,
        question.instance.options,
        question.spec.output,
        f"{question.instance.name} under {question.instruction_id}",
    )


def _record(
    predictor: Predictor | OtherModel,
    question: Question,
    prediction: Prediction,
    conditions: Conditions,
    photo: str | None,
) -> Record:
    return question.record(predictor.encoder.describe(question.prompt), prediction, conditions, photo)


class _Images:
    """The images that the questions of a task are asked about; those about one instance come together and share it."""

    def __init__(self, plan: Plan, spec: TaskSpec) -> None:
        self.stores, self.shown = plan.stores, plan.conditions.image
        self.others = plan.other_images(spec) if self.shown == "shuffled" else {}
        self.place, self.image = None, None
        self.photographed, self.known_as = None, None

    def load(self, question: Question) -> Image.Image | None:
        """The image that a question shows, None for text only."""
        if question.instance.image_path is None or self.shown == "none":
            return None
        place = question.store, question.instance.image_path
        if place != self.place:
            self.place, self.image = place, self._load(place, question.instance)
        return self.image

    def photo(self, question: Question) -> str | None:
        """What is in the instance's own image, whichever is shown; None for text only."""
        if question.instance.image_path is None:
            return None
        place = question.store, question.instance.image_path
        if place != self.photographed:
            self.photographed = place
            self.known_as = photo_of(self.stores[question.store], question.instance)
        return self.known_as

    def _load(self, place: tuple[int, str], instance: Instance) -> Image.Image:
        if self.shown == "gray":
            return gray_image(instance.image_size)
        store, _ = place
        if self.shown == "shuffled":
            store, index = self.others[place]
            instance = self.stores[store][index]
        return self.stores[store].load_image(instance)


def _start_run(out_dir: Path, settings: dict[str, Any], notes: dict[str, Any]) -> None:
    """Write ``run.json``, or check that the one that is there says the same."""
    settings = json.loads(json.dumps(settings))  # tuples become lists and numbers keys, as they are read back
    if (out_dir / RUN_JSON).exists():
        for place, there, here in _differences(read_run(out_dir)["settings"], settings, ""):
            raise ConfigError(
                f"{out_dir} holds a run with other settings: {one_line(place)} is {shown(there)} there and "
                f"{shown(here)} now; choose another --out, or remove the directory"
            )
    elif (out_dir / PREDICTIONS).exists():
        raise ConfigError(f"{out_dir} holds {PREDICTIONS} but no {RUN_JSON}; choose another --out")
    content = json.dumps({"settings": settings, "notes": notes}, indent=1, ensure_ascii=False)
    atomic_write(out_dir / RUN_JSON, (content + "\n").encode())


def _differences(there: Any, here: Any, place: str) -> Iterator[tuple[str, Any, Any]]:
    """Where two decoded JSON values differ: (place, one, other)."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in [*there, *(key for key in here if key not in there)]:
            yield from _differences(there.get(key), here.get(key), f"{place}.{key}" if place else key)
    elif there != here:
        yield place, there, here


def _shard_file(options: EvaluationOptions) -> str:
    if options.num_shards == 1:
        return PREDICTIONS
    return f"predictions.{options.shard}-of-{options.num_shards}.jsonl"
