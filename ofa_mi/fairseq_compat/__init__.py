"""What fairseq 0.12.3 needs on today's PyTorch, NumPy and Hydra; `plugin` calls `apply` when both are imported.

Every change is made from our side, is as small as it can be, and says what breaks without it.

Loading (`loading`):

- `torch.load` reads weights only since PyTorch 2.6 and refuses fairseq's checkpoints, so that a run cannot even
  resume: the types that they hold are allowed, and nothing else is (`ALLOWED_TYPES`).
- A checkpoint of bare weights and settings, as models are released, lacks the training state that fairseq reads
  first: it is completed with that of an untrained run (`complete_state`). Names that a data-parallel wrapper has
  lengthened (`module.`) lose its prefix.
- fairseq stores the task's state and never compares it: a run continued with another vocabulary would train on, each
  row of the embedding now standing for another token. It is refused (`check_vocabulary`).
- A refused or damaged checkpoint ends in one line that names the file and the reason (`load_checkpoint_to_cpu`).
- A checkpoint of an earlier version does not say how many processes reached its place in the data, and under which
  settings; they are added from its configuration (`complete_place`).
- Parts of a checkpoint, one of each process, are refused by another number of processes (`check_shards`).

Saving (`saving`):

- checkpoint_last.pt is written by copying: a run killed meanwhile would leave half a file, and could not resume. The
  copy gets its name when it is whole.
- A checkpoint that cannot be written (a full disk) is tried three times into the same half file, ends in nested
  tracebacks, and what was written stays, so that the next start has no space either. It is removed, and one line says
  what is wrong.
- Index tables, which follow from the settings, would be 66 of the 113 MB of an `ofa_nano`: they are not written
  (`saving`). Loading computes them.

- A tuning of a small part (--lora-rank, --adapter, --bitfit) would save the whole model with every checkpoint: only
  what it trains is kept, with the digest of its base, and completed from that when the run goes on (`small_part`).

The folder of checkpoints (`save_dir`):

- Two runs in one folder mix their checkpoints without a word: the first process of a run locks it.
- A checkpoint is written, and then copied to checkpoint_last.pt: after a kill in between the newer one is ignored. It
  is copied when the run is started again.

Starting and launching (`starting`, `launching`):

- A start checkpoint that is named and is not there trains from random weights without a word, and so does a folder.
  Inputs that are named must exist, before anything else happens (`check_inputs`). Combinations of options that end in
  a traceback, or do nothing in silence, are refused there, too.
- A training without `--arch` ends in a traceback that says nothing (`wrap_parsing`).
- `--best-checkpoint-metric` is looked up for the first time after an epoch of training, whose result is lost when no
  validation reports it: it is checked before training (`check_best_metric`).
- Half precision needs a GPU, which fairseq notices in the depths of its optimiser, or never (`check_precision`).
- Distributed training waits for the gradient of every parameter and stops at the second update when one has none. OFA
  always has some: those of image-code targets, and the image tower's in a batch of texts. It is told so
  (`wrap_distribution`); fairseq's option --find-unused-parameters need not be given.
- Under torchrun fairseq counts the GPUs of this machine before it reads torchrun's own numbers: with one GPU per node
  every node trains alone, and without a GPU it divides by zero. torchrun's numbers come first (`wrap_launching`).
  Without fairscale, --ddp-backend fully_sharded ends there in one line.

Training (`training`, `averaging`):

- Batching drops the last batch without a word when its size is no multiple of --required-batch-size-multiple (8
  unless given): up to 7 instances of every epoch and validation, or all of a small set. It is kept (`wrap_batching`).
- Accumulation counts the updates of an epoch from its beginning, so that a run resumed at a batch that is no multiple
  of --update-freq would leave the last ones out. It counts what is left (`wrap_grouping`).
- On a CPU fairseq's --bf16 would keep the weights themselves in bf16, which loses small updates, and be slower. The
  task computes under autocast there, and the trainer is told of single precision (`wrap_training`).
- A learning-rate schedule cannot ask how long an epoch is: ours is told (`wrap_training`).
- When gradients are no longer finite, fairseq's search for the place where it happened ends in a `StopIteration` of its
  own. One line says what to try (`wrap_training`).
- `--store-ema` multiplies integer buffers by a fraction, averages tied parameters once for each of their names, reads
  what it has deleted when a run starts from a checkpoint without an average, and forgets its place within
  --ema-update-freq (`averaging.Average`).

Charts (`charts`):

- Without their library --tensorboard-logdir and --wandb-project write nothing, and say so in a line of the log that is
  soon gone: they are refused. Scores of tasks, which fairseq mixes with its speeds and sizes, become a group.

Errors (`errors`):

- fairseq's commands end with a traceback whatever went wrong: an error that a user can act on ends in its one line.
- Deprecation notices that fairseq causes in Hydra and PyTorch, and that its user can do nothing about, are silenced
  one by one, by their text (`SILENCED`).
"""

import importlib
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ofa_mi.fairseq_compat import charts, errors, launching, loading, saving, small_part, starting, training
from ofa_mi.fairseq_compat.errors import SILENCED
from ofa_mi.fairseq_compat.loading import ALLOWED_TYPES
from ofa_mi.utils.output import escape_what_cannot_be_written

__all__ = ["ALLOWED_TYPES", "SILENCED", "apply", "importing_fairseq"]


def apply() -> None:
    """Make fairseq ready; calling it again changes nothing."""
    with importing_fairseq():
        checkpoint_utils = importlib.import_module("fairseq.checkpoint_utils")
        distributed_utils = importlib.import_module("fairseq.distributed.utils")
    torch.serialization.add_safe_globals([*ALLOWED_TYPES, distributed_utils._TensorPlaceholder])
    if not hasattr(checkpoint_utils.load_checkpoint_to_cpu, "__wrapped__"):
        trainer = importlib.import_module("fairseq.trainer")
        loading.wrap_loading(checkpoint_utils)
        charts.wrap_charts(importlib.import_module("fairseq.logging.progress_bar"))
        small_part.wrap_state(trainer.Trainer)
        saving.wrap_saving(checkpoint_utils)
        saving.wrap_copying(checkpoint_utils.PathManager)
        starting.wrap_starting(distributed_utils, checkpoint_utils)
        starting.wrap_parsing(importlib.import_module("fairseq.options"))
        launching.wrap_distribution(importlib.import_module("fairseq.models"))
        launching.wrap_launching(distributed_utils)
        training.wrap_batching(importlib.import_module("fairseq.data.data_utils"))
        training.wrap_grouping(importlib.import_module("fairseq.data.iterators"))
        training.wrap_training(trainer.Trainer)
        training.wrap_averaging(trainer, checkpoint_utils)
        if errors.runs_fairseq(sys.argv[0] if sys.argv else ""):
            escape_what_cannot_be_written()
            errors.wrap_excepthook()


@contextmanager
def importing_fairseq() -> Iterator[None]:
    """Silence what fairseq makes libraries say, and undo what its speech modules, which come along, do to logging.

    One sets the root logger to DEBUG with a handler, one advises at once to install tensorboardX.
    """
    for message, category in SILENCED:
        warnings.filterwarnings("ignore", message=message, category=category)
    root, speech = logging.getLogger(), logging.getLogger("fairseq.tasks.text_to_speech")
    levels, handlers = (root.level, speech.level), root.handlers[:]
    speech.setLevel(logging.WARNING)
    try:
        yield
    finally:
        root.setLevel(levels[0])
        speech.setLevel(levels[1])
        root.handlers[:] = handlers
