"""`ofa-mi train ARGUMENTS`: `fairseq-train ARGUMENTS` with the user directory filled in, from any directory."""

import sys
from collections.abc import Sequence
from pathlib import Path

import ofa_mi
from ofa_mi.errors import ConfigError, root_error

HELP = "pre-train or instruction-tune a model: fairseq-train with --user-dir filled in"


def run_raw(arguments: Sequence[str]) -> int:
    """Run `fairseq-train`; an error that a user can act on loses the wrapping that fairseq puts around it.

    Raises:
        ConfigError: `--user-dir` was given.
    """
    if any(argument.split("=")[0] == "--user-dir" for argument in arguments):
        raise ConfigError("--user-dir is filled in by 'ofa-mi train': leave it out, or call fairseq-train")
    if {"-h", "--help"} & set(arguments):
        print_help()
        return 0
    from fairseq_cli.train import cli_main

    # In argv rather than as an argument: processes that fairseq starts, and its log of the command, read it there.
    sys.argv = ["ofa-mi train", *arguments, "--user-dir", str(Path(ofa_mi.__file__).parent)]
    try:
        cli_main()
    except Exception as error:
        raise root_error(error) or error from None
    return 0


def print_help() -> None:
    """Print fairseq's options and those of this package; fairseq leaves out the options of a task or a model."""
    from fairseq import options
    from fairseq.criterions import CRITERION_REGISTRY
    from fairseq.models import MODEL_REGISTRY
    from fairseq.tasks import TASK_REGISTRY

    sys.argv = ["ofa-mi train"]
    parser = options.get_training_parser()
    for kind, name, registry in (
        ("task", "multiinstruct", TASK_REGISTRY),
        ("criterion", "adjust_label_smoothed_cross_entropy", CRITERION_REGISTRY),
        ("model", "ofa", MODEL_REGISTRY),
    ):
        registry[name].add_args(parser.add_argument_group(f"{kind} {name}"))
    parser.print_help()
