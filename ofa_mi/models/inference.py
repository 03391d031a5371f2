"""A model for inference alone: the same numbers, up to rounding, from fewer and faster operations.

:func:`for_inference` makes it of an evaluated model. What is fixed once training is over is computed once:

- changes of low rank (LoRA) lie in the weights that they change;
- BatchNorm lies in its convolution, and a block's addition and ReLU are done where the convolution writes;
- the factors of attention heads lie in the output projection, and projections of the same input are one product;
- matrices are held in the precision of the computation, not cast at every call. What adds up, the residual stream, and
  all normalisations stay in fp32, as under autocast;
- on a CPU they are held in the layout that oneDNN multiplies fastest. Its fp32 products take a half to a third of the
  time of PyTorch's usual ones on AMD's processors, whose library there is made for others (2.1x at 1216 x 768 x 3072,
  2.9x for ten rows of the output layer of ``ofa_base``); in bf16 they are 1.1 to 1.7 times faster.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from timm.models.resnet import Bottleneck
from torch import Tensor, nn

from ofa_mi.kernels import resnet_stem
from ofa_mi.models.attention import MultiheadAttention
from ofa_mi.models.image_tower import ConvTower, ImageTower
from ofa_mi.models.products import onednn
from ofa_mi.models.tuning import merge_low_rank
from ofa_mi.precision import dtype_of


def for_inference(model: nn.Module, precision: str = "fp32") -> nn.Module:
    """A copy of an evaluated model for inference in ``precision``; it is not to be trained, moved or saved.

    Args:
        model: In evaluation mode, on its device. It stays as it is, and shares with the copy whatever that does not
            hold in another form. A model that this function made is returned as it is.
        precision: One of ``ofa_mi.precision.PRECISIONS``, which the device has.
    """
    if getattr(model, "made_for_inference", False):
        return model
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    model = copy.deepcopy(model, tensors)
    merge_low_rank(model)
    dtype = dtype_of(precision)
    _replace(model, dtype)
    model.made_for_inference = True
    return model


def _replace(module: nn.Module, dtype: torch.dtype) -> None:
    """Exchange what has a faster form, in place; what lies inside an exchanged module is not looked at again."""
    for name, child in module.named_children():
        if isinstance(child, ImageTower):
            setattr(module, name, FoldedResNet(child, dtype))
        elif isinstance(child, ConvTower):
            setattr(module, name, FoldedConvTower(child, dtype))
        elif isinstance(child, MultiheadAttention):
            setattr(module, name, InferenceAttention(child, dtype, itself=name == "self_attn"))
        elif isinstance(child, nn.Linear):
            setattr(module, name, Linear(child.weight, child.bias, dtype))
        elif isinstance(child, nn.LayerNorm):
            setattr(module, name, Norm(child))
        else:
            _replace(child, dtype)


class Linear(nn.Module):
    """``x @ weight.T + bias`` in ``dtype``, whatever that of ``x``.

    Args:
        weight: (N, K).
        bias: (N,), or None.
        dtype: Of the product and of its result.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.packed = onednn() and weight.device.type == "cpu"
        weight = weight.detach().to(dtype)
        # Not parameters: what oneDNN has packed can be neither read nor saved.
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous()) if self.packed else weight
        self.bias = None if bias is None else bias.detach().to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(…, K) -> (…, N)."""
        x = x.to(self.dtype)
        if not self.packed:
            return F.linear(x, self.weight, self.bias)
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")


class Norm(nn.Module):
    """LayerNorm with its parameters in fp32, of 16-bit values, too."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.shape, self.weight, self.bias, self.eps = norm.normalized_shape, norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        """(…, C) -> (…, C)."""
        if x.dtype != self.weight.dtype and x.device.type != "cpu":  # only the CPU's kernel takes both at once
            x = x.to(self.weight.dtype)
        return F.layer_norm(x, self.shape, self.weight, self.bias, self.eps)


class InferenceAttention(MultiheadAttention):
    """The attention with projections of one input in one product, and the heads' factors in ``out_proj``.

    Args:
        attention: In evaluation mode.
        dtype: Of the projections.
        itself: Queries, keys and values are of the same input; otherwise only keys and values are.
    """

    def __init__(self, attention: MultiheadAttention, dtype: torch.dtype, *, itself: bool) -> None:
        nn.Module.__init__(self)
        self.heads, self.scale, self.dropout = attention.heads, attention.scale, attention.dropout
        self.c_attn = None
        weight = attention.out_proj.weight.detach()
        if attention.c_attn is not None:
            weight = weight * attention.c_attn.detach().repeat_interleave(weight.shape[1] // self.heads)
        self.out_proj = Linear(weight, attention.out_proj.bias, dtype)
        together = (attention.k_proj, attention.v_proj)
        if itself:
            together = (attention.q_proj, *together)
        else:
            self.q_proj = Linear(attention.q_proj.weight, attention.q_proj.bias, dtype)
        self.projections = Linear(torch.cat([p.weight for p in together]), torch.cat([p.bias for p in together]), dtype)

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See the base class; of another input than the queries'."""
        k, v = self.projections(x).chunk(2, dim=-1)
        return self._split(k), self._split(v)

    def queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See the base class."""
        q, k, v = self.projections(x).chunk(3, dim=-1)
        return self._split(q), self._split(k), self._split(v)


# --- image towers ---------------------------------------------------------------------------------------------------


class Convolution(nn.Module):
    """Convolution and BatchNorm in one, with what may follow: an addition, then ReLU.

    Args:
        convolution: Without a bias of its own.
        norm: BatchNorm after it, in evaluation mode; it scales and shifts each channel.
        dtype: Of the weights.
        relu: ReLU at the end.
    """

    def __init__(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d, dtype: torch.dtype, *, relu: bool) -> None:
        super().__init__()
        self.stride, self.padding, self.relu = convolution.stride, convolution.padding, relu
        scale = norm.weight.detach() * (norm.running_var + norm.eps).rsqrt()
        self.bias = (norm.bias.detach() - norm.running_mean * scale).to(dtype)
        weight = convolution.weight.detach() * scale[:, None, None, None]
        self.weight = weight.to(dtype).contiguous(memory_format=torch.channels_last)
        self.onednn = onednn() and weight.device.type == "cpu"

    def forward(self, x: Tensor, add: Tensor | None = None) -> Tensor:
        """(N, C, H, W), and ``add`` of the result's shape, which is overwritten -> (N, C', H', W')."""
        if self.onednn:
            return self._onednn(x, add)
        x = F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        x = x if add is None else x.add_(add)
        return x.relu_() if self.relu else x

    def _onednn(self, x: Tensor, add: Tensor | None) -> Tensor:
        ops, shape = torch.ops.mkldnn, (self.padding, self.stride, (1, 1), 1)
        if add is None:
            return ops._convolution_pointwise(
                x, self.weight, self.bias, *shape, "relu" if self.relu else "none", [], ""
            )
        return ops._convolution_pointwise_.binary(
            add, x, self.weight, self.bias, *shape, "add", 1.0, "relu" if self.relu else None, [], None
        )


class FoldedResNet(nn.Module):
    """:class:`~ofa_mi.models.image_tower.ImageTower` of :class:`Convolution`."""

    def __init__(self, tower: ImageTower, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype, self.out_channels = dtype, tower.out_channels
        self.stem = Convolution(tower.conv1, tower.bn1, dtype, relu=True)
        self.blocks = nn.ModuleList(
            FoldedBlock(block, dtype) for stage in (tower.layer1, tower.layer2, tower.layer3) for block in stage
        )

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, out_channels, H / 16, W / 16)."""
        x = images.to(self.dtype).contiguous(memory_format=torch.channels_last)
        if x.device.type == "cpu":
            x = F.max_pool2d(self.stem(x), kernel_size=3, stride=2, padding=1)
        else:  # where the four operations are one kernel; the statistics are in the weights
            weight, bias = self.stem.weight, self.stem.bias
            one, zero = torch.ones_like(bias), torch.zeros_like(bias)
            x = resnet_stem(x, weight, one, bias, zero, one, 0.0, False)
        for block in self.blocks:
            x = block(x)
        return x


class FoldedBlock(nn.Module):
    """A bottleneck of :class:`Convolution`."""

    def __init__(self, block: Bottleneck, dtype: torch.dtype) -> None:
        super().__init__()
        self.first = Convolution(block.conv1, block.bn1, dtype, relu=True)
        self.second = Convolution(block.conv2, block.bn2, dtype, relu=True)
        self.third = Convolution(block.conv3, block.bn3, dtype, relu=True)
        self.shortcut = None
        if block.downsample is not None:
            self.shortcut = Convolution(*block.downsample, dtype, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), which is overwritten -> (N, C', H', W')."""
        out = self.second(self.first(x))
        return self.third(out, add=x if self.shortcut is None else self.shortcut(x))


class FoldedConvTower(nn.Module):
    """:class:`~ofa_mi.models.image_tower.ConvTower` of :class:`Convolution`."""

    def __init__(self, tower: ConvTower, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype, self.out_channels = dtype, tower.out_channels
        self.blocks = nn.Sequential(
            *(Convolution(convolution, norm, dtype, relu=True) for convolution, norm, _ in tower.blocks)
        )

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, out_channels, H / 16, W / 16)."""
        return self.blocks(images.to(self.dtype).contiguous(memory_format=torch.channels_last))
