"""The model's costly operations, apart from the model; imported as ``ofa_mi.kernels``.

One folder per operation: ``reference.py`` is the exact, plain PyTorch form that defines the result, and where there is
a choice, ``interface.py`` makes it. The environment variable ``OFA_MI_KERNELS`` switches between

- ``auto`` (default): the fastest implementation that computes the same numbers for the call at hand;
- ``reference``: the reference everywhere.
"""

from .attention import attention
from .position_bias import RelativeTable, absolute_bias, position_bias

__all__ = ["RelativeTable", "absolute_bias", "attention", "position_bias"]
