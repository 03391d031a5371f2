"""The model's pixels."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from ofa_mi.data import transform
from ofa_mi.data.transform import ImageTransform
from ofa_mi.errors import ConfigError
from ofa_mi.instances.images import load_image


def test_a_tall_image_is_resized_without_all_its_rows_at_the_new_width(monkeypatch):
    tall = Image.fromarray(np.linspace(0, 255, 4000).astype(np.uint8).reshape(-1, 1).repeat(3, 1)).convert("RGB")
    expected = ImageTransform(32)(tall)
    sizes = []
    resize = Image.Image.resize
    monkeypatch.setattr(transform, "HIGHEST", 1000)
    monkeypatch.setattr(
        Image.Image, "resize", lambda self, size, *rest: sizes.append(size) or resize(self, size, *rest)
    )
    assert torch.allclose(ImageTransform(32)(tall), expected, atol=2 / 127)
    assert sizes == [(3, 32), (32, 32)]


@pytest.mark.parametrize("side", [16, 48, 96])
def test_pixels_equal_torchvisions(photo, side):
    transforms = pytest.importorskip("torchvision.transforms")
    reference = transforms.Compose(
        [
            transforms.Resize((side, side), interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.ToTensor(),
            transforms.Normalize([0.5] * 3, [0.5] * 3),
        ]
    )
    pixels = ImageTransform(side)(photo)
    assert pixels.shape == (3, side, side) and pixels.dtype == torch.float32 and pixels.is_contiguous()
    assert torch.equal(pixels, reference(photo))
    assert pixels.min() >= -1 and pixels.max() <= 1


def test_number_of_patches():
    assert ImageTransform(480).num_patches == 900
    for side in (0, -16, 40):
        with pytest.raises(ConfigError, match="multiple of 16"):
            ImageTransform(side)


def test_real_photos_equal_torchvisions(shared_data):
    transforms = pytest.importorskip("torchvision.transforms.functional")
    for path in itertools.islice(sorted((shared_data / "coco/images").iterdir()), 0, 50, 10):
        image = load_image(path, name="instance")
        resized = transforms.resize(image, [224, 224], interpolation=transforms.InterpolationMode.BICUBIC)
        assert torch.equal(ImageTransform(224)(image), (transforms.to_tensor(resized) - 0.5) / 0.5)
