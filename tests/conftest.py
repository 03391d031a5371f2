"""Shared by all tests."""

import os

# One thread per process: the tests' tensors are small, and several processes of a test share the machine's cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import resource
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

# Without a GPU the Triton kernels are interpreted: said before anything imports Triton, which looks once.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

from ofa_mi.fairseq_compat import SILENCED  # first, so that fairseq is imported in silence

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def pytest_configure(config):
    """Silence here, too, what ofa_mi silences: pytest starts from filters of its own."""
    for message, category in SILENCED:
        config.addinivalue_line("filterwarnings", f"ignore:{message.replace(':', '.')}:{category.__name__}")


# The files that take longest: they begin first, so that the processes that share the tests out end together.
LONGEST = (
    "test_quickstart.py",
    "test_resources.py",
    "test_end_to_end.py",
    "test_distributed.py",
    "test_training.py",
    "test_golden.py",
    "test_attention_triton.py",
    "test_resnet_stem.py",
    "test_dry_run.py",
)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a GPU")


REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of data too large for the repository (OFA_MI_SHARED, or `shared/data` beside it); skips without it."""
    folder = Path(os.environ.get("OFA_MI_SHARED") or REPOSITORY.parent / "shared") / "data"
    if not folder.is_dir():
        pytest.skip(f"{folder} does not exist (OFA_MI_SHARED names the folder that holds data/)")
    return folder


@contextmanager
def full_disk(size=50_000):
    """Files end after `size` bytes: the system refuses to write on, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
