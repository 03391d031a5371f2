"""Drawing: the mask of a shape, the plate of a sign, and the picture of a scene.

Everything is drawn four times too large and reduced, for smooth edges. Nearly transparent edge
pixels are removed from a mask, so that its bounding box holds exactly the pixels that change.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

if TYPE_CHECKING:
    from ofa_mi.data_prep.scenes.world import Scene, Thing

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
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size=size)


def sign_size(word: str, height: int) -> tuple[int, int]:
    """(width, height) in pixels of the plate of a sign."""
    left, _, right, _ = _font(_font_size(height)).getbbox(word)
    return round(right - left + 0.4 * height), height


def _font_size(plate_height: int) -> int:
    return round(0.8 * plate_height)


def _plate(thing: Thing) -> Image.Image:
    """The opaque plate of a sign with its word, smeared if the sign is not legible."""
    x0, y0, x1, y1 = thing.box
    plate = Image.new("RGB", (x1 - x0, y1 - y0), thing.rgb)
    ink = (0, 0, 0) if luma(thing.rgb) > 105 else (255, 255, 255)
    middle = (plate.width / 2, plate.height / 2)
    ImageDraw.Draw(plate).text(middle, thing.word, font=_font(_font_size(plate.height)), fill=ink, anchor="mm")
    return plate if thing.legible else plate.filter(ImageFilter.GaussianBlur(0.2 * plate.height))


def luma(rgb: tuple[int, int, int]) -> float:
    """Brightness of a colour, 0 to 255 (ITU-R 601, as Pillow's conversion to grey)."""
    red, green, blue = rgb
    return 0.299 * red + 0.587 * green + 0.114 * blue


def draw_scene(scene: Scene) -> Image.Image:
    """The picture of a scene, mode ``RGB``."""
    image = Image.new("RGB", (scene.width, scene.height), scene.background)
    for panel in scene.panels:
        image.paste(scene.panel_rgb, panel)
    for thing in scene.things:
        if thing.word:
            image.paste(_plate(thing), thing.box[:2])
        else:
            image.paste(thing.rgb, thing.box[:2], shape_mask(thing.shape, thing.side))
    return _FINISH[scene.look](image, scene)


def _blurry(image: Image.Image, scene: Scene) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(0.03 * math.sqrt(scene.width * scene.height)))


def _noisy(image: Image.Image, scene: Scene) -> Image.Image:
    pixels = np.asarray(image, dtype=np.float32)  # H, W, 3
    noise = np.random.default_rng(scene.noise_seed).normal(0.0, 45.0, pixels.shape)
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))


# What is done to the whole picture in the end, by the scene's look.
_FINISH: dict[str, Callable[[Image.Image, Scene], Image.Image]] = {
    "clear": lambda image, scene: image,
    "blurry": _blurry,
    "dark": lambda image, scene: image.point(lambda value: int(0.2 * value)),
    "bright": lambda image, scene: image.point(lambda value: int(195 + 0.235 * value)),
    "noisy": _noisy,
    "black and white": lambda image, scene: image.convert("L").convert("RGB"),
}
