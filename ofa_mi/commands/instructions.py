"""``ofa-mi instructions augment``: more instructions for training, written by a grammar or taken from elsewhere.

ofa-mi instructions augment --per-task 100 --out more            100 for each training task
ofa-mi instructions augment --per-task 20 --tasks vqa --show 10  ten of them to read, nothing written
ofa-mi instructions augment --from mine.jsonl --out more         your own, let through the same gate
ofa-mi train … --extra-instructions more/instructions.jsonl
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ofa_mi.commands.options import add_instruction_dir
from ofa_mi.utils.text import split_list

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ofa_mi.instructions.grammar.augment import Augmented
    from ofa_mi.instructions.spec import TaskSpec

SHOWN = 10  # refused lines on the terminal; all of them are in refused.jsonl
HELP = "write more instructions to train with"
AUGMENT = "write more instructions per task by a grammar, or let those of a file pass the linter"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-command ``augment`` and its options."""
    commands = parser.add_subparsers(dest="instructions_command", required=True, metavar="SUBCOMMAND")
    augment = commands.add_parser("augment", help=AUGMENT, description=AUGMENT)
    what = augment.add_mutually_exclusive_group(required=True)
    what.add_argument("--per-task", type=int, metavar="N", help="let the grammar write N for each task")
    what.add_argument(
        "--from",
        dest="source",
        metavar="FILE",
        help='take those of a file instead: a JSON line {"task": …, "instruction": …} for each',
    )
    augment.add_argument("--out", metavar="DIR", help="folder to write: instructions.jsonl, manifest.json")
    augment.add_argument("--show", type=int, default=0, metavar="N", help="print N of them, spread over the tasks")
    augment.add_argument(
        "--tasks", default="train", metavar="NAMES", help="tasks and groups to write for, with ',' (default: train)"
    )
    augment.add_argument("--exclude-tasks", default="", metavar="NAMES", help="tasks and groups to leave out, with ','")
    augment.add_argument("--seed", type=int, default=1, help="another one draws other instructions (default: 1)")
    augment.add_argument("--phrases", metavar="FILE", help="YAML file of phrases of your own tasks")
    add_instruction_dir(augment)


def run(args: argparse.Namespace) -> int:
    """Write the instructions, print what has been made; the exit status, 1 if a file has one that is refused."""
    from ofa_mi.errors import ConfigError
    from ofa_mi.instructions.registry import read_tasks

    if args.out is None and not args.show:
        raise ConfigError("give --out DIR to write the instructions, --show N to read some, or both")
    if args.per_task is not None and args.per_task < 1:
        raise ConfigError(f"--per-task {args.per_task}: must be at least 1")
    if args.show < 0:
        raise ConfigError(f"--show {args.show}: must be at least 0")
    if args.source and (args.phrases or args.exclude_tasks or (args.tasks, args.seed) != ("train", 1)):
        raise ConfigError(
            "--tasks, --exclude-tasks, --seed and --phrases are the grammar's; leave them out with --from"
        )
    tasks = read_tasks(*args.instruction_dir)
    result, settings = _from_file(args, tasks) if args.source else _from_grammar(args, tasks)
    for line in _sample(result.lines, args.show):
        print(f"{line.task}: {line.instruction}")
    if args.out is not None:
        _write(args.out, result, settings)
    _summarise(result)
    return 1 if result.refused else 0


def _from_grammar(args: argparse.Namespace, tasks: Mapping[str, TaskSpec]) -> tuple[Augmented, dict]:
    from pathlib import Path

    from ofa_mi.instructions.grammar.augment import generate
    from ofa_mi.instructions.grammar.phrases import read_phrases
    from ofa_mi.instructions.registry import Registry

    exclude = [*split_list(args.exclude_tasks), *(name for name, spec in tasks.items() if spec.own_instruction)]
    chosen = Registry(tasks.values()).select(split_list(args.tasks), exclude)
    table = read_phrases(*([Path(args.phrases)] if args.phrases else []))
    result = generate(tasks, chosen, table, per_task=args.per_task, seed=args.seed)
    return result, {"per_task": args.per_task, "seed": args.seed, "tasks": list(chosen)}


def _from_file(args: argparse.Namespace, tasks: Mapping[str, TaskSpec]) -> tuple[Augmented, dict]:
    from pathlib import Path

    from ofa_mi.instructions.grammar.augment import admit
    from ofa_mi.instructions.grammar.files import read_lines

    path = Path(args.source)
    return admit(tasks, read_lines(path), path.name), {"from": path.name}


def _sample(lines: Sequence, number: int) -> list:
    """So many lines, spread evenly over all of them."""
    number = min(number, len(lines))
    return [lines[(2 * i + 1) * len(lines) // (2 * number)] for i in range(number)]


def _write(out: str, result: Augmented, settings: dict) -> None:
    """The instructions, those refused with their reasons, and what they were made with."""
    from pathlib import Path

    from ofa_mi.instructions.grammar.files import write

    write(Path(out), result.lines, result.refused, {**settings, "refusals": dict(sorted(result.refusals.items()))})


def _summarise(result: Augmented) -> None:
    from ofa_mi.utils.json_files import one_line

    number, tasks = len(result.lines), len({line.task for line in result.lines})
    print(f"{number:,} instructions of {tasks} tasks")
    refused = sum(result.refusals.values())
    if refused:
        what = "draws" if result.drawn else "lines"
        kinds = ", ".join(f"{kind}: {count:,}" for kind, count in sorted(result.refusals.items()))
        print(f"{refused:,} {what} refused ({kinds})")
    for where, line, refusal in result.refused[:SHOWN]:
        print(f"  {where}: task {one_line(line.task)}: {refusal.reason}")
    if len(result.refused) > SHOWN:
        print(f"  … and {len(result.refused) - SHOWN:,} more")
