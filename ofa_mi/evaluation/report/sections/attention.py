"""What share of the attention falls on the image, layer by layer."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ofa_mi.document.blocks import Block, Cell, Heading, Paragraph, Raw, Row, Side, Table
from ofa_mi.document.html import image, scrolled
from ofa_mi.document.markdown import escape
from ofa_mi.document.pictures import small_jpeg
from ofa_mi.errors import DataError
from ofa_mi.evaluation.attention.plots import percent, share_figure
from ofa_mi.evaluation.report.cells import remarks
from ofa_mi.evaluation.report.section import Section
from ofa_mi.evaluation.report.study import Study
from ofa_mi.evaluation.scoring.tables import MISSING, task_label
from ofa_mi.instances.images import load_image
from ofa_mi.utils.files import path_inside

HEAT_MAPS = 6  # shown of each file
WIDTH, MAX_BYTES = 1100, 120_000  # of a heat map in the report


def attention(study: Study) -> list[Block]:
    """Shares by layer of every checkpoint, and heat maps over images; strategies keep their colours."""
    blocks: list[Block] = []
    for number, analysis in enumerate(study.attention, start=1):
        if number == 1:
            blocks.append(Paragraph(_reading(analysis)))
        checkpoints = analysis["checkpoints"]
        figure = share_figure(checkpoints, "attention" if number == 1 else f"attention-{number}", study.names)
        blocks += [Side((figure, _shares(checkpoints))), *_by_task(checkpoints), *_heat_maps(analysis)]
    return blocks


SECTION = Section(70, "Attention", "attention", attention, "run `ofa-mi attention`, and give its file by --attention")


def _reading(analysis: Mapping[str, Any]) -> str:
    instances = analysis["instances"]
    left_out = instances.get("text_only_left_out")
    return (
        "In every encoder layer, the share of a text token's self-attention that falls on image patches, as a mean "
        f"over text tokens, heads, instructions and {instances['with_image']} instances. “Even” is what a model would "
        "have that attends to all tokens alike. The share says where a model looks, not whether it uses what is there."
        + (f" {left_out} instances without an image are left out." if left_out else "")
    )


def _shares(checkpoints: Sequence[Mapping[str, Any]]) -> Table:
    """Layers in rows and checkpoints in columns."""
    rows = []
    for layer in range(max(len(checkpoint["by_layer"]) for checkpoint in checkpoints)):
        parts = [c["by_layer"][layer] if layer < len(c["by_layer"]) else None for c in checkpoints]
        rows.append(Row((Cell(str(layer + 1)), *map(_share_cell, parts))))
    rows.append(Row((Cell("mean"), *(_share_cell(checkpoint["share"]) for checkpoint in checkpoints)), "total"))
    differences = [checkpoint["difference"] for checkpoint in checkpoints]
    if any(differences):
        to = next(difference["to"] for difference in differences if difference)
        rows.append(Row((Cell("ratio", below=(f"to {to}",)), *map(_ratio_cell, differences)), "total"))
    columns = ("Layer", *(checkpoint["name"] for checkpoint in checkpoints))
    return Table("Share of attention on the image, in percent", columns, tuple(rows))


def _by_task(checkpoints: Sequence[Mapping[str, Any]]) -> list[Block]:
    tasks = list(dict.fromkeys(task for checkpoint in checkpoints for task in checkpoint["tasks"]))
    if len(tasks) < 2:
        return []
    rows = [
        Row((Cell(task_label(task)), *(_share_cell(c["tasks"].get(task, {}).get("share")) for c in checkpoints)))
        for task in tasks
    ]
    title = "Share of attention on the image by task, mean over layers, in percent"
    columns = ("Task", *(checkpoint["name"] for checkpoint in checkpoints))
    return [Table(title, columns, tuple(rows), sortable=True, folded=title)]


def _share_cell(values: Mapping[str, Any] | None) -> Cell:
    if values is None:
        return Cell(MISSING)
    error = percent(values["standard_error"])
    return Cell(f"{100 * values['mean']:.1f}", "" if error is None else f"± {error:.1f}", key=100 * values["mean"])


def _ratio_cell(difference: Mapping[str, Any] | None) -> Cell:
    ratio = None if difference is None else difference["share"]["ratio"]
    return Cell(MISSING) if ratio is None else Cell(f"{ratio:.2f}", key=ratio)


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
            picture = image(jpeg, f"attention of every checkpoint over the image; {title}", "map")
            caption = f"{task_label(entry['task'])}, {entry['unique_id']}"
            box = scrolled(picture, caption)
            figures.append(f"<figure><figcaption>{html.escape(caption)}</figcaption>{box}</figure>")
    yield Raw(f"<div class='maps'>{''.join(figures)}</div>", "\n".join(lines))
    if len(figures) < len(shown):
        yield from remarks([f"{len(shown) - len(figures)} heat maps are not there any more."])


def _picture(folder: Path, file: str) -> bytes | None:
    """A heat map as a JPEG; None if it is not there any more, or not in the folder of the analysis."""
    path = path_inside(str(folder), file)
    if path is None:
        return None
    try:
        picture = load_image(path, name="heat map")
    except DataError:  # it is not there any more, or no image: the text stays
        return None
    return small_jpeg(picture, (WIDTH, 4 * WIDTH), MAX_BYTES)
