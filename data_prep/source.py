"""What a converter of one source data set is: which files it reads, which tasks it makes, and how.

A source is loaded once in the parent process (annotations, indices), then converted unit by unit in worker
processes that inherit what was loaded. A unit is usually one image with everything that is said about it.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ofa_mi.data_prep.draft import Draft
from ofa_mi.data_prep.raw import RawFile, RawFolder
from ofa_mi.errors import DataError, shown
from ofa_mi.utils.hashing import hash64

VALID_SHARE = 0.02  # of the training images
NO_IMAGE = "it has no image, or its image is missing"  # a reason for drop()


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image of a source data set.

    Attributes:
        path: Path below ``images/`` of the data directory. The same image has the same path whatever the data set
            or year that it comes in, e.g. ``coco/000000000139.jpg``, so that it is stored and counted once.
        files: Where it may lie below the raw folder; the first that exists is used.
        size: ``(width, height)`` in pixels as the annotations have it, checked against the file; None if they do not.
        same_as: Path by which its photo is known, if that is another: photos of Visual Genome that are MSCOCO's, too,
            are known by their path there.

    Raises:
        DataError: A path leads out of its folder; annotations name files.
    """

    path: str
    files: tuple[str, ...]
    size: tuple[int, int] | None = None
    same_as: str | None = None

    @property
    def photo(self) -> str:
        """What tells its photo from others, whatever the data set; see :mod:`ofa_mi.instances.photos`."""
        return self.same_as or self.path

    def __post_init__(self) -> None:
        for path in (self.path, *self.files):
            if path.startswith("/") or (".." in path and ".." in path.split("/")):
                raise DataError(f"the annotations name an image {shown(path)}, which is outside its folder")


@dataclass(frozen=True, slots=True)
class Candidate:
    """An instance that a source offers; the build keeps it, or not, when tasks are capped and answers balanced.

    Attributes:
        task: Its task.
        key: Tells it from all other candidates of the same source and task.
        draft: Inputs and answer.
        image: Its image; None for text only.
        meta_data: Whatever else is worth keeping (JSON values).
        split: ``train``, ``valid`` or ``test``; None to let the build decide: instances of evaluation tasks are
            ``test``, and a fixed share of the images of training tasks is ``valid``.
    """

    task: str
    key: str
    draft: Draft
    image: ImageFile | None
    meta_data: dict[str, Any] = field(default_factory=dict)
    split: str | None = None


class Source(ABC):
    """The converter of one source data set.

    Class attributes:
        name: Name on the command line, lower case.
        title: Name as its authors write it.
        page: Its official page.
        licence: Of the annotations and of the images.
        size: How much there is to download, for people.
        tasks: Tasks of the registry that it makes.
        version: Raised whenever its output changes.
        files: Everything that it may read; see :meth:`needed`.

    Args:
        raw: Where the raw files are.
        tasks: The tasks to make; those that the source does not have are ignored.
        seed: Seed of everything that is drawn.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    page: ClassVar[str]
    licence: ClassVar[str]
    size: ClassVar[str]
    tasks: ClassVar[tuple[str, ...]]
    version: ClassVar[int] = 1
    files: ClassVar[tuple[RawFile, ...]]

    def __init__(self, raw: RawFolder, tasks: Sequence[str], seed: int = 0) -> None:
        self.raw = raw
        self.wanted = tuple(task for task in self.tasks if task in set(tasks))
        self.seed = seed
        self.dropped: Counter[str] = Counter()
        self.repaired: Counter[str] = Counter()

    def needed(self) -> tuple[RawFile, ...]:
        """The raw files that the wanted tasks need; all of them unless a source knows better."""
        return self.files

    @abstractmethod
    def load(self) -> Sequence[Any]:
        """Read the annotations, keep on ``self`` what :meth:`convert` needs, and return the units in a fixed order.

        Raises:
            DataError: A file is missing or not in the official format.
        """

    @abstractmethod
    def convert(self, unit: Any) -> Iterator[Candidate]:
        """The candidates of one unit, of the wanted tasks only; runs in a worker process.

        What is left out is counted with :meth:`drop`, what is put right with :meth:`repair`. Randomness
        comes from :meth:`rng` alone.
        """

    def wants(self, *tasks: str) -> bool:
        """Whether any of these tasks is wanted."""
        return any(task in self.wanted for task in tasks)

    def drop(self, task: str, reason: str, number: int = 1) -> None:
        """Count something that makes no instance, for the summary.

        Args:
            task: The task that it would have been for.
            reason: In a few words, the same for all of its kind.
            number: How many.
        """
        if number:
            self.dropped[f"{task}: {reason}"] += number

    def drop_without_image(self, task: str) -> None:
        """Count something whose image is missing; the build warns where most of a task is lost like this."""
        self.drop(task, NO_IMAGE)

    def repair(self, task: str, what: str) -> None:
        """Count something that was wrong in the annotations and has been put right; arguments as in :meth:`drop`."""
        self.repaired[f"{task}: {what}"] += 1

    def rng(self, task: str, key: object) -> random.Random:
        """A generator that depends on the seed, the source, the task and the key only."""
        return random.Random(f"{self.seed}/{self.name}/{task}/{key}")


def held_out(photo: str) -> bool:
    """Whether a photo of the training tasks (:attr:`ImageFile.photo`) is in the validation split.

    It depends on the photo alone, so that none is trained on in one task and validated on in another.
    """
    return hash64("valid", photo) < VALID_SHARE * 2**64
