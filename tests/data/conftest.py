"""What the tests of the data layer share."""

import os
from pathlib import Path

import pytest

from ofa_mi.data.vocabulary import Vocabulary, build_compact

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data, which is not part of the repository."""
    folder = Path(os.environ.get("OFA_MI_SHARED") or REPOSITORY.parent / "shared") / "data"
    if not folder.is_dir():
        pytest.skip(f"real data is not at {folder}; set OFA_MI_SHARED")
    return folder


@pytest.fixture(scope="session")
def gpt2() -> Vocabulary:
    """The packaged vocabulary."""
    return Vocabulary.load()


@pytest.fixture(scope="session")
def bytes_only(tmp_path_factory) -> Path:
    """Folder of a vocabulary of the 256 bytes without any merge."""
    folder = tmp_path_factory.mktemp("bytes")
    build_compact(["x"], folder, min_count=2)
    return folder
