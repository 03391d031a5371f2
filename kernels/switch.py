"""The one place that reads the environment switch of the kernels."""

import os

from ofa_mi.errors import ConfigError

VARIABLE = "OFA_MI_KERNELS"
CHOICES = ("auto", "reference")


def mode() -> str:
    """Value of ``OFA_MI_KERNELS``: ``auto`` (default) or ``reference``.

    Raises:
        ConfigError: the variable holds something else.
    """
    value = os.environ.get(VARIABLE, "auto")
    if value not in CHOICES:
        raise ConfigError(f"{VARIABLE}={value!r} is not one of {', '.join(CHOICES)}")
    return value
