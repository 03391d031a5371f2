"""``ofa-mi predict --input``: many questions, answered in batches, of which every answer is kept at once."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from ofa_mi.commands.options import load_predictor
from ofa_mi.commands.question import as_json, check_arguments, make_query, question_instance
from ofa_mi.errors import ConfigError, DataError, OfaMiError, shown
from ofa_mi.instances.images import SIDEWAYS, UnusableImageError, exif_orientation, load_image, open_image
from ofa_mi.instructions.spec import OUTPUTS
from ofa_mi.utils.appending import LineAppender, bounded_lines
from ofa_mi.utils.json_files import decode, one_line
from ofa_mi.utils.progress import progress_bar

if TYPE_CHECKING:
    from PIL import Image

    from ofa_mi.decoding.predictor import Predictor

logger = logging.getLogger(__name__)

IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")  # files of a folder that are asked
ONE_ONLY = ("image", "draw", "json", "verbose")  # options of a single question
DIGITS = 16  # of a digest
_Output = Annotated[str, msgspec.Meta(pattern=f"^(?:{'|'.join(OUTPUTS)})$")]
_Box = Annotated[list[float], msgspec.Meta(min_length=4, max_length=4)]


class Line(msgspec.Struct, forbid_unknown_fields=True):
    """One question of a file: what it leaves open is what the command's options of the same names say."""

    id: str | int | None = None
    image: Annotated[str, msgspec.Meta(min_length=1, pattern=r"^[^\x00]*$")] | None = None
    instruction: str | None = None
    options: list[str | list[Any]] | None = None
    region: list[_Box] | None = None
    text: str | None = None
    question: str | None = None
    context: str | None = None
    output: _Output | None = None


class Answered(msgspec.Struct):
    """What is read again of an answer."""

    id: str
    asked: str


_LINE, _ANSWERED = msgspec.json.Decoder(Line), msgspec.json.Decoder(Answered)


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        id: What no two of them share.
        where: How an error message names it.
        line: What it says itself.
        folder: What its image's path is relative to.
    """

    id: str
    where: str
    line: Line
    folder: Path

    def arguments(self, args: argparse.Namespace) -> argparse.Namespace:
        """The question as the command's options would ask it."""
        given = msgspec.structs.asdict(self.line)
        given = {name: value for name, value in given.items() if name != "id" and value is not None}
        if "image" in given:
            given["image"] = str(self.folder / given["image"])
        if "options" in given:  # a list is a region, or text and regions, as on the command line
            given["options"] = [text if isinstance(text, str) else json.dumps(text) for text in given["options"]]
        return argparse.Namespace(**vars(args) | given)


def answer_all(args: argparse.Namespace) -> int:
    """Answer every question of ``--input`` that ``--out`` has no answer to; the exit status.

    Raises:
        ConfigError: An option is missing or of no use here, or ``--out`` holds answers to something else.
        DataError: A question cannot be asked. All are checked before the first is answered.
    """
    _check_options(args)
    questions = read_questions(Path(args.input))
    for question in questions:
        _check(question, args)
    asked = _digests(questions, args)
    with LineAppender(Path(args.out)) as writer:
        done = _answered(writer.path, asked)
        left = [question for question in questions if question.id not in done]
        if done:
            logger.info("%s holds %d of %d answers", writer.path, len(done), len(questions))
        seconds = _answer(left, args, asked, writer) if left else 0.0
    pace = f" in {seconds:.1f} s, {len(left) / seconds:.1f} a second" if seconds else ""
    print(f"{args.out}: answered {len(left):,} questions{pace}; {len(questions):,} in all")
    return 0


def _check_options(args: argparse.Namespace) -> None:
    if args.input is None or args.out is None:
        raise ConfigError("--input and --out belong together: give both, or leave both out")
    for name in ONE_ONLY:
        if getattr(args, name):
            raise ConfigError(f"--{name} is for a single question: leave it out, or leave --input out")


def read_questions(path: Path) -> list[Question]:
    """The questions of a file, one JSON object a line, or one for each image in a folder and the folders in it.

    Raises:
        DataError: The file cannot be read, a line is no question, two have the same id, or there is none.
    """
    questions = list(_of_folder(path) if path.is_dir() else _of_file(path))
    if not questions:
        raise DataError(f"{path}: holds no {'image' if path.is_dir() else 'question'}")
    seen: dict[str, str] = {}
    for question in questions:
        if (earlier := seen.setdefault(question.id, question.where)) != question.where:
            raise DataError(f"{question.where}: has the id {shown(question.id)}, which {earlier} has already")
    return questions


def _of_file(path: Path) -> Iterator[Question]:
    for number, content in enumerate(bounded_lines(path, "a question"), start=1):
        if content.strip():
            where = f"{path}:{number}"
            line = decode(content, _LINE, f"{where}: not a question")
            yield Question(str(number if line.id is None else line.id), where, line, path.parent)


def _of_folder(folder: Path) -> Iterator[Question]:
    others = 0
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name.startswith("."):
            continue
        if path.suffix.lower() in IMAGES:
            name = path.relative_to(folder).as_posix()
            printable = name.encode("utf-8", "backslashreplace").decode()  # a name may be no UTF-8
            yield Question(printable, one_line(str(path)), Line(image=name), folder)
        else:
            others += 1
    if others:
        logger.info("%s: %d files whose names do not end like those of images are left out", folder, others)


def _check(question: Question, args: argparse.Namespace) -> None:
    """Refuse a question that cannot be asked, with its image's header read, but not its pixels."""
    arguments = question.arguments(args)
    try:
        if arguments.instruction is None:
            raise ConfigError("has no instruction; give it, or --instruction for all")
        check_arguments(arguments)
        size = (
            _size(Path(arguments.image), exact=bool(arguments.region or arguments.options)) if arguments.image else None
        )
        question_instance(arguments, size)
    except UnusableImageError as error:
        raise DataError(f"{question.where}: image {shown(Path(arguments.image))} {error}") from None
    except OfaMiError as error:
        raise type(error)(f"{question.where}: {error}") from None


def _size(path: Path, *, exact: bool) -> tuple[int, int]:
    """Width and height of an upright image; a PNG file may say how it is to be turned behind its pixels."""
    with open_image(path) as image:
        if exact and image.format == "PNG":
            return load_image(path, name="image", upright=True).size
        width, height = image.size
        return (height, width) if exif_orientation(image) in SIDEWAYS else (width, height)


def _digests(questions: Sequence[Question], args: argparse.Namespace) -> dict[str, str]:
    """For each id what tells its question, the model and the settings apart from any others."""
    from ofa_mi.evaluation.asking.plan import weights_hash

    settings = [weights_hash(args.checkpoint, args.weights), args.mode, args.beam, args.max_len, args.precision]
    names = sorted(name for name in Line.__struct_fields__ if name not in ("id", "image"))
    digests = {}
    for question in questions:
        arguments = question.arguments(args)
        content = [*settings, question.id, question.line.image, *(getattr(arguments, name) for name in names)]
        digests[question.id] = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:DIGITS]
    return digests


def _answered(path: Path, asked: dict[str, str]) -> set[str]:
    """Ids of the answers that a file holds.

    Raises:
        ConfigError: One is to a question that is not asked, or was asked otherwise.
        DataError: A line is no answer.
    """
    done: set[str] = set()
    for number, line in enumerate(bounded_lines(path, "an answer"), start=1):
        answer = decode(line, _ANSWERED, f"{path}:{number}: not an answer")
        if asked.get(answer.id) != answer.asked or answer.id in done:
            raise ConfigError(
                f"{path}:{number}: answers another question, or was given by another model or with other settings; "
                "choose another --out, or remove the file"
            )
        done.add(answer.id)
    return done


def _answer(
    questions: Sequence[Question], args: argparse.Namespace, asked: dict[str, str], writer: LineAppender
) -> float:
    """Answer questions in their order, batch by batch; how many seconds it took, once the model was there."""
    predictor = load_predictor(args)
    images = _Images()
    start = time.perf_counter()
    with progress_bar(desc="predict", total=len(questions), unit="answers") as bar:
        for first in range(0, len(questions), args.batch_size):
            batch = questions[first : first + args.batch_size]
            writer.append(_lines(batch, args, asked, predictor, images))
            bar.update(len(batch))
    return time.perf_counter() - start


def _lines(
    batch: Sequence[Question],
    args: argparse.Namespace,
    asked: dict[str, str],
    predictor: Predictor,
    images: _Images,
) -> list[bytes]:
    """The answers to a batch, one line each."""
    queries = []
    for question in batch:
        arguments = question.arguments(args)
        image = images.load(question, arguments.image)
        queries.append(make_query(arguments, image, predictor, question.where)[0])
    lines = []
    for question, query, prediction in zip(batch, queries, predictor.predict(queries, args.mode), strict=True):
        record = {"id": question.id} | as_json(prediction, query, predictor, args.mode) | {"asked": asked[question.id]}
        lines.append(json.dumps(record, ensure_ascii=False).encode() + b"\n")
    return lines


class _Images:
    """Images of questions, of which those that follow each other may show the same: it is then one object."""

    def __init__(self) -> None:
        self.path: str | None = None
        self.image: Image.Image | None = None

    def load(self, question: Question, path: str | None) -> Image.Image | None:
        """The image at ``path``; None if there is none."""
        if path is None:
            return None
        if path != self.path:
            self.image = load_image(Path(path), name=question.where, upright=True)
            self.path = path
        return self.image
