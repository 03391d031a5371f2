"""Drawing: the plate of a sign, and the picture of a scene."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ofa_mi.data_prep.scenes.shapes import font, font_size, luma, shape_mask
from ofa_mi.data_prep.scenes.world import Scene, Thing


def _plate(thing: Thing) -> Image.Image:
    """The opaque plate of a sign with its word, smeared if the sign is not legible."""
    x0, y0, x1, y1 = thing.box
    plate = Image.new("RGB", (x1 - x0, y1 - y0), thing.rgb)
    ink = (0, 0, 0) if luma(thing.rgb) > 105 else (255, 255, 255)
    middle = (plate.width / 2, plate.height / 2)
    ImageDraw.Draw(plate).text(middle, thing.word, font=font(font_size(plate.height)), fill=ink, anchor="mm")
    return plate if thing.legible else plate.filter(ImageFilter.GaussianBlur(0.2 * plate.height))


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
