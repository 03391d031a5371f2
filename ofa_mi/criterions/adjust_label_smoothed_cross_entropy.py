"""fairseq criterion ``adjust_label_smoothed_cross_entropy``: OFA's loss with all its switches."""

from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from omegaconf import II
from torch import Tensor

from ofa_mi.criterions.loss import TokenLoss, keep_lowest, token_loss
from ofa_mi.errors import ConfigError


@dataclass
class AdjustLabelSmoothedCrossEntropyConfig(FairseqDataclass):
    label_smoothing: float = field(default=0.0, metadata={"help": "epsilon of label smoothing; 0 turns it off"})
    ignore_eos: bool = field(default=False, metadata={"help": "leave the final </s> of a target out of the loss"})
    drop_worst_ratio: float = field(
        default=0.0, metadata={"help": "share of target tokens, those with the highest loss, to leave out"}
    )
    drop_worst_after: int = field(default=0, metadata={"help": "start --drop-worst-ratio after this many updates"})
    use_rdrop: bool = field(default=False, metadata={"help": "R-Drop: two dropout passes and their symmetric KL"})
    reg_alpha: float = field(default=1.0, metadata={"help": "weight of the R-Drop divergence"})
    report_accuracy: bool = field(default=False, metadata={"help": "report the share of target tokens predicted right"})
    sentence_avg: bool = II("optimization.sentence_avg")


@register_criterion("adjust_label_smoothed_cross_entropy", dataclass=AdjustLabelSmoothedCrossEntropyConfig)
class AdjustLabelSmoothedCrossEntropyCriterion(FairseqCriterion):
    """Label-smoothed cross-entropy of OFA; losses are logged in nats per target token.

    Reads from a sample: ``net_input``, ``target`` ``(B, T)`` and, when present, ``allowed_tokens``
    ``(B, T, A)`` (see :func:`~ofa_mi.criterions.loss.allowed_mask`) and ``confidence`` ``(B,)``;
    in their place also what OFA's own tasks write, ``constraint_masks`` ``(B, T, V)``, True where a
    token is allowed, and ``conf``.
    """

    def __init__(
        self,
        task,
        sentence_avg,
        label_smoothing=0.0,
        ignore_eos=False,
        drop_worst_ratio=0.0,
        drop_worst_after=0,
        use_rdrop=False,
        reg_alpha=1.0,
        report_accuracy=False,
    ):
        super().__init__(task)
        for name, ratio in (("label-smoothing", label_smoothing), ("drop-worst-ratio", drop_worst_ratio)):
            if not 0 <= ratio < 1:
                raise ConfigError(f"--{name} must lie in [0, 1), found {ratio}")
        self.eos_idx = task.target_dictionary.eos()
        self.sentence_avg = sentence_avg
        self.epsilon = label_smoothing
        self.ignore_eos = ignore_eos
        self.drop_worst_ratio = drop_worst_ratio
        self.drop_worst_after = drop_worst_after
        self.use_rdrop = use_rdrop
        self.reg_alpha = reg_alpha
        self.report_accuracy = report_accuracy
        self.update_num = 0  # set by the task before each update

    def forward(self, model, sample: dict[str, Any], reduce: bool = True):
        """Loss of one batch.

        Args:
            model: Called as ``model(**sample["net_input"])``. Its logits are ``(B, T, V)``, or
                ``(N, V)`` if ``net_input`` holds an ``output_mask`` with N True entries, one for
                each target token that is not padding.
            sample: The batch.
            reduce: True returns the summed loss, R-Drop's divergence included, False that of each
                token, ``(N,)``, without it.

        Returns:
            The loss, the sample size (tokens, or sentences with ``sentence_avg``), what to log.
        """
        doubled = self.use_rdrop and self.training  # without dropout both passes are one
        if doubled:
            sample = double_batch(sample)
        target = sample["target"]
        keep = target.ne(self.padding_idx)
        logits = model(**sample["net_input"])[0]
        if logits.dim() == 3:  # B, T, V -> N, V
            logits = logits[keep]
        if self.ignore_eos:
            logits = logits[target[keep].ne(self.eos_idx)]
            keep &= target.ne(self.eos_idx)
        losses = self._token_losses(logits, sample, keep, doubled)
        correct = losses.best.eq(target[keep]).sum() if self.report_accuracy else None
        total = losses.loss.numel()
        loss, nll, divergence = self._drop_worst_and_rdrop(losses, doubled)

        ntokens = loss.numel()
        logging_output = {
            "loss": (loss.sum() + divergence).detach(),
            "nll_loss": nll.sum().detach(),
            "ntokens": ntokens,
            "nsentences": target.size(0),
            "sample_size": target.size(0) if self.sentence_avg else ntokens,
        }
        if correct is not None:
            logging_output |= {"n_correct": correct, "total": total}
        loss = loss.sum() + divergence if reduce else loss
        return loss, logging_output["sample_size"], logging_output

    def _token_losses(self, logits: Tensor, sample: dict[str, Any], keep: Tensor, doubled: bool) -> TokenLoss:
        allowed, mask = sample.get("allowed_tokens"), sample.get("constraint_masks")
        confidence = sample.get("confidence", sample.get("conf"))
        return token_loss(
            logits,
            sample["target"][keep],
            epsilon=self.epsilon,
            mask=None if mask is None or allowed is not None else mask[keep],
            allowed=None if allowed is None else allowed[keep],
            confidence=None if confidence is None else confidence[:, None].expand_as(keep)[keep],
            pairs=doubled,
        )

    def _drop_worst_and_rdrop(self, losses: TokenLoss, doubled: bool) -> tuple[Tensor, Tensor, Tensor | float]:
        """Loss and nll, ``(M,)`` each, of the tokens that remain, and the weighted divergence of the two passes."""
        loss, nll = losses.loss, losses.nll
        divergence = loss.new_zeros(0) if losses.divergence is None else losses.divergence  # there if doubled
        if self.training and self.drop_worst_ratio > 0 and self.update_num > self.drop_worst_after:
            # The first pass chooses; both passes keep the same tokens, so that the KL compares like with like.
            half = loss.numel() // (2 if doubled else 1)
            rows = keep_lowest(loss[:half], self.drop_worst_ratio)
            if doubled:
                divergence = divergence[rows]
                rows = torch.cat([rows, rows + half])
            loss, nll = loss[rows], nll[rows]
        return loss, nll, self.reg_alpha * divergence.sum() if doubled else 0.0

    @staticmethod
    def reduce_metrics(logging_outputs: list[dict[str, Any]]) -> None:
        """Log sums over data-parallel workers as means."""

        def total(key: str):
            return sum(log.get(key, 0) for log in logging_outputs)

        sample_size, ntokens = total("sample_size"), total("ntokens")
        metrics.log_scalar("loss", total("loss") / sample_size, sample_size, round=4)
        metrics.log_scalar("nll_loss", total("nll_loss") / ntokens, ntokens, round=4)
        if any("total" in log for log in logging_outputs):
            metrics.log_scalar("accuracy", 100.0 * total("n_correct") / total("total"), total("total"), round=2)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """Every logged value is a sum."""
        return True


def double_batch(value: Any) -> Any:
    """``value`` with every tensor repeated along the batch, and lists and counts doubled, for R-Drop."""
    if isinstance(value, dict):
        return {key: double_batch(item) for key, item in value.items()}
    if isinstance(value, Tensor):
        return torch.cat([value, value])
    if isinstance(value, list | tuple | int):
        return value * 2
    return value
