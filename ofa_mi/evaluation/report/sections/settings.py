"""What was run, so that it can be run again."""

from __future__ import annotations

from collections.abc import Sequence

from ofa_mi.document.blocks import Block, Cell, Paragraph, Row, Table, words
from ofa_mi.evaluation.report.section import Section
from ofa_mi.evaluation.report.study import Run, Study


def settings(study: Study) -> list[Block]:
    """Settings and versions of every directory."""
    runs = [(strategy.name, run) for strategy in study.strategies for run in strategy.runs]
    points = [(f"{curve.name} = {point.place}", point) for curve in study.curves for point in curve.points]
    runs += [(name, run) for name, point in points for seed in point.seeds for run in seed.runs]
    if not runs:
        return []
    rows = [Row((Cell(name), *map(words, _texts(run)))) for name, run in runs]
    columns = ("Run", "Directory", "Checkpoint", "Condition", "Decoding", "Prompts", "Data", "Versions")
    return [
        Paragraph(
            "Of every directory of this report, from its run.json; checkpoints and data by the hash of their files."
        ),
        Table("Settings", columns, tuple(rows), folded=f"All {len(rows)} runs"),
    ]


SECTION = Section(100, "Settings and versions", "settings", settings)


def _texts(run: Run) -> list[str]:
    options, notes = run.settings.get("options", {}), run.notes
    generation = run.settings.get("generation", {})
    decoding = [options.get("mode", "?"), *(f"{name} {value}" for name, value in generation.items())]
    most = options.get("max_instances")
    prompts = [
        options.get("prompt_style", "instruction"),
        f"language {run.settings.get('instruction_language', 'en')}",
        "option markers" if options.get("option_markers", True) else "no option markers",
        f"instructions {_instruction_numbers(options.get('instructions'))}",
    ]
    data = [
        f"{path} ({str(digest)[:12]})"
        for path, digest in zip(notes.get("data", ()), run.settings.get("data", ()), strict=False)
    ]
    data.append(f"at most {most} instances per task, seed {options.get('seed')}" if most else "all instances")
    versions = [f"{name} {notes[name]}" for name in ("ofa_mi", "torch", "python") if name in notes]
    checkpoint = f"{notes.get('checkpoint') or 'none'} ({str(run.checkpoint)[:12]})" if run.checkpoint else "none"
    if notes.get("weights") == "ema":
        checkpoint += ", averaged weights"
    return [
        str(run.directory),
        checkpoint,
        run.condition or "plain",
        ", ".join(map(str, decoding)),
        ", ".join(prompts),
        "; ".join(data),
        ", ".join(versions),
    ]


def _instruction_numbers(numbers: Sequence[int] | None) -> str:
    return "all" if numbers is None else " ".join(str(n + 1) for n in numbers)
