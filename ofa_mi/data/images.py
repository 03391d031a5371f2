"""Reading images, and turning them into the model's pixels."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from ofa_mi.errors import ConfigError, DataError

if TYPE_CHECKING:
    from torch import Tensor

PATCH = 16  # stride of the image tower
MAX_PIXELS = 1 << 27  # 134 million; a file may claim a size that no memory can hold


def load_image(file: str | Path | BinaryIO, *, name: str, size: tuple[int, int] | None = None) -> Image.Image:
    """Read an image as RGB, the way it is stored: an EXIF orientation is not applied, because boxes refer to
    stored pixels.

    Transparency is dropped, as OFA does; 16-bit grey levels are scaled to 8 bits.

    Args:
        file: Path, or an open file.
        name: The instance, named in errors.
        size: The ``(width, height)`` that the image must have; None to accept any.

    Raises:
        DataError: The file is missing, is no image, is truncated or too large, or has another size.
    """
    where = f"{name}: image {file}" if isinstance(file, str | Path) else f"{name}: image"
    try:
        with open_image(file) as image:
            if size is not None and image.size != tuple(size):
                raise DataError(
                    f"{where} is {image.width}x{image.height}, but image_size says {size[0]}x{size[1]}; regions "
                    "would be wrong"
                )
            return _to_rgb(image)
    except FileNotFoundError:
        raise DataError(f"{where} does not exist") from None
    except UnidentifiedImageError:
        raise DataError(f"{where} is not an image that can be read") from None
    except (OSError, SyntaxError, ValueError, RuntimeError, Image.DecompressionBombError) as error:  # what codecs raise
        raise DataError(f"{where} is truncated or corrupt ({error})") from None


def open_image(file: str | Path | BinaryIO) -> Image.Image:
    """Read an image's header only.

    Raises:
        OSError: It is missing, is no image, or claims more than :data:`MAX_PIXELS`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is stricter than the error
        image = Image.open(file)
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise OSError(f"{image.width}x{image.height} is more than {MAX_PIXELS} pixels")
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # Pillow would clip all but the darkest to white
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


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

    def __call__(self, image: Image.Image, flip: bool = False) -> Tensor:
        """Pixels of an RGB image, float32 ``(3, S, S)`` in [-1, 1]; mirrored left to right with ``flip``."""
        import torch  # here, because reading images takes no PyTorch

        side = self.patch_image_size
        image = image.resize((side, side), Image.Resampling.BICUBIC)
        if flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)  # S, S, 3 -> 3, S, S
        return pixels.contiguous().float().div_(255).sub_(0.5).div_(0.5)
