"""Reading images: what may be read, and what is refused and why."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from ofa_mi.errors import DataError, shown
from ofa_mi.instances.instance import max_pixels

GREY_16_FORMATS = ("PNG", "PPM")  # whose grey levels have 16 bits even where Pillow gives them 32 (mode I)
BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262  # tags of TIFF
WHITE_IS_ZERO = 0
START_OF_SCAN = b"\xff\xda"  # marker of JPEG
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


# What may be read, and no other format that Pillow knows: for EPS, say, it starts Ghostscript.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")  # of their files
BYTES_PER_PIXEL = 8  # that reading an image may take, of as many pixels as the limit allows
# What Pillow takes at worst, in bytes per pixel: the picture itself (4) and its RGB copy (4), or what the decoder holds
# beside the picture, such as whole strips of TIFF and both canvases of WebP. JPEG's depends on the file.
DECODER_COST = {"BMP": 8, "GIF": 8, "PNG": 8, "PPM": 12, "TIFF": 16, "WEBP": 20}
MAX_SCANS = 100  # of a JPEG, which has about ten; each passes over the whole picture, whatever its size in the file
TILE_WIDTH, TILE_LENGTH = 322, 323  # tags of TIFF
BLOCK = 1 << 20  # bytes of a file that are searched at once
CELL = 1 << 9  # side in pixels of what is converted at once


class UnusableImageError(OSError):
    """An image cannot be used; the message says why, in words that follow its name, and what to do."""


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
    where = f"{name}: image {shown(Path(file))}" if isinstance(file, str | Path) else f"{name}: image"
    try:
        with open_image(file) as image, decoding():
            if size is not None and image.size != tuple(size):
                raise UnusableImageError(wrong_size(exif_orientation(image), image.size, size))
            _check_scans(image)
            image.load()
            turn = UPRIGHT.get(exif_orientation(image)) if upright else None
            rgb = _to_rgb(image)
            return rgb if turn is None else rgb.transpose(turn)
    except UnusableImageError as error:
        raise DataError(f"{where} {error}") from None


def open_image(file: str | Path | BinaryIO) -> Image.Image:
    """Read an image's header only.

    Raises:
        UnusableImageError: It is missing, is none of :data:`FORMATS`, claims more pixels than
            :func:`~ofa_mi.instances.instance.max_pixels` or its format allows, or its grey levels have no meaning as
            colours.
    """
    with decoding():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limits below are stricter
            image = Image.open(file, formats=FORMATS)
        try:
            _check_usable(image)
        except BaseException:
            image.close()
            raise
        return image


@contextmanager
def decoding() -> Iterator[None]:
    """Turn whatever Pillow and its codecs raise, which is no fixed list, into an :class:`UnusableImageError`."""
    try:
        yield
    except UnusableImageError:
        raise
    except Exception as error:
        raise UnusableImageError(_problem(error)) from None


def _problem(error: Exception) -> str:
    """What is wrong with an image that ended in this error."""
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    if isinstance(error, UnidentifiedImageError):
        return f"is not an image that can be read ({', '.join(FORMATS)})"
    if isinstance(error, Image.DecompressionBombError):
        return _too_large("its size", 2 * Image.MAX_IMAGE_PIXELS)
    if isinstance(error, MemoryError):
        return "needs more memory than there is; make it smaller"
    if isinstance(error, OSError) and error.strerror:  # the system's own
        return f"cannot be read ({error.strerror})"
    return f"is truncated or corrupt ({shown(error)})"


def _check_usable(image: Image.Image) -> None:
    limit = max_pixels() * BYTES_PER_PIXEL // max(BYTES_PER_PIXEL, _decoder_cost(image))
    if image.width * image.height > limit:
        raise UnusableImageError(_too_large(f"{image.width}x{image.height}", limit))
    tile = [image.tag_v2.get(tag, 1) for tag in (TILE_WIDTH, TILE_LENGTH)] if image.format == "TIFF" else (1, 1)
    if tile[0] * tile[1] > limit:
        raise UnusableImageError(_too_large(f"a tile of {tile[0]}x{tile[1]}", limit))
    if image.mode == "F" or (image.mode == "I" and image.format not in GREY_16_FORMATS):
        kind = "floating-point" if image.mode == "F" else "signed or 32-bit"
        raise UnusableImageError(
            f"holds {kind} grey levels, and does not say which are black and white; save it with 8 or 16 bits"
        )


def _decoder_cost(image: Image.Image) -> int:
    """Bytes per pixel that are held while an image is decoded, at worst."""
    if (cost := DECODER_COST.get(image.format)) is not None:
        return cost
    # JPEG, or several in one file (MPO): the picture and, if it has several scans, 2 bytes for each coefficient.
    areas = [horizontal * vertical for _, horizontal, vertical, _ in image.layer]
    return 4 + math.ceil(2 * sum(areas) / max(areas))


def _check_scans(image: Image.Image) -> None:
    """Refuse a JPEG of so many scans that it would take minutes; the open file is left where it is."""
    if image.format not in ("JPEG", "MPO"):
        return
    start, scans = image.fp.tell(), 0
    while block := image.fp.read(BLOCK):
        scans += block.count(START_OF_SCAN)
    image.fp.seek(start)
    if scans > MAX_SCANS:
        raise UnusableImageError(f"has {scans:,} scans, more than the limit of {MAX_SCANS}; save it again")


def _too_large(size: str, limit: int) -> str:
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
    """An image as RGB; the image itself is given up, so that there are never three copies."""
    if image.mode.startswith("I"):
        image = _given_up(image, _from_16_bits(image))
    if image.mode == "La":  # grey, multiplied by its opacity; Pillow converts it to LA only
        image = _given_up(image, image.convert("LA"))
    return _given_up(image, image.convert("RGB"))


def _given_up(image: Image.Image, successor: Image.Image) -> Image.Image:
    """``successor``, with the memory of ``image`` released."""
    image.close()
    return successor


def _from_16_bits(image: Image.Image) -> Image.Image:
    """Grey levels of up to 16 bits with 8; Pillow would clip all but the darkest to white."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(BITS_PER_SAMPLE, (16,))[0]  # TIFF has 12 bits, too
    inverted = tags.get(PHOTOMETRIC) == WHITE_IS_ZERO
    grey = Image.new("L", image.size)
    for left, top in itertools.product(range(0, image.width, CELL), range(0, image.height, CELL)):
        cell = image.crop((left, top, min(left + CELL, image.width), min(top + CELL, image.height)))
        levels = (np.asarray(cell).astype(np.int32) >> (bits - 8)).clip(0, 255).astype(np.uint8)
        grey.paste(Image.fromarray(255 - levels if inverted else levels), (left, top))
    return grey
