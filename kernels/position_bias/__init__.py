"""OFA's position bias as one (H, Lq, Lk) tensor per layer that the batch shares: its API, checks and choice."""

from torch import Tensor

from .. import dispatch
from . import reference
from .structure import MAX_TABLES, AbsolutePositions, PositionBias, RelativePositions, RelativeTable

__all__ = [
    "AbsolutePositions",
    "PositionBias",
    "RelativePositions",
    "RelativeTable",
    "absolute_positions",
    "position_bias",
    "unsupported",
]


def absolute_positions(pos_q: Tensor, pos_k: Tensor, *, scale: float) -> AbsolutePositions:
    """The absolute part ``scale * pos_q @ pos_k^T`` of the bias.

    Without the Triton kernels the products are computed here, once for all layers.

    Args:
        pos_q: (H, Lq, D) projected positions of the queries.
        pos_k: (H, Lk, D) projected positions of the keys.
        scale: Factor of their products.

    Raises:
        ConfigError: ``OFA_MI_KERNELS=triton`` for a case that the Triton kernels do not have.
    """
    absolute = AbsolutePositions(pos_q, pos_k, scale)
    if dispatch.use_triton(pos_q, unsupported=unsupported(PositionBias(absolute))):
        return absolute
    return absolute._replace(products=reference.absolute_products(pos_q, pos_k, scale=scale))


def position_bias(bias: PositionBias) -> Tensor:
    """The bias ``scale * pos_q @ pos_k^T`` plus the layer's tables, with gradients for the positions and the tables.

    Training never calls this: :func:`ofa_mi.kernels.attention` takes the structure itself, and builds the bias again in
    backward instead of keeping it.

    Args:
        bias: Its parts.

    Returns:
        (H, Lq, Lk). Of the Triton kernels: fp16 for both 16-bit formats, in rows of a multiple of 16 elements.

    Raises:
        ConfigError: ``OFA_MI_KERNELS=triton`` for a case that the Triton kernels do not have.
    """
    if dispatch.use_triton(bias.absolute.pos_q, unsupported=unsupported(bias)):
        from . import op  # imports Triton

        return op.position_bias(*op.parts(bias))
    return reference.position_bias(bias)


def unsupported(bias: PositionBias) -> str | None:
    """Why the Triton kernels cannot build this bias, or None if they can."""
    pos_q, pos_k = bias.absolute.pos_q, bias.absolute.pos_k
    if pos_q.dtype not in dispatch.DTYPES or pos_k.dtype != pos_q.dtype:
        return f"there is no position bias of {pos_q.dtype} and {pos_k.dtype} positions"
    if pos_q.shape[-1] > dispatch.MAX_HEAD_DIM:
        return f"a head width of {pos_q.shape[-1]} exceeds {dispatch.MAX_HEAD_DIM}"
    if len(bias.tables) > MAX_TABLES:
        return f"a position bias of {len(bias.tables)} tables exceeds {MAX_TABLES}"
    return None
