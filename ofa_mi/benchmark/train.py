"""A training step: loss, gradients, their norm and Adam; with an image in every sample, and in half of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from unittest.mock import patch

import torch
from fairseq.optim import build_optimizer
from omegaconf import OmegaConf
from torch import Tensor, nn

from ofa_mi.benchmark import setting as settings
from ofa_mi.benchmark.baseline import Baseline
from ofa_mi.benchmark.case import Case
from ofa_mi.benchmark.measure import Parts
from ofa_mi.benchmark.setting import FIRST_TOKEN, SEED, Setting
from ofa_mi.criterions import AdjustLabelSmoothedCrossEntropyCriterion
from ofa_mi.models import products
from ofa_mi.precision import autocast

EPSILON = 0.1
# With a rate of 0 every step computes the same, and all contenders share a model.
ADAM = {"lr": [0.0], "adam_betas": "(0.9, 0.999)", "adam_eps": 1e-8, "weight_decay": 0.01}
# Parameters whose gradients are compared: the first and the last that a gradient reaches, and between them.
COMPARED = (
    "decoder.layers.0.fc1.weight",
    "encoder.embed_tokens.weight",
    "encoder.layers.0.fc1.weight",
    "encoder.token_rel_pos_table_list.0.weight",
    "encoder.embed_images.layer3.0.conv1.weight",
    "encoder.embed_images.conv1.weight",
)
TOLERANCE = 5e-3  # of logarithms: rounding decides which way a ReLU near zero falls
GOALS = {"all": {"fp32": 1.5, "bf16": 2.5}, "half": {"fp32": 1.8, "bf16": 1.8}}


def cases(setting: Setting) -> list[Case]:
    """In this setting; its ``length`` is that of targets."""
    return [step(setting), step(setting, texts=setting.batch // 2)] if setting.batch > 1 else [step(setting)]


def growth(setting: Setting) -> list[Case]:
    """A batch half as large, and one twice as large."""
    return [step(setting.but(batch=size)) for size in (setting.batch // 2, setting.batch * 2) if size]


def step(setting: Setting, texts: int = 0) -> Case:
    """A step in which so many samples have no image.

    The released image tower also sees the blank images of those, and their statistics; so BatchNorm has fixed ones
    where there are any.
    """
    inputs = settings.batch(setting)
    inputs["patch_masks"][:texts] = False
    generator = torch.Generator().manual_seed(SEED)
    shape = (setting.batch, setting.length)
    inputs["target"] = torch.randint(FIRST_TOKEN, setting.vocabulary, shape, generator=generator).to(setting.device)
    fixed = texts > 0
    return Case(
        f"training step{', half texts' if texts else ''}",
        setting,
        inputs,
        ours=lambda training: training(inputs, fixed),
        baseline=lambda training: training(inputs, fixed),
        released=("train", {"fixed": fixed, "compared": COMPARED, "epsilon": EPSILON, "adam": ADAM}),
        goal=GOALS["half" if texts else "all"],
        tolerance=TOLERANCE,
        trains=True,
    )


class Training:
    """A model with an optimiser.

    Args:
        model: Stays in evaluation mode between steps, and as it is.
        dictionary: Its vocabulary.
        precision: Of the forward pass.
    """

    old_adam = False

    def __init__(self, model: nn.Module, dictionary, precision: str) -> None:
        self.model, self.precision = model, precision
        self.device = next(model.parameters()).device
        task = SimpleNamespace(target_dictionary=dictionary)
        self.criterion = AdjustLabelSmoothedCrossEntropyCriterion(task, False, label_smoothing=EPSILON)
        cfg = {"_name": "adam", "use_old_adam": self.old_adam, "fp16_adam_stats": False, "tpu": False, **ADAM}
        self.optimizer = build_optimizer(OmegaConf.create(cfg), list(model.parameters()))

    def __call__(self, inputs: dict[str, Tensor], fixed: bool, mark: Callable[[str], None] = lambda part: None) -> list:
        """One step; ``fixed``: BatchNorm's statistics are those of the model.

        Returns:
            The loss per token, and logarithms of the norms of some gradients and of all together.
        """
        sample = {"target": inputs["target"], "net_input": _net_input(inputs)}
        self.model.train()
        _train_statistics(self.model, not fixed)
        with torch.enable_grad(), self._way():
            with autocast(self.precision, self.device):
                loss, count = self._loss(sample)
            mark("loss")
            loss.backward()
        mark("backward")
        values = [loss.item() / count, *gradient_norms(self.model, count, COMPARED)]
        mark("")
        self.optimizer.multiply_grads(1 / count)
        values.append(self.optimizer.clip_grad_norm(1.0).log().item())
        self.optimizer.step()
        self.optimizer.zero_grad()
        mark("optimiser")
        self.model.eval()
        return [values]

    def _way(self):
        return nullcontext()

    def _loss(self, sample: dict) -> tuple[Tensor, int]:
        loss, count, _ = self.criterion.train()(self.model, sample)
        return loss, count


class BaselineTraining(Training):
    """The released way: see :mod:`~ofa_mi.benchmark.baseline`; gradients of every lookup, and Adam by parameter."""

    old_adam = True

    def __init__(self, model: nn.Module, dictionary, baseline: Baseline) -> None:
        super().__init__(model, dictionary, "fp32")
        self.baseline = baseline

    def _way(self):
        return patch.object(products, "by_onednn", lambda x: False)

    def _loss(self, sample: dict) -> tuple[Tensor, int]:
        inputs, target = sample["net_input"], sample["target"].flatten()
        logits, _ = self.baseline.decoder(inputs["prev_output_tokens"], self.baseline.encode(inputs))
        log_probs = logits.float().log_softmax(-1).flatten(0, 1)
        log_probs = log_probs[target.ne(1)]
        nll = -log_probs.gather(1, target[:, None])[:, 0]
        share = EPSILON / (log_probs.size(1) - 1)
        return ((1 - EPSILON - share) * nll - share * log_probs.sum(1)).sum(), len(target)


def _net_input(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    target = inputs["target"]
    before = torch.cat([torch.zeros_like(target[:, :1]), target[:, :-1]], dim=1)
    rest = {name: value for name, value in inputs.items() if name != "target"}
    return rest | {"prev_output_tokens": before, "output_mask": target.ne(1)}


def _train_statistics(model: nn.Module, mode: bool) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train(mode)


def gradient_norms(model: nn.Module, count: int, names: tuple[str, ...]) -> list[float]:
    """Logarithms of the norms of gradients by name, per token; those that there are."""
    found = dict(model.named_parameters())
    gradients = [found[name].grad for name in names if name in found and found[name].grad is not None]
    return [(gradient.float().norm() / count).log().item() for gradient in gradients]


class TrainingParts(Parts):
    """Seconds of the parts of a training step, forwards and backwards.

    Backward runs through the parts in turn; the moment at which a gradient arrives at the output of a part is the
    end of the part behind it.
    """

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within the block, every call of a part is timed; nothing of it stays."""
        encoder, decoder = self.model.encoder, self.model.decoder
        places = [
            (encoder.embed_images, "forward", "image tower", "encoder"),
            (encoder, "forward", "encoder", "decoder"),
            (decoder, "extract_features", "decoder", "output layer"),
            (decoder, "output_layer", "output layer", "loss"),
        ]
        self.last, self.reached = self._now(), "encoder"
        for module, method, part, behind in places:
            setattr(module, method, self._noted(getattr(module, method), part, behind))
        try:
            yield
        finally:
            for module, method, *_ in places:
                delattr(module, method)

    def mark(self, part: str) -> None:
        """What went by since the last mark was ``part``; "backward" is the part that a gradient reached last."""
        now = self._now()
        part = self.reached if part == "backward" else part
        if part:
            self.seconds[part] = self.seconds.get(part, 0.0) + now - self.last
        self.last = now

    def shares(self, whole: float) -> dict[str, float]:
        """Shares of a step; ``whole`` is not asked, since comparing gradients is no part of it."""
        whole = sum(self.seconds.values())
        return {part: seconds / whole for part, seconds in self.seconds.items()}

    def _noted(self, function: Callable, part: str, behind: str) -> Callable:
        outer = {"image tower": "encoder"}.get(part, "loss")

        def noted(*args, **kwargs):
            self.mark(outer)
            result = function(*args, **kwargs)
            self.mark(part)
            output = _tensor(result)
            if output.requires_grad:
                output.register_hook(lambda gradient: self._arrived(part, behind))
            return result

        return noted

    def _arrived(self, part: str, behind: str) -> None:
        self.mark(behind)
        self.reached = part


def _tensor(result) -> Tensor:
    """The one that the next part goes on with."""
    if isinstance(result, dict):
        return result["encoder_out"][0]
    return result[0] if isinstance(result, tuple) else result
