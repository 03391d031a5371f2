"""Attention with a learned, batch-shared additive bias."""

from .interface import attention

__all__ = ["attention"]
