"""How much of the text's attention in the encoder goes to the image, layer by layer, and where in the image.

The share of an instance: in one encoder layer, the part of a text token's self-attention that falls on image patches,
averaged over text tokens and heads (arXiv 2212.10773, analysis of attention). Text tokens are all tokens of the prompt,
``<s>``, ``</s>`` and location tokens included, and no padding.

An analysis has a directory of its own: ``checkpoints/NAME.json`` is what was measured of a checkpoint, and everything
else is made from these files. Checkpoints that were measured already are not run again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from ofa_mi.decoding.predictor import Predictor, Query
from ofa_mi.document.figures import standalone
from ofa_mi.errors import ConfigError, DataError
from ofa_mi.evaluation.asking.plan import EvaluationOptions, Plan, Question, file_hash, weights_hash
from ofa_mi.evaluation.attention.plots import HeatMaps, heat_map_figure, layers_shown, share_figure
from ofa_mi.evaluation.attention.summary import DIGITS, FORMAT, PLOT, csv_table, summarise
from ofa_mi.evaluation.attention.weights import image_attention
from ofa_mi.evaluation.formats import Measurement, read_measurement
from ofa_mi.instructions.prompt import RegionSegment
from ofa_mi.instructions.registry import Registry, default_registry
from ofa_mi.utils.files import atomic_write
from ofa_mi.utils.json_files import one_line
from ofa_mi.utils.progress import progress_bar

logger = logging.getLogger(__name__)

RESULT, TABLE = "attention.json", "attention.csv"


@dataclass(frozen=True, kw_only=True)
class AttentionOptions:
    """What an analysis measures and shows.

    Attributes:
        selection: Which instances, under which instructions; settings of decoding have no effect.
        option_markers: Write ``[Options]: a||||b`` (True) or ``a, b`` (False); None: as each model was trained.
        heat_maps: Number of instances whose attention is drawn over the image.
        layers: Layers, from 1, that these drawings show; None for up to six, evenly spaced.
    """

    selection: EvaluationOptions
    option_markers: bool | None = None
    heat_maps: int = 0
    layers: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.heat_maps < 0:
            raise ConfigError(f"the number of heat maps must be 0 or more, found {self.heat_maps}")


def analyse(
    checkpoints: Mapping[str, Path],
    data_dirs: Sequence[str | Path],
    out_dir: str | Path,
    options: AttentionOptions,
    *,
    registry: Registry | None = None,
    load: Callable[[Path], Predictor] = Predictor.from_checkpoint,
    weights: str = "model",
    progress: bool = True,
) -> dict[str, Any]:
    """Measure every checkpoint that ``out_dir`` does not hold yet, then write numbers, table, plot and heat maps.

    Args:
        checkpoints: Files by the name that the results give them; a name becomes the name of a file.
        data_dirs: Data directories.
        out_dir: Directory of the analysis; made if it does not exist.
        options: What to measure and to show.
        registry: Tasks; None for the packaged ones.
        load: Makes a predictor of a checkpoint.
        weights: Which of a checkpoint's weights ``load`` takes, ``"model"`` or ``"ema"``.
        progress: Show a progress bar.

    Returns:
        The content of ``attention.json``.

    Raises:
        ConfigError: No instance has an image, a checkpoint does not exist or has no such layer, or ``out_dir`` holds
            a measurement of that name with other settings.
        CheckpointError: A checkpoint cannot be loaded.
        DataError: An instance cannot be used.
    """
    out_dir, registry = Path(out_dir), registry or default_registry()
    hashes = {name: weights_hash(path, weights) for name, path in checkpoints.items()}
    selection = Selection(data_dirs, options, registry)
    measured = {}
    for name, path in checkpoints.items():
        file = out_dir / "checkpoints" / f"{name}.json"
        settings = {"checkpoint": hashes[name], **selection.settings}
        if (found := _read(file, settings, len(selection.heat_maps))) is None:
            predictor = load(path)
            layers_shown(len(predictor.model.encoder.layers), options.layers, name)
            found = {"format": FORMAT, "settings": settings, **measure(predictor, selection, name, progress=progress)}
            _write_json(file, found, indent=None)
        else:
            logger.info("%s: measured already", name)
        layers_shown(found["layers"], options.layers, name)
        measured[name] = found
    result = summarise(measured, checkpoints, settings=selection.settings, text_only=selection.text_only)
    result["heat_maps"] = _draw_heat_maps(measured, selection, options.layers, out_dir)
    atomic_write(out_dir / PLOT, standalone(share_figure(result["checkpoints"], "attention")).encode())
    atomic_write(out_dir / TABLE, csv_table(result).encode())
    _write_json(out_dir / RESULT, result, indent=1)
    return result


class Selection:
    """The questions with an image that an analysis asks, the same for every checkpoint.

    Attributes:
        plan: Where they come from.
        text_only: Number of instances without an image, which are left out: they have no share.
        heat_maps: Keys of the questions that are drawn, in order.
        settings: What a measurement must agree about.

    Raises:
        ConfigError: No instance has an image.
    """

    def __init__(self, data_dirs: Sequence[str | Path], options: AttentionOptions, registry: Registry) -> None:
        self.options, self.data_dirs, self.registry = options, data_dirs, registry
        self.plan = Plan(data_dirs, options.selection, registry)
        self.plan.check()
        asked = {name: self.plan.questions(spec) for name, spec in self.plan.specs.items()}
        self.text_only = len({question.key[::2] for part in asked.values() for question in part if not _seen(question)})
        self.by_task = {name: kept for name, part in asked.items() if (kept := list(filter(_seen, part)))}
        if not self.by_task:
            raise ConfigError(
                f"none of the {self.text_only} chosen instances of {', '.join(asked)} has an image: "
                "attention to patches needs one; choose other --tasks"
            )
        self.heat_maps = _spread(self.by_task, options.heat_maps)
        self.settings = self._settings()

    def questions(self, predictor: Predictor) -> list[list[Question]]:
        """The questions of every task, their options written as the predictor's model was trained."""
        markers = self.options.option_markers
        markers = predictor.option_markers if markers is None else markers
        if markers == self.plan.options.option_markers:
            return list(self.by_task.values())
        plan = Plan(self.data_dirs, replace(self.options.selection, option_markers=markers), self.registry)
        return [list(filter(_seen, plan.questions(plan.specs[name]))) for name in self.by_task]

    def _settings(self) -> dict[str, Any]:
        chosen, plan = self.options.selection, self.plan
        markers = self.options.option_markers
        texts = {name: [template for _, _, template in plan.templates[name]] for name in self.by_task}
        return {
            "data": [file_hash(store.path) for store in plan.stores],
            "split": chosen.split,
            "tasks": {name: {"version": plan.specs[name].version, "instructions": texts[name]} for name in texts},
            "instruction_language": plan.language,
            "option_markers": "as trained" if markers is None else "on" if markers else "off",
            "max_instances": chosen.max_instances,
            "seed": chosen.seed,
            "heat_maps": self.options.heat_maps,
        }


def _seen(question: Question) -> bool:
    return question.instance.image_path is not None


def _spread(by_task: Mapping[str, Sequence[Question]], count: int) -> list[tuple[str, int, str]]:
    """Keys of ``count`` questions under the first instruction: one of every task, then a second one, and so on."""
    keys = []
    for questions in by_task.values():
        first = min(question.instruction for question in questions)
        keys.append(sorted(question.key for question in questions if question.instruction == first))
    return [key for keys_of_round in zip_longest(*keys) for key in keys_of_round if key is not None][:count]


def measure(predictor: Predictor, selection: Selection, name: str, *, progress: bool = True) -> dict[str, Any]:
    """The shares of every question, and the heat maps of some.

    Args:
        predictor: The model.
        selection: The questions.
        name: Of the checkpoint, for the progress bar.
        progress: Show a progress bar.

    Returns:
        ``layers``, ``patches``, ``questions`` (their shares by layer) and ``heat_maps`` (attention by layer and patch),
        as docs/attention.md describes them.
    """
    parts, size = selection.questions(predictor), selection.options.selection.batch_size
    rows: list[dict[str, Any]] = []
    maps: dict[tuple, dict[str, Any]] = {}
    with progress_bar(desc=name, total=sum(map(len, parts)), unit="prompts", show=progress) as bar:
        for questions in parts:
            for start in range(0, len(questions), size):
                batch = questions[start : start + size]
                net_input = predictor.net_input(_queries(batch, selection.plan))
                attention = image_attention(predictor.model, net_input)  # layers, B, P
                shares, lengths = attention.sum(dim=-1).t().tolist(), net_input["src_lengths"].tolist()
                for i, question in enumerate(batch):
                    rows.append(_row(question, text_tokens=lengths[i], shares=_rounded(shares[i])))
                    if question.key in selection.heat_maps:
                        prompt = predictor.encoder.describe(question.prompt)
                        layers = [[float(f"{x:.4g}") for x in layer] for layer in attention[:, i].tolist()]
                        maps[question.key] = _row(question, prompt=prompt, attention=layers)
                bar.update(len(batch))
    rows.sort(key=lambda row: (row["task"], row["unique_id"], row["instruction_id"]))
    layers, _, patches = attention.shape
    heat_maps = [maps[key] for key in selection.heat_maps]
    return {"layers": layers, "patches": patches, "questions": rows, "heat_maps": heat_maps}


def _queries(batch: Sequence[Question], plan: Plan) -> list[Query]:
    """Queries of a batch; an image that several questions are about is read once."""
    images = {}
    for question in batch:
        place = question.store, question.instance.image_path
        if place not in images:
            images[place] = plan.stores[question.store].load_image(question.instance)
    return [
        Query(
            question.prompt,
            images[question.store, question.instance.image_path],
            question.instance.image_size,
            name=f"{question.instance.name} under {question.instruction_id}",
        )
        for question in batch
    ]


def _row(question: Question, **values) -> dict[str, Any]:
    names = {"unique_id": question.instance.unique_id, "instruction_id": question.instruction_id}
    return {"task": question.spec.name, **names, **values}


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, DIGITS) for value in values]


def _draw_heat_maps(
    measured: Mapping[str, Mapping[str, Any]], selection: Selection, layers: tuple[int, ...] | None, out_dir: Path
) -> list[dict[str, Any]]:
    """Draw the heat maps of every chosen instance, all checkpoints in one picture; what each file shows."""
    drawn = []
    questions = {question.key: question for part in selection.by_task.values() for question in part}
    first = next(iter(measured.values()))
    for number, key in enumerate(selection.heat_maps):
        question, row = questions[key], first["heat_maps"][number]
        image = selection.plan.stores[question.store].load_image(question.instance)
        regions = tuple(segment.box for segment in question.prompt if isinstance(segment, RegionSegment))
        attention = {name: np.array(part["heat_maps"][number]["attention"]) for name, part in measured.items()}
        file = f"heat_maps/{number + 1}.png"
        title = f"{key[0].replace('_', ' ')}: {question.instance.unique_id}"
        atomic_write(out_dir / file, heat_map_figure(HeatMaps(title, row["prompt"], image, regions, attention), layers))
        shown = {name: row[name] for name in ("task", "unique_id", "instruction_id", "prompt")}
        drawn.append({"file": file, **shown, "image_path": question.instance.image_path, "data_dir": question.store})
    return drawn


# -- files


def _read(file: Path, settings: Mapping[str, Any], heat_maps: int) -> Measurement | None:
    """The measurement in ``file`` with so many heat maps, None if there is none; ConfigError if its settings differ."""
    if not file.exists():
        return None
    found = read_measurement(file, FORMAT)
    there = found["settings"]
    for key in [*settings, *there]:
        if there.get(key) != settings.get(key):
            raise ConfigError(
                f"{file} was measured with another setting of {one_line(key)}; choose another name or --out, or remove "
                "the file"
            )
    if len(found["heat_maps"]) != heat_maps:
        raise DataError(f"{file}: holds {len(found['heat_maps'])} heat maps instead of {heat_maps}; remove it")
    return found


def _write_json(file: Path, content: Mapping[str, Any], indent: int | None) -> None:
    atomic_write(file, (json.dumps(content, indent=indent, ensure_ascii=False) + "\n").encode())
