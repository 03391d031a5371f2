"""fairseq task ``multiinstruct``: instruction tuning over images, text and regions.

    fairseq-train DATA[:DATA...] --user-dir ofa_mi --task multiinstruct --arch ofa_base \
        --criterion adjust_label_smoothed_cross_entropy ...
"""

import logging
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from fairseq.logging import metrics
from fairseq.tasks import FairseqTask, register_task

import ofa_mi.data.batches
import ofa_mi.data.dataset  # no names of it: it may itself be what starts the registration (`plugin`)
from ofa_mi import checkpoint
from ofa_mi.data.encoding import PromptEncoder
from ofa_mi.data.regions import RegionCodec
from ofa_mi.data.transform import ImageTransform
from ofa_mi.data.vocabulary import Vocabulary
from ofa_mi.decoding.beam import GenerationConfig
from ofa_mi.decoding.kinds import generate_answers
from ofa_mi.errors import ConfigError
from ofa_mi.evaluation.metrics import check_metric, score_prediction
from ofa_mi.instances.open import open_store
from ofa_mi.instances.store import LineStore
from ofa_mi.instructions.grammar.files import read_extra
from ofa_mi.instructions.registry import Registry, load_registry
from ofa_mi.packaged import checkpoint_path
from ofa_mi.precision import autocast, on_cpu
from ofa_mi.tasks.options import MultiInstructConfig, check_config, parse_shares
from ofa_mi.utils.text import split_list

logger = logging.getLogger(__name__)

SCORE, COUNT = "_score_", "_count_"  # of a task: sum of scores and number of instances in a logging output
SIZES = {"wps", "wpb", "bsz", "n_correct", "total"}  # values of a validation that say nothing about the model


@register_task("multiinstruct", dataclass=MultiInstructConfig)
class MultiInstructTask(FairseqTask):
    """Registration and argument mapping; the work is done in ``ofa_mi.data`` and ``ofa_mi.decoding``."""

    def __init__(self, cfg: MultiInstructConfig, vocabulary: Vocabulary) -> None:
        super().__init__(cfg)
        self.vocabulary = vocabulary
        # On a GPU fairseq itself does --bf16 and --fp16.
        self.precision = "bf16" if cfg.bf16 and on_cpu(cfg) else "fp32"
        self._reported: dict[str, int] = {}  # skipped instances of each split that the log counts already
        self.registry = load_registry(*split_list(cfg.instruction_dir, ":"), language=cfg.instruction_language)
        self.extra = read_extra(Path(cfg.extra_instructions), self.registry) if cfg.extra_instructions else None
        self.transform = ImageTransform(cfg.patch_image_size)
        self.encoder = PromptEncoder(
            vocabulary,
            RegionCodec(
                num_bins=vocabulary.num_bins,
                max_image_size=cfg.max_image_size,
                patch_image_size=cfg.patch_image_size,
            ),
            max_src_length=cfg.max_src_length,
            max_tgt_length=cfg.max_tgt_length,
            text_case=cfg.text_case,
        )
        # A checkpoint carries its vocabulary, so that it can be used without the files it was built from.
        self.state.merge_state_dict({"vocabulary": vocabulary.state()})

    @classmethod
    def setup_task(cls, cfg: MultiInstructConfig, **kwargs) -> "MultiInstructTask":
        """Check the options and load the vocabulary.

        Raises:
            ConfigError: An option cannot work.
            DataError: The vocabulary cannot be read.
        """
        check_config(cfg)
        from_start = cfg.finetune_from_model is not None and cfg.bpe_dir is None
        vocabulary = start_vocabulary(cfg.finetune_from_model) if from_start else Vocabulary.load(cfg.bpe_dir)
        logger.info("vocabulary: %d entries", len(vocabulary))
        return cls(cfg, vocabulary)

    def build_model(self, cfg, from_checkpoint=False):
        """Build the model.

        Raises:
            ConfigError: Its position tables do not hold the longest source or target.
        """
        model = super().build_model(cfg, from_checkpoint)
        for option, limit in zip(("max_src_length", "max_tgt_length"), model.max_positions(), strict=True):
            if getattr(self.cfg, option) > limit:
                flag = option.replace("_", "-")
                raise ConfigError(f"--{flag} {getattr(self.cfg, option)} exceeds the model's {limit} positions")
        return model

    # -- data

    def has_sharded_data(self, split: str) -> bool:
        """Several directories are one data set here, not shards of one."""
        return False

    def load_dataset(self, split: str, combine: bool = False, **kwargs) -> None:
        """Open the split of each data directory that has it.

        Raises:
            ConfigError: No directory has the split, a task is unknown, has no instruction or a metric that cannot
                score its answers, or none of the chosen tasks occurs.
            DataError: A file cannot be read, or holds a bad line and ``--skip-bad-instances`` is not given.
        """
        training = split == "train"
        cfg = self.cfg
        dataset = ofa_mi.data.dataset.MultiInstructDataset(
            self._open_stores(split),
            self._registry_of(split),
            self.encoder,
            self.transform,
            ofa_mi.data.dataset.DatasetOptions(
                tasks=self.chosen_tasks(cfg.tasks, cfg.exclude_tasks),
                max_instances_per_task=cfg.max_instances_per_task if training else cfg.max_valid_instances_per_task,
                mixture_temperature=cfg.mixture_temperature if training else 1.0,
                task_shares=parse_shares(cfg.task_shares, self.registry) if training else {},
                prompt_style=str(cfg.prompt_style),
                option_markers=str(cfg.option_markers) == "on",
                num_instructions=cfg.num_instructions,
                restrict_to_options=cfg.restrict_to_options and training,
                black_image=cfg.black_image,
                skip_bad=cfg.skip_bad_instances,
                keep_instances=not training,
                seed=cfg.seed,
            ),
        )
        if not training and cfg.valid_metrics == "on":
            for spec in dataset.specs.values():
                check_metric(spec.metrics[0], spec)
        self.datasets[split] = dataset
        self._report_tasks(split, dataset)

    def _registry_of(self, split: str) -> Registry:
        """The tasks with the instructions that a split is asked with: only training has extra ones."""
        if self.extra is None or split != "train":
            return self.registry
        logger.info("%s: %s", split, self.extra)
        return self.extra.added_to(self.registry)

    def chosen_tasks(self, tasks: str, exclude_tasks: str) -> tuple[str, ...]:
        """Names of the tasks that two options choose; :class:`ConfigError` if they name an unknown one."""
        return self.registry.select(split_list(tasks), split_list(exclude_tasks))

    def _open_stores(self, split: str) -> list[LineStore]:
        """The split of each data directory that has it; every line left out is logged."""
        directories = split_list(self.cfg.data, ":")
        found = [open_store(Path(name), split, skip_bad=self.cfg.skip_bad_instances) for name in directories]
        if not any(store is not None for store in found):
            hint = "" if split == "train" else "; see --train-subset, --valid-subset and --disable-validation"
            raise ConfigError(f"{self.cfg.data}: no directory holds {split}.jsonl{hint}")
        for directory, store in zip(directories, found, strict=True):
            if store is None:
                logger.warning("%s: holds no %s.jsonl", directory, split)
            for reason in store.skipped if store is not None else ():
                logger.warning("skipped %s", reason)
        return [store for store in found if store is not None]

    def _report_tasks(self, split: str, dataset: "ofa_mi.data.dataset.MultiInstructDataset") -> None:
        """Say what a split holds, and what of it is probably not meant."""
        logger.info(
            "%s: %d instances of %d tasks, %d lines skipped",
            *(split, dataset.mixture.size, len(dataset.specs), sum(len(store.skipped) for store in dataset.stores)),
        )
        present = {spec.name for spec in dataset.specs.values()}
        absent = [name for name in split_list(self.cfg.tasks) if name in self.registry and name not in present]
        if absent:
            logger.warning("%s: holds no instance of %s", split, ", ".join(absent))
        held_out = sorted(name for name in present if self.registry[name].split == "eval")
        if split == "train" and held_out:
            logger.warning(
                "training on %s: evaluation tasks, whose scores are then no zero-shot scores; leave them out with "
                "--exclude-tasks eval",
                ", ".join(held_out),
            )

    def get_batch_iterator(
        self,
        dataset,
        max_tokens=None,
        max_sentences=None,
        max_positions=None,
        ignore_invalid_inputs=False,
        required_batch_size_multiple=1,
        epoch=1,
        data_buffer_size=0,
        disable_iterator_cache=False,
        update_epoch_batch_itr=False,
        **named,
    ):
        """fairseq's batches, as :class:`EpochBatches`; nothing is kept from one epoch to the next.

        fairseq keeps the first batch to stand in for empty ones, so the first must not be empty: leading batches of
        which ``--skip-bad-instances`` leaves nothing are dropped.

        Raises:
            ConfigError: No instance can be used.
        """
        dataset.set_epoch(epoch)
        batches = list(
            dataset.batch_by_size(
                dataset.ordered_indices(),
                max_tokens=max_tokens,
                max_sentences=max_sentences,
                required_batch_size_multiple=required_batch_size_multiple,
            )
        )
        if self.cfg.skip_bad_instances:
            while batches and not dataset.collater([dataset[i] for i in batches[0]]):
                del batches[0]
            if not batches:
                raise ConfigError("not one instance can be used; the log says why each of them was skipped")
        return ofa_mi.data.batches.EpochBatches(
            dataset=dataset,
            collate_fn=dataset.collater,
            batch_sampler=batches,
            epoch=epoch,
            buffer_size=data_buffer_size,
            **named,
        )

    def origin(self, cfg) -> "ofa_mi.data.batches.Origin":
        """What the training batches of a run with fairseq's settings ``cfg`` follow from."""
        dataset = self.datasets[cfg.dataset.train_subset]
        return ofa_mi.data.batches.Origin(
            settings={
                **ofa_mi.data.batches.settings_of(cfg, dataset.options.tasks),
                "extra_instructions": "" if self.extra is None else self.extra.name,
            },
            data=[[str(store.path), store.digest] for store in dataset.stores],
            update_freq=list(cfg.optimization.update_freq),
        )

    def filter_indices_by_size(self, indices, dataset, max_positions=None, ignore_invalid_inputs=False):
        """Keep every instance: encoding has cut it to the lengths that the model can take."""
        return indices

    def begin_epoch(self, epoch: int, model) -> None:
        """Say how many instances were skipped so far; each was logged when it was met."""
        self._report_skipped()

    def begin_valid_epoch(self, epoch: int, model) -> None:
        """As :meth:`begin_epoch`; a run may end with a validation."""
        self._report_skipped()

    def _report_skipped(self) -> None:
        for split, dataset in self.datasets.items():
            if dataset.skipped > self._reported.get(split, 0):
                self._reported[split] = dataset.skipped
                logger.warning("%s: %d instances skipped so far because they cannot be used", split, dataset.skipped)

    @property
    def source_dictionary(self):
        """fairseq's view of the vocabulary."""
        return self.vocabulary.dictionary

    @property
    def target_dictionary(self):
        """fairseq's view of the vocabulary; sources and targets share it."""
        return self.vocabulary.dictionary

    def max_positions(self) -> tuple[int, int]:
        """Longest source and target in tokens."""
        return self.cfg.max_src_length, self.cfg.max_tgt_length

    def build_generator(self, *args, **kwargs):
        """What fairseq-generate and fairseq-interactive ask for; answers with images and boxes are not for them.

        Raises:
            ConfigError: Always; names what is there instead.
        """
        raise ConfigError(
            "fairseq's own commands would print token ids and a BLEU of them: use `ofa-mi evaluate` for the answers to "
            "a data set and their scores, or `ofa-mi predict` for a single question"
        )

    # -- training and validation

    @property
    def uses_ema(self) -> bool:
        """Whether fairseq's trainer passes the average of ``--store-ema`` to the steps, as ``ema_model``."""
        return self.cfg.uses_ema

    def train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False, ema_model=None):
        """fairseq's step; the criterion is told the number of updates, and the average has no part in it."""
        criterion.update_num = update_num
        return super().train_step(sample, model, self._in_precision(criterion), optimizer, update_num, ignore_grad)

    def _in_precision(self, criterion):
        """The criterion with its forward pass, and not the backward pass that follows it, in the task's precision."""
        if self.precision == "fp32":
            return criterion

        def forward(model, sample):
            with autocast(self.precision, torch.device("cpu")):
                return criterion(model, sample)

        return forward

    def valid_step(self, sample: dict[str, Any], model, criterion, ema_model=None):
        """Loss of a validation batch and, with ``--valid-metrics on``, the score of each decoded answer.

        With ``--uses-ema`` they are those of the averaged model.
        """
        model = model if ema_model is None else ema_model.eval()
        loss, sample_size, logging_output = super().valid_step(sample, model, self._in_precision(criterion))
        if self.cfg.valid_metrics == "on":
            sums = self._scores(sample, model)
            for name in self.scored_tasks():  # every task in every batch, so that workers log the same keys
                logging_output[SCORE + name], logging_output[COUNT + name] = sums[name]
        return loss, sample_size, logging_output

    def validation_names(self, split: str, criterion) -> set[str]:
        """Names of the values that a validation on a split, which has been loaded, reports.

        They are found by reporting the outcome of one imaginary batch.
        """
        log = dict.fromkeys(("loss", "nll_loss", "ntokens", "nsentences", "sample_size"), 1)
        if getattr(criterion, "report_accuracy", False):
            log |= {"n_correct": 1, "total": 1}
        if self.cfg.valid_metrics == "on":
            log |= {prefix + spec.name: 1 for spec in self.datasets[split].specs.values() for prefix in (SCORE, COUNT)}
        with metrics.aggregate(new_root=True) as meters:
            self.reduce_metrics([log], criterion)
            return set(meters.get_smoothed_values()) - SIZES

    def scored_tasks(self) -> list[str]:
        """Names of the tasks of all validation sets that have been loaded; a validation reports a score of each."""
        datasets = [dataset for split, dataset in self.datasets.items() if split != "train"]
        return sorted({spec.name for dataset in datasets for spec in dataset.specs.values()})

    @torch.no_grad()
    def _scores(self, sample: dict[str, Any], model) -> dict[str, tuple[float, int]]:
        """Sum of scores and number of instances of each task in a batch; answers are decoded as in evaluation."""
        config = GenerationConfig(beam=self.cfg.valid_beam, max_len=self.cfg.valid_max_len)
        sums: dict[str, tuple[float, int]] = defaultdict(lambda: (0.0, 0))
        specs = [self.registry[instance.task_name] for instance in sample["instances"]]
        hypotheses = generate_answers(model, sample["net_input"], [spec.output for spec in specs], config)
        for instance, spec, (best, *_) in zip(sample["instances"], specs, hypotheses, strict=True):
            answer = self.encoder.decode(best.tokens, instance.image_size)
            score = score_prediction(spec.metrics[0], answer.text, answer.boxes, instance, spec)
            total, count = sums[spec.name]
            sums[spec.name] = total + score, count + 1
        return sums

    def reduce_metrics(self, logging_outputs: list[dict[str, Any]], criterion) -> None:
        """Log the criterion's values and, in validation, each task's metric and their mean as ``score``."""
        super().reduce_metrics(logging_outputs, criterion)
        names = sorted({key.removeprefix(SCORE) for log in logging_outputs for key in log if key.startswith(SCORE)})
        for name in names:
            count = sum(log.get(COUNT + name, 0) for log in logging_outputs)
            if count:
                total = sum(log.get(SCORE + name, 0) for log in logging_outputs)
                metrics.log_scalar(name, float(total / count), float(count), priority=500, round=2)
        if names:
            metrics.log_derived("score", lambda meters: mean_of(meters, names), priority=400)


def mean_of(meters, names: list[str]) -> float:
    """Mean over tasks of their average score so far; tasks not seen yet are left out."""
    values = [meters[name].avg for name in names if name in meters]
    return round(sum(values) / len(values), 2) if values else math.nan


def start_vocabulary(path: str) -> Vocabulary:
    """That of a checkpoint to start from, or the packaged one where it holds none, as released models do not."""
    kept = (checkpoint.read(checkpoint_path(path)).get("task_state") or {}).get("vocabulary")
    return Vocabulary.load() if kept is None else Vocabulary.from_state(kept)
