"""The model's costly operations, apart from the model; imported as ``ofa_mi.kernels``.

One folder per operation, whose files import each other in this order: ``reference.py``, the exact, plain PyTorch form
that defines the result; ``configs.py``, the sizes of tiles; the Triton kernels in ``tiles.py``, ``forward.py`` and
``backward.py``; ``op.py``, their launches as an operator of PyTorch; ``__init__.py``, the API with its checks, which
imports ``op.py`` when it is first used. ``benchmarks`` and ``resources`` are tools that no model imports.

The environment variable ``OFA_MI_KERNELS`` (``dispatch.py``) switches between

- ``auto`` (default): the Triton kernels on a GPU for every case that they have, else the fastest of PyTorch's own;
- ``reference``: the reference everywhere;
- ``triton``: the Triton kernels everywhere, or an error. On a CPU they need ``TRITON_INTERPRET=1`` and are slow.
"""

from . import reference
from .attention import attention
from .position_bias import PositionBias, RelativePositions, RelativeTable, absolute_positions, position_bias
from .resnet_stem import resnet_stem

__all__ = [
    "PositionBias",
    "RelativePositions",
    "RelativeTable",
    "absolute_positions",
    "attention",
    "position_bias",
    "reference",
    "resnet_stem",
]
