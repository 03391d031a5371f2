"""Operations of the model that have more than one implementation; imported as ``ofa_mi.kernels``.

One folder per operation: ``reference.py`` is the exact, plain PyTorch form that defines the result,
``interface.py`` chooses the implementation. The environment variable ``OFA_MI_KERNELS`` switches between

- ``auto`` (default): the fastest implementation that computes the same numbers for the call at hand;
- ``reference``: the reference everywhere.
"""

from .attention import attention
from .position_bias import RelativeTable, absolute_bias, position_bias

__all__ = ["RelativeTable", "absolute_bias", "attention", "position_bias"]
