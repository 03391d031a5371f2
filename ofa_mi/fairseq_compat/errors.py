"""Which errors and warnings of fairseq's commands their user sees."""

import functools
import sys
from pathlib import Path

from ofa_mi.errors import root_error

# Text at the beginning of each notice that is silenced (regular expressions), by category.
SILENCED: tuple[tuple[str, type[Warning]], ...] = (
    (r"`torch\.jit\.script` is deprecated", FutureWarning),
    (r"`torch\.cuda\.amp\.(autocast|GradScaler|custom_fwd|custom_bwd)\(args\.\.\.\)` is deprecated", FutureWarning),
    (r"`torch\.distributed\._(all_gather|reduce_scatter)_base` is a private function", FutureWarning),
    (r"TypedStorage is deprecated", UserWarning),
    (r"Using a non-full backward hook when the forward contains multiple autograd Nodes", FutureWarning),
    (r"`broadcast_buffers` is deprecated", FutureWarning),
    (r"CUDA is not available or torch_xla is imported\. Disabling autocast", UserWarning),
    (r"'pin_memory' argument is set as true but no accelerator is found", UserWarning),
    (r"hydra\.experimental\.\w+\(\) is no longer experimental", UserWarning),
    (r"\s*The version_base parameter is not specified", UserWarning),
    (r"In 'config': Usage of deprecated keyword in package header", UserWarning),
    (r"\s*'config' is validated against ConfigStore schema with the same name", UserWarning),
    (r"\s*The strict flag in the compose API is deprecated", UserWarning),
)


def runs_fairseq(program: str) -> bool:
    """Whether a program is one of fairseq's commands: `fairseq-train`, or `fairseq_cli/train.py` as `-m` runs it.

    The processes that `ofa-mi train` starts on several GPUs have its name.
    """
    return Path(program).name.startswith(("fairseq-", "ofa-mi train")) or Path(program).parent.name == "fairseq_cli"


def wrap_excepthook() -> None:
    """Let an error that a user can act on end the process in its one line."""
    hook = sys.excepthook

    @functools.wraps(hook)
    def excepthook(kind, error, traceback):
        if (found := root_error(error)) is None:
            hook(kind, error, traceback)  # a bug keeps its traceback
        else:
            print(f"{Path(sys.argv[0]).stem}: error: {found}", file=sys.stderr)

    sys.excepthook = excepthook
