"""What can be asked of a served model, and how a request becomes queries.

A question has the inputs of an instance (docs/data.md), in the same fields, and either a task, which is asked under all
of its instructions, or an instruction of its own.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from PIL import Image

from ofa_mi.decoding.modes import MODES
from ofa_mi.decoding.predictor import Query
from ofa_mi.errors import DataError, OfaMiError, shown
from ofa_mi.instances.images import load_image
from ofa_mi.instances.instance import Instance, is_blank
from ofa_mi.instructions.own import NAME, own_task
from ofa_mi.instructions.rendering import render
from ofa_mi.instructions.spec import OUTPUTS, TaskSpec, split_template
from ofa_mi.utils.json_files import decode

MOST_QUESTIONS = 32  # of one request
MOST_OPTIONS, MOST_REGIONS, MOST_CONTEXT = 100, 100, 100  # of one question
MOST_CHARACTERS = 20_000  # of one text; what the model cannot take is cut as in evaluation

RichText = str | list[Any]


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """One question of a request.

    Attributes:
        task: Name of the task under whose instructions it is asked; None with ``instruction``.
        instruction: Template of its own, None with ``task``. Regions and options that it does not mention follow it.
        output: Kind of the answer to an instruction of its own; None for an option if there are any, else text.
        image: The file, in base64; None for the request's image.
        region: Input regions, in pixels of the upright image, as a browser shows it.
        options: Answers to choose from.
        question: As in an instance, and so are ``text`` and ``context``.
    """

    task: str | None = None
    instruction: str | None = None
    output: str | None = None
    image: str | None = None
    region: list[Any] = []
    options: list[RichText] | None = None
    question: RichText | None = None
    text: RichText | None = None
    context: RichText | None = None


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """What ``/api/predict`` is sent.

    Attributes:
        questions: At most :data:`MOST_QUESTIONS`.
        image: The file that they are about, in base64, unless they bring one; None for text alone.
        mode: One of ``ofa_mi.decoding.modes.MODES``.
        scores: Whether every option's probability among the options is wanted.
        attention: Whether the attention of the text to the image is wanted.
    """

    questions: list[Asked]
    image: str | None = None
    mode: str = "generate"
    scores: bool = False
    attention: bool = False


@dataclass(frozen=True)
class Prompted:
    """One question under one instruction.

    Attributes:
        instruction_id: Of a task's instruction; None for one of its own.
        instruction: The template.
        query: What the model is asked.
    """

    instruction_id: str | None
    instruction: str
    query: Query


@dataclass(frozen=True)
class Questions:
    """A request that has been checked.

    Attributes:
        prompted: For each question, itself under each of its instructions.
        mode: As in :class:`Request`, and so are ``scores`` and ``attention``.
    """

    prompted: tuple[tuple[Prompted, ...], ...]
    mode: str
    scores: bool
    attention: bool


_DECODER = msgspec.json.Decoder(Request)


def read_request(body: bytes, registry: Mapping[str, TaskSpec], *, option_markers: bool) -> Questions:
    """Check a request and fill the instructions of its questions.

    Args:
        body: JSON of a :class:`Request`.
        registry: The tasks that can be asked.
        option_markers: How the model was taught to read options.

    Raises:
        DataError: Something is not what it should be; the message says what and where.
    """
    request = decode(body, _DECODER, "the request")
    if not 1 <= len(request.questions) <= MOST_QUESTIONS:
        raise DataError(f"questions: must be 1 to {MOST_QUESTIONS}, found {len(request.questions)}")
    if request.mode not in MODES:
        raise DataError(f"mode: must be one of {', '.join(MODES)}, found {shown(request.mode)}")
    images = _Images()
    asked = []
    for number, question in enumerate(request.questions, 1):
        name = f"question {number}"
        file = question.image if question.image is not None else request.image
        image = images.read(file, name) if file is not None else None
        asked.append(_prompted(question, image, name, registry, option_markers))
    if request.mode == "rank":
        for number, (first, *_) in enumerate(asked, 1):
            if not first.query.options:
                raise DataError(f"question {number}: mode rank needs options to choose from")
    return Questions(tuple(asked), request.mode, request.scores, request.attention)


class _Images:
    """Images of one request; the same text is one image object, which the model then looks at once."""

    def __init__(self) -> None:
        self._read: dict[str, Image.Image] = {}

    def read(self, text: str, name: str) -> Image.Image:
        if text not in self._read:
            try:
                content = base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                raise DataError(f"{name}: image is not base64") from None
            self._read[text] = load_image(io.BytesIO(content), name=name, upright=True)
        return self._read[text]


def _prompted(
    asked: Asked, image: Image.Image | None, name: str, registry: Mapping[str, TaskSpec], option_markers: bool
) -> tuple[Prompted, ...]:
    if (asked.task is None) == (asked.instruction is None):
        raise DataError(f"{name}: give either a task or an instruction")
    try:
        instance = _instance(asked, image, name)
        spec = _own_task(asked, instance) if asked.task is None else _task(asked.task, asked.output, registry)
        ids = (None,) if asked.instruction is not None else spec.instruction_ids
        prompts = [render(spec, text, instance, option_markers=option_markers) for text in spec.instructions]
    except OfaMiError as error:
        message = str(error).removeprefix(f"{name}: ").removeprefix(f"instance {shown(name)}: ")
        raise DataError(f"{name}: {message}") from None
    query = Query((), image, instance.image_size, instance.options, spec.output, name)
    return tuple(
        Prompted(instruction_id, text, replace(query, prompt=prompt))
        for instruction_id, text, prompt in zip(ids, spec.instructions, prompts, strict=True)
    )


def _instance(asked: Asked, image: Image.Image | None, name: str) -> Instance:
    """The inputs as an instance without an answer, checked as those of files are."""
    for key, most in (("options", MOST_OPTIONS), ("region", MOST_REGIONS), ("context", MOST_CONTEXT)):
        value = getattr(asked, key)
        if isinstance(value, list) and len(value) > most:
            raise DataError(f"{key} must be at most {most}, found {len(value)}")
    record: dict[str, Any] = {"unique_id": name, "task_name": asked.task or NAME, "target_set": []}
    if image is not None:
        record |= {"image_path": "image", "image_size": list(image.size)}
    for key in ("region", "options", "question", "text", "context"):
        if (value := getattr(asked, key)) not in (None, "", []):
            record[key] = value
    instance = replace(Instance.from_record(record, name), where="")
    texts = [instance.question, instance.text, *instance.context, *(instance.options or ())]
    if any(len(piece) > MOST_CHARACTERS for text in texts for piece in text if isinstance(piece, str)):
        raise DataError(f"a text has more than {MOST_CHARACTERS:,} characters")
    if any(map(is_blank, instance.options or ())):
        raise DataError("options holds an empty one")
    return instance


def _task(name: str, output: str | None, registry: Mapping[str, TaskSpec]) -> TaskSpec:
    if output is not None:
        raise DataError("output: a task has its own; leave it out")
    if name not in registry:
        raise DataError(f"task: there is none called {shown(name)}; GET /api/tasks lists them")
    spec = registry[name]
    spec.check_instructions()
    return spec


def _own_task(asked: Asked, instance: Instance) -> TaskSpec:
    """The task that an instruction of its own makes of a question."""
    instruction = asked.instruction or ""
    if is_blank(instruction) or len(instruction) > MOST_CHARACTERS:
        raise DataError(f"instruction: must have 1 to {MOST_CHARACTERS:,} characters")
    output = asked.output or ("option" if instance.options else "text")
    if output not in OUTPUTS:
        raise DataError(f"output: must be one of {', '.join(OUTPUTS)}, found {shown(output)}")
    if output in ("option", "options") and not instance.options:
        raise DataError(f"output: {output} needs options to choose from")
    if "region" in output and instance.image_size is None:
        raise DataError(f"output: {output} needs an image")
    used = set(split_template(instruction)[1::2])
    for key in ("question", "text", "context"):
        if getattr(instance, key) and key not in used:
            raise DataError(f"{key} is given, but the instruction does not mention {{{key}}}")
    return own_task(instruction, instance, output)
