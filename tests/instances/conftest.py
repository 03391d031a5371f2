"""What the tests of instances share."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data directory; the user's cache is elsewhere."""
    monkeypatch.setenv("OFA_MI_CACHE", str(tmp_path / "cache"))
    directory = tmp_path / "data"
    directory.mkdir()
    Image.new("RGB", (40, 30)).save(directory / "image.png")
    return directory


@pytest.fixture(scope="module")
def photo():
    """A smooth picture with some noise, 70x50."""
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.linspace(0, 255, 70), np.linspace(0, 255, 50))
    pixels = np.stack([x, y, 255 - x], axis=-1) + rng.normal(0, 20, (50, 70, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
