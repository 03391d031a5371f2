"""The instruction data set: which instances, in which order, under which instruction.

Everything random is a function of (seed, epoch, instance number), never of a shared random state,
so that an epoch is the same for any number of workers, devices and restarts.
"""

from __future__ import annotations

import bisect
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from fairseq.data import FairseqDataset
from PIL import Image

from ofa_mi.data.collation import Example, collate
from ofa_mi.data.encoding import PromptEncoder
from ofa_mi.data.lengths import token_lengths
from ofa_mi.data.mixture import Mixture
from ofa_mi.data.transform import ImageTransform
from ofa_mi.errors import ConfigError, DataError
from ofa_mi.instances.instance import Instance
from ofa_mi.instances.store import LineStore
from ofa_mi.instructions.prompt import Prompt
from ofa_mi.instructions.registry import Registry
from ofa_mi.instructions.rendering import render, render_target, render_task_name, task_name_text
from ofa_mi.instructions.spec import TaskSpec
from ofa_mi.utils.seeding import draw

logger = logging.getLogger(__name__)

LENGTH_BUCKET = 16  # tokens; within a bucket the order is random, so that a batch mixes tasks


@dataclass(frozen=True, kw_only=True)
class DatasetOptions:
    """How instances become examples.

    Attributes:
        tasks: Names of the tasks to use; instances of other tasks are left out.
        max_instances_per_task: At most so many instances of each task, a fixed choice; 0 for all.
        mixture_temperature: T in task probabilities proportional to ``n ** (1 / T)``.
        task_shares: Share of an epoch that goes to pools of tasks: names of tasks → share, for each pool.
        prompt_style: ``instruction`` or ``task-name``.
        option_markers: Write ``[Options]: a||||b`` (True) or ``a, b`` (False).
        num_instructions: Use the first so many instructions of each task; 0 for all.
        restrict_to_options: Restrict the loss to the tokens that lead to an option.
        black_image: Give text-only instances a black image instead of none.
        skip_bad: Log and leave out instances whose image cannot be used, instead of stopping.
        keep_instances: Carry the instances in the batch, for scoring.
        seed: Seed of every random choice.
    """

    tasks: Sequence[str]
    max_instances_per_task: int = 0
    mixture_temperature: float = 1.0
    task_shares: Mapping[tuple[str, ...], float] = field(default_factory=dict)
    prompt_style: str = "instruction"
    option_markers: bool = True
    num_instructions: int = 0
    restrict_to_options: bool = False
    black_image: bool = False
    skip_bad: bool = False
    keep_instances: bool = False
    seed: int = 1


class MultiInstructDataset(FairseqDataset):
    """Instances of one or several stores as examples; an item is an :class:`Example`.

    An item's number counts through the stores in order. With ``skip_bad`` an instance that
    cannot be used gives None, is logged with file and line, and counted in :attr:`skipped`. Only what
    can be seen without its image was checked when its store was opened.

    Raises:
        ConfigError: A store holds a task that the registry does not know (with ``skip_bad`` a warning),
            no store holds an instance of the tasks, or a task has no instruction.
    """

    def __init__(
        self,
        stores: Sequence[LineStore],
        registry: Registry,
        encoder: PromptEncoder,
        transform: ImageTransform,
        options: DatasetOptions,
    ) -> None:
        super().__init__()
        self.stores, self.registry, self.encoder, self.transform = stores, registry, encoder, transform
        self.options = options
        self.epoch = 1
        self.starts = np.cumsum([0, *map(len, stores)]).tolist()
        self.task_names = tuple(sorted(set(options.tasks)))
        self.task_ids = self._global_task_ids()
        self.chosen = np.flatnonzero(self.task_ids >= 0)
        if not len(self.chosen):
            raise ConfigError(
                f"{', '.join(str(store.path) for store in stores)}: no instance of the chosen tasks; "
                "see --tasks and --exclude-tasks"
            )
        self.specs = self._specs()
        self.mixture = Mixture(
            self.task_ids[self.chosen],
            cap=options.max_instances_per_task,
            temperature=options.mixture_temperature,
            seed=options.seed,
            **self._pools(),
        )
        # Worker processes mark what they skip: an instance counts once, however often it is drawn.
        self._skipped = torch.zeros(len(self), dtype=torch.bool).share_memory_()

    def _pools(self) -> dict[str, Any]:
        """Pools of tasks and their shares as the mixture takes them."""
        named = {", ".join(names): (names, share) for names, share in self.options.task_shares.items()}
        number = {name: i for i, name in enumerate(self.task_names)}
        pools = {number[name]: pool for pool, (names, _) in named.items() for name in names if name in number}
        return {"pools": pools, "shares": {pool: share for pool, (_, share) in named.items()}}

    def _global_task_ids(self) -> np.ndarray:
        """Number of each instance's task in ``task_names``, -1 for tasks that were not chosen."""
        number = {name: i for i, name in enumerate(self.task_names)}
        parts = []
        for store in self.stores:
            self._check_known(store)
            table = np.array([number.get(name, -1) for name in store.task_names], dtype=np.int32)
            parts.append(table[store.task_ids] if len(table) else np.empty(0, dtype=np.int32))
        return np.concatenate(parts)

    def _check_known(self, store: LineStore) -> None:
        """Refuse tasks that the registry does not know: leaving them out in silence would hide a typing error."""
        for task, name in enumerate(store.task_names):
            found = np.flatnonzero(store.task_ids == task)
            if name in self.registry or not len(found):
                continue
            try:
                self.registry[name]
            except ConfigError as error:
                message = f"{store[int(found[0])].name}: {error}, and --instruction-dir adds tasks of your own"
                if not self.options.skip_bad:
                    raise ConfigError(message) from None
                logger.warning("skipped %d instances: %s", len(found), message)

    def _specs(self) -> dict[int, TaskSpec]:
        """Registry entries of the tasks that occur."""
        specs = {int(i): self.registry[self.task_names[i]] for i in np.unique(self.task_ids[self.chosen])}
        for spec in specs.values():
            if self.options.prompt_style == "instruction":
                spec.check_instructions()
        return specs

    @property
    def skipped(self) -> int:
        """Instances skipped so far because they, or their images, could not be used."""
        return int(self._skipped.sum())

    # -- items and batches

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, index: int) -> Example | None:
        try:
            return self.example(int(index))
        except DataError as error:
            if not self.options.skip_bad:
                raise
            if not self._skipped[index]:
                logger.warning("skipped %s", error)
            self._skipped[index] = True
            return None

    def example(self, index: int) -> Example:
        """Read, render and encode one instance under the instruction drawn for this epoch.

        Raises:
            DataError: It does not have what its task needs, or its image cannot be used.
        """
        number = bisect.bisect_right(self.starts, index) - 1
        store = self.stores[number]
        instance = store[index - self.starts[number]]
        spec = self.registry[instance.task_name]
        size, name = instance.image_size, instance.name
        options = None
        if self.options.restrict_to_options and spec.output == "option":
            options = [self.encoder.option(option, size) for option in instance.options or ()]
        return Example(
            index=index,
            source=self.encoder.source(self._prompt(spec, instance, index), size, name=name),
            target=self.encoder.target(render_target(spec, instance), size, name=name),
            image=self._image(store, instance),
            options=options,
            confidence=instance.confidence,
            instance=instance if self.options.keep_instances else None,
        )

    def _prompt(self, spec: TaskSpec, instance: Instance, index: int) -> Prompt:
        markers = self.options.option_markers
        if self.options.prompt_style == "task-name":
            return render_task_name(spec, instance, option_markers=markers)
        choice = draw(self.options.seed, self.epoch, np.array([index]), self._num_instructions(spec))[0]
        return render(spec, spec.instructions[choice], instance, option_markers=markers)

    def _num_instructions(self, spec: TaskSpec) -> int:
        return min(self.options.num_instructions or len(spec.instructions), len(spec.instructions))

    def _image(self, store: LineStore, instance: Instance) -> torch.Tensor | None:
        if instance.image_path is not None:
            return self.transform(store.load_image(instance))
        if self.options.black_image:
            side = self.transform.patch_image_size
            return self.transform(Image.new("RGB", (side, side)))
        return None

    def collater(self, samples: Sequence[Example | None]) -> dict[str, Any]:
        """Batch the examples; skipped ones are left out, and an empty batch is empty."""
        examples = [sample for sample in samples if sample is not None]
        return collate(examples) if examples else {}

    # -- order and size

    def set_epoch(self, epoch: int) -> None:
        """Choose the instances, their order and their instructions for ``epoch``."""
        self.epoch = epoch

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """Batches are rebuilt for each epoch."""
        return False

    def ordered_indices(self) -> np.ndarray:
        """This epoch's instances, shuffled and then ordered by length bucket."""
        indices = self.chosen[self.mixture.epoch(self.epoch)]
        has_image, text = self.has_image[indices], self.text_lengths[indices]
        return indices[np.lexsort((-(-text // LENGTH_BUCKET), has_image))]

    def batch_by_size(self, indices, max_tokens=None, max_sentences=None, required_batch_size_multiple=1):
        """fairseq's batching.

        Raises:
            ConfigError: One instance alone is larger than ``max_tokens``.
        """
        sizes = self.num_tokens_vec(indices)
        if max_tokens is not None and len(sizes) and sizes.max() > max_tokens:
            raise ConfigError(
                f"--max-tokens {max_tokens} is less than the {sizes.max()} tokens (image patches included) of the "
                "longest instance; raise it, or lower --max-src-length or --patch-image-size"
            )
        return super().batch_by_size(indices, max_tokens, max_sentences, required_batch_size_multiple)

    @cached_property
    def has_image(self) -> np.ndarray:
        """True for instances that are given an image, ``(len,)``."""
        flags = np.concatenate([store.has_image for store in self.stores])
        return flags | self.options.black_image

    @cached_property
    def text_lengths(self) -> np.ndarray:
        """Source tokens of each instance under its longest instruction, ``(len,)`` int32."""
        own = np.concatenate([self._token_lengths(store)[0] for store in self.stores])
        longest = np.zeros(len(self.task_names) + 1, dtype=np.int32)  # the last entry serves task id -1
        for i, spec in self.specs.items():
            texts = spec.instructions if self.options.prompt_style == "instruction" else (task_name_text(spec),)
            longest[i] = max(len(self.encoder.vocabulary.encode(text)) for text in texts)
        return np.minimum(own + longest[self.task_ids], self.encoder.max_src_length)

    def _token_lengths(self, store: LineStore) -> tuple[np.ndarray, np.ndarray]:
        return token_lengths(store, self.encoder.vocabulary, text_case=self.encoder.text_case)

    @cached_property
    def token_counts(self) -> np.ndarray:
        """What ``--max-tokens`` counts: encoder input with patches, or target if longer, ``(len,)``."""
        target = np.concatenate([self._token_lengths(store)[1] for store in self.stores])
        return np.maximum(self.text_lengths + self.has_image * self.transform.num_patches, target)

    def num_tokens(self, index: int) -> int:
        """Tokens of one instance, image patches included."""
        return int(self.token_counts[index])

    def num_tokens_vec(self, indices) -> np.ndarray:
        """Tokens of several instances, image patches included."""
        return self.token_counts[indices]

    def size(self, index: int) -> int:
        """Same as :meth:`num_tokens`; encoding truncates, so nothing is ever too long."""
        return self.num_tokens(index)
