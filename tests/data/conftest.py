"""What the tests of the data layer share."""

from pathlib import Path

import pytest

from ofa_mi.data.vocabulary import Vocabulary, build_compact


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
