"""Predictions on disk: one JSON line per answer, with all that is needed to score it again.

A run appends to ``predictions.jsonl`` as it goes. A run that was killed leaves at most one line
that is not complete, the last; opening the file for appending cuts that line off.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from ofa_mi.data.encoding import Answer
from ofa_mi.decoding.modes import MODES
from ofa_mi.errors import DataError, shown
from ofa_mi.evaluation.conditions import IMAGES, PERTURBATIONS, PROMPT_STYLES, Conditions
from ofa_mi.evaluation.metrics import Truth
from ofa_mi.geometry import Box
from ofa_mi.instances.instance import MAX_PIXELS, Text, text_from_json, text_to_json
from ofa_mi.instructions.spec import ENGLISH, REWORDED, SPLITS
from ofa_mi.other_models.troubles import TROUBLES
from ofa_mi.utils.appending import LineAppender, bounded_lines
from ofa_mi.utils.files import open_atomic
from ofa_mi.utils.json_files import Name, Real, decode

Key = tuple[str, int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One answer of a model to one instance under one instruction.

    Attributes:
        unique_id: Id of the instance.
        task: Name of its task.
        task_version: Version of the task; scores of different versions do not compare.
        group: Task group.
        split: ``eval`` for a task that is held out from training, otherwise ``train``.
        subset: Part of the task that the instance belongs to, such as the task of Natural Instructions, or None.
        instruction: Number of the instruction, from 0.
        instruction_id: Its id in the registry.
        prompt: The prompt for people.
        mode: How the answer was decoded.
        prompt_style: As :class:`~ofa_mi.evaluation.conditions.Conditions` has it, and so are the next two.
        perturb: What was changed in the prompt.
        image: Which image was shown.
        data_dir: Which of the run's data directories holds the image, from 0.
        image_path: The instance's own image relative to the data directory, whichever was shown; None for text only.
        image_size: Its (width, height) in pixels.
        photo: What it shows, whatever its path: a number in a collection of photos, or the hash of its file; None for
            text only, and in files from before it was recorded.
        regions: Boxes that the prompt mentions outside its options.
        options: Options as rich text, None if there are none.
        prediction: The answer.
        references: Right answers as text, that of the target first.
        answers: What annotators answered, for VQA's accuracy.
        target_boxes: Boxes of the target.
        target_set: Right options of a task whose answer is a set, otherwise None.
        scores: Score from 0 to 100 by metric; the task's primary metric comes first.
        option_scores: Score of each option where options were ranked, otherwise None.
        reply: The words of a model that answers in text alone, from which the prediction was read; None for OFA.
        trouble: What is wrong with them, one of :data:`~ofa_mi.other_models.troubles.TROUBLES`; None if nothing is.
        where: ``file:line`` it was read from, for error messages; not stored.
    """

    unique_id: str
    task: str
    task_version: int
    group: str
    split: str
    subset: str | None
    instruction: int
    instruction_id: str
    prompt: str
    mode: str
    prompt_style: str
    perturb: str
    image: str
    data_dir: int
    image_path: str | None
    image_size: tuple[int, int] | None
    photo: str | None = None
    regions: tuple[Box, ...]
    options: tuple[Text, ...] | None
    prediction: Answer
    references: tuple[str, ...]
    answers: tuple[str, ...] = ()
    target_boxes: tuple[Box, ...]
    target_set: tuple[Text, ...] | None
    scores: dict[str, float]
    option_scores: tuple[float, ...] | None
    reply: str | None = None
    trouble: str | None = None
    where: str = field(default="", compare=False)

    @property
    def key(self) -> Key:
        """What no two records of a run share, and what they are sorted by."""
        return self.task, self.instruction, self.unique_id

    @property
    def language(self) -> str:
        """Code of the language of the instruction; it stands in the middle of the id where it is not English."""
        parts = self.instruction_id.split("/")
        return parts[1].removesuffix(REWORDED) if len(parts) == 3 else ENGLISH

    @property
    def conditions(self) -> Conditions:
        """Conditions under which it was asked."""
        return Conditions(prompt_style=self.prompt_style, perturb=self.perturb, image=self.image)

    @property
    def image_key(self) -> tuple[str, ...]:
        """What the instance shares with others about the same image; for text only, with none."""
        if self.image_path is None:
            return "text", self.task, self.unique_id
        if self.photo is not None:
            return "photo", self.photo
        return "image", str(self.data_dir), self.image_path

    @property
    def truth(self) -> Truth:
        """What the prediction is compared with."""
        name = self.where or f"{self.instruction_id}: instance {self.unique_id!r}"
        return Truth(self.references, self.target_boxes, self.options, self.target_set, name, self.answers)

    def to_json(self) -> bytes:
        """The record as one line."""
        record = asdict(self)
        del record["where"]
        for name in ("reply", "trouble"):
            if record[name] is None:
                del record[name]
        for name in ("options", "target_set"):
            texts = getattr(self, name)
            record[name] = None if texts is None else [text_to_json(text) for text in texts]
        return json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n"

    @classmethod
    def from_json(cls, line: bytes, where: str) -> Record:
        """Parse a line; :class:`DataError` naming ``where`` if it is not a record."""
        return _record(decode(line, _DECODER, f"{where}: not a prediction"), where)


class PredictionWriter(LineAppender):
    """Appends records to a predictions file, and knows those that are there already.

    Use it as a context manager. Only one process at a time may write a file.

    Attributes:
        path: The file.
        done: Keys of the records in the file.

    Raises:
        DataError: A line of the file is not a record, or two have the same key.
        ConfigError: Another process is writing the file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            self.done = {record.key for record in read_predictions(path)}
        except BaseException:
            self._file.close()
            raise

    def write(self, records: Iterable[Record]) -> None:
        """Append records; errors as in :meth:`LineAppender.append`."""
        records = list(records)
        self.append(record.to_json() for record in records)
        self.done.update(record.key for record in records)


def read_predictions(path: Path) -> Iterator[Record]:
    """The records of a predictions file, in order.

    Raises:
        DataError: The file cannot be read, a line is not a record, or two records have the same key.
    """
    seen: dict[Key, int] = {}
    for number, line in enumerate(bounded_lines(path, "a prediction"), start=1):
        record = Record.from_json(line, f"{path}:{number}")
        earlier = seen.setdefault(record.key, number)
        if earlier != number:
            raise DataError(
                f"{path}:{number}: instance {shown(record.unique_id)} is answered under {record.instruction_id} "
                f"on line {earlier} already"
            )
        yield record


def write_sorted(paths: Sequence[Path], out: Path) -> None:
    """Write the records of all ``paths`` to ``out`` in the order of their keys, whatever order they came in.

    Only keys and positions are held in memory.
    """
    places: list[tuple[Key, Path, int, int]] = []
    for path in paths:
        start = 0
        for number, line in enumerate(bounded_lines(path, "a prediction"), start=1):
            places.append((Record.from_json(line, f"{path}:{number}").key, path, start, len(line)))
            start += len(line)
    with ExitStack() as stack:
        files = {path: stack.enter_context(path.open("rb")) for path in paths}
        with open_atomic(out) as file:
            for _, path, start, length in sorted(places):
                files[path].seek(start)
                file.write(files[path].read(length))


def count_complete_lines(path: Path) -> int:
    """Number of lines that end in a newline; 0 if there is no file."""
    if not path.exists():
        return 0
    with open(path, "rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))


# What a line holds. Numbers stay as they are written, 3 or 3.0, so that a run that is scored again keeps its bytes.
_Coordinate = (
    Annotated[int, msgspec.Meta(ge=-MAX_PIXELS, le=MAX_PIXELS)]
    | Annotated[float, msgspec.Meta(ge=-MAX_PIXELS, le=MAX_PIXELS)]
)
# Not tuple[_Coordinate, _Coordinate, …]: beside a bounded number in a union, msgspec 0.22 crashes over such a type.
_StoredBox = Annotated[tuple[_Coordinate, ...], msgspec.Meta(min_length=4, max_length=4)]
_StoredText = str | list[str | _Coordinate | _StoredBox]
_Score = Annotated[float, msgspec.Meta(ge=-1000, le=1000)]  # scoring computes it again; here it must only have a sum
_Number = Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]
_Side = Annotated[int, msgspec.Meta(ge=1, le=MAX_PIXELS)]


# TASK/NUMBER, or TASK/LANGUAGE/NUMBER.
_InstructionId = Annotated[str, msgspec.Meta(pattern=r"^[\w .+,-]+(/[\w .+,][\w .+,-]*)?/[\w .+,-]+$", max_length=500)]


class _StoredAnswer(msgspec.Struct, forbid_unknown_fields=True):
    text: str
    boxes: tuple[_StoredBox, ...]


class _Line(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A line as it is stored; :class:`Record` says what its fields are."""

    unique_id: str
    task: Name
    task_version: _Number
    group: Name
    split: Literal[SPLITS]
    subset: str | None
    instruction: _Number
    instruction_id: _InstructionId
    prompt: str
    mode: Literal[MODES]
    prompt_style: Literal[PROMPT_STYLES]
    perturb: Literal[PERTURBATIONS]
    image: Literal[IMAGES]
    data_dir: _Number
    image_path: str | None
    photo: str | None = None  # which older files do not have
    image_size: tuple[_Side, _Side] | None
    regions: tuple[_StoredBox, ...]
    options: list[_StoredText] | None
    prediction: _StoredAnswer
    references: tuple[str, ...]
    answers: tuple[str, ...] = ()  # likewise
    target_boxes: tuple[_StoredBox, ...]
    target_set: list[_StoredText] | None
    scores: Annotated[dict[Name, _Score], msgspec.Meta(min_length=1)]
    option_scores: tuple[Real, ...] | None
    reply: str | None = None  # of models that are not OFA, and so is the next one
    trouble: Literal[tuple(TROUBLES)] | None = None


_DECODER = msgspec.json.Decoder(_Line)


def _record(line: _Line, where: str) -> Record:
    def texts(name: str) -> tuple[Text, ...] | None:
        def fail(message: str):
            raise DataError(f"{where}: {name}: {message}")

        values = getattr(line, name)
        return None if values is None else tuple(text_from_json(value, fail) for value in values)

    values = msgspec.structs.asdict(line)
    values |= {name: texts(name) for name in ("options", "target_set")}
    return Record(**values | {"prediction": Answer(line.prediction.text, line.prediction.boxes), "where": where})
