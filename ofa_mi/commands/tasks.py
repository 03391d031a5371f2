"""``ofa-mi tasks``: what the registry holds.

ofa-mi tasks                        every task, one a line
ofa-mi tasks --group vqa            those of one group
ofa-mi tasks --show grounded_vqa    one task with its instructions, as they stand and filled in
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ofa_mi.instructions import prompt
from ofa_mi.instructions.registry import GROUP_PREFIX, Registry, TaskSpec, load_registry
from ofa_mi.instructions.rendering import render, render_target

HELP = "list the tasks, or show one with its instructions"
_COLUMNS = ("group", "task", "split", "inputs", "output", "metric", "instructions")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--group", nargs="+", metavar="GROUP", help="only the tasks of these groups")
    what.add_argument("--show", metavar="NAME", help="one task with everything that is known of it")
    parser.add_argument(
        "--instruction-dir", metavar="DIRS", help="directories of YAML files that add tasks or instructions, with ':'"
    )


def run(args: argparse.Namespace) -> int:
    """Print the tasks; the exit status."""
    registry = load_registry(*filter(None, (args.instruction_dir or "").split(":")))
    print(show(registry[args.show]) if args.show else table(registry, args.group))
    return 0


def table(registry: Registry, groups: Sequence[str] | None) -> str:
    """The tasks of some groups (None: all) as aligned columns, and a line that counts them."""
    names = registry.select([GROUP_PREFIX + group for group in groups] if groups else ["all"])
    rows = [_COLUMNS, *(_row(registry[name]) for name in names)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    evaluated = sum(registry[name].split == "eval" for name in names)
    return "\n".join([*lines, "", f"{len(names)} tasks, {evaluated} of them for evaluation only"])


def show(task: TaskSpec) -> str:
    """Everything about one task, its instructions last: as they stand, and as the model reads them on an example."""
    fields = {
        "group": task.group,
        "split": "eval: never trained on" if task.split == "eval" else task.split,
        "sources": ", ".join(task.sources),
        "release name": task.release or "-",
        "inputs": _inputs(task),
        "output": task.output,
        "metrics": ", ".join(task.metrics),
        "version": str(task.version),
        "benchmark": "one of the paper's 62 tasks" if task.benchmark else "not one of the paper's tasks",
    }
    width = max(map(len, fields))
    lines = [task.name, f"  {task.description}", "", *(f"  {key:<{width}}  {value}" for key, value in fields.items())]
    lines += ["", "  instructions"]
    lines += [f"    {id_}  {text}" for id_, text in zip(task.instruction_ids, task.instructions, strict=True)]
    if task.example is not None:
        lines += ["", "  on an example, as the model reads them"]
        lines += [f"    {id_}  {text}" for id_, text in zip(task.instruction_ids, prompts(task), strict=True)]
        lines += ["", f"  target  {prompt.describe(render_target(task, task.example))}"]
    return "\n".join(lines)


def prompts(task: TaskSpec) -> list[str]:
    """Every instruction of a task filled in with its example, boxes in pixels."""
    return [prompt.describe(render(task, text, task.example)) for text in task.instructions]


def _row(task: TaskSpec) -> tuple[str, ...]:
    return task.group, task.name, task.split, _inputs(task), task.output, task.metrics[0], str(len(task.instructions))


def _inputs(task: TaskSpec) -> str:
    return ", ".join(task.inputs) or "-"
