"""OFA's own data files: tab-separated lines that carry their image in base64.

They are described in OFA's README, section "Finetuning & Inference". A file is used where it lies,
without conversion; its rows become instances of the benchmark's tasks.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from ofa_mi.errors import ConfigError, DataError, shown
from ofa_mi.instances.images import UnusableImageError, load_image, open_image
from ofa_mi.instances.instance import MAX_CONFIDENCE, Instance, is_blank, line_content
from ofa_mi.instances.lines import MAX_LINE_READ
from ofa_mi.instances.store import LineStore

SEPARATOR = "&&"  # between several captions or answers
CONFIDENCE_SEPARATOR = "|!+"  # between the confidence of an answer and the answer
SPLITS = {"valid": ("valid", "val", "dev")}  # what else OFA calls a split
ENTAILMENT = {"entailment": "yes", "neutral": "not sure", "contradiction": "no"}
CAPTIONS = f"a caption, or several with {SEPARATOR} between them"
ANSWERS = f"confidence{CONFIDENCE_SEPARATOR}answer, or several with {SEPARATOR} between them, and confidences from 0"
BOX_TOLERANCE = 1.0  # pixels by which rounding may carry RefCOCO's boxes over the edge of the image


@dataclass(frozen=True)
class TsvKind:
    """One kind of file.

    Attributes:
        task_name: The task that its rows are instances of.
        columns: Number of each column that is read, from 0.
        fields: The instance's fields, from the row's texts by column name and the image's size.
    """

    task_name: str
    columns: Mapping[str, int]
    fields: Callable[[dict[str, str], tuple[int, int]], dict[str, Any]]


class _CellError(Exception):
    """A cell does not hold what its column does: name of the column, and what that is."""


def _caption(row: dict[str, str], image_size: tuple[int, int]) -> dict[str, Any]:
    target, *references = _parts(row, "caption", CAPTIONS)
    return {"target_txt": target, "references": references}


def _refcoco(row: dict[str, str], image_size: tuple[int, int]) -> dict[str, Any]:
    box = [_number(coordinate) for coordinate in row["region"].split(",")]
    if len(box) != 4 or not all(map(math.isfinite, box)):
        raise _CellError("region", "a region x0,y0,x1,y1 in pixels")
    box = [_pull_inside(coordinate, image_size[i % 2]) for i, coordinate in enumerate(box)]
    return {"text": _text(row, "text"), "target_txt": box}


def _vqa(row: dict[str, str], image_size: tuple[int, int]) -> dict[str, Any]:
    answers = {}
    for item in _parts(row, "answer", ANSWERS):
        confidence, separator, answer = item.partition(CONFIDENCE_SEPARATOR)
        if not separator or not 0 <= (value := _number(confidence)) <= MAX_CONFIDENCE:
            raise _CellError("answer", ANSWERS)
        if not is_blank(answer):
            answers[answer] = value
    if not answers:
        raise _CellError("answer", ANSWERS)
    target = max(answers, key=answers.__getitem__)
    return {
        "question": _text(row, "question"),
        "target_txt": target,
        # The other answers are those of a minority of annotators: neither right nor a list of their answers.
        "meta_data": {"confidence": answers[target], "confidences": answers},
    }


def _snli_ve(row: dict[str, str], image_size: tuple[int, int]) -> dict[str, Any]:
    if row["label"] not in ENTAILMENT:
        raise _CellError("label", f"one of {', '.join(ENTAILMENT)}")
    return {
        "text": _text(row, "hypothesis"),
        "options": list(ENTAILMENT.values()),
        "target_txt": ENTAILMENT[row["label"]],
        "meta_data": {"caption": row["caption"]},
    }


KINDS = {
    "caption": TsvKind("image_captioning", {"id": 0, "caption": 2, "image": 4}, _caption),
    "refcoco": TsvKind("referring_expression_grounding", {"id": 0, "text": 2, "region": 3, "image": 4}, _refcoco),
    "vqa": TsvKind("open_domain_vqa", {"id": 0, "question": 2, "answer": 3, "image": 5}, _vqa),
    "snli_ve": TsvKind("visual_entailment", {"id": 0, "image": 2, "hypothesis": 3, "caption": 4, "label": 5}, _snli_ve),
}


class TsvStore(LineStore):
    """Instances of one of OFA's files.

    OFA repeats a row's id where a question has several answers, so an instance's ``unique_id`` is the
    row's id and the position of its line. ``image_path`` is ``<file>@<position>``: it is read by
    :meth:`load_image` only.

    Args:
        path: The file.
        kind: A key of :data:`KINDS`.
        columns: Numbers of columns that are elsewhere than in OFA's files, by name.
        skip_bad, workers: As in :class:`~ofa_mi.instances.store.LineStore`.

    Raises:
        ConfigError: The kind or a column name is unknown.
        DataError: The file cannot be read, or a line is bad; names file and line.
    """

    def __init__(
        self,
        path: str | Path,
        kind: str,
        columns: Mapping[str, int] | None = None,
        *,
        skip_bad: bool = False,
        workers: int = 0,
    ) -> None:
        self.reader = TsvReader(path, kind, columns)
        super().__init__(path, skip_bad=skip_bad, workers=workers)

    def load_image(self, instance: Instance) -> Image.Image:
        return load_image(BytesIO(self.image_bytes(instance)), name=instance.name, size=instance.image_size)

    def image_digest(self, instance: Instance) -> str:
        return hashlib.sha256(self.image_bytes(instance)).hexdigest()

    def image_bytes(self, instance: Instance) -> bytes:
        offset = int(instance.image_path.rpartition("@")[2])
        row = self._rows[bisect_left(self._rows["offset"], offset)]
        return self.reader.image(self._read(offset, row["length"]), instance.name)

    def _format(self) -> str:
        return f"{self.reader.kind} {sorted(self.reader.columns.items())}"

    def _parse(self, line: bytes, where: str, offset: int, image_size: tuple[int, int] | None = None) -> Instance:
        return self.reader.instance(line, where, offset, image_size)

    def _check_image(self, instance: Instance) -> None:
        """Nothing: the image lies on the line, and parsing has read its size."""


class TsvReader:
    """What the lines of one of OFA's files mean; arguments and errors as those of :class:`TsvStore`."""

    def __init__(self, path: str | Path, kind: str, columns: Mapping[str, int] | None = None) -> None:
        if kind not in KINDS:
            raise ConfigError(f"{path}: unknown kind of TSV file {shown(kind)}; known kinds are {', '.join(KINDS)}")
        known = KINDS[kind].columns
        unknown = sorted(set(columns or {}) - set(known))
        if unknown:
            raise ConfigError(f"{path}: {kind} files have no column {shown(unknown[0])}; they have {', '.join(known)}")
        self.path, self.kind = Path(path), kind
        self.columns = {**known, **(columns or {})}

    def image(self, line: bytes, name: str) -> bytes:
        """The encoded image on a line; ``name`` is the instance's in an error."""
        return self._decode(self._cells(line, name)[self.columns["image"]], name)

    def instance(self, line: bytes, where: str, offset: int, image_size: tuple[int, int] | None = None) -> Instance:
        """The instance on a line.

        Args:
            line: The line.
            where: ``file:line``, named in every error.
            offset: Where it begins in the file, in bytes.
            image_size: ``(width, height)`` of its image in pixels where it is known; None to read it.

        Raises:
            DataError: The line is bad.
        """
        cells = self._cells(line, where)
        row = {name: self._decoded(cells[i], name, where) for name, i in self.columns.items() if name != "image"}
        kind, size = KINDS[self.kind], image_size or self._image_size(cells[self.columns["image"]], where)
        try:
            fields = kind.fields(row, size)
        except _CellError as error:
            name, form = error.args
            raise DataError(f"{self._cell(name, where)} must hold {form}, found {shown(row[name])}") from None
        record = {
            "unique_id": f"{row['id']}@{offset}",
            "task_name": kind.task_name,
            "image_path": f"{self.path.name}@{offset}",
            "image_size": list(size),
        }
        return Instance.from_record({**record, **fields}, where)

    def _cells(self, line: bytes, where: str) -> list[bytes]:
        if len(line) >= MAX_LINE_READ:
            message = f"{where}: has {MAX_LINE_READ:,} bytes or more, which is too long for a row"
            raise DataError(message, kind="line")
        cells = line_content(line, where).rstrip(b"\r\n").split(b"\t")
        if len(cells) <= max(self.columns.values()):
            places = ", ".join(f"{name} in {i + 1}" for name, i in self.columns.items())
            raise DataError(
                f"{where}: expected at least {max(self.columns.values()) + 1} columns, found {len(cells)}; "
                f"is it a {self.kind} file, with {places} and tabs between the columns?",
                kind="line",
            )
        return cells

    def _cell(self, name: str, where: str) -> str:
        """How an error message names a cell of a line."""
        return f"{where}: column {self.columns[name] + 1} ({name})"

    def _decoded(self, cell: bytes, name: str, where: str) -> str:
        try:
            return cell.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            message = f"{self._cell(name, where)} is not UTF-8 (byte {error.start}: {error.reason})"
            raise DataError(message, kind="line") from None

    def _image_size(self, cell: bytes, where: str) -> tuple[int, int]:
        try:
            with open_image(BytesIO(self._decode(cell, where))) as image:
                return image.size
        except UnusableImageError as error:
            raise DataError(f"{self._cell('image', where)} {error}", kind="image") from None

    def _decode(self, cell: bytes, where: str) -> bytes:
        """Bytes of the image, from either alphabet of base64."""
        try:
            return base64.b64decode(cell.translate(bytes.maketrans(b"-_", b"+/")), validate=True)
        except binascii.Error as error:
            message = f"{self._cell('image', where)} must hold an image in base64 ({error})"
            raise DataError(message, kind="image") from None


def find_tsv(directory: Path, split: str) -> tuple[Path, str] | None:
    """The file ``<kind>…_<split>.tsv`` of a folder, as OFA names them, and its kind; None if there is none.

    Raises:
        DataError: There are several.
    """
    names = SPLITS.get(split, (split,))
    found = [
        (path, kind)
        for path in sorted(directory.glob("*.tsv"))
        for kind in KINDS
        if path.stem.startswith(kind) and path.stem.rpartition("_")[2] in names
    ]
    if len(found) > 1:
        files = ", ".join(path.name for path, _ in found)
        raise DataError(f"{directory}: several files hold the split {split}: {files}; give each a directory of its own")
    return found[0] if found else None


def tsv_splits(directory: Path) -> list[str]:
    """Names of the splits for which a folder has files of OFA's, as :func:`find_tsv` takes them."""
    names = {name: split for split, others in SPLITS.items() for name in others}
    found = [
        path.stem.rpartition("_")[2] for path in sorted(directory.glob("*.tsv")) if path.stem.startswith((*KINDS,))
    ]
    return list(dict.fromkeys(names.get(name, name) for name in found))


def _parts(row: dict[str, str], name: str, form: str) -> list[str]:
    """What stands between the separators of a cell; empty parts, such as one behind the last separator, are none."""
    parts = [part.strip() for part in row[name].split(SEPARATOR) if not is_blank(part)]
    if not parts:
        raise _CellError(name, form)
    return parts


def _text(row: dict[str, str], name: str) -> str:
    """A cell that must not be empty."""
    if is_blank(row[name]):
        raise _CellError(name, "text")
    return row[name]


def _number(text: str) -> float:
    """The number that a text is; not a number if it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _pull_inside(coordinate: float, side: int) -> float:
    """``coordinate``, or the edge of the image if it is beyond it by rounding only."""
    return min(max(coordinate, 0), side) if -BOX_TOLERANCE <= coordinate <= side + BOX_TOLERANCE else coordinate
