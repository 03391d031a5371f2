"""fairseq's ``--optimizer adam`` in one pass over the parameters, in place of one operation after the other for each.

fairseq walks the parameters in Python and every parameter's numbers ten times; before that the trainer scales all
gradients, takes their norm and scales them again. Here the scale is kept until the step, which PyTorch's fused AdamW
does in one pass. The state is fairseq's, so that checkpoints go both ways; ``--use-old-adam`` takes fairseq's loop.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from fairseq.optim import OPTIMIZER_REGISTRY, adam
from torch import Tensor

State = dict[str, Any]  # "step", "exp_avg" and "exp_avg_sq" of a parameter


class FusedAdam(adam.Adam):
    """fairseq's Adam (AdamW, arXiv 1711.05101), fused where weights and gradients are in fp32.

    Attributes:
        factor: What the gradients are to be multiplied by in the next step, which has them so afterwards; a number or
            a tensor of one.
    """

    factor: float | Tensor = 1.0

    @torch.no_grad()
    def step(self, closure: Callable | None = None):
        """One update; what no fused kernel takes (weights of 16 bits) goes fairseq's way."""
        loss = None if closure is None else closure()
        factor, self.factor = self.factor, 1.0
        groups = self.param_groups
        rest = []
        for group in groups:
            with_gradient = [p for p in group["params"] if p.grad is not None]
            fused = [p for p in with_gradient if _fits(p) and not group.get("amsgrad")]
            if len(fused) < len(with_gradient):
                fused_ids = set(map(id, fused))
                rest.append({**group, "params": [p for p in with_gradient if id(p) not in fused_ids]})
            self._step_fused(group, fused, factor)
        if rest:
            _scale([p.grad for group in rest for p in group["params"]], factor)
            self.param_groups = rest
            try:
                super().step()
            finally:
                self.param_groups = groups
        return loss

    def _step_fused(self, group: dict, parameters: list[Tensor], factor: float | Tensor) -> None:
        alike: dict[tuple, list[Tensor]] = defaultdict(list)
        for p in parameters:
            alike[p.device, self._count(p)].append(p)
        beta1, beta2 = group["betas"]
        for (device, step), chosen in alike.items():
            states = [self.state[p] for p in chosen]
            torch.ops.aten._fused_adamw_(
                chosen,
                [p.grad for p in chosen],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                [torch.full((), float(step), device=device)] * len(chosen),
                lr=group["lr"],
                beta1=beta1,
                beta2=beta2,
                weight_decay=group["weight_decay"],
                # Adam's first form, which fairseq has, adds epsilon before the bias of the average is corrected.
                eps=group["eps"] / math.sqrt(1 - beta2**step),
                amsgrad=False,
                maximize=False,
                grad_scale=_divisor(factor, device),
                found_inf=None,
            )

    def _count(self, p: Tensor) -> int:
        """The number of this update of ``p``, whose state is made in its first one."""
        state: State = self.state[p]
        if not state:
            state |= {"step": 0, "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
        for name in ("exp_avg", "exp_avg_sq"):
            if state[name].dtype != p.dtype or state[name].device != p.device or _order(state[name]) != _order(p):
                state[name] = torch.empty_like(p).copy_(state[name])
        state["step"] = int(state["step"]) + 1
        return state["step"]


def _fits(p: Tensor) -> bool:
    """Whether the fused kernel takes a parameter with a gradient."""
    grad = p.grad
    return (
        grad is not None
        and p.dtype == grad.dtype == torch.float32
        and grad.layout == torch.strided
        and p.device.type in ("cpu", "cuda")
        and _order(p) == _order(grad)
    )


def _order(x: Tensor) -> list[int]:
    """Strides, which say in what order numbers lie in memory; those of dimensions of one say nothing."""
    return [stride for size, stride in zip(x.shape, x.stride(), strict=True) if size > 1]


def _divisor(factor: float | Tensor, device: torch.device) -> Tensor | None:
    """The kernel divides."""
    if not isinstance(factor, Tensor) and factor == 1:
        return None
    return torch.as_tensor(factor, dtype=torch.float32, device=device).reciprocal()


def _scale(gradients: list[Tensor], factor: float | Tensor) -> None:
    for gradient in gradients:
        if isinstance(factor, Tensor) or factor != 1:
            gradient.mul_(factor.to(gradient.device) if isinstance(factor, Tensor) else factor)


class FairseqAdam(adam.FairseqAdam):
    """``--optimizer adam``; it has the name of fairseq's, by which a checkpoint knows its optimiser."""

    def __init__(self, cfg, params) -> None:
        super().__init__(cfg, params)
        if type(self._optimizer) is adam.Adam and not cfg.use_old_adam and not getattr(cfg, "tpu", False):
            self._optimizer = FusedAdam(self._optimizer.param_groups, **self.optimizer_config)

    def multiply_grads(self, c: float | Tensor) -> None:
        """Multiply the gradients, in the next step."""
        if not self._fused:
            super().multiply_grads(c)
        elif isinstance(c, Tensor) and isinstance(self._optimizer.factor, Tensor):
            self._optimizer.factor = self._optimizer.factor * c.to(self._optimizer.factor.device)
        else:
            self._optimizer.factor = self._optimizer.factor * c

    def clip_grad_norm(self, max_norm: float, aggregate_norm_fn: Callable | None = None) -> Tensor:
        """The gradients' norm, up to which it is scaled down in the next step to ``max_norm``, if that is above 0."""
        if not self._fused:
            return super().clip_grad_norm(max_norm, aggregate_norm_fn)
        norm = super().clip_grad_norm(0, aggregate_norm_fn)
        factor = self._optimizer.factor
        norm = norm * (factor.to(norm.device) if isinstance(factor, Tensor) else factor)
        if max_norm > 0:
            scale = (float(max_norm) / (norm + 1e-6)).clamp(max=1)
            # A step that is left out, as mixed precision does where a gradient overflows, would leave this behind.
            self.multiply_grads(scale.where(norm.isfinite(), 1.0))
        return norm

    def zero_grad(self) -> None:
        """Forget the gradients, and what they were to be multiplied by."""
        super().zero_grad()
        if self._fused:
            self._optimizer.factor = 1.0

    @property
    def _fused(self) -> bool:
        return isinstance(self._optimizer, FusedAdam)  # fairseq may have put another around it


OPTIMIZER_REGISTRY["adam"] = FairseqAdam
