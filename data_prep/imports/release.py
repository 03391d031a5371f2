"""The public release of MultiInstruct: its ``train.jsonl`` and ``test.jsonl`` as a data directory.

A line holds the fields of one instance and a prompt in which regions are numbers. Only the fields are used: prompts
are rendered anew from this project's instructions, so that regions become location tokens and every instruction can
be chosen. On the way the release's defects are repaired, each counted in the summary:

- ids that several lines share are numbered;
- the step to be written is taken out of the context of ``wikihow_next_step``;
- the options of the disaster tasks, a union of three label sets, become the task's own;
- several right answers, joined to one string in any order, become a set of options;
- the options that only stood in the prompt (``previous`` and ``next``) become options;
- regions of people that a question names (``commonsense_VQA``) are put behind their names;
- absolute paths of the authors' machines, and all others, are looked up below the folders of images;
- regions that reach outside their image are cut to it.

The release holds no images and does not store their sizes: both come from the official data sets. Which of Visual
Genome's photos are MSCOCO's, too, stands in Visual Genome's ``image_data.json``, which is looked for in the folders of
images.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ofa_mi.data_prep.building.build import BuildOptions, Details, convert
from ofa_mi.data_prep.building.output import OutputDirectory
from ofa_mi.data_prep.draft import Draft, text
from ofa_mi.data_prep.formats.reading import decode, tidy
from ofa_mi.data_prep.images.vg_images import coco_ids, vg_image
from ofa_mi.data_prep.raw import RawFile, RawFolder
from ofa_mi.data_prep.source import Candidate, ImageFile, Source
from ofa_mi.data_prep.sources.visdial import asked
from ofa_mi.errors import DataError, shown
from ofa_mi.geometry import Box, clip
from ofa_mi.instances.instance import Text
from ofa_mi.instances.photos import coco_path, names_of
from ofa_mi.instructions.registry import Registry, default_registry
from ofa_mi.instructions.spec import TaskSpec
from ofa_mi.utils.hashing import hash64

logger = logging.getLogger(__name__)

VERSION = 2
IMAGE_DATA = ("image_data.json", "*/image_data.json", "*/*/image_data.json")  # where it may lie in a folder of images
PAGE = "https://github.com/VT-NLP/MultiInstruct"
# The tasks that the release calls open-domain_VQA, by how their ids begin.
OPEN_DOMAIN = {"VQAv2_": "open_domain_vqa", "GQA_": "compositional_vqa", "ok_vqa_": "outside_knowledge_vqa"}
ORDER = ("previous", "next")


class Line(msgspec.Struct):
    """The fields of a line that matter; the ready-made ``prompt`` and ``target`` do not."""

    unique_id: str
    task_name: str
    image_path: str
    target_txt: str
    image_source: str = ""
    question: str = ""
    text: str = ""
    context: str | list[Any] = ""
    options: list[str] | None = None
    region: list[str] = []
    answer: str | None = None
    meta_data: dict[str, Any] = {}


def import_release(
    files: Sequence[str | Path],
    image_dirs: Sequence[str | Path],
    out_dir: str | Path,
    *,
    workers: int = 1,
    max_train: int = 0,
    max_eval: int = 0,
    seed: int = 0,
    skip_bad: bool = False,
) -> dict[str, Any]:
    """Write the lines of the release as a data directory.

    Lines of evaluation tasks become ``test.jsonl``; of the images of the others a fixed share becomes ``valid.jsonl``.

    Args:
        files: ``train.jsonl``, ``test.jsonl`` or both.
        image_dirs: Folders below which images are looked up by the ends of their paths: for
            ``./raw_datasets/MSCOCO2014/train2014/X.jpg`` the first of ``DIR/raw_datasets/MSCOCO2014/train2014/X.jpg``,
            ``DIR/MSCOCO2014/train2014/X.jpg``, ``DIR/train2014/X.jpg`` and ``DIR/X.jpg``. Visual Genome's
            ``image_data.json`` is ``DIR/image_data.json`` or lies one or two folders below.
        out_dir: Data directory to write.
        workers: Processes; the output does not depend on it.
        max_train: At most this many training instances of each task; 0 for all.
        max_eval: The same for validation and test instances.
        seed: Seed of their choice.
        skip_bad: Leave out and list instances whose image is missing, instead of stopping.

    Returns:
        The manifest, with the number of repairs of each kind in ``manifest["repaired"]["release"]``.

    Raises:
        DataError: A line or an image cannot be used; names it.
    """
    options = BuildOptions(max_train=max_train, max_eval=max_eval, seed=seed, workers=workers, skip_bad=skip_bad)
    registry = default_registry()
    source = Release([Path(file) for file in files], [Path(folder) for folder in image_dirs], registry, seed)
    settings = {
        "files": [Path(file).name for file in files],
        "max_train": max_train,
        "max_eval": max_eval,
        "seed": seed,
        "skip_bad": skip_bad,
        "image_data": source.image_data is not None,
    }
    output = OutputDirectory(out_dir, converter="import-release", version=VERSION, settings=settings, details=Details)
    return convert([source], output, options, registry)


class Release(Source):
    """Lines of the release; the tasks are all that have a name in it."""

    name = "release"
    title = "MultiInstruct release"
    page = PAGE
    licence = "Apache-2.0 (annotations as their sources)"
    size = "2 GB without images"
    version = VERSION

    def __init__(self, files: Sequence[Path], image_dirs: Sequence[Path], registry: Registry, seed: int) -> None:
        for folder in image_dirs:
            if not folder.is_dir():
                raise DataError(f"--images {folder}: no such directory")
        self.tasks = tuple(registry)
        self.files = tuple(RawFile(path=str(file.resolve()), page=PAGE) for file in files)
        super().__init__(RawFolder(os.sep), self.tasks, seed)  # images may lie in several folders
        self.paths = [self.raw.find(file) for file in self.files]
        self.image_dirs = [folder.resolve() for folder in image_dirs]
        found = (path for pattern in IMAGE_DATA for folder in self.image_dirs for path in sorted(folder.glob(pattern)))
        self.image_data = next(found, None)
        if self.image_data is not None:
            self.files += (RawFile(path=str(self.image_data), page=PAGE),)
        self.image_size = lru_cache(1 << 16)(self.raw.image_size)  # many lines are about one image
        self.registry = registry
        self.by_release_name: dict[str, list[TaskSpec]] = {}
        for spec in registry.values():
            if spec.release:
                self.by_release_name.setdefault(spec.release, []).append(spec)

    def load(self) -> Sequence[int]:
        """Find where the lines begin, and which ids are repeated; a unit is the number of a line over all files."""
        spans, ids, of_genome = [], [], 0
        for number, path in enumerate(self.paths):
            with path.open("rb") as file:
                offset = 0
                for line_number, line in enumerate(file, 1):
                    if line.strip():
                        found = decode(line, _Id, f"{path}:{line_number}")
                        spans.append((number, line_number, offset, len(line)))
                        ids.append(hash64(found.task_name, found.unique_id))
                        of_genome += names_of(found.image_path).visual_genome > 0
                    offset += len(line)
        self.coco_ids = {} if self.image_data is None else coco_ids(self.image_data)
        if of_genome and self.image_data is None:
            logger.warning(
                "%d lines are about photos of Visual Genome. Half of these are MSCOCO's, too, and may be held out "
                "under one name and trained on under the other: put Visual Genome's image_data.json into a folder of "
                "--images",
                of_genome,
            )
        self.spans = np.array(spans, dtype=np.int64).reshape(-1, 4)
        self.repeats = _occurrences(np.array(ids, dtype=np.uint64))
        return range(len(self.spans))

    def convert(self, unit: int) -> Iterator[Candidate]:
        """The instance of one line."""
        number, line_number, offset, length = self.spans[unit].tolist()
        path = self.paths[number]
        with path.open("rb") as file:
            file.seek(offset)
            line = decode(file.read(length), Line, f"{path}:{line_number}")
        candidate = _Importer(self, line, f"{path}:{line_number}").candidate(int(self.repeats[unit]))
        if candidate is not None:
            yield candidate

    def task_of(self, line: Line, where: str) -> TaskSpec:
        """The task of a line; several share the name open-domain_VQA."""
        specs = self.by_release_name.get(line.task_name)
        if specs is None:
            raise DataError(
                f"{where}: task {shown(line.task_name)} is none of the release; `ofa-mi tasks` lists release names"
            )
        if len(specs) == 1:
            return specs[0]
        begins = next((task for prefix, task in OPEN_DOMAIN.items() if line.unique_id.startswith(prefix)), None)
        return self.registry[begins or "open_domain_vqa"]

    def image_of(self, line: Line, task: str) -> ImageFile:
        """The image of a line; if it is nowhere, the place where it is looked up first."""
        parts = Path(line.image_path).parts
        if os.path.isabs(line.image_path):
            self.repair(task, "absolute path of the authors")
        found = _find(tuple(self.image_dirs), parts)
        file = found or str(self.image_dirs[0] / Path(*_relative(parts)))
        return self._photo(line.image_path, (file.lstrip(os.sep),))

    def _photo(self, path: str, files: tuple[str, ...]) -> ImageFile:
        """An image below the path that its data set gives it, so that overlaps with other data are found."""
        relative = "/".join(_relative(Path(path).parts))
        names = names_of(relative)
        if names.coco:
            return ImageFile(coco_path(names.coco), files)
        below = relative.rpartition("raw_datasets/")[2]
        if not names.visual_genome:
            return ImageFile(f"release/{below}", files)
        photo = vg_image(names.visual_genome, coco_id=self.coco_ids.get(names.visual_genome))
        if Path(relative).name.startswith("v7w_"):  # a copy of Visual7W's own, to which the boxes belong
            return ImageFile(f"release/{below}", files, same_as=photo.photo)
        return replace(photo, files=files)


class _Id(msgspec.Struct):
    """What tells a line from others, and its image."""

    unique_id: str
    task_name: str
    image_path: str = ""


class _Unusable(Exception):
    """A line makes no instance; says why in a few words."""


class _Importer:
    """One line on its way to an instance."""

    def __init__(self, source: Release, line: Line, where: str) -> None:
        self.source, self.line, self.where = source, line, where
        self.spec = source.task_of(line, where)
        self.image = source.image_of(line, self.spec.name)
        self.image_size: tuple[int, int] | None = None

    def candidate(self, repeat: int) -> Candidate | None:
        """The instance; None if the line cannot be used.

        Args:
            repeat: How many earlier lines have the same id.
        """
        try:
            draft = SPECIAL.get(self.line.task_name, _Importer.plain)(self)
        except _Unusable as reason:
            self.source.drop(self.spec.name, str(reason))
            return None
        if repeat:
            self.repaired("id that an earlier line has")
        key = f"{self.line.unique_id}-{repeat + 1}" if repeat else self.line.unique_id
        meta = {"release_task": self.line.task_name}
        if self.line.answer is not None:
            meta["answer"] = self.line.answer
        return Candidate(self.spec.name, key, draft, self.image, meta)

    # -- fields

    def repaired(self, what: str) -> None:
        self.source.repair(self.spec.name, what)

    def fail(self, message: str):
        raise DataError(f"{self.where}: {shown(self.line.unique_id)}: {message}")

    def box(self, value: Any) -> Box:
        """A box from four numbers in a string, cut to the image."""
        numbers = value.split() if isinstance(value, str) else value
        try:
            x0, y0, x1, y1 = map(float, numbers)
        except (TypeError, ValueError):
            self.fail(f"expected a region of four numbers, found {shown(value)}")
        if self.image_size is None:
            self.image_size = self.source.image_size(self.image.files)
        size = self.image_size or (max(x1, 1), max(y1, 1))  # without the image the instance is left out later
        box = clip((x0, y0, x1, y1), size)
        if box is None:
            raise _Unusable("region outside the image or smaller than a pixel")
        if box[0] > x0 + 1 or box[1] > y0 + 1 or box[2] < x1 - 1 or box[3] < y1 - 1:
            self.repaired("region that reaches outside the image")
        return box

    def boxes(self, values: Any) -> tuple[Box, ...]:
        if not isinstance(values, list) or not values:
            self.fail(f"expected a list of regions, found {shown(values)}")
        return tuple(self.box(value) for value in values)

    def named_box(self, name: str) -> Box:
        """The first box under a name of ``meta_data["object_regions"]``."""
        regions = self.line.meta_data.get("object_regions")
        if not isinstance(regions, dict) or name not in regions:
            self.fail(f"meta_data has no object_regions[{shown(name)}]")
        return self.boxes(regions[name])[0]

    def meta(self, name: str) -> str:
        value = self.line.meta_data.get(name)
        if not isinstance(value, str) or not value.strip():
            self.fail(f"meta_data[{shown(name)}] must be text, found {shown(value)}")
        return value

    def options(self) -> tuple[Text, ...] | None:
        """The options, without repetitions, as boxes where the task's options are regions."""
        if self.line.options is None:
            return None
        region = "region_accuracy" in self.spec.metrics
        options = [(self.box(option),) if region else _tidy(option) for option in self.line.options]
        unique = tuple(dict.fromkeys(option for option in options if option))
        if len(unique) < len(options):
            self.repaired("option that is there twice or empty")
        return unique

    def target(self) -> Text:
        """The answer as the task has it: text, one box, or several."""
        if self.spec.output == "regions":
            return self.boxes(self.line.region)
        if self.spec.output == "region" or "region_accuracy" in self.spec.metrics:
            return (self.box(self.line.target_txt),)
        return _tidy(self.line.target_txt)

    def answers(self) -> tuple[str, ...]:
        """What all annotators answered."""
        answers = self.line.meta_data.get("answers")
        return tuple(map(str, answers)) if isinstance(answers, list) else ()

    # -- tasks

    def plain(self, **changes: Any) -> Draft:
        """A draft whose fields are those of the line."""
        inputs = self.spec.inputs
        fields = {
            "question": _tidy(self.line.question) if "question" in inputs else (),
            "text": _tidy(self.line.text) if "text" in inputs else (),
            "context": _texts(self.line.context) if "context" in inputs else (),
            "options": self.options() if "options" in inputs else None,
            "answers": self.answers(),
        }
        if "regions" not in changes and any(name.startswith("region") for name in inputs):
            fields["regions"] = self.boxes(self.line.region)
        if "target_set" not in changes:
            fields["target"] = self.target()
        return Draft(**(fields | changes))

    def given_region(self) -> Draft:
        """Selection among regions: the given region is in ``meta_data``, ``region`` is the answer."""
        return self.plain(regions=(self.named_box("given_region"),))

    def region_overlap(self) -> Draft:
        """Two regions: the one in ``meta_data`` and the one in ``region``."""
        return self.plain(regions=(self.named_box("given_region"), *self.boxes(self.line.region)))

    def relation_from(self, name: str) -> Draft:
        """Localisation in a relation: the other party's region and the relation are in ``meta_data``."""
        return self.plain(regions=(self.named_box(name),), text=_tidy(self.meta("relation")))

    def relation_party(self, place: int) -> Draft:
        """Identification in a relation: ``region`` holds subject and object, of which one is shown."""
        boxes = self.boxes(self.line.region)
        if len(boxes) != 2:
            self.fail(f"expected the regions of subject and object, found {len(boxes)}")
        return self.plain(regions=(boxes[place],), text=_tidy(self.meta("relation")))

    def object_set(self) -> Draft:
        """A set of options, joined in any order in ``target_txt``."""
        options = self.options() or ()
        right = {name.strip() for name in self.line.target_txt.split(", ")}
        chosen = tuple(option for option in options if option[0] in right)
        if len(chosen) != len(right):
            self.fail(f"target_txt {shown(self.line.target_txt)} names something that is not an option")
        if len(chosen) > 1:
            self.repaired("several answers joined in any order")
        return self.plain(target_set=chosen)

    def disaster(self) -> Draft:
        """The options are the union of three label sets; ``meta_data`` has those of the task."""
        options = self.line.meta_data.get("options")
        if not isinstance(options, list) or self.line.target_txt not in options:
            self.fail("meta_data has no options with the answer among them")
        if len(options) < len(self.line.options or ()):
            self.repaired("options of other tasks")
        return self.plain(options=tuple(_tidy(option) for option in options))

    def next_step(self) -> Draft:
        """The context lists all steps, the answer included; only those before the current one belong there."""
        steps = _texts(self.line.context)
        current = _tidy(self.line.text)
        done = steps[: steps.index(current)] if current in steps else steps
        answer = _tidy(self.line.target_txt)
        if answer in steps:
            self.repaired("answer in the context")
        done = tuple(step for step in done if step != answer)
        return self.plain(context=(_tidy(self.meta("method")), *done))

    def next_step_selection(self) -> Draft:
        """The goal, which only stands in the prompt, is the text."""
        return self.plain(text=_tidy(self.meta("method")))

    def step_order(self) -> Draft:
        """The options only stand in the prompt; the goal goes before the step."""
        self.repaired("options only in the prompt")
        rng = self.source.rng(self.spec.name, self.where)
        goal = f"{self.meta('method')}: {self.line.text}"
        return self.plain(text=_tidy(goal), options=tuple(text(word) for word in rng.sample(ORDER, 2)))

    def dialogue(self) -> Draft:
        """Caption and earlier turns, which the release's prompts leave out, are the context."""
        turns = self.line.meta_data.get("dialog_hist", [])
        try:
            spoken = [f"{asked(tidy(turn['q']))} {turn['a']}" for turn in turns]
        except (TypeError, KeyError, AttributeError):
            self.fail(f"expected dialog_hist as a list of {{q, a}}, found {shown(turns)}")
        if turns:
            self.repaired("dialogue history that is missing from the prompt")
        return self.plain(context=_texts([self.meta("caption"), *spoken]))

    def named_people(self) -> Draft:
        """A question and answers that name people, whose regions go behind their names."""
        regions = self.line.meta_data.get("object_regions")
        if not isinstance(regions, dict):
            self.fail("meta_data has no object_regions")
        boxes = {name: self.boxes(values)[0] for name, values in regions.items()}
        options = tuple(_mention(option, boxes) for option in self.line.options or ())
        return self.plain(
            question=_mention(self.line.question, boxes),
            options=options,
            target=_mention(self.line.target_txt, boxes),
        )


# What is special about a task of the release, by its name there.
SPECIAL: dict[str, Callable[[_Importer], Draft]] = {
    **dict.fromkeys(
        (
            "select_overlap_most_region",
            "select_overlap_least_region",
            "select_overlaped_region",
            "select_nonoverlaped_region",
        ),
        _Importer.given_region,
    ),
    **dict.fromkeys(("medic_disaster_types", "medic_informative", "medic_damage_severity"), _Importer.disaster),
    **dict.fromkeys(("missing_object_selection", "region_object_selection"), _Importer.object_set),
    **dict.fromkeys(("wikihow_text_image_step_order", "wikihow_image_text_step_order"), _Importer.step_order),
    "if_region_overlap": _Importer.region_overlap,
    "visual_object_region": lambda line: line.relation_from("subject"),
    "visual_subject_region": lambda line: line.relation_from("object"),
    "visual_object_identification": lambda line: line.relation_party(0),
    "visual_subject_identification": lambda line: line.relation_party(1),
    "wikihow_next_step": _Importer.next_step,
    "wikihow_immediate_next_step_selection": _Importer.next_step_selection,
    "visual_dialog": _Importer.dialogue,
    "commonsense_VQA": _Importer.named_people,
}


def _tidy(value: str) -> Text:
    """A text of the release as instances hold it; empty if it is, or if it cannot be used."""
    return text(words) if (words := tidy(value)) else ()


def _texts(value: str | list[Any]) -> tuple[Text, ...]:
    values = [value] if isinstance(value, str) else value
    return tuple(tidy for part in values if (tidy := _tidy(str(part))))


def _mention(value: str, boxes: dict[str, Box]) -> Text:
    """Put the box of everything that is named behind its name, where it is named first."""
    if not boxes:
        return _tidy(value)
    longest_first = sorted(boxes, key=len, reverse=True)  # "person 12" before "person 1"
    parts = re.split(rf"\b({'|'.join(map(re.escape, longest_first))})\b", tidy(value))
    pieces: list[str | Box] = [parts[0]]
    for name, rest in zip(parts[1::2], parts[2::2], strict=True):
        if boxes[name] in pieces:
            pieces[-1] += name + rest
        else:
            pieces[-1:] = [f"{pieces[-1]}{name} ", boxes[name], rest]
    return tuple(piece for piece in pieces if piece)


def _occurrences(ids: np.ndarray) -> np.ndarray:
    """For each id the number of equal ones before it, int64 ``(N,)``."""
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ids) else np.empty(0, dtype=np.int64)
    counts = np.empty(len(ids), dtype=np.int64)
    counts[order] = np.arange(len(ids)) - np.repeat(starts, np.diff(np.r_[starts, len(ids)]))
    return counts


def _relative(parts: tuple[str, ...]) -> tuple[str, ...]:
    """The parts of a path without root, ``.`` and ``..``."""
    return tuple(part for part in parts if part not in ("/", ".", ".."))


@lru_cache(1 << 16)
def _find(image_dirs: tuple[Path, ...], parts: tuple[str, ...]) -> str | None:
    """The image whose path ends most like ``parts`` below one of the folders."""
    relative = _relative(parts)
    for start in range(len(relative)):
        for folder in image_dirs:
            path = folder.joinpath(*relative[start:])
            if path.is_file():
                return str(path)
    return None
