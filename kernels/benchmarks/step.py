"""A whole training step: forward, loss, backward and Adam, with the kernels and without."""

import os
from argparse import Namespace
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from .. import dispatch
from .run import FORMATS, Function, Pass

KEYS = ("arch", "format", "batch", "pixels", "source", "target", "contender", "pass")
PLOT = ("arch", "batch")
GPU_SIZES = [("ofa_base", b, 480) for b in (8, 16, 32)] + [("ofa_large", b, 480) for b in (8, 16)]
CPU_SIZES = [("ofa_nano", 8, 96), ("ofa_tiny", 2, 128)]
SOURCE, TARGET = 128, 32  # tokens
PAD, FIRST_WORD = 1, 4
VOCABULARY = {"cuda": 59457, "cpu": 8192}  # of OFA: 50265 pieces, 8192 image codes, 1000 locations
RANDOM = ("dropout", "encoder_drop_path_rate", "decoder_drop_path_rate", "resnet_drop_path_rate")
MODES = {"eager": "reference", "ofa_mi": "auto"}  # contender -> OFA_MI_KERNELS
CONTENDERS = tuple(MODES)


def cases(device: torch.device) -> Iterator["StepCase"]:
    """OFA-base and OFA-large in bf16 on a GPU, the smallest models in fp32 on a CPU."""
    gpu = device.type == "cuda"
    for arch, batch, pixels in GPU_SIZES if gpu else CPU_SIZES:
        yield StepCase(device, torch.bfloat16 if gpu else torch.float32, arch, batch, pixels)


class StepCase:
    """A batch of one image, SOURCE tokens with some padding and TARGET tokens per sample, without dropout."""

    pass_names = ("step",)

    def __init__(self, device: torch.device, dtype: torch.dtype, arch: str, batch: int, pixels: int) -> None:
        self.device, self.dtype, self.arch, self.batch, self.pixels = device, dtype, arch, batch, pixels
        self.key = {"arch": arch, "format": FORMATS[dtype], "batch": batch, "pixels": pixels}
        self.key |= {"source": SOURCE, "target": TARGET}

    def inputs(self, batch: int, dtype: torch.dtype) -> tuple[dict[str, Tensor | None], Tensor]:
        """Keyword arguments of the model, and the target (B, T)."""
        generator = torch.Generator().manual_seed(0)

        def words(length: int) -> Tensor:
            return torch.randint(FIRST_WORD, VOCABULARY[self.device.type], (batch, length), generator=generator)

        source, target = words(SOURCE), words(TARGET)
        for n in range(batch):  # up to a quarter of the source is padding
            source[n, SOURCE - n % (SOURCE // 4) :] = PAD
        images = torch.randn(batch, 3, self.pixels, self.pixels, generator=generator)
        return {
            "src_tokens": source.to(self.device),
            "src_lengths": None,
            "prev_output_tokens": target.roll(1, 1).to(self.device),
            "patch_images": images.to(self.device, dtype),
            "patch_masks": torch.ones(batch, dtype=torch.bool, device=self.device),
        }, target.to(self.device)

    def passes(self) -> dict[str, Pass]:
        """Operations as PyTorch counts them without the kernels; traffic is not estimated."""
        inputs, target = self.inputs(self.batch, torch.float32)
        with _kernels("reference"):
            model = self._model(torch.float32)
            exact = _loss_and_gradients(model, inputs, target, at_once=1)
            model.zero_grad()
            with FlopCounterMode(display=False) as counter:
                _loss(model, _samples(inputs, 0, 1), target[:1]).backward()
        return {"step": Pass(exact, counter.get_total_flops() * self.batch / 1e12, 0.0)}

    def contenders(self) -> dict[str, Callable[[], dict[str, Function]]]:
        """Plain PyTorch first."""
        return {name: lambda mode=mode: self._functions(mode) for name, mode in MODES.items()}

    def _functions(self, mode: str) -> dict[str, Function]:
        model, (inputs, target) = self._model(self.dtype), self.inputs(self.batch, self.dtype)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.0, fused=self.device.type == "cuda")

        def step() -> list[Tensor]:
            with _kernels(mode):
                found = _loss_and_gradients(model, inputs, target)
            optimizer.step()  # with a rate of 0, so that every step computes the same
            return found

        return {"step": step}

    def _model(self, dtype: torch.dtype) -> nn.Module:
        from fairseq.data import Dictionary

        # The architectures by name: ofa_mi registers them with fairseq when that is imported.
        from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY

        symbols = Dictionary()
        for index in range(VOCABULARY[self.device.type] - len(symbols)):
            symbols.add_symbol(str(index))
        # Batch statistics would make the gradient of a sample depend on all others, and on rounding in them.
        args = Namespace(freeze_resnet=True, **dict.fromkeys(RANDOM, 0.0))
        ARCH_CONFIG_REGISTRY[self.arch](args)
        torch.manual_seed(0)
        task = SimpleNamespace(source_dictionary=symbols, target_dictionary=symbols)
        return ARCH_MODEL_REGISTRY[self.arch].build_model(args, task).to(self.device, dtype).train()


def _loss_and_gradients(
    model: nn.Module, inputs: dict[str, Tensor | None], target: Tensor, at_once: int | None = None
) -> list[Tensor]:
    """The loss and the norm of each parameter's gradient, where it has one; ``at_once`` samples at a time."""
    model.zero_grad()
    batch = len(target)
    total = torch.zeros((), device=target.device)
    for first in range(0, batch, at_once or batch):
        last = min(first + (at_once or batch), batch)
        loss = _loss(model, _samples(inputs, first, last), target[first:last]) * ((last - first) / batch)
        loss.backward()
        total += loss.detach()
    norms = [p.grad.float().norm() for p in model.parameters() if p.grad is not None]
    return [total, torch.stack(norms)]


def _samples(inputs: dict[str, Tensor | None], first: int, last: int) -> dict[str, Tensor | None]:
    return {name: None if tensor is None else tensor[first:last] for name, tensor in inputs.items()}


def _loss(model: nn.Module, inputs: dict[str, Tensor | None], target: Tensor) -> Tensor:
    """Mean label-smoothed cross entropy over the target's tokens."""
    logits, _ = model(**inputs)
    return F.cross_entropy(logits.float().flatten(0, 1), target.flatten(), label_smoothing=0.1)


def _kernels(mode: str):
    """OFA_MI_KERNELS within a block."""
    return patch.dict(os.environ, {dispatch.VARIABLE: mode})
