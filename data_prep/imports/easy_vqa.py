"""easy-VQA: 5,000 images of one coloured shape and 48,248 questions about them, as task ``easy_vqa``.

Source: Victor Zhou's ``easy-vqa`` package (https://github.com/vzhou842/easy-VQA), which carries
the data: ``data/{train,test}/questions.json`` holds ``[question, answer, image id]`` and
``data/{train,test}/images/ID.png`` the 64x64 images. Its test questions become ``test.jsonl``;
``valid.jsonl`` takes all questions of some training images, so that no image is in two splits.
"""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from ofa_mi.data_prep.building.output import OutputDirectory
from ofa_mi.errors import DataError
from ofa_mi.instances.images import open_image
from ofa_mi.instances.instance import Instance
from ofa_mi.utils.files import atomic_write
from ofa_mi.utils.json_files import read_json
from ofa_mi.utils.progress import progress_bar

TASK = "easy_vqa"
VERSION = 1
Question = tuple[int, str, str, int]  # index in its file, question, answer, image id
_QUESTIONS = msgspec.json.Decoder(list[tuple[str, str, int]])


def convert(out_dir: str | Path, *, valid_fraction: float = 0.05, seed: int = 0) -> dict[str, Any]:
    """Write easy-VQA as a data directory.

    Args:
        out_dir: Data directory to write; a finished one is left as it is.
        valid_fraction: Share of the training images that becomes the validation split.
        seed: Seed of the choice of these images.

    Returns:
        The manifest; ``manifest["counts"][split][task]`` is a number of instances.

    Raises:
        DataError: The package is not installed or damaged, or ``out_dir`` holds other data.
    """
    source = package_data()
    settings = {"valid_fraction": valid_fraction, "seed": seed}
    output = OutputDirectory(out_dir, converter="easy-vqa", version=VERSION, settings=settings)
    if output.finished:
        return output.finished
    train, test = _read_questions(source, "train"), _read_questions(source, "test")
    held_out = _held_out_images(train, valid_fraction, seed)
    splits = {
        "train": ("train", [question for question in train if question[3] not in held_out]),
        "valid": ("train", [question for question in train if question[3] in held_out]),
        "test": ("test", test),
    }
    counts = {}
    for split, (source_split, questions) in splits.items():
        sizes = _copy_images(source, source_split, sorted({question[3] for question in questions}), output.path)
        counts[split] = output.write_instances(split, _instances(source_split, questions, sizes))
    return output.finish(counts)


def package_data() -> Path:
    """Folder ``data`` of the installed package, found without importing it."""
    spec = importlib.util.find_spec("easy_vqa")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("the package easy-vqa is not installed; run: pip install easy-vqa==1.0")
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def _read_questions(source: Path, split: str) -> list[Question]:
    path = source / split / "questions.json"
    rows = read_json(path, _QUESTIONS, "not the questions of easy-VQA; reinstall the package easy-vqa")
    return [(index, *row) for index, row in enumerate(rows)]


def _held_out_images(questions: list[Question], fraction: float, seed: int) -> frozenset[int]:
    images = sorted({image for *_, image in questions})
    return frozenset(random.Random(seed).sample(images, round(fraction * len(images))))


def _image_path(split: str, image: int) -> str:
    return f"images/{split}/{image}.png"


def _copy_images(source: Path, split: str, images: list[int], out_dir: Path) -> dict[int, tuple[int, int]]:
    """Copy the images that are not there yet; return the (width, height) of all of them."""
    sizes = {}
    for image in progress_bar(images, desc=f"easy-VQA {split} images", unit="images"):
        origin, copy = source / split / "images" / f"{image}.png", out_dir / _image_path(split, image)
        if not origin.exists():
            raise DataError(f"{origin}: missing; reinstall the package easy-vqa")
        if not copy.exists():
            atomic_write(copy, origin.read_bytes(), durable=False)
        with open_image(copy) as picture:
            sizes[image] = picture.size
    return sizes


def _instances(split: str, questions: list[Question], sizes: dict[int, tuple[int, int]]) -> Iterator[Instance]:
    for index, question, answer, image in questions:
        yield Instance(
            unique_id=f"easy_vqa-{split}-{index}",
            task_name=TASK,
            image_path=_image_path(split, image),
            image_size=sizes[image],
            question=(question,),
            target=(answer,),
        )
