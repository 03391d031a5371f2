"""Tuning a small part of a model: changes of low rank, adapters, biases. All other weights stay as they were.

The new weights lie beside the old ones, whose names and numbers do not change, so that a checkpoint needs to hold the
small part only (:mod:`ofa_mi.small_part`).
"""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from ofa_mi.models.products import Linear
from ofa_mi.models.sizes import LORA_MODULES, Config
from ofa_mi.state_dict import ADDED, with_low_rank


class LoRALinear(Linear):
    """A linear layer with a change of low rank beside its weight (LoRA, arXiv 2106.09685).

    ``x W^T + b + (alpha / rank) dropout(x) A^T B^T``. ``B`` starts at zero, so that the layer begins as it was.

    Args:
        linear: The layer; its parameters keep their names.
        rank: Rows of ``lora_A`` (rank, in) and columns of ``lora_B`` (out, rank).
        alpha: The change is scaled by ``alpha / rank``.
        dropout: Of what ``lora_A`` sees.
    """

    def __init__(self, linear: nn.Linear, *, rank: int, alpha: float, dropout: float) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.scale = alpha / rank
        self.lora_dropout = nn.Dropout(dropout)
        self.lora_A = nn.Parameter(self.weight.new_empty(rank, self.in_features))
        self.lora_B = nn.Parameter(self.weight.new_zeros(self.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))  # as the authors' code begins

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) -> (…, out)."""
        change = F.linear(F.linear(self.lora_dropout(x), self.lora_A), self.lora_B)
        return Linear.forward(self, x) + self.scale * change

    def merged(self) -> nn.Linear:
        """One layer that computes the same, up to rounding."""
        linear = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None, device="meta")
        weight = with_low_rank(self.weight.detach(), self.lora_A.detach(), self.lora_B.detach(), self.scale)
        linear.weight, linear.bias = nn.Parameter(weight, requires_grad=False), self.bias
        return linear.train(self.training)


class Adapter(nn.Module):
    """OFA's adapter at the end of a feed-forward part (arXiv 1902.00751): ``x + up(relu(down(x)))``.

    It begins with the weights of any other linear layer, small but not zero, as OFA's does.

    Args:
        width: C of the model.
        hidden: ``--adapter-dim``.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.down_proj = nn.Linear(width, hidden)
        self.up_proj = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(…, C) -> (…, C)."""
        return x + self.up_proj(F.relu(self.down_proj(x)))


def prepare(model: nn.Module, config: Config) -> None:
    """Make a new model one of which only the small part is trained, in place; without such settings it stays as it is.

    The base weights have been initialised: they do not depend on how the model is tuned.
    """
    if not config.tunes_part:
        return
    if config.lora_rank:
        _add_low_rank(model, config)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(ADDED.search(name) is not None or (config.bitfit and _is_bitfit(name)))


def _add_low_rank(model: nn.Module, config: Config) -> None:
    chosen = {child for group in config.lora_modules.split(",") for child in LORA_MODULES[group]}
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if name in chosen and isinstance(child, nn.Linear):
                lora = LoRALinear(child, rank=config.lora_rank, alpha=config.lora_alpha, dropout=config.lora_dropout)
                setattr(module, name, lora)


def _is_bitfit(name: str) -> bool:
    """Whether OFA's ``--bitfit`` trains a parameter: biases of feed-forward layers and of most LayerNorms."""
    return "bias" in name and ("layer_norm" in name or "fc" in name)


def merge_low_rank(model: nn.Module) -> None:
    """Exchange every :class:`LoRALinear` of a model for one plain layer, in place; the old layers stay as they are."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, LoRALinear):
                setattr(module, name, child.merged())
