"""``ofa-mi tasks``: what the registry holds.

ofa-mi tasks                        every task, one a line
ofa-mi tasks --group vqa            those of one group
ofa-mi tasks --show grounded_vqa    one task with its instructions, as they stand and filled in
ofa-mi tasks --markdown             all of that as a page of Markdown, docs/tasks.md
ofa-mi tasks --lmms-eval DIR --data DATA   the nine evaluation tasks in lmms-eval's form
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ofa_mi.commands.options import add_instruction_options
from ofa_mi.document.text import aligned
from ofa_mi.errors import ConfigError
from ofa_mi.instructions import prompt
from ofa_mi.instructions.registry import Registry, load_registry
from ofa_mi.instructions.rendering import render, render_target
from ofa_mi.instructions.spec import GROUP_PREFIX, TaskSpec
from ofa_mi.other_models import REGION_FORMS

HELP = "list the tasks, show one with its instructions, or write them for lmms-eval"
_MARKDOWN_COLUMNS = (
    "task", "split", "inputs", "output", "metrics", "sources", "release name", "version", "languages",
)  # fmt: skip
_COLUMNS = ("group", "task", "split", "inputs", "output", "metric", "instructions")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--group", nargs="+", metavar="GROUP", help="only the tasks of these groups")
    what.add_argument("--show", metavar="NAME", help="one task with everything that is known of it")
    what.add_argument("--markdown", action="store_true", help="every task with everything that is known of it")
    what.add_argument(
        "--lmms-eval", metavar="DIR", help="write the evaluation tasks as lmms-eval's YAML and JSON lines"
    )
    parser.add_argument("--data", metavar="DATA", help="with --lmms-eval: data directory, of whose test split they are")
    parser.add_argument(
        "--regions",
        choices=REGION_FORMS,
        help="with --lmms-eval: how regions are written, as in `ofa-mi evaluate --model` (pixels unless given)",
    )
    add_instruction_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print the tasks; the exit status."""
    registry = load_registry(*args.instruction_dir, language=args.instruction_language)
    if args.lmms_eval:
        return write_for_lmms_eval(args, registry)
    if args.data or args.regions:
        raise ConfigError(f"{'--data' if args.data else '--regions'} is for --lmms-eval DIR: give that, too")
    if args.show:
        print(show(registry[args.show]))
    elif args.markdown:
        print(markdown(registry), end="")
    else:
        print(table(registry, args.group))
    return 0


def write_for_lmms_eval(args: argparse.Namespace, registry: Registry) -> int:
    """Write lmms-eval's files; the exit status."""
    if not args.data:
        raise ConfigError("--lmms-eval needs --data DATA: its tasks hold their questions")
    from ofa_mi.exports.lmms_eval import GROUP, write_tasks

    names = write_tasks(args.data, args.lmms_eval, registry, regions=args.regions or REGION_FORMS[0])
    print(f"{args.lmms_eval}: {len(names)} tasks; lmms-eval --include_path {args.lmms_eval} --tasks {GROUP}")
    return 0


def table(registry: Registry, groups: Sequence[str] | None) -> str:
    """The tasks of some groups (None: all) as aligned columns, and a line that counts them."""
    names = registry.select([GROUP_PREFIX + group for group in groups] if groups else ["all"])
    rows = [_COLUMNS, *(_row(registry[name]) for name in names)]
    lines = [line.rstrip() for line in aligned(rows, ())]
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
        "languages": ", ".join(task.languages) or "-",
        "benchmark": "one of the paper's 62 tasks" if task.benchmark else "not one of the paper's tasks",
    }
    width = max(map(len, fields))
    lines = [task.name, f"  {task.description}", "", *(f"  {key:<{width}}  {value}" for key, value in fields.items())]
    lines += ["", "  instructions"]
    lines += [f"    {id_}  {text}" for id_, text in zip(task.instruction_ids, task.instructions, strict=True)]
    if not task.instructions:
        lines.append(f"    none in language {task.language!r}")
    elif task.example is not None:
        lines += ["", "  on an example, as the model reads them"]
        lines += [f"    {id_}  {text}" for id_, text in zip(task.instruction_ids, prompts(task), strict=True)]
        lines += ["", f"  target  {prompt.describe(render_target(task, task.example))}"]
    return "\n".join(lines)


def prompts(task: TaskSpec) -> list[str]:
    """Every instruction of a task, which has an example, filled in with it; boxes in pixels."""
    assert task.example is not None
    return [prompt.describe(render(task, text, task.example)) for text in task.instructions]


def markdown(registry: Registry) -> str:
    """The page ``docs/tasks.md``: a table per group, and every task with its instructions and an example."""
    tasks = list(registry.values())
    paper = [task for task in tasks if task.benchmark]
    lines = [
        "# The tasks",
        "",
        "<!-- Made by `ofa-mi tasks --markdown > docs/tasks.md` from the YAML files; change those, not this page. -->",
        "",
        f"{len(tasks)} tasks: the paper's {len(paper)}, of which {_count(paper, 'train')} train and "
        f"{_count(paper, 'eval')} evaluate, and {len(tasks) - len(paper)} beside them (groups "
        f"{', '.join(f'`{name}`' for name in _groups_beside(registry))}). What the columns mean, and how to add a task "
        "or a language, stands in [instructions.md](instructions.md). Examples show the prompt of the first "
        "instruction as the model reads it; a box is in pixels here, and four location tokens there.",
    ]
    for group in registry.groups():
        members = [task for task in tasks if task.group == group]
        rows = [_MARKDOWN_COLUMNS, tuple("---" for _ in _MARKDOWN_COLUMNS), *map(_markdown_row, members)]
        lines += ["", f"## Group {group}", "", *(f"| {' | '.join(row)} |" for row in rows)]
        for task in members:
            lines += _markdown_task(task)
    return "\n".join(lines) + "\n"


def _count(tasks: Sequence[TaskSpec], split: str) -> int:
    return sum(task.split == split for task in tasks)


def _groups_beside(registry: Registry) -> list[str]:
    """Groups that hold none of the paper's tasks."""
    paper = {task.group for task in registry.values() if task.benchmark}
    return [group for group in registry.groups() if group not in paper]


def _markdown_row(task: TaskSpec) -> tuple[str, ...]:
    return (
        f"[{task.name}](#{task.name})",
        "**eval**" if task.split == "eval" else task.split,
        _inputs(task),
        task.output,
        ", ".join(task.metrics),
        ", ".join(task.sources),
        f"`{task.release}`" if task.release else "-",
        str(task.version),
        ", ".join(task.languages),
    )


def _markdown_task(task: TaskSpec) -> list[str]:
    lines = ["", f"### {task.name}", "", task.description, ""]
    lines += [f"{number}. `{text}`" for number, text in enumerate(task.instructions, start=1)]
    if task.example is not None and task.instructions:
        target = prompt.describe(render_target(task, task.example))
        lines += ["", "```text", f"prompt: {prompts(task)[0]}", f"target: {target}", "```"]
    return lines


def _row(task: TaskSpec) -> tuple[str, ...]:
    return task.group, task.name, task.split, _inputs(task), task.output, task.metrics[0], str(len(task.instructions))


def _inputs(task: TaskSpec) -> str:
    return ", ".join(task.inputs) or "-"
