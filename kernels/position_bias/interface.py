"""Choice of the implementation of the position bias."""

from torch import Tensor

from .. import switch
from . import reference
from .structure import AbsolutePositions, PositionBias


def absolute_positions(pos_q: Tensor, pos_k: Tensor, *, scale: float) -> AbsolutePositions:
    """The absolute part ``scale * pos_q @ pos_k^T`` for position queries (H, Lq, D) and keys (H, Lk, D).

    Without the Triton kernels its plane is computed here, once for all layers.
    """
    absolute = AbsolutePositions(pos_q, pos_k, scale)
    if switch.use_triton(pos_q, unsupported=unsupported(PositionBias(absolute))):
        return absolute
    return absolute._replace(plane=reference.absolute_plane(pos_q, pos_k, scale=scale))


def position_bias(bias: PositionBias) -> Tensor:
    """The plane ``scale * pos_q @ pos_k^T`` plus the layer's tables, with gradients to the positions and the tables.

    Training never calls this: :func:`ofa_mi.kernels.attention` takes the structure itself, and rebuilds the plane in
    backward instead of keeping it.

    Returns:
        (H, Lq, Lk). Of the Triton kernels: fp16 for both 16-bit formats, in rows of a multiple of 16 elements.
    """
    if switch.use_triton(bias.absolute.pos_q, unsupported=unsupported(bias)):
        from . import op  # imports Triton

        return op.position_plane(*op.parts(bias))
    return reference.position_bias(bias)


def unsupported(bias: PositionBias) -> str | None:
    """Why the Triton kernels cannot build this plane, or None if they can."""
    pos_q, pos_k = bias.absolute.pos_q, bias.absolute.pos_k
    if pos_q.dtype not in switch.DTYPES or pos_k.dtype != pos_q.dtype:
        return f"there is no plane of {pos_q.dtype} and {pos_k.dtype} positions"
    if pos_q.shape[-1] > switch.MAX_WIDTH:
        return f"a head width of {pos_q.shape[-1]} exceeds {switch.MAX_WIDTH}"
    if len(bias.tables) > 2:
        return f"a plane of {len(bias.tables)} tables exceeds 2"
    return None
