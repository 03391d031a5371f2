"""The model's costly operations, apart from the model; imported as ``ofa_mi.kernels``.

One folder per operation: ``reference.py`` is the exact, plain PyTorch form that defines the result, ``interface.py``
chooses, and the Triton kernels are imported when they are first used. The environment variable ``OFA_MI_KERNELS``
switches between

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
