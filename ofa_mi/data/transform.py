"""From an image to the model's pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ofa_mi.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

PATCH = 16  # stride of the image tower
# Rows from which columns are resized first: Pillow resizes rows first, and would hold all of them at the new width.
HIGHEST = 1 << 17


class ImageTransform:
    """Resizes to a square, bicubic, aspect ratio not kept, and normalises with mean = std = 0.5, as OFA does.

    The whole image is decoded first. Decoding a JPEG at reduced size (``Image.draft``) would be faster,
    but it averages pixels before the bicubic filter sees them, and the released weights expect the other.

    Args:
        patch_image_size: Side S of the square in pixels.

    Attributes:
        num_patches: Patches of an image.

    Raises:
        ConfigError: S is not a multiple of the patch size.
    """

    def __init__(self, patch_image_size: int) -> None:
        if patch_image_size <= 0 or patch_image_size % PATCH:
            raise ConfigError(f"patch image size must be a positive multiple of {PATCH}, found {patch_image_size}")
        self.patch_image_size = patch_image_size
        self.num_patches = (patch_image_size // PATCH) ** 2

    def __call__(self, image: Image.Image) -> Tensor:
        """Pixels of an RGB image, float32 ``(3, S, S)`` in [-1, 1]."""
        import torch  # here, because reading images takes no PyTorch

        side = self.patch_image_size
        if image.height > HIGHEST:
            image = image.resize((image.width, side), Image.Resampling.BICUBIC)
        image = image.resize((side, side), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)  # S, S, 3 -> 3, S, S
        return pixels.contiguous().float().div_(255).sub_(0.5).div_(0.5)
