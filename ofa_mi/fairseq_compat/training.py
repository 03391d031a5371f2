"""fairseq's batches and updates."""

import functools
import importlib
import math
from pathlib import Path
from types import ModuleType
from typing import Any

from ofa_mi import checkpoint
from ofa_mi.errors import DivergedError, OfaMiError
from ofa_mi.small_part import check_whole


def wrap_batching(data_utils: ModuleType) -> None:
    """Let batching keep the last batch."""
    batch = data_utils.batch_by_size

    @functools.wraps(batch)
    def batch_by_size(indices, *args, fixed_shapes=None, **kwargs):
        batches = batch(indices, *args, fixed_shapes=fixed_shapes, **kwargs)
        if fixed_shapes is not None:
            return batches
        # Batches are consecutive pieces of the indices, so that what was dropped is the rest.
        rest = indices[sum(map(len, batches)) :]
        return [*batches, rest] if len(rest) else batches

    data_utils.batch_by_size = batch_by_size


def wrap_grouping(iterators: ModuleType) -> None:
    """Let accumulation go on from any batch of an epoch: what is left is what is grouped, and counted."""

    class GroupedIterator(iterators.GroupedIterator):
        def __init__(self, iterable, chunk_size, skip_remainder_batch=False):
            done = getattr(iterable, "n", 0)
            groups = (len(iterable) - done) / chunk_size
            groups = math.floor(groups) if skip_remainder_batch else math.ceil(groups)
            if skip_remainder_batch:
                iterable.take(done + groups * chunk_size)
            start = math.ceil(done / chunk_size)
            iterators.CountingIterator.__init__(
                self,
                iterators._chunk_iterator(iterable, chunk_size, skip_remainder_batch),
                start=start,
                total=start + groups,
            )
            self.chunk_size = chunk_size

    iterators.GroupedIterator = GroupedIterator


def wrap_training(trainer: type) -> None:
    """Keep weights in fp32 where the task computes in bf16, tell a schedule how long an epoch is and its batches what
    they follow from, and say in one line that training diverged."""
    init, get, step = trainer.__init__, trainer.get_train_iterator, trainer.train_step

    @functools.wraps(init)
    def __init__(self, cfg, task, *args, **named):
        if getattr(task, "precision", "fp32") != "fp32":
            cfg.common.bf16 = False
        init(self, cfg, task, *args, **named)

    @functools.wraps(get)
    def get_train_iterator(self, *args, **named):
        iterator = get(self, *args, **named)
        if hasattr(self.task, "origin"):
            iterator.origin = self.task.origin(self.cfg)
        if hasattr(self.lr_scheduler, "set_epoch_length"):
            self.lr_scheduler.set_epoch_length(len(iterator), self.cfg.optimization.update_freq)
        return iterator

    @functools.wraps(step)
    def train_step(self, *args, **named):
        try:
            return step(self, *args, **named)
        except OfaMiError:
            raise
        except Exception as error:
            if (cause := _floating_point_error(error)) is None:
                raise
            raise DivergedError(why_diverged(cause, self)) from None

    trainer.__init__ = __init__
    trainer.get_train_iterator = get_train_iterator
    trainer.train_step = train_step


def _floating_point_error(error: BaseException | None) -> FloatingPointError | None:
    """The error that ended the training, or while handling which `error` was raised."""
    while error is not None and not isinstance(error, FloatingPointError):
        error = error.__context__
    return error


def why_diverged(error: FloatingPointError, trainer: Any) -> str:
    """One line: what happened in which update, what to try, and where the state before it is."""
    happened = str(error).strip().splitlines()[0]
    if "inconsistent between workers" in happened:  # fairseq says what to try
        return happened
    common, optimization = trainer.cfg.common, trainer.cfg.optimization
    advice = [f"a lower --lr than {', '.join(map(str, optimization.lr))}", "a longer warm-up"]
    if not optimization.clip_norm:
        advice.append("--clip-norm 1.0")
    if common.fp16:
        advice.append("--bf16 in place of --fp16, or a lower --min-loss-scale")
    return (
        f"training diverged in update {trainer.get_num_updates() + 1}: {happened.split('. ')[0].rstrip('.')}. "
        f"Try {', '.join(advice)}; {Path(trainer.cfg.checkpoint.save_dir) / 'crash.pt'} holds the state before it"
    )


def wrap_averaging(trainer: ModuleType, checkpoint_utils: ModuleType) -> None:
    """Let the trainer average with :class:`~ofa_mi.fairseq_compat.averaging.Average`."""

    def build_ema(*args):
        return importlib.import_module("ofa_mi.fairseq_compat.averaging").Average(*args)  # which needs fairseq whole

    trainer.build_ema = build_ema
    checkpoint_utils.load_ema_from_checkpoint = load_ema_from_checkpoint


def load_ema_from_checkpoint(path: str) -> dict[str, Any]:
    """A checkpoint with its average in place of its weights, as fairseq's function of this name returns it.

    Raises:
        CheckpointError: The file cannot be read, or holds no average.
    """
    state = checkpoint.read(path)
    check_whole(state, path)
    checkpoint.select_weights(state, "ema", path)
    return state
