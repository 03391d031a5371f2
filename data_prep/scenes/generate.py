"""Scenes to a data directory: worker processes, the choice of instances, and the files.

Every scene has its own random generators, seeded by (seed, split, index of the scene) and, for its
instances, the task: the output is byte for byte the same for any number of workers.
"""

from __future__ import annotations

import io
import multiprocessing
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ofa_mi.data.files import atomic_write
from ofa_mi.data.instance import Instance
from ofa_mi.data_prep.output import SPLITS, OutputDirectory, instance_line
from ofa_mi.data_prep.scenes.draw import draw_scene
from ofa_mi.data_prep.scenes.tasks import BUILDERS, Balance, Builder, Draft
from ofa_mi.data_prep.scenes.world import Scene, sample_scene
from ofa_mi.errors import ConfigError
from ofa_mi.progress import progress_bar

VERSION = 1
ATTEMPTS = 3  # draws until a scene is given up for a task
CHUNK = 32  # scenes per job of a worker
# Share of the scenes of each mode. The test split also has the modes that only evaluation tasks use.
MODE_SHARES = {
    "train": {"shapes": 0.6, "writing": 0.27, "degraded": 0.13},
    "valid": {"shapes": 0.6, "writing": 0.27, "degraded": 0.13},
    "test": {"shapes": 0.33, "writing": 0.36, "panels": 0.18, "black and white": 0.13},
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """An instance that may be kept.

    Attributes:
        scene: Index of its scene.
        task: Its task.
        line: Its JSON line.
        balance: How it is balanced; None if its task is not.
        priority: Random; candidates with lower numbers are kept first.
    """

    scene: int
    task: str
    line: str
    balance: Balance | None
    priority: float


def generate(
    out_dir: str | Path,
    *,
    train_scenes: int = 4000,
    valid_scenes: int = 400,
    test_scenes: int = 1000,
    train_per_task: int = 1500,
    valid_per_task: int = 50,
    test_per_task: int = 100,
    seed: int = 0,
    workers: int = 1,
) -> dict[str, Any]:
    """Draw scenes and write their instances and images as a data directory.

    ``train.jsonl`` and ``valid.jsonl`` hold the training tasks, ``test.jsonl`` the evaluation tasks;
    no scene is in two of them.

    Args:
        out_dir: Data directory to write; a finished one is left as it is, an interrupted one is continued.
        train_scenes: Scenes drawn for ``train.jsonl``; likewise ``valid_scenes`` and ``test_scenes``.
        train_per_task: At most this many instances of a task; likewise ``valid_per_task`` and ``test_per_task``.
        seed: Seed of everything.
        workers: Processes; the output does not depend on it.

    Returns:
        The manifest; ``manifest["counts"][split][task]`` is a number of instances.

    Raises:
        ConfigError: A number is out of range.
        DataError: ``out_dir`` holds other data.
    """
    scenes = {"train": train_scenes, "valid": valid_scenes, "test": test_scenes}
    caps = {"train": train_per_task, "valid": valid_per_task, "test": test_per_task}
    _check_positive(
        {
            **{f"{split}_scenes": number for split, number in scenes.items()},
            **{f"{split}_per_task": number for split, number in caps.items()},
            "workers": workers,
        }
    )
    settings = {"scenes": scenes, "per_task": caps, "seed": seed}
    output = OutputDirectory(out_dir, converter="scenes", version=VERSION, settings=settings)
    if output.finished:
        return output.finished
    counts = {}
    for split in SPLITS:
        candidates = _candidates(split, scenes[split], seed, output.path, workers)
        kept = select(candidates, caps[split])
        output.write_lines(split, (candidate.line for candidate in kept))
        counts[split] = _count_tasks(kept)
    return output.finish(counts)


def scene_of(seed: int, split: str, index: int) -> Scene:
    """The scene of a split with this index."""
    rng = random.Random(f"{seed}/{split}/{index}")
    shares = MODE_SHARES[split]
    return sample_scene(rng, rng.choices(list(shares), list(shares.values()))[0])


def select(candidates: Iterable[Candidate], cap: int) -> list[Candidate]:
    """Keep at most ``cap`` candidates per task, with balanced answers, in order of scene and task.

    In each stratum of a task the candidates are put into sets that hold one of every label (a
    candidate that is not balanced is a set by itself); what is left over is dropped.
    """
    strata: dict[tuple[str, str], list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        strata[candidate.task, candidate.balance.stratum if candidate.balance else ""].append(candidate)
    sets: dict[str, list[tuple[Candidate, ...]]] = defaultdict(list)
    for (task, _), members in sorted(strata.items()):
        sets[task] += _balanced_sets(members)
    kept = []
    for complete in sets.values():
        room = cap
        for members in sorted(complete, key=lambda members: max(member.priority for member in members)):
            if len(members) <= room:
                kept += members
                room -= len(members)
    order = {task: number for number, task in enumerate(BUILDERS)}
    return sorted(kept, key=lambda candidate: (candidate.scene, order[candidate.task]))


def _check_positive(numbers: Mapping[str, int]) -> None:
    for option, number in numbers.items():
        if number < 1:
            raise ConfigError(f"{option}: expected at least 1, found {number}")


def _balanced_sets(members: list[Candidate]) -> Iterator[tuple[Candidate, ...]]:
    by_label: dict[str, list[Candidate]] = defaultdict(list)
    labels: set[str] = set()
    for member in sorted(members, key=lambda member: member.priority):
        if member.balance is None:
            yield (member,)
        else:
            labels.update(member.balance.labels)
            by_label[member.balance.label].append(member)
    yield from zip(*(by_label[label] for label in sorted(labels)), strict=False)


def _candidates(split: str, number: int, seed: int, out_dir: Path, workers: int) -> Iterator[Candidate]:
    """All candidates of a split in order of scene; the scenes' images are written on the way."""
    job = partial(_scene_candidates, split, seed, out_dir)
    shown = {"desc": f"{split} scenes", "total": number, "unit": "scenes"}
    if workers == 1:
        for index in progress_bar(range(number), **shown):
            yield from job(index)
        return
    with multiprocessing.get_context("spawn").Pool(min(workers, number)) as pool:
        for found in progress_bar(pool.imap(job, range(number), chunksize=CHUNK), **shown):
            yield from found


def _scene_candidates(split: str, seed: int, out_dir: Path, index: int) -> list[Candidate]:
    """Draw one scene, write its image unless it is there, and build its instances."""
    scene = scene_of(seed, split, index)
    image_path = f"images/{split}/{index:05d}.png"
    if not (out_dir / image_path).exists():
        buffer = io.BytesIO()
        draw_scene(scene).save(buffer, format="PNG", optimize=False)
        atomic_write(out_dir / image_path, buffer.getvalue())
    found = []
    for builder in BUILDERS.values():
        if builder.evaluation == (split == "test") and scene.mode in builder.modes:
            rng = random.Random(f"{seed}/{split}/{index}/{builder.task}")
            draft = _build(builder, scene, rng)
            if draft is not None:
                unique_id = f"scenes-{split}-{index}-{builder.task}"
                line = instance_line(_instance(unique_id, builder.task, image_path, scene, draft))
                found.append(Candidate(index, builder.task, line, draft.balance, rng.random()))
    return found


def _build(builder: Builder, scene: Scene, rng: random.Random) -> Draft | None:
    return next((draft for _ in range(ATTEMPTS) if (draft := builder.build(scene, rng)) is not None), None)


def _instance(unique_id: str, task: str, image_path: str, scene: Scene, draft: Draft) -> Instance:
    return Instance(
        unique_id=unique_id,
        task_name=task,
        image_path=image_path,
        image_size=(scene.width, scene.height),
        regions=draft.regions,
        options=draft.options,
        question=draft.question,
        text=draft.text,
        context=draft.context,
        target=draft.target,
        target_set=draft.target_set,
        references=draft.references,
        meta_data=scene.to_meta(),
    )


def _count_tasks(kept: list[Candidate]) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for candidate in kept:
        counts[candidate.task] += 1
    return dict(sorted(counts.items()))
