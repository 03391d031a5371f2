"""What the tests of the data layer share."""

from pathlib import Path

import pytest

from ofa_mi.data.vocabulary import Vocabulary, build_compact
from tests.instances.conftest import folder, photo  # noqa: F401


@pytest.fixture(scope="session")
def gpt2() -> Vocabulary:
    """The packaged vocabulary."""
    return Vocabulary.load()


@pytest.fixture(scope="session")
def bytes_only(tmp_path_factory) -> Path:
    """Folder of a vocabulary of the 256 bytes without any merge."""
    path = tmp_path_factory.mktemp("bytes")
    build_compact(["x"], path, min_count=2)
    return path
