"""The batches of an epoch, dealt to processes, and the place in it that a checkpoint keeps.

An epoch is one sequence of batches, which follows from the data and a few settings and not from who works on it:
process r of N takes the batches r, r + N, r + 2N, … A place is therefore a number of batches of the *sequence*, and any
number of processes, accumulating any number of batches, can go on from it with the same instances, none twice and none
left out.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from fairseq.data import data_utils, iterators

from ofa_mi.errors import ConfigError

logger = logging.getLogger(__name__)

# What the sequence of batches of an epoch follows from, besides the data, by the part of fairseq's settings that holds
# it. What else there may be, such as the length of instructions, shows in the digest of the sequence.
SETTINGS = {
    "task": (
        "seed",
        "max_instances_per_task",
        "mixture_temperature",
        "task_shares",
        "prompt_style",
        "num_instructions",
        "instruction_language",
        "max_src_length",
        "text_case",
        "black_image",
    ),
    "dataset": ("batch_size", "max_tokens", "required_batch_size_multiple", "grouped_shuffling"),
}
TASKS = "tasks"  # the choice of tasks among these settings
SHOWN = 5  # names in a message


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What the batches of a run follow from.

    Attributes:
        settings: As :func:`settings_of` gives them.
        data: Path and digest of each training file, in order.
        update_freq: Batches of one process in an update, for each epoch; later epochs are like the last one.
    """

    settings: dict[str, str]
    data: list[list[str]]
    update_freq: list[int]


def settings_of(cfg: Mapping[str, Any], tasks: Sequence[str]) -> dict[str, str]:
    """The settings that the batches of an epoch follow from, as text.

    Args:
        cfg: fairseq's settings of a run, or those in its checkpoint, which may lack some.
        tasks: Names of the chosen tasks.
    """
    values = {name: str(cfg[part][name]) for part, names in SETTINGS.items() for name in names if name in cfg[part]}
    return {**values, TASKS: " ".join(sorted(tasks))}


class EpochBatches(iterators.EpochBatchIterator):
    """fairseq's batches of an epoch, which any number of processes can resume.

    Attributes:
        origin: What they follow from; that of a training must be set before its state is asked for or loaded.
    """

    def __init__(self, **named: Any) -> None:
        super().__init__(**named)
        self.origin = Origin(settings={}, data=[], update_freq=[1])
        self._sequence: tuple[int, bool, list] | None = None  # epoch, whether it is shuffled, batches
        self._digest: str | None = None  # of these batches, once it was asked for
        self._resumed: tuple[int, int] | None = None  # epoch that was resumed, batches of the sequence done before

    # -- the sequence

    def sequence(self, epoch: int, shuffle: bool) -> list[Sequence[int]]:
        """The batches of an epoch for all processes, in order; shuffled as fairseq does it."""
        if self._sequence is None or self._sequence[:2] != (epoch, shuffle):
            batches = list(self.frozen_batches)
            if shuffle:
                with data_utils.numpy_seed(self.seed + epoch):
                    batches = self._shuffled_in_groups(batches) if self.grouped_shuffling else _shuffled(batches)
            self._sequence, self._digest = (epoch, shuffle, batches), None
        return self._sequence[2]

    def digest(self, epoch: int, shuffle: bool) -> str:
        """What tells the :meth:`sequence` from another one."""
        sequence = self.sequence(epoch, shuffle)
        if self._digest is None:
            digest = hashlib.sha256(np.array([len(batch) for batch in sequence], dtype="<i8").tobytes())
            for batch in sequence:
                digest.update(np.asarray(batch, dtype="<i8").tobytes())
            self._digest = digest.hexdigest()
        return self._digest

    def _shuffled_in_groups(self, batches: list) -> list:
        """``--grouped-shuffling``: as many batches as there are processes stay together."""
        size = self.num_shards
        groups = [batches[start : start + size] for start in range(0, len(batches) // size * size, size)]
        return [batch for group in _shuffled(groups) for batch in group]

    def ordered_batches(self, epoch: int, fix_batches_to_gpus: bool, shuffle: bool) -> list[Sequence[int]]:
        """What is left of an epoch for this process, with an empty batch where other processes have one more."""
        left = self.sequence(epoch, shuffle)[self._done_before(epoch) :]
        mine = left[self.shard_id :: self.num_shards]
        return [*mine, *([[]] * (math.ceil(len(left) / self.num_shards) - len(mine)))]

    def _done_before(self, epoch: int) -> int:
        """Batches of an epoch that were done when it was resumed."""
        return self._resumed[1] if self._resumed and self._resumed[0] == epoch else 0

    # -- the place in it

    def state_dict(self) -> dict[str, Any]:
        """fairseq's state of the iterator, with all that another number of processes needs to go on from it.

        ``batches`` and ``instances`` count what all processes have done of the epoch.
        """
        state = super().state_dict()
        done = instances = 0
        if state["iterations_in_epoch"]:
            sequence, before = self.sequence(self.epoch, self.shuffle), self._done_before(self.epoch)
            here = state["iterations_in_epoch"] - before // self.num_shards
            done = min(before + here * self.num_shards, len(sequence))
            instances = sum(map(len, sequence[:done]))
            state["sequence"] = self.digest(self.epoch, self.shuffle)
        return {
            **state,
            "batches": done,
            "instances": instances,
            "processes": self.num_shards,
            "update_freq": self.origin.update_freq,
            "settings": self.origin.settings,
            "data": self.origin.data,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a place, which may have been reached by another number of processes.

        What the checkpoint does not say, as one from before places were kept, is not compared.

        Raises:
            ConfigError: The place is within an epoch whose batches are others now; names the setting or the file.
        """
        self.epoch, self._resumed, self._next_epoch_itr = state["epoch"], None, None
        iterations, shuffle = state.get("iterations_in_epoch", 0), state.get("shuffle", True)
        changes = [*self._changed_data(state), *self._changed_settings(state)]
        if not iterations:
            self._warn(f"resuming at the beginning of epoch {self.epoch}: %s", *changes)
            self._warn_of_schedule(state)
            return
        sequence = self.sequence(self.epoch, shuffle)
        done = state.get("batches", iterations * state.get("processes", self.num_shards))
        if done >= len(sequence):
            changes.append(f"{done} of its batches are done, and now it has {len(sequence)}: the data have changed")
        elif state.get("sequence", digest := self.digest(self.epoch, shuffle)) != digest:
            changes.append("its batches are others now: the instructions or the version have changed")
        if changes:
            raise ConfigError(
                f"cannot resume within epoch {self.epoch}: {changes[0]}; restore that, or give --reset-dataloader to "
                "go on with these weights from the beginning of the data"
            )
        self._warn_of_schedule(state)
        self._resumed = self.epoch, done
        self._next_epoch_itr = self._get_iterator_for_epoch(self.epoch, shuffle)
        self._next_epoch_itr.n += done // self.num_shards  # the count goes on, as the log shows it
        self._next_epoch_itr.total += done // self.num_shards

    def _changed_data(self, state: Mapping[str, Any]) -> list[str]:
        """What has changed in the data files."""
        now, then = self.origin.data, state.get("data", self.origin.data)
        if len(now) != len(then):
            return [f"there are {len(now)} files of training data, and were {len(then)}"]
        return [
            f"{name} has changed since the checkpoint was written"
            for (name, digest), (_, old) in zip(now, then, strict=True)
            if digest != old
        ]

    def _changed_settings(self, state: Mapping[str, Any]) -> list[str]:
        """Which settings differ."""
        found = []
        for name, then in state.get("settings", {}).items():
            now = self.origin.settings.get(name, then)
            if now != then and name == TASKS:
                names = sorted(set(now.split()) ^ set(then.split()))
                more = ", …" if len(names) > SHOWN else ""
                found.append(f"--tasks and --exclude-tasks choose otherwise about {', '.join(names[:SHOWN])}{more}")
            elif now != then:
                found.append(f"--{name.replace('_', '-')} is {now or 'empty'}, and was {then or 'empty'}")
        processes = state.get("processes", self.num_shards)
        if self.grouped_shuffling and processes != self.num_shards:
            found.append(
                f"--grouped-shuffling mixes the batches of {self.num_shards} processes otherwise than of {processes}"
            )
        return found

    def _warn_of_schedule(self, state: Mapping[str, Any]) -> None:
        """Say that an update is made of another number of batches, which changes nothing but the schedule."""
        then = _batches_per_update(state.get("update_freq"), state.get("processes"), self.epoch)
        now = _batches_per_update(self.origin.update_freq, self.num_shards, self.epoch)
        if then is not None and then != now:
            self._warn(
                "%s: the same instances follow in another number of updates; mind --lr and its schedule",
                f"an update is made of {now} batches now, and was of {then} (processes times --update-freq)",
            )

    def _warn(self, message: str, *whats: str) -> None:
        """Log a warning for each, from one of the processes."""
        for what in whats if self.shard_id == 0 else ():
            logger.warning(message, what)


def _batches_per_update(update_freq: Sequence[int] | None, processes: int | None, epoch: int) -> int | None:
    """Of all processes; None if it is not known."""
    return processes * update_freq[min(epoch, len(update_freq)) - 1] if update_freq and processes else None


def _shuffled(items: list) -> list:
    np.random.shuffle(items)
    return items
