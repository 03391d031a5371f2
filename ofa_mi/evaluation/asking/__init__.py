"""Asking a model: which questions, in which order, and the answers on disk."""
