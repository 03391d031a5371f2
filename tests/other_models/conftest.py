import pytest

from tests.evaluation.conftest import data_dir  # noqa: F401


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    """No key and no proxy of whoever runs the tests."""
    for name in ("OPENAI_API_KEY", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
