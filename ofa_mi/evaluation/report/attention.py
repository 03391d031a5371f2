"""The section of a report about attention: what share of it falls on the image, layer by layer."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ofa_mi.errors import DataError
from ofa_mi.evaluation.formats import read_attention_file
from ofa_mi.evaluation.report.blocks import Block, Cell, Figure, Grid, Heading, Paragraph, Raw, Row, Side, escape
from ofa_mi.evaluation.report.charts import Series, line_chart
from ofa_mi.evaluation.scoring.tables import MISSING, task_label
from ofa_mi.instances.images import load_image
from ofa_mi.utils.files import path_inside

HEAT_MAPS = 6  # shown of each file
WIDTH, MAX_BYTES = 1100, 120_000  # of a heat map in the report


def read_attention(path: Path) -> Mapping[str, Any]:
    """A file of ``ofa-mi attention`` and, as ``folder``, where it lies; :class:`DataError` if it is none."""
    return {**read_attention_file(path), "folder": path.parent}


def attention(analyses: Sequence[Mapping[str, Any]], strategies: Sequence[str]) -> list[Block]:
    """Shares by layer of every checkpoint, and heat maps over images.

    Args:
        analyses: What :func:`read_attention` gives.
        strategies: Names of the strategies of the report, whose colours checkpoints of that name take.
    """
    blocks: list[Block] = []
    for number, analysis in enumerate(analyses, start=1):
        if number == 1:
            blocks += [Heading("Attention", "attention"), Paragraph(_reading(analysis))]
        name = "attention" if number == 1 else f"attention-{number}"
        blocks += [Side((_figure(analysis, strategies, name), _shares(analysis))), *_by_task(analysis)]
        blocks += _heat_maps(analysis)
    return blocks


def _reading(analysis: Mapping[str, Any]) -> str:
    instances = analysis["instances"]
    left_out = instances.get("text_only_left_out")
    return (
        "In every encoder layer, the share of a text token's self-attention that falls on image patches, as a mean "
        f"over text tokens, heads, instructions and {instances['with_image']} instances. “Even” is what a model would "
        "have that attends to all tokens alike. The share says where a model looks, not whether it uses what is there."
        + (f" {left_out} instances without an image are left out." if left_out else "")
    )


def _figure(analysis: Mapping[str, Any], strategies: Sequence[str], name: str) -> Figure:
    checkpoints = analysis["checkpoints"]
    names = [*strategies, *(c["name"] for c in checkpoints if c["name"] not in strategies)]
    lines = [
        Series(
            checkpoint["name"],
            tuple((layer["layer"], 100 * layer["mean"]) for layer in checkpoint["by_layer"]),
            tuple(_percent(layer["standard_error"]) for layer in checkpoint["by_layer"]),
            names.index(checkpoint["name"]),
        )
        for checkpoint in checkpoints
    ]
    even = 100 * checkpoints[0]["uniform"]
    layers = [x for line in lines for x, _ in line.points]
    level = Series("even", ((min(layers), even), (max(layers), even)), (), 0, dashed=True, marks=False)
    title = "Share of attention on the image by layer, in percent"
    errors = any(any(line.spreads) for line in lines)
    note = "; bars: standard error over instances" if errors else ""
    svg = line_chart(title, [*lines, level], x_label="encoder layer", y_label="%", from_zero=True)
    return Figure(name, title + note, svg)


def _shares(analysis: Mapping[str, Any]) -> Grid:
    """Layers in rows and checkpoints in columns."""
    checkpoints = analysis["checkpoints"]
    most = max(len(checkpoint["by_layer"]) for checkpoint in checkpoints)
    rows = []
    for layer in range(most):
        parts = [c["by_layer"][layer] if layer < len(c["by_layer"]) else None for c in checkpoints]
        rows.append(Row((Cell(str(layer + 1)), *map(_share_cell, parts))))
    rows.append(Row((Cell("mean"), *(_share_cell(checkpoint["share"]) for checkpoint in checkpoints)), "total"))
    if any(checkpoint["difference"] for checkpoint in checkpoints):
        to = next(checkpoint["difference"]["to"] for checkpoint in checkpoints if checkpoint["difference"])
        cells = [_ratio_cell(checkpoint["difference"]) for checkpoint in checkpoints]
        rows.append(Row((Cell("ratio", below=(f"to {to}",)), *cells), "total"))
    columns = ("Layer", *(checkpoint["name"] for checkpoint in checkpoints))
    return Grid("Share of attention on the image, in percent", columns, tuple(rows))


def _by_task(analysis: Mapping[str, Any]) -> list[Block]:
    checkpoints = analysis["checkpoints"]
    tasks = list(dict.fromkeys(task for checkpoint in checkpoints for task in checkpoint["tasks"]))
    if len(tasks) < 2:
        return []
    rows = [
        Row((Cell(task_label(task)), *(_share_cell(c["tasks"].get(task, {}).get("share")) for c in checkpoints)))
        for task in tasks
    ]
    title = "Share of attention on the image by task, mean over layers, in percent"
    columns = ("Task", *(checkpoint["name"] for checkpoint in checkpoints))
    return [Grid(title, columns, tuple(rows), sortable=True, folded=title)]


def _share_cell(values: Mapping[str, Any] | None) -> Cell:
    if values is None:
        return Cell(MISSING)
    error = _percent(values["standard_error"])
    return Cell(f"{100 * values['mean']:.1f}", "" if error is None else f"± {error:.1f}", key=100 * values["mean"])


def _ratio_cell(difference: Mapping[str, Any] | None) -> Cell:
    ratio = None if difference is None else difference["share"]["ratio"]
    return Cell(MISSING) if ratio is None else Cell(f"{ratio:.2f}", key=ratio)


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _heat_maps(analysis: Mapping[str, Any]) -> Iterator[Block]:
    """Pictures of attention over images, on the page only."""
    shown = analysis["heat_maps"][:HEAT_MAPS]
    if not shown:
        return
    yield Heading("Attention over images")
    figures, lines = [], []
    for entry in shown:
        title = f"{task_label(entry['task'])}: {entry['prompt']}"
        lines.append(f"- {escape(title)} (instance {escape(entry['unique_id'])}, {escape(entry['file'])})")
        jpeg = _picture(analysis["folder"], entry["file"])
        if jpeg is not None:
            source = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
            name = html.escape(f"attention of every checkpoint over the image; {title}")
            caption = html.escape(f"{task_label(entry['task'])}, {entry['unique_id']}")
            picture = f"<img class='map' src='{source}' alt='{name}'>"
            box = f"<div class='scroll' role='region' tabindex='0' aria-label='{caption}'>{picture}</div>"
            figures.append(f"<figure><figcaption>{caption}</figcaption>{box}</figure>")
    yield Raw(f"<div class='maps'>{''.join(figures)}</div>", "\n".join(lines))
    if len(figures) < len(shown):
        yield Paragraph(f"{len(shown) - len(figures)} heat maps are not there any more.", remark=True)


def _picture(folder: Path, file: str) -> bytes | None:
    """A heat map as a JPEG; None if it is not there any more, or not in the folder of the analysis."""
    path = path_inside(str(folder), file)
    if path is None:
        return None
    try:
        picture = load_image(path, name="heat map")
    except DataError:  # it is not there any more, or no image: the text stays
        return None
    picture.thumbnail((WIDTH, 4 * WIDTH), Image.Resampling.LANCZOS)
    for quality in (85, 70, 55, 40):
        content = io.BytesIO()
        picture.save(content, format="JPEG", quality=quality, optimize=True)
        if content.tell() <= MAX_BYTES:
            break
    return content.getvalue()
