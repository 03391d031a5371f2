"""Shared by the tests of the kernels, which run on a GPU where there is one and interpreted elsewhere."""

import pytest
import torch


@pytest.fixture
def device() -> torch.device:
    """The device whose tensors the Triton kernels take here."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture
def triton_kernels(monkeypatch):
    """Every operation runs in its Triton kernels, or fails."""
    pytest.importorskip("triton")
    monkeypatch.setenv("OFA_MI_KERNELS", "triton")
