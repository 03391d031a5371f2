import pytest

from tests.evaluation.fake import make_data


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """Eight instances of each of six tasks, four of them for evaluation."""
    return make_data(tmp_path_factory.mktemp("evaluation") / "data")
