"""fairseq tasks; importing this package registers them."""

from ofa_mi.tasks.multiinstruct import MultiInstructTask

__all__ = ["MultiInstructTask"]
