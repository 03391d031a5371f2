"""Scenes to a data directory: worker processes, the choice of instances, and the files.

Every scene has its own random generators, seeded by (seed, split, index of the scene) and, for its
instances, the task: the output is byte for byte the same for any number of workers. Candidates wait in a file,
not in memory, until it is known which are kept.
"""

from __future__ import annotations

import io
import random
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np

from ofa_mi.data_prep.building.output import SPLITS, OutputDirectory
from ofa_mi.data_prep.building.selection import CANDIDATE, select
from ofa_mi.data_prep.scenes.draw import draw_scene
from ofa_mi.data_prep.scenes.tasks import BUILDERS, Builder, Draft
from ofa_mi.data_prep.scenes.world import Scene, World, sample_scene
from ofa_mi.errors import ConfigError, DataError
from ofa_mi.instances.instance import Instance
from ofa_mi.instructions.registry import default_registry
from ofa_mi.utils.files import atomic_write
from ofa_mi.utils.hashing import hash64
from ofa_mi.utils.parallel import ordered_map
from ofa_mi.utils.progress import progress_bar

VERSION = 2
ATTEMPTS = 3  # draws until a scene is given up for a task
CHUNK = 64  # scenes per job of a worker
PNG = {"format": "PNG", "compress_type": 3}  # run lengths (Z_RLE of zlib): half the time of the default, as small
LINES_READ = 1000  # candidates at once, at most
# Share of the scenes of each mode. The test split also has the modes that only evaluation tasks use.
MODE_SHARES = {
    "train": {"shapes": 0.6, "writing": 0.27, "degraded": 0.13},
    "valid": {"shapes": 0.6, "writing": 0.27, "degraded": 0.13},
    "test": {"shapes": 0.33, "writing": 0.36, "panels": 0.18, "black and white": 0.13},
}
# A candidate: where its line lies in the file of all candidates, and what select() reads; `group` numbers its task.
ROW = np.dtype([("offset", "<i8"), ("length", "<i4"), *CANDIDATE.descr])


def generate(
    out_dir: str | Path,
    *,
    train_scenes: int = 4000,
    valid_scenes: int = 400,
    test_scenes: int = 1000,
    train_per_task: int = 1500,
    valid_per_task: int = 50,
    test_per_task: int = 100,
    tasks: Sequence[str] = ("all",),
    exclude_tasks: Sequence[str] = (),
    per_scene: int = 1,
    side: int = 0,
    smallest_side: int = 0,
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
        tasks: Tasks and groups to build, as :meth:`~ofa_mi.instructions.registry.Registry.select` reads them; of a
            group, those that scenes can be made into.
        exclude_tasks: The same, to leave out.
        per_scene: At most this many different instances of a task about one scene.
        side: Width and height of all images in pixels; 0 for various sizes.
        smallest_side: Least side of a small shape in pixels, large ones grow with it; 0 for the usual sizes.
        seed: Seed of everything.
        workers: Processes; the output does not depend on it.

    Returns:
        The manifest; ``manifest["counts"][split][task]`` is a number of instances.

    Raises:
        ConfigError: A number is out of range, or no such task can be made.
        DataError: ``out_dir`` holds other data, or cannot be written.
    """
    scenes = {"train": train_scenes, "valid": valid_scenes, "test": test_scenes}
    caps = {"train": train_per_task, "valid": valid_per_task, "test": test_per_task}
    _check_positive(
        {
            **{f"{split}_scenes": number for split, number in scenes.items()},
            **{f"{split}_per_task": number for split, number in caps.items()},
            "per_scene": per_scene,
            "workers": workers,
        }
    )
    world, chosen = World(side, smallest_side), choose_tasks(tasks, exclude_tasks)
    settings = {"scenes": scenes, "per_task": caps, "tasks": list(chosen), "per_scene": per_scene}
    settings |= {"side": side, "smallest_side": smallest_side, "seed": seed}
    output = OutputDirectory(out_dir, converter="scenes", version=VERSION, settings=settings)
    if output.finished:
        return output.finished
    counts = {}
    for split in SPLITS:
        builders = tuple(BUILDERS[task] for task in chosen if BUILDERS[task].evaluation == (split == "test"))
        maker = _Maker(split, builders, world, per_scene, seed, output.path)
        counts[split] = _write_split(maker, scenes[split], caps[split], output, workers)
    return output.finish(counts)


def choose_tasks(include: Sequence[str], exclude: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of the chosen tasks that scenes can be made into, in the order of :data:`BUILDERS`.

    Raises:
        ConfigError: A word is unknown or names a task that scenes cannot be made into, or nothing is left.
    """
    registry = default_registry()
    chosen = registry.select(include, exclude)
    for word in include:
        if word in registry and word not in BUILDERS:
            raise ConfigError(f"--tasks {word}: scenes cannot be made into this task; docs/scenes.md lists those")
    names = tuple(task for task in BUILDERS if task in chosen)
    if not names:
        raise ConfigError(
            f"--tasks {' '.join(include)}: none of these can scenes be made into; docs/scenes.md lists those"
        )
    return names


def scene_of(seed: int, split: str, index: int, modes: Collection[str], world: World) -> Scene:
    """The scene of a split with this index.

    Args:
        seed: Seed of the output.
        split: ``train``, ``valid`` or ``test``.
        index: Its number.
        modes: Modes of scene that are wanted.
        world: Sizes of images and things.
    """
    rng = random.Random(f"{seed}/{split}/{index}")
    shares = {mode: share for mode, share in MODE_SHARES[split].items() if mode in modes}
    return sample_scene(rng, rng.choices(list(shares), list(shares.values()))[0], world)


def _check_positive(numbers: Mapping[str, int]) -> None:
    for option, number in numbers.items():
        if number < 1:
            raise ConfigError(f"{option}: expected at least 1, found {number}")


@dataclass(frozen=True)
class _Maker:
    """Makes the candidates of a split, chunk by chunk; used in worker processes.

    Attributes:
        split: Its name.
        builders: The builders of its tasks.
        world: Sizes of images and things.
        per_scene: At most this many instances of a task about one scene.
        seed: Seed of the output.
        out_dir: Where images go.
    """

    split: str
    builders: tuple[Builder, ...]
    world: World
    per_scene: int
    seed: int
    out_dir: Path

    def chunk(self, indices: range) -> tuple[bytes, np.ndarray]:
        """Lines of the candidates of some scenes, and a row of :data:`ROW` for each, offsets from the first line."""
        lines: list[bytes] = []
        rows: list[tuple] = []
        offset = 0
        for index in indices:
            for line, choice in self._scene(index):
                lines.append(line)
                rows.append((offset, len(line), *choice))
                offset += len(line)
        return b"".join(lines), np.array(rows, dtype=ROW)

    def _scene(self, index: int) -> list[tuple[bytes, tuple[int, ...]]]:
        """Line and columns of the choice of every candidate about one scene; its image is written if there are any."""
        modes = {mode for builder in self.builders for mode in builder.modes}
        scene = scene_of(self.seed, self.split, index, modes, self.world)
        image_path = f"images/{self.split}/{index:05d}.png"
        found, shared = [], _Shared(image_path, (scene.width, scene.height), scene.to_meta())
        for number, builder in enumerate(self.builders):
            if scene.mode in builder.modes:
                rng = random.Random(f"{self.seed}/{self.split}/{index}/{builder.task}")
                for place, draft in enumerate(self._drafts(builder, scene, rng)):
                    unique_id = f"scenes-{self.split}-{index}-{builder.task}" + (f"-{place}" if place else "")
                    instance = shared.instance(unique_id, builder.task, draft)
                    line = msgspec.json.encode(instance.to_record()) + b"\n"
                    found.append((line, _choice(number, draft, rng.getrandbits(64))))
        if found and not (self.out_dir / image_path).exists():
            buffer = io.BytesIO()
            draw_scene(scene).save(buffer, **PNG)
            atomic_write(self.out_dir / image_path, buffer.getvalue(), durable=False)
        return found

    def _drafts(self, builder: Builder, scene: Scene, rng: random.Random) -> Iterator[Draft]:
        """Up to ``per_scene`` drafts that ask for different things."""
        seen = set()
        for _ in range(self.per_scene):
            draft = next((draft for _ in range(ATTEMPTS) if (draft := builder.build(scene, rng)) is not None), None)
            if draft is not None and (content := _content(draft)) not in seen:
                seen.add(content)
                yield draft


def _content(draft: Draft) -> tuple:
    """What a draft asks and answers, whatever the order of its options."""
    asked = (draft.regions, draft.question, draft.text, draft.context, frozenset(draft.options or ()))
    return *asked, draft.target, draft.target_set


def _choice(task: int, draft: Draft, priority: int) -> tuple[int, int, int, int, int]:
    """The columns of a row that :func:`select` reads."""
    balance = draft.balance
    if balance is None:
        return task, 0, 0, 0, priority
    label = balance.labels.index(balance.label)
    return task, len(balance.labels), label, hash64(balance.stratum), priority


@dataclass(frozen=True, slots=True)
class _Shared:
    """What all instances about a scene have in common."""

    image_path: str
    image_size: tuple[int, int]
    meta_data: dict[str, Any]

    def instance(self, unique_id: str, task: str, draft: Draft) -> Instance:
        return draft.instance(
            unique_id=unique_id,
            task_name=task,
            image_path=self.image_path,
            image_size=self.image_size,
            meta_data=self.meta_data,
        )


def _write_split(maker: _Maker, scenes: int, cap: int, output: OutputDirectory, workers: int) -> dict[str, int]:
    """Make all candidates of a split, write those that are kept, and return the number of each task."""
    if not maker.builders:
        output.write_lines(maker.split, ())
        return {}
    try:
        with tempfile.TemporaryFile(dir=output.path) as candidates:
            rows = _make_candidates(maker, scenes, candidates, workers)
            kept = rows[select(rows, np.full(len(maker.builders), cap))]
            _write_kept(kept, candidates, output, maker.split)
    except OSError as error:
        raise DataError(f"{output.path}: cannot be written ({error.strerror or error})") from error
    numbers = np.bincount(kept["group"], minlength=len(maker.builders)).tolist()
    counts = {builder.task: number for builder, number in zip(maker.builders, numbers, strict=True) if number}
    return dict(sorted(counts.items()))


def _make_candidates(maker: _Maker, scenes: int, file: BinaryIO, workers: int) -> np.ndarray:
    """Write the lines of all candidates in order of scene and task; their rows."""
    chunks = [range(start, min(start + CHUNK, scenes)) for start in range(0, scenes, CHUNK)]
    parts, offset = [np.empty(0, ROW)], 0
    with progress_bar(desc=f"{maker.split} scenes", total=scenes, unit="scenes") as bar:
        made = ordered_map(maker.chunk, chunks, min(workers, len(chunks)))
        for indices, (lines, rows) in zip(chunks, made, strict=True):
            file.write(lines)
            rows["offset"] += offset
            offset += len(lines)
            parts.append(rows)
            bar.update(len(indices))
    file.flush()
    return np.concatenate(parts)


def _write_kept(kept: np.ndarray, candidates: BinaryIO, output: OutputDirectory, split: str) -> None:
    """Copy the kept lines, which are in the order of the file; neighbours are read together."""
    starts, ends = kept["offset"], kept["offset"] + kept["length"]
    first = np.arange(len(kept)) % LINES_READ == 0
    first[1:] |= starts[1:] != ends[:-1]
    last = np.append(first[1:], True)[: len(kept)]
    with output.open_split(split) as file:
        for start, end in zip(starts[first].tolist(), ends[last].tolist(), strict=True):
            candidates.seek(start)
            file.write(candidates.read(end - start))
