"""What the Triton kernels of all operations share: the launch by name, strides, and the product of tiles."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
import triton
import triton.language as tl
from torch import Tensor

from . import dispatch


def launch(kernel, grid: tuple[int, ...], arguments: Mapping[str, object], **options: object) -> None:
    """Launch a kernel, each argument by its name.

    Args:
        kernel: A ``@triton.jit`` function; it is the definition of what it takes.
        grid: Programs in up to three dimensions.
        arguments: Name -> tensor, number or compile-time constant; of what several kernels share each takes its own.
        options: Of the compiler, such as ``num_warps``.

    Raises:
        KeyError: An argument of the kernel is missing.
    """
    kernel[grid](**{name: arguments[name] for name in kernel.arg_names}, **options)


def strides(dimensions: str, **tensors: Tensor) -> dict[str, int]:
    """Strides in elements, as the kernels name them.

    Args:
        dimensions: A letter for each dimension from the first on; the last, whose stride is 1, has none.
        tensors: By name.

    Returns:
        ``stride_q_b``, ``stride_q_h`` and ``stride_q_l`` for ``strides("bhl", q=q)``, and so on.
    """
    return {
        f"stride_{name}_{letter}": stride
        for name, tensor in tensors.items()
        for letter, stride in zip(dimensions, tensor.stride(), strict=False)
    }


def product_options(*, allow_tf32: bool) -> dict[str, object]:
    """The constants of :func:`dot`; ``allow_tf32`` is PyTorch's own switch for fp32 in this kind of product."""
    return {"PRECISION": "tf32" if allow_tf32 else "ieee", "UPCAST": dispatch.interpreting()}


def on_device(tensor: Tensor) -> AbstractContextManager:
    """Make the device of ``tensor`` the current one, on which Triton launches."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def contiguous_rows(x: Tensor) -> Tensor:
    """``x`` itself, or a copy if neighbours of its last dimension are not neighbours in memory."""
    return x if x.stride(-1) == 1 else x.contiguous()


def tile_side(size: int) -> int:
    """The power of 2 that holds ``size``, at least 16: the smallest side of a tile that tensor cores take."""
    return max(16, triton.next_power_of_2(size))


@triton.jit
def dot(a, b, PRECISION: tl.constexpr, UPCAST: tl.constexpr):
    """a @ b in fp32. UPCAST: the interpreter multiplies bf16 bit patterns."""
    if UPCAST:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, input_precision=PRECISION)
