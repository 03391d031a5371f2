"""What is made of measured shares of attention: means and standard errors by checkpoint, task and layer."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = "ofa-mi attention 1"
PLOT = "attention.svg"
DEFINITION = (
    "share: in an encoder layer, the part of a text token's self-attention that falls on image patches, averaged over "
    "text tokens and heads, then over instructions, then over instances; uniform: patches / (patches + text tokens), "
    "the share that even attention would give; standard_error: of the mean over instances"
)
ALL_TASKS = "all"  # in the table, the line of all tasks together
DIGITS = 6  # after the point, of every share that is stored


def summarise(
    measured: Mapping[str, Mapping[str, Any]],
    files: Mapping[str, Path],
    *,
    settings: Mapping[str, Any],
    text_only: int,
) -> dict[str, Any]:
    """Means and standard errors by checkpoint, task and layer.

    Args:
        measured: What :func:`measure` gives, by name of the checkpoint; its ``settings`` hold the file's hash.
        files: File of each checkpoint.
        settings: What the measurements agree about.
        text_only: Number of instances without an image, which were left out.

    Returns:
        The content of ``attention.json`` without the heat maps, as docs/attention.md describes it.
    """
    samples = {name: _Sample.of(part) for name, part in measured.items()}
    first = next(iter(samples))
    settings = {key: value for key, value in settings.items() if key != "heat_maps"}
    return {
        "format": FORMAT,
        "definition": DEFINITION,
        "settings": settings,
        "instances": {
            "with_image": len(samples[first].tasks),
            "text_only_left_out": text_only,
            "questions": len(measured[first]["questions"]),
        },
        "checkpoints": [
            {
                "name": name,
                "file": str(files[name]),
                "sha256": part["settings"]["checkpoint"],
                "layers": part["layers"],
                "patches": part["patches"],
                **samples[name].summary(),
                "difference": None if name == first else samples[name].difference(samples[first], first),
                "tasks": {task: samples[name].of_task(task).summary() for task in sorted(set(samples[name].tasks))},
            }
            for name, part in measured.items()
        ],
        "plot": PLOT,
    }


@dataclass(frozen=True)
class _Sample:
    """Shares of the instances, averaged over their instructions.

    Attributes:
        tasks: (N,) the task of each instance.
        shares: (N, layers).
        tokens: (N,) text tokens.
        uniform: (N,) what even attention would give.
    """

    tasks: np.ndarray
    shares: np.ndarray
    tokens: np.ndarray
    uniform: np.ndarray

    @classmethod
    def of(cls, part: Mapping[str, Any]) -> _Sample:
        instances: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in part["questions"]:
            instances.setdefault((row["task"], row["unique_id"]), []).append(row)
        groups, patches = list(instances.values()), part["patches"]
        return cls(
            np.array([task for task, _ in instances]),
            np.array([np.mean([row["shares"] for row in group], axis=0) for group in groups]),
            np.array([np.mean([row["text_tokens"] for row in group]) for group in groups]),
            np.array([np.mean([patches / (patches + row["text_tokens"]) for row in group]) for group in groups]),
        )

    def of_task(self, task: str) -> _Sample:
        chosen = self.tasks == task
        return _Sample(self.tasks[chosen], self.shares[chosen], self.tokens[chosen], self.uniform[chosen])

    def summary(self) -> dict[str, Any]:
        return {
            "instances": len(self.tasks),
            "text_tokens": round(float(self.tokens.mean()), DIGITS),
            "uniform": round(float(self.uniform.mean()), DIGITS),
            "share": _mean_and_error(self.shares.mean(axis=1)),
            "by_layer": [{"layer": i, **_mean_and_error(layer)} for i, layer in enumerate(self.shares.T, 1)],
        }

    def difference(self, other: _Sample, name: str) -> dict[str, Any] | None:
        """Paired differences to the same instances under another checkpoint; None if that has other layers."""
        if self.shares.shape != other.shares.shape:
            return None

        def compared(one: np.ndarray, two: np.ndarray) -> dict[str, float | None]:
            ratio = round(float(one.mean() / two.mean()), DIGITS) if two.mean() else None
            return {**_mean_and_error(one - two), "ratio": ratio}

        layers = enumerate(zip(self.shares.T, other.shares.T, strict=True), 1)
        return {
            "to": name,
            "share": compared(self.shares.mean(axis=1), other.shares.mean(axis=1)),
            "by_layer": [{"layer": i, **compared(one, two)} for i, (one, two) in layers],
        }


def _mean_and_error(values: np.ndarray) -> dict[str, float | None]:
    """Mean and its standard error, which a single value does not have."""
    error = float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else None
    return {
        "mean": round(float(values.mean()), DIGITS),
        "standard_error": None if error is None else round(error, DIGITS),
    }


def csv_table(result: Mapping[str, Any]) -> str:
    """One line per checkpoint, task and layer, as CSV."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("checkpoint", "task", "instances", "layer", "share", "standard_error", "uniform"))
    for checkpoint in result["checkpoints"]:
        for task, values in {ALL_TASKS: checkpoint, **checkpoint["tasks"]}.items():
            for layer in values["by_layer"]:
                numbers = layer["layer"], layer["mean"], layer["standard_error"], values["uniform"]
                writer.writerow((checkpoint["name"], task, values["instances"], *numbers))
    return file.getvalue()
