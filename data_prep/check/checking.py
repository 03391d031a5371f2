"""From data directories to findings and a data card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ofa_mi.data_prep.building.output import MANIFEST, read_manifest
from ofa_mi.data_prep.check.card import build_record, open_card, write_card
from ofa_mi.data_prep.check.examples import choose_examples
from ofa_mi.data_prep.check.findings import TRAINING_SPLIT, Findings
from ofa_mi.data_prep.check.guess import guess, questions_of
from ofa_mi.data_prep.check.images import Images, check_images, sharing
from ofa_mi.data_prep.check.scan import Scan, data_files, directory_names, scan
from ofa_mi.errors import DataError
from ofa_mi.instances.doubts import doubts
from ofa_mi.instructions.registry import Registry
from ofa_mi.utils.parallel import ordered_map
from ofa_mi.utils.progress import progress_bar


@dataclass(frozen=True, slots=True)
class Result:
    """What a check found.

    Attributes:
        scan: The files and what was read of them.
        record: The content of card.json.
    """

    scan: Scan
    record: dict[str, Any]

    @property
    def findings(self) -> Findings:
        return self.scan.findings


def check(
    directories: Sequence[str | Path],
    card_dir: str | Path,
    registry: Registry,
    *,
    workers: int = 1,
    keep: int = 10,
    with_guess: bool = True,
    guess_instances: int = 4000,
    examples: int = 2,
) -> Result:
    """Check data directories and write their data card.

    The card is the same, byte for byte, for the same data and any number of workers.

    Args:
        directories: Data directories; several are one data set.
        card_dir: Folder of the card.
        registry: The tasks.
        workers: Processes.
        keep: Findings of a kind that are kept.
        with_guess: Whether to measure how far answers can be guessed.
        guess_instances: Instances of a task that the guess looks at.
        examples: Examples of a task.

    Raises:
        DataError: A directory holds no instances, or the card cannot be written.
    """
    directories, card_dir = list(dict.fromkeys(map(Path, directories))), Path(card_dir)
    files = data_files(directories)
    earlier = open_card(card_dir)
    found = scan(files, registry, keep=keep, workers=workers)
    manifests = _check_manifests(directories, found)
    _check_answers(found)
    images = check_images(found, workers=workers)
    guesses = _guesses(found, images, registry, guess_instances, workers) if with_guess else None
    chosen = choose_examples(found, registry, count=examples)
    record = build_record(
        found,
        registry,
        images=sharing(found, images, registry),
        manifests=manifests,
        guesses=guesses,
        examples=chosen,
    )
    write_card(card_dir, record, chosen, earlier)
    return Result(found, record)


def _check_manifests(directories: Sequence[Path], found: Scan) -> dict[str, Any]:
    """The manifests of the directories that have one; what they say wrongly becomes a finding."""
    manifests, names = {}, directory_names(directories)
    for directory in directories:
        if not (directory / MANIFEST).exists():
            continue
        first = next(number for number, file in enumerate(found.files) if file.directory == directory)
        try:
            manifest = read_manifest(directory / MANIFEST, "is not a manifest")
        except DataError as error:
            found.findings.add("manifest", first, 0, str(error).removeprefix(f"{directory / MANIFEST}: "))
            continue
        manifests[names[directory]] = manifest
        if manifest.get("complete") is False:
            found.findings.add("manifest", first, 0, "the conversion was interrupted; run it again to complete it")
        elif "counts" in manifest:
            _compare_counts(directory, manifest["counts"], first, found)
    return manifests


def _compare_counts(directory: Path, said: dict[str, dict[str, int]], first: int, found: Scan) -> None:
    """Add a finding for every number of instances that is not the manifest's."""
    there = {
        (file.split, task): counts.instances
        for (number, task), counts in found.counts.items()
        if (file := found.files[number]).directory == directory
    }
    wanted = {(split, task): count for split, counts in said.items() for task, count in counts.items() if count}
    for split, task in sorted({*there, *wanted}):
        a, b = wanted.get((split, task), 0), there.get((split, task), 0)
        if a != b and split in said:
            found.findings.add("manifest", first, 0, f"says {a} instances of {task} in {split}, the file holds {b}")


def _check_answers(found: Scan) -> None:
    """Add a finding for what makes the right answers of an evaluation split doubtful."""
    for (number, task), counts in found.counts.items():
        if found.files[number].split == TRAINING_SPLIT or counts.chosen:
            continue
        for doubt in doubts(counts.instances, counts.answers.counts, counts.repeating):
            found.findings.add("answers", number, 0, f"{task}: {doubt}")


def _guesses(found: Scan, images: Images, registry: Registry, most: int, workers: int) -> list[dict[str, Any]]:
    """Results of the guess baseline for every task with options, in the order of the registry."""
    numbers = {task: number for number, task in enumerate(found.tasks)}
    tasks = [spec for spec in registry.values() if spec.name in numbers and spec.output in ("option", "options")]

    def measure(spec) -> dict[str, Any]:
        rows = found.rows[found.rows["task"] == numbers[spec.name]]
        chosen = rows[np.argsort(rows["id"], kind="stable")[:most]]
        chosen = chosen[np.lexsort((chosen["offset"], chosen["file"]))]
        questions = []
        for row in chosen:
            instance = found.instance(row)
            group = None if instance.image_path is None else images.content_of(found.files[row["file"]], instance)
            questions += questions_of(instance, group)
        return guess(spec, questions, len(rows)).record()

    results = ordered_map(measure, tasks, workers)
    return list(progress_bar(results, desc="guess answers", total=len(tasks), unit="tasks", leave=False))
