"""One instance of a task, as stored on a JSON line and as used in Python.

A text value may mention regions of the image, so every text field is *rich text*: in JSON a
string, a box ``[x0, y0, x1, y1]``, or a list that mixes the two, e.g.
``["why is ", [10, 20, 60, 90], " smiling?"]``. In Python it is always a tuple of pieces, each
a ``str`` or a :data:`~ofa_mi.geometry.Box`. Boxes are absolute pixels of the original image, with
``0 <= x0 < x1 <= width`` and ``0 <= y0 < y1 <= height``, at least a pixel wide and high.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from typing import Any, AnyStr

import regex

from ofa_mi.errors import ConfigError, DataError, shown
from ofa_mi.geometry import Box, check_box
from ofa_mi.utils.json_files import is_deeper

Text = tuple["str | Box", ...]

MAX_CONFIDENCE = 3.4e38  # what float32 holds
MAX_PIXELS = 1 << 27  # 134 million of an image; a file may claim a size that no memory can hold
PIXELS_OPTION = "OFA_MI_MAX_IMAGE_PIXELS"  # environment variable with another limit
MOST_PIXELS = 2**31 - 1  # that the limit may be: what the index can hold as a side
MAX_LINE = 1 << 24  # bytes of a JSON line; decoded, it may take thirty times as many
MAX_PATH = 4096  # bytes of a path, on Linux
MAX_DEPTH = 50  # levels of lists and objects in meta_data: few enough for whatever writes or prints them later
BYTE_ORDER_MARK = "\ufeff"
# White space, control and format characters, and what Unicode lets a font leave out; U+2800 is Braille without dots.
_INVISIBLE = regex.compile(r"[\s\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}\u2800]*")

_FIELDS = frozenset(
    [
        "unique_id",
        "task_name",
        "image_path",
        "image_size",
        "region",
        "options",
        "question",
        "text",
        "context",
        "target_txt",
        "target_set",
        "references",
        "answers",
        "meta_data",
    ]
)


@dataclass(frozen=True, slots=True)
class Instance:
    """One example of one task.

    Attributes:
        unique_id: Unique among all instances of a data set.
        task_name: Name of the task in the registry.
        image_path: Path of the image relative to the data directory; None for text only.
        image_size: ``(width, height)`` of the image in pixels; None for text only.
        regions: Input regions, in the order in which the task's instructions number them.
        options: Answers to choose from; None if the task has none.
        question: Question about the image.
        text: Caption, statement, expression, or other text that the task is about.
        context: Passages, dialogue turns or steps that precede ``question`` or ``text``.
        target: The answer: text, one of the options, or one or several boxes.
        target_set: For tasks whose answer is a set of options (output ``options``), those
            options; ``target`` is then empty.
        references: Further answers that count as right as the target; never trained on.
        answers: What annotators answered, each as often as it was given (VQA has ten). Not all of them are right: they
            serve VQA's accuracy and nothing else.
        meta_data: Whatever else the converter kept. ``confidence`` in it weights the instance in the loss.
        where: ``file:line`` it was read from, for error messages.
    """

    unique_id: str
    task_name: str
    image_path: str | None = None
    image_size: tuple[int, int] | None = None
    regions: tuple[Box, ...] = ()
    options: tuple[Text, ...] | None = None
    question: Text = ()
    text: Text = ()
    context: tuple[Text, ...] = ()
    target: Text = ()
    target_set: tuple[Text, ...] | None = None
    references: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    meta_data: dict[str, Any] = field(default_factory=dict)
    where: str = ""

    @classmethod
    def from_json(cls, line: str | bytes, where: str) -> Instance:
        """Parse and check one JSON line.

        Args:
            line: One line of an instances file.
            where: ``file:line``, named in every error.

        Raises:
            DataError: The line is blank, not valid UTF-8 or JSON, a field is missing, unknown or
                malformed, or a box lies outside the image.
        """
        if len(line) > MAX_LINE:
            raise DataError(f"{where}: has more than {MAX_LINE:,} bytes; is it one instance?", kind="line")
        try:
            text = line if isinstance(line, str) else line.decode("utf-8")  # json.loads is laxer with bytes
            text = line_content(text, where)
            record = json.loads(text)
            if "\\ud" in text.lower():  # an escape for half of a surrogate pair could be read but not written again
                json.dumps(record, ensure_ascii=False).encode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{where}: not UTF-8 (byte {error.start}: {error.reason})", kind="line") from None
        except UnicodeEncodeError:
            raise DataError(
                f"{where}: holds half of a surrogate pair (\\ud800 to \\udfff), which is no character", kind="line"
            ) from None
        except (ValueError, RecursionError) as error:
            message = f"{where}: not valid JSON, perhaps a truncated line ({shown(error)})"
            raise DataError(message, kind="line") from None
        return cls.from_record(record, where)

    @classmethod
    def from_record(cls, record: dict[str, Any], where: str, *, most_pixels: int | None = None) -> Instance:
        """Build an instance from a decoded JSON object; errors as in :meth:`from_json`.

        Args:
            record: The object.
            where: Named in every error.
            most_pixels: Pixels that its image may have; None for :func:`max_pixels`.
        """
        if not isinstance(record, dict):
            raise DataError(f"{where}: expected a JSON object, found {type(record).__name__}")
        parser = _Parser(record, where, max_pixels() if most_pixels is None else most_pixels)
        instance = cls(
            unique_id=parser.unique_id,
            task_name=parser.string("task_name"),
            image_path=parser.image_path(),
            image_size=parser.image_size(),
            regions=tuple(parser.box(value, "region") for value in parser.list("region")),
            options=parser.texts("options") if record.get("options") is not None else None,
            question=parser.text("question"),
            text=parser.text("text"),
            context=parser.context(),
            target=parser.text("target_txt"),
            target_set=parser.texts("target_set") if record.get("target_set") is not None else None,
            references=parser.references(),
            answers=parser.strings("answers"),
            meta_data=parser.meta_data(),
            where=where,
        )
        instance._check(parser)
        return instance

    def to_record(self) -> dict[str, Any]:
        """The JSON object that :meth:`from_record` reads back; empty fields are left out."""
        record = {
            "unique_id": self.unique_id,
            "task_name": self.task_name,
            "image_path": self.image_path,
            "image_size": list(self.image_size) if self.image_size else None,
            "region": [list(box) for box in self.regions],
            "options": None if self.options is None else [text_to_json(o) for o in self.options],
            "question": text_to_json(self.question),
            "text": text_to_json(self.text),
            "context": [text_to_json(part) for part in self.context],
            "target_txt": text_to_json(self.target),
            "target_set": None if self.target_set is None else [text_to_json(o) for o in self.target_set],
            "references": list(self.references),
            "answers": list(self.answers),
            "meta_data": self.meta_data,
        }
        keep_empty = ("options", "target_set")
        return {k: v for k, v in record.items() if v or (v is not None and k in keep_empty)}

    @property
    def confidence(self) -> float:
        """Weight of the instance in the loss, from 0; 1 if it says none."""
        return float(self.meta_data.get("confidence", 1))

    @property
    def name(self) -> str:
        """How an error message names this instance: where it was read and its id."""
        return f"{self.where}: instance {shown(self.unique_id)}" if self.where else f"instance {shown(self.unique_id)}"

    def boxes(self) -> list[Box]:
        """Every box of the instance, inputs and answers."""
        texts = [self.question, self.text, self.target, *self.context, *(self.options or ()), *(self.target_set or ())]
        return [*self.regions, *(piece for text in texts for piece in text if not isinstance(piece, str))]

    def _check(self, parser: _Parser) -> None:
        if is_blank(self.target) and (self.target or self.target_set is None):
            parser.fail("target_txt is missing or empty")
        if any(map(is_blank, self.target_set or ())):
            parser.fail("target_set holds an empty option")
        if self.image_path is not None and self.image_size is None:
            parser.fail("image_size is missing; it must give [width, height] of image_path")
        if self.image_path is None and self.image_size is not None:
            parser.fail("image_path is missing; image_size gives the size of an image")
        boxes = self.boxes()
        if boxes and self.image_size is None:
            parser.fail("has regions but no image")
        for box in boxes:
            check_box(box, self.image_size, parser.name)


def max_pixels() -> int:
    """Pixels that an image may have: what the environment variable ``OFA_MI_MAX_IMAGE_PIXELS`` says, or 134 million.

    It is a variable, because it depends on the machine's memory, and processes of every command read images.

    Raises:
        ConfigError: The variable holds no whole number from 1 to :data:`MOST_PIXELS`.
    """
    if (value := os.environ.get(PIXELS_OPTION)) is None:
        return MAX_PIXELS
    if not re.fullmatch("[0-9]{1,10}", value) or not 1 <= int(value) <= MOST_PIXELS:
        raise ConfigError(f"{PIXELS_OPTION}: must be a number of pixels from 1 to {MOST_PIXELS}, found {shown(value)}")
    return int(value)


def is_blank(text: str | Text) -> bool:
    """Whether a text shows nothing: it has no box, and no character but white space and invisible ones."""
    return all(isinstance(piece, str) and _INVISIBLE.fullmatch(piece) for piece in text)


def line_content(line: AnyStr, where: str) -> AnyStr:
    """A line of a file of instances without a byte order mark, which Windows puts at the start of a file.

    Raises:
        DataError: The line holds nothing but white space; names ``where``.
    """
    line = line.removeprefix(BYTE_ORDER_MARK if isinstance(line, str) else BYTE_ORDER_MARK.encode())
    if not line.strip():
        raise DataError(f"{where}: is blank; take the line out, or put back what it held", kind="line")
    return line


def text_to_json(text: Text) -> Any:
    """JSON form of a rich text: a string or a box if it is just that, otherwise a list."""
    pieces = [piece if isinstance(piece, str) else list(piece) for piece in text]
    if len(pieces) == 1:
        return pieces[0]
    return pieces or ""


def text_from_json(value: Any, fail) -> Text:
    """Rich text from its JSON form; ``fail(message)`` is called (and must raise) on anything else."""
    if isinstance(value, str):
        return (value,) if value else ()
    if _is_box(value):
        return (tuple(value),)
    if isinstance(value, list) and all(isinstance(piece, str) or _is_box(piece) for piece in value):
        return tuple(piece if isinstance(piece, str) else tuple(piece) for piece in value if piece)
    return fail(f"expected text, a box [x0, y0, x1, y1] or a list of these, found {shown(value)}")


def plain(text: Text) -> str:
    """``text`` for people: boxes are written as ``[x0, y0, x1, y1]`` with rounded pixels."""
    return "".join(p if isinstance(p, str) else "[" + ", ".join(f"{c:.0f}" for c in p) + "]" for p in text)


def text_of(text: Text) -> str:
    """Text of a rich text without its boxes, white space collapsed."""
    return " ".join("".join(piece if isinstance(piece, str) else " " for piece in text).split())


def boxes_of(text: Text) -> tuple[Box, ...]:
    """Boxes of a rich text, in order."""
    return tuple(piece for piece in text if not isinstance(piece, str))


def _is_number(value: Any) -> bool:
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < 2**53  # beyond that a float cannot hold it
    return isinstance(value, float)


def _is_box(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 4 and all(map(_is_number, value))


class _Parser:
    """Reads the fields of one record; every failure names the place, the instance and the field."""

    def __init__(self, record: dict[str, Any], where: str, most_pixels: int) -> None:
        self.record, self.where, self.most_pixels = record, where, most_pixels
        self.name = where
        self.unique_id = self.string("unique_id")
        self.name = f"{where}: instance {shown(self.unique_id)}"
        unknown = sorted(set(record) - _FIELDS)
        if unknown:
            self.fail(f"unknown field {shown(unknown[0])}; known fields are {', '.join(sorted(_FIELDS))}")

    def fail(self, message: str):
        raise DataError(f"{self.name}: {message}")

    def string(self, key: str) -> str:
        value = self.record.get(key)
        if not isinstance(value, str) or not value:
            self.fail(f"{key} must be a non-empty string, found {shown(value)}")
        return value

    def image_path(self) -> str | None:
        if self.record.get("image_path") is None:
            return None
        path = self.string("image_path")
        if len(path.encode("utf-8", "surrogatepass")) > MAX_PATH:
            self.fail(f"image_path must have at most {MAX_PATH:,} bytes, found {shown(path)}")
        return path

    def list(self, key: str) -> list:
        value = self.record.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.fail(f"{key} must be a list, found {shown(value)}")
        return value

    def box(self, value: Any, key: str) -> Box:
        if not _is_box(value):
            self.fail(f"{key} must hold boxes [x0, y0, x1, y1], found {shown(value)}")
        return tuple(value)

    def image_size(self) -> tuple[int, int] | None:
        value = self.record.get("image_size")
        if value is None:
            return None
        if not isinstance(value, list) or len(value) != 2 or not all(type(v) is int and v > 0 for v in value):
            self.fail(f"image_size must be [width, height] in whole pixels, found {shown(value)}")
        if value[0] * value[1] > self.most_pixels:
            limit = f"{self.most_pixels:,} pixels, the limit"
            self.fail(f"image_size {shown(value)} is more than {limit}; make the image smaller")
        return tuple(value)

    def text(self, key: str) -> Text:
        value = self.record.get(key)
        return () if value is None else text_from_json(value, lambda message: self.fail(f"{key}: {message}"))

    def texts(self, key: str) -> tuple[Text, ...]:
        return tuple(text_from_json(value, lambda message: self.fail(f"{key}: {message}")) for value in self.list(key))

    def context(self) -> tuple[Text, ...]:
        value = self.record.get("context")
        parts = self.texts("context") if not isinstance(value, str) else ((value,),)
        return tuple(part for part in parts if not is_blank(part))

    def references(self) -> tuple[str, ...]:
        values = self.strings("references")
        if any(map(is_blank, values)):
            self.fail(f"references holds the empty answer {shown(next(filter(is_blank, values)))}; leave it out")
        return values

    def strings(self, key: str) -> tuple[str, ...]:
        values = self.list(key)
        if not all(isinstance(value, str) for value in values):
            self.fail(f"{key} must be a list of strings, found {shown(values)}")
        return tuple(values)

    def meta_data(self) -> dict[str, Any]:
        value = self.record.get("meta_data")
        if value is not None and not isinstance(value, dict):
            self.fail(f"meta_data must be an object, found {shown(value)}")
        if is_deeper(value, MAX_DEPTH):
            self.fail(f"meta_data must be nested at most {MAX_DEPTH} levels deep, found {shown(value)}")
        meta_data = dict(value or {})
        confidence = meta_data.get("confidence", 1)
        if not _is_number(confidence) or not 0 <= confidence <= MAX_CONFIDENCE:
            self.fail(f"confidence in meta_data must be a number from 0, found {shown(confidence)}")
        return meta_data
