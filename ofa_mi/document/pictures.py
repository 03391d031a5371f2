"""Pictures small enough to stand inside a page."""

from __future__ import annotations

import io

from PIL import Image


def small_jpeg(image: Image.Image, size: tuple[int, int], most: int) -> bytes:
    """A picture as JPEG of at most so many bytes.

    Args:
        image: RGB image; it is left as it is.
        size: Largest (width, height) in pixels; a picture of too many bytes gets a worse quality, then fewer pixels.
        most: Bytes.
    """
    image = image.copy()
    while True:
        image.thumbnail(size, Image.Resampling.LANCZOS)
        for quality in (85, 70, 55, 40):
            file = io.BytesIO()
            image.save(file, format="JPEG", quality=quality, optimize=True)
            if file.tell() <= most:
                return file.getvalue()
        size = image.width * 3 // 4, image.height * 3 // 4
