"""Reading images, and turning them into the model's pixels."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from ofa_mi.data.instance import MAX_PIXELS
from ofa_mi.errors import ConfigError, DataError

if TYPE_CHECKING:
    from torch import Tensor

PATCH = 16  # stride of the image tower
GREY_16_FORMATS = ("PNG", "PPM")  # whose grey levels have 16 bits even where Pillow gives them 32 (mode I)
BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262  # tags of TIFF
WHITE_IS_ZERO = 0
# How the stored pixels become the picture that was taken, by EXIF orientation.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)  # orientations that exchange width and height


class UnusableImageError(OSError):
    """An image that is sound, but cannot be used; the message says why, and what to do."""


IMAGE_ERRORS = (OSError, SyntaxError, ValueError, RuntimeError, Image.DecompressionBombError)  # what codecs raise


def image_problem(error: BaseException) -> str:
    """What is wrong with an image, in words that follow its name.

    Args:
        error: One of :data:`IMAGE_ERRORS`, raised while the image was read.
    """
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    if isinstance(error, UnidentifiedImageError):
        return "is not an image that can be read"
    if isinstance(error, UnusableImageError):
        return str(error)
    if isinstance(error, Image.DecompressionBombError):
        return _too_large("its size")
    if isinstance(error, OSError) and error.strerror:  # the system's own
        return f"cannot be read ({error.strerror})"
    return f"is truncated or corrupt ({error})"


def load_image(
    file: str | Path | BinaryIO, *, name: str, size: tuple[int, int] | None = None, upright: bool = False
) -> Image.Image:
    """Read an image as RGB.

    Transparency is dropped, as OFA does. Grey levels of 16 bits (or 12, in TIFF) are scaled to 8; signed, 32-bit and
    floating-point ones are refused, since their files do not say which values are black and white.

    Args:
        file: Path, or an open file.
        name: The instance, named in errors.
        size: The ``(width, height)`` that the image must have; None to accept any.
        upright: Turn the image as its EXIF orientation says. An image with boxes is left as it is stored: that is
            what boxes refer to.

    Raises:
        DataError: The file is missing, is no image, is truncated or too large, has another size, or its pixels have
            no meaning as colours.
    """
    where = f"{name}: image {file}" if isinstance(file, str | Path) else f"{name}: image"
    try:
        with open_image(file) as image:
            if size is not None and image.size != tuple(size):
                raise UnusableImageError(wrong_size(exif_orientation(image), image.size, size))
            rgb = _to_rgb(image)
            turn = UPRIGHT.get(exif_orientation(image)) if upright else None
            return rgb if turn is None else rgb.transpose(turn)
    except IMAGE_ERRORS as error:
        raise DataError(f"{where} {image_problem(error)}") from None


def open_image(file: str | Path | BinaryIO) -> Image.Image:
    """Read an image's header only.

    Raises:
        One of :data:`IMAGE_ERRORS`: It is missing, is no image, claims more than
            :data:`~ofa_mi.data.instance.MAX_PIXELS`, or its grey levels have no meaning as colours;
            :func:`image_problem` says which.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is stricter than the error
        image = Image.open(file)
    try:
        _check_usable(image)
    except UnusableImageError:
        image.close()
        raise
    return image


def _check_usable(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise UnusableImageError(_too_large(f"{image.width}x{image.height}"))
    if image.mode == "F" or (image.mode == "I" and image.format not in GREY_16_FORMATS):
        kind = "floating-point" if image.mode == "F" else "signed or 32-bit"
        raise UnusableImageError(
            f"holds {kind} grey levels, and does not say which are black and white; save it with 8 or 16 bits"
        )


def _too_large(size: str) -> str:
    limit = MAX_PIXELS if Image.MAX_IMAGE_PIXELS is None else min(MAX_PIXELS, 2 * Image.MAX_IMAGE_PIXELS)
    return f"is too large: {size} is more than the limit of {limit:,} pixels; make it smaller"


def exif_orientation(image: Image.Image) -> int:
    """EXIF's number for how the stored pixels must be turned, 1 to 8; 1, for not at all, if the file does not say.

    Args:
        image: As :func:`open_image` returns it. Its pixels are not read; EXIF data that a PNG file has behind them are
            known once they were.
    """
    if image.format == "TIFF":  # which Pillow turns itself
        return 1
    try:
        value = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)  # the method of PNG files reads the pixels
    except Exception:  # damaged EXIF data raise whatever comes; the pixels may be sound all the same
        return 1
    return value if value in UPRIGHT else 1


def wrong_size(orientation: int, size: Sequence[int], said: Sequence[int]) -> str:
    """That an image has another size than its instance says, for an error, and why if its orientation explains it.

    Args:
        orientation: As :func:`exif_orientation` has it.
        size: ``(width, height)`` of the stored pixels.
        said: The same according to ``image_size``.
    """
    return (
        f"is {size[0]}x{size[1]}, but image_size says {said[0]}x{said[1]}; regions would be wrong"
        f"{turned(orientation, size, said)}"
    )


def turned(orientation: int, size: Sequence[int], said: Sequence[int]) -> str:
    """What explains a wrong size if it is the image's orientation, else nothing; arguments as in :func:`wrong_size`."""
    if orientation not in SIDEWAYS or (size[1], size[0]) != tuple(said):
        return ""
    return (
        f" (its EXIF orientation, {orientation}, would exchange width and height and is not applied: save the image "
        "upright, or annotate its stored pixels)"
    )


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return _from_16_bits(image)
    if image.mode == "La":  # grey, multiplied by its opacity; Pillow converts it to LA only
        image = image.convert("LA")
    return image.convert("RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    """Grey levels of up to 16 bits as RGB; Pillow would clip all but the darkest to white."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(BITS_PER_SAMPLE, (16,))[0]  # TIFF has 12 bits, too
    levels = (np.asarray(image).astype(np.int32) >> (bits - 8)).clip(0, 255).astype(np.uint8)
    return Image.fromarray(255 - levels if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else levels).convert("RGB")


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
