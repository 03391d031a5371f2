"""What a thing of a scene looks like and how large it is: the mask of a shape, the size of a sign, brightness.

Masks are drawn four times too large and reduced, for smooth edges. Nearly transparent edge pixels are removed from a
mask, so that its bounding box holds exactly the pixels that change.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

SUPERSAMPLING = 4
FAINTEST_ALPHA = 40  # of 255; fainter edge pixels are not drawn

Point = tuple[float, float]


def _polygon(*points: Point) -> Callable[[ImageDraw.ImageDraw, float], None]:
    """A painter of the polygon with these corners, given in a unit square."""
    return lambda draw, side: draw.polygon([(x * side, y * side) for x, y in points], fill=255)


def _star(draw: ImageDraw.ImageDraw, side: float) -> None:
    radii = (0.53, 0.24)  # of the five tips and of the corners between them
    angles = [math.pi * (k / 5 - 0.5) for k in range(10)]
    corners = [(0.5 + radii[k % 2] * math.cos(a), 0.54 + radii[k % 2] * math.sin(a)) for k, a in enumerate(angles)]
    _polygon(*corners)(draw, side)


def _ring(draw: ImageDraw.ImageDraw, side: float) -> None:
    draw.ellipse((0, 0, side - 1, side - 1), fill=255)
    draw.ellipse((0.27 * side, 0.27 * side, 0.73 * side, 0.73 * side), fill=0)


def _heart(draw: ImageDraw.ImageDraw, side: float) -> None:
    curve = []
    for k in range(60):
        t = 2 * math.pi * k / 60
        x = 16 * math.sin(t) ** 3  # -16 … 16
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)  # -17 … 12
        curve.append(((x + 16) / 32, (12 - y) / 30))
    _polygon(*curve)(draw, side)


_PAINTERS: dict[str, Callable[[ImageDraw.ImageDraw, float], None]] = {
    "circle": lambda draw, side: draw.ellipse((0, 0, side - 1, side - 1), fill=255),
    "square": lambda draw, side: draw.rectangle((0, 0, side, side), fill=255),
    "triangle": _polygon((0.5, 0.0), (1.0, 0.95), (0.0, 0.95)),
    "star": _star,
    "diamond": _polygon((0.5, 0.0), (0.88, 0.5), (0.5, 1.0), (0.12, 0.5)),
    "cross": _polygon(
        *((0.34, 0.0), (0.66, 0.0), (0.66, 0.34), (1.0, 0.34), (1.0, 0.66), (0.66, 0.66)),
        *((0.66, 1.0), (0.34, 1.0), (0.34, 0.66), (0.0, 0.66), (0.0, 0.34), (0.34, 0.34)),
    ),
    "heart": _heart,
    "ring": _ring,
}
SHAPES = tuple(_PAINTERS)


@lru_cache(maxsize=1024)
def shape_mask(shape: str, side: int) -> Image.Image:
    """The mask (mode ``L``) of a shape that fits a square of ``side`` pixels, cropped to its pixels."""
    canvas = Image.new("L", (side * SUPERSAMPLING, side * SUPERSAMPLING))
    _PAINTERS[shape](ImageDraw.Draw(canvas), side * SUPERSAMPLING)
    mask = canvas.reduce(SUPERSAMPLING).point(lambda alpha: alpha if alpha >= FAINTEST_ALPHA else 0)
    return mask.crop(mask.getbbox())


@lru_cache(maxsize=64)
def font(size: int) -> ImageFont.FreeTypeFont:
    """The font that all signs are written in, in pixels."""
    return ImageFont.load_default(size=size)


def sign_size(word: str, height: int) -> tuple[int, int]:
    """(width, height) in pixels of the plate of a sign."""
    left, _, right, _ = font(font_size(height)).getbbox(word)
    return round(right - left + 0.4 * height), height


def font_size(plate_height: int) -> int:
    """Size of the font on a plate, both in pixels."""
    return round(0.8 * plate_height)


def luma(rgb: tuple[int, int, int]) -> float:
    """Brightness of a colour, 0 to 255 (ITU-R 601, as Pillow's conversion to grey)."""
    red, green, blue = rgb
    return 0.299 * red + 0.587 * green + 0.114 * blue
