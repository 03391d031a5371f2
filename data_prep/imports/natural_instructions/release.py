"""The files of the Natural Instructions release: where they come from, the task files, and the lists of tasks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace

import msgspec

from ofa_mi.data_prep.raw import RawFile, RawFolder
from ofa_mi.errors import DataError, shown
from ofa_mi.utils.json_files import one_line

NAME = "natural-instructions"
TITLE = "Natural Instructions v2"
PAGE = "https://github.com/allenai/natural-instructions"
LICENCE = "task definitions Apache-2.0; instances as their sources, see `Instance License` in each task file"
SIZE = "more than 1,600 task files, about 3 GB unpacked"

_FOLDER = "natural_instructions"
_TOP = f"{_FOLDER}/natural-instructions-2.8"  # what the archive of the tag v2.8 unpacks to
_ARCHIVE = "https://github.com/allenai/natural-instructions/archive/refs/tags/v2.8.zip"
# The raw folder of all data sets, that of this one, or the unpacked (or cloned) release itself will do.
_PLACES = (_TOP, _FOLDER, "natural-instructions-2.8")


def _released(path: str) -> RawFile:
    first, *others = (f"{place}/{path}" for place in _PLACES)
    return RawFile(path=first, alternatives=(*others, path), page=PAGE, url=_ARCHIVE, unpack=_FOLDER)


TASKS = _released("tasks/")
SPLIT = _released("splits/default/")
FILES = (TASKS, SPLIT)
RELEASE = SimpleNamespace(name=NAME, title=TITLE, page=PAGE, licence=LICENCE, size=SIZE, files=FILES)  # a DataSet

TEST_LIST, TRAIN_LIST, EXCLUDED_LIST = "test_tasks.txt", "train_tasks.txt", "excluded_tasks.txt"
OFFICIAL, PAPER = "official", "paper"
# The 20 of the official test tasks that MultiInstruct evaluates on (Xu et al., 2023, appendix).
PAPER_TASKS = (
    1624, 133, 569, 1631, 957, 1386, 393, 670, 890, 1534, 1388, 190, 1533, 1598, 199, 1439, 1409, 1529, 648, 50,
)  # fmt: skip

_NAME = re.compile(r"task(\d+)_\S+")
_REFERENCE = re.compile(r"(?:task)?(\d+)(?:_\S+)?")
_ENGLISH = "english"


class Example(msgspec.Struct):
    """A demonstration of a task; a negative one shows a wrong output."""

    input: str
    output: str
    explanation: str = ""


class Item(msgspec.Struct):
    """An instance of a task: every string of ``output`` is right."""

    input: str
    output: list[str]
    id: str = ""


class TaskFile(msgspec.Struct):
    """The fields of a task file that the import reads."""

    definition: str | list[str] = msgspec.field(name="Definition")
    input_language: list[str] = msgspec.field(name="Input_language")
    output_language: list[str] = msgspec.field(name="Output_language")
    instruction_language: list[str] = msgspec.field(name="Instruction_language")
    instances: list[Item] = msgspec.field(name="Instances")
    categories: list[str] = msgspec.field(name="Categories", default_factory=list)
    domains: list[str] = msgspec.field(name="Domains", default_factory=list)
    positive: list[Example] = msgspec.field(name="Positive Examples", default_factory=list)
    negative: list[Example] = msgspec.field(name="Negative Examples", default_factory=list)

    @property
    def is_english(self) -> bool:
        """Whether instruction, inputs and outputs are in English and in no other language."""
        languages = [*self.instruction_language, *self.input_language, *self.output_language]
        return all(language.strip().lower() == _ENGLISH for language in languages)


def read_task(path: Path) -> TaskFile:
    """Read a task file.

    Raises:
        DataError: It cannot be read, or is not in the official format; the message says where.
    """
    try:
        # json, not msgspec, parses: some released files hold NaN, which is no JSON.
        return msgspec.convert(json.loads(path.read_bytes()), TaskFile)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise DataError(f"{path}: not in the official format ({one_line(str(error))}); download it again") from None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which tasks are imported.

    Attributes:
        train: Task files that train, by name, in order of their numbers.
        test: Task files to evaluate on, likewise.
        missing: Tasks that a list names but that have no file.
        train_from: Which tasks train, in words.
    """

    train: dict[str, Path]
    test: dict[str, Path]
    missing: tuple[str, ...]
    train_from: str


class Release:
    """The release on disk.

    Args:
        raw_dir: The raw folder of all data sets, or the release itself (the folder of ``tasks/`` and ``splits/``).

    Raises:
        DataError: ``raw_dir`` holds neither.
    """

    def __init__(self, raw_dir: str | Path) -> None:
        raw = RawFolder(raw_dir)
        self.task_dir, self.split_dir = raw.find(TASKS), raw.find(SPLIT)

    @cached_property
    def files(self) -> dict[str, Path]:
        """Name → file of every task, in order of their numbers."""
        found = {path.stem: path for path in self.task_dir.glob("task*.json") if _NAME.fullmatch(path.stem)}
        if not found:
            raise DataError(f"{self.task_dir}: holds no task file (task…_….json); get them from {TASKS.how_to_get}")
        return {name: found[name] for name in sorted(found, key=_order)}

    def select(self, test_tasks: Iterable[str] | str, *, allow_missing: bool = False) -> Selection:
        """Choose training and test tasks.

        The training tasks are those of ``train_tasks.txt``. If there is no such file, they are all tasks that
        ``excluded_tasks.txt`` (if there is one) does not name. Neither the official test tasks nor ``test_tasks``
        train, ever.

        Args:
            test_tasks: ``"official"``, ``"paper"``, or names (or numbers) of tasks.
            allow_missing: Go on without tasks that have no file, instead of raising an error.

        Raises:
            DataError: A list is missing or malformed, a task has no file, or nothing is left to evaluate or train on.
        """
        official = self._list(TEST_LIST)
        test = self._resolve(test_tasks, official)
        train, train_from = self._training_tasks(held_out={*official, *test})
        missing = []
        for kind, names in (("test", test), ("training", train)):
            absent = [name for name in names if name not in self.files]
            some = f"{len(absent)} of the {len(names)} {kind} tasks"
            if absent and not allow_missing:
                raise DataError(
                    f"{self.task_dir}: {some} have no file ({summary(absent)}); "
                    "download the whole release, or go on without them with --allow-missing"
                )
            if len(absent) == len(names):
                raise DataError(f"{self.task_dir}: {some} have no file, so none is left ({summary(absent)})")
            missing += absent
        return Selection(self._present(train), self._present(test), tuple(sorted(missing, key=_order)), train_from)

    def _training_tasks(self, held_out: set[str]) -> tuple[list[str], str]:
        """Names of the training tasks, and where they come from."""
        if (self.split_dir / TRAIN_LIST).is_file():
            listed, source = self._list(TRAIN_LIST), f"listed in {TRAIN_LIST}"
        elif (self.split_dir / EXCLUDED_LIST).is_file():
            excluded = set(self._list(EXCLUDED_LIST))
            listed = [name for name in self.files if name not in excluded]
            source = f"all that no list holds out, for want of {TRAIN_LIST}"
        else:
            listed, source = list(self.files), f"all but test tasks, for want of {TRAIN_LIST} and {EXCLUDED_LIST}"
        return [name for name in listed if name not in held_out], source

    def _resolve(self, test_tasks: Iterable[str] | str, official: list[str]) -> list[str]:
        """Names of the test tasks; a number that no list or file knows stays a number."""
        if test_tasks == OFFICIAL:
            return official
        wanted = [f"task{number:03d}" for number in PAPER_TASKS] if test_tasks == PAPER else list(test_tasks)
        by_number: dict[int, list[str]] = {}
        for name in dict.fromkeys([*official, *self.files]):
            by_number.setdefault(_order(name)[0], []).append(name)
        names = []
        for reference in wanted:
            known = [reference] if _NAME.fullmatch(reference) else by_number.get(_order(reference)[0], [reference])
            if len(known) > 1:
                raise DataError(f"{self.task_dir}: several tasks have the number of {reference} ({summary(known)})")
            names += known
        return list(dict.fromkeys(names))

    def _list(self, name: str) -> list[str]:
        return read_list(self.split_dir / name, names_only=True)

    def _present(self, names: Iterable[str]) -> dict[str, Path]:
        wanted = set(names)
        return {name: path for name, path in self.files.items() if name in wanted}


def read_list(path: Path, *, names_only: bool = False) -> list[str]:
    """The tasks that a file lists, one per line, each once; blank lines do not count.

    Args:
        path: The file.
        names_only: Refuse numbers (``task050``, ``50``), which otherwise do as well as names.

    Raises:
        DataError: It cannot be read, lists nothing, or a line is no task.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not a list of tasks in UTF-8") from None
    pattern, what = (_NAME, "name") if names_only else (_REFERENCE, "name or number")
    entries = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    for number, entry in entries:
        if not pattern.fullmatch(entry):
            raise DataError(f"{path}:{number}: {shown(entry)} is not the {what} of a task")
    if not entries:
        raise DataError(f"{path}: lists no task")
    return list(dict.fromkeys(entry for _, entry in entries))


def summary(names: Mapping[str, object] | Iterable[str], most: int = 3) -> str:
    """The first names and how many more there are, for messages."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def _order(reference: str) -> tuple[int, str]:
    """Sorts tasks by number."""
    return int(_REFERENCE.match(reference)[1]), reference
