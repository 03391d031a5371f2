"""``ofa-mi evaluate``: answer evaluation instances once per instruction, and score the answers.

    ofa-mi evaluate --checkpoint tuned.pt --data DATA --tasks eval --instructions all --out runs/tuned
    ofa-mi evaluate --model openai:http://localhost:8000/v1 --model-name NAME --data DATA --out runs/other

A run that was stopped goes on with the same command. Several processes share a run with
``--shard 0/4`` … ``--shard 3/4`` and the same ``--out``; the last one to finish scores it.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_mi.commands.options import (
    add_checkpoint_options,
    add_decoding_options,
    add_device_option,
    add_precision_option,
    add_question_options,
    add_weights_option,
    asked,
    load_predictor,
)
from ofa_mi.commands.other_model_options import (
    ONLY_FOR,
    add_other_model_options,
    check_model_options,
    make_other_model,
)
from ofa_mi.errors import ConfigError
from ofa_mi.evaluation.conditions import IMAGES, PERTURBATIONS, PROMPT_STYLES

if TYPE_CHECKING:  # imported where it is used: it takes PyTorch
    pass

HELP = "run a model over evaluation instances, once per instruction, and score it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--out", required=True, metavar="DIR", help="directory of the run")
    model = parser.add_argument_group("the model")
    add_checkpoint_options(model, required=False)
    add_weights_option(model)
    add_device_option(model)
    add_precision_option(model)
    model.add_argument("--batch-size", type=int, default=16, help="questions per batch, at most")
    add_other_model_options(parser)
    parser.add_argument("--shard", default="0/1", metavar="I/N", help="answer part I (from 0) of N parts")

    what = parser.add_argument_group("what is asked")
    add_question_options(
        what, instructions="all", seed_of="that choice, of --perturb, of --image shuffled and of a server"
    )

    conditions = parser.add_argument_group(
        "under which conditions",
        "each tells what a normal run's scores rest on; tasks that it does not change are left out",
    )
    conditions.add_argument(
        "--prompt-style",
        choices=PROMPT_STYLES,
        default="instruction",
        help="task-name: the task's name and its inputs instead of an instruction; options-only: just the options",
    )
    conditions.add_argument(
        "--perturb",
        choices=PERTURBATIONS,
        default="none",
        help="option-order: each instance's options in another order; typos, upper-case: in the instruction; "
        "paraphrase: a second set of instructions; other-task: instructions that ask for something else",
    )
    conditions.add_argument(
        "--image",
        choices=IMAGES,
        default="given",
        help="none: text only; gray: a gray image; shuffled: the image of another instance of the task",
    )

    how = parser.add_argument_group("how it is answered")
    add_decoding_options(how)
    how.add_argument("--lenpen", type=float, default=1.0, help="length penalty; above 1 favours long answers")
    parser.set_defaults(defaults={name: parser.get_default(name) for name in ONLY_FOR})


def run(args: argparse.Namespace) -> int:
    """Evaluate and print the table; the exit status."""
    shard, num_shards = parse_shard(args.shard)
    chosen = asked(args)
    check_model_options(args)
    from ofa_mi.evaluation.asking.plan import EvaluationOptions
    from ofa_mi.evaluation.asking.run import evaluate
    from ofa_mi.evaluation.scoring.scores import condition_label
    from ofa_mi.evaluation.scoring.tables import format_table
    from ofa_mi.instructions.registry import load_registry

    predictor = load_predictor(args) if args.model is None else make_other_model(args)
    options = EvaluationOptions(
        **chosen,
        mode=args.mode,
        prompt_style=args.prompt_style,
        perturb=args.perturb,
        image=args.image,
        option_markers=predictor.option_markers if args.option_markers is None else args.option_markers == "on",
        batch_size=args.batch_size,
        shard=shard,
        num_shards=num_shards,
    )
    scores = evaluate(
        predictor,
        args.data,
        args.out,
        options,
        registry=load_registry(*args.instruction_dir, language=args.instruction_language),
        checkpoint=args.checkpoint,
        weights=args.weights,
    )
    if scores is None:
        print(f"part {args.shard} of {args.out} is done; other parts are not")
    else:
        print(format_table({Path(args.out).name: scores}))
        if conditions := condition_label(scores):
            print(f"not a normal run: {conditions}.")
    return 0


def parse_shard(value: str) -> tuple[int, int]:
    """``"0/4"`` as (0, 4)."""
    match = re.fullmatch(r"(\d+)/(\d+)", value)
    if match is None or int(match[1]) >= int(match[2]):
        raise ConfigError(f"--shard {value}: must be I/N with 0 <= I < N")
    return int(match[1]), int(match[2])
