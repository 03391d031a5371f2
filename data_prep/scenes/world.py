"""The world of the scenes: things, and scenes of things, drawn at random.

A *shape* has one of eight forms, eight colours and two sizes; a *sign* is a coloured plate with a
word on it. Things never touch, and no two shapes of a scene agree in form, colour and size.
Colours and forms are exchangeable: every distribution stays the same when two colours (or two
forms) change places. The tasks use this to make false statements that look like true ones.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any

from ofa_mi.data_prep.scenes.shapes import SHAPES, shape_mask, sign_size
from ofa_mi.errors import ConfigError

Rgb = tuple[int, int, int]
PixelBox = tuple[int, int, int, int]

COLORS: dict[str, Rgb] = {
    "red": (215, 35, 35),
    "orange": (250, 145, 15),
    "yellow": (245, 225, 50),
    "green": (35, 165, 60),
    "blue": (40, 75, 220),
    "purple": (140, 45, 175),
    "black": (18, 18, 18),
    "white": (248, 248, 248),
}
SIZES = ("small", "large")
# Side of a shape as a share of the geometric mean of the image's sides.
SIDE = {"small": (0.17, 0.20), "large": (0.30, 0.35)}
BACKGROUNDS: tuple[Rgb, ...] = ((125, 125, 125), (150, 150, 150), (178, 178, 178), (165, 158, 145), (140, 150, 165))
WORDS = [
    "go",
    "stop",
    "exit",
    "open",
    "bus",
    "taxi",
    "milk",
    "tea",
    "cafe",
    "bank",
    "shop",
    "park",
    "zoo",
    "hot",
    "cold",
    "fire",
    "gift",
    "free",
    "sale",
    "new",
    "menu",
    "news",
    "pizza",
    "hotel",
    "food",
    "fish",
    "lake",
    "road",
    "farm",
    "cash",
]
PANEL = (175, 175, 175)
IMAGE_SIDES = (96, 112, 128, 144, 160)
MAX_ASPECT = 1.5
MAX_SIDE = 2048  # pixels, of an image
LARGEST_SHARE = 0.5  # of an image's side, of the largest shape
GAP = 4  # least distance of two things, pixels
EDGE = 2  # least distance of a thing from the edge of the image, pixels
MODES = ("shapes", "writing", "degraded", "black and white", "panels")
DEGRADED_LOOKS = ("blurry", "dark", "bright", "noisy")


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing in a scene.

    Attributes:
        shape: Form of a shape, or ``"sign"``.
        color: Name of its colour.
        size: ``"small"`` or ``"large"``; empty for a sign.
        box: Bounding box of its pixels.
        rgb: The exact colour it is drawn in.
        side: Side in pixels of the square its mask is drawn in; 0 for a sign.
        word: What is written on a sign; empty for a shape.
        legible: False for a sign whose word is smeared.
        panel: Index of the panel that it lies in; -1 if the scene has none.
    """

    shape: str
    color: str
    size: str
    box: PixelBox
    rgb: Rgb
    side: int = 0
    word: str = ""
    legible: bool = True
    panel: int = -1

    @property
    def center(self) -> tuple[float, float]:
        x0, y0, x1, y1 = self.box
        return (x0 + x1) / 2, (y0 + y1) / 2


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture before it is drawn.

    Attributes:
        mode: One of :data:`MODES`; decides which tasks can use the scene.
        look: ``"clear"``, one of :data:`DEGRADED_LOOKS`, or ``"black and white"``.
        width: Pixels.
        height: Pixels.
        background: Colour of the ground.
        things: All things; no two boxes touch.
        panels: Boxes of the panels of an NLVR-like scene, left to right.
        panel_rgb: Their colour.
        noise_seed: Seed of the noise of a noisy picture.
    """

    mode: str
    look: str
    width: int
    height: int
    background: Rgb
    things: tuple[Thing, ...]
    panels: tuple[PixelBox, ...] = ()
    panel_rgb: Rgb = PANEL
    noise_seed: int = 0

    @property
    def shapes(self) -> tuple[Thing, ...]:
        return tuple(thing for thing in self.things if not thing.word)

    @property
    def signs(self) -> tuple[Thing, ...]:
        return tuple(thing for thing in self.things if thing.word)

    def to_meta(self) -> dict[str, Any]:
        """What an instance keeps of its scene, enough to check the instance: see ``docs/scenes.md``."""
        meta: dict[str, Any] = {"look": self.look, "things": [_thing_meta(thing) for thing in self.things]}
        if self.panels:
            meta["panels"] = [list(panel) for panel in self.panels]
        return meta


@dataclass(frozen=True, slots=True)
class World:
    """What may be changed about the world.

    Attributes:
        side: Width and height of all images in pixels; 0 for one of :data:`IMAGE_SIDES` each.
        smallest_side: Least side of a small shape in pixels; large shapes grow with small ones. 0 for the usual sizes.

    Raises:
        ConfigError: An image or a shape is too small or too large.
    """

    side: int = 0
    smallest_side: int = 0

    def __post_init__(self) -> None:
        if self.side and not IMAGE_SIDES[0] <= self.side <= MAX_SIDE:
            raise ConfigError(f"--side {self.side}: must be from {IMAGE_SIDES[0]} to {MAX_SIDE} pixels")
        smallest, largest = SIDE["small"][0], SIDE["large"][1]
        most = int(LARGEST_SHARE * (self.side or IMAGE_SIDES[0]) * smallest / largest)
        if not 0 <= self.smallest_side <= most:
            raise ConfigError(
                f"--smallest-side {self.smallest_side}: must be from 0 to {most} pixels; "
                "larger shapes need larger images, see --side"
            )

    def image_size(self, rng: random.Random) -> tuple[int, int]:
        """Width and height of an image."""
        while not self.side:
            width, height = rng.choice(IMAGE_SIDES), rng.choice(IMAGE_SIDES)
            if max(width, height) <= MAX_ASPECT * min(width, height):
                return width, height
        return self.side, self.side

    def scale(self, mean_side: float) -> float:
        """What the sides of shapes are multiplied by in an image with this geometric mean of its sides."""
        return max(1.0, self.smallest_side / (SIDE["small"][0] * mean_side))


USUAL = World()


def _thing_meta(thing: Thing) -> dict[str, Any]:
    meta: dict[str, Any] = {"shape": thing.shape, "color": thing.color, "box": list(thing.box)}
    if thing.word:
        return {**meta, "word": thing.word, "legible": thing.legible}
    return {**meta, "size": thing.size}


def sample_scene(rng: random.Random, mode: str, world: World = USUAL) -> Scene:
    """Draw a scene of a mode."""
    if mode == "panels":
        return _sample_panels(rng, world)
    width, height = world.image_size(rng)
    look = {"degraded": rng.choice(DEGRADED_LOOKS), "black and white": "black and white"}.get(mode, "clear")
    things: list[Thing] = []
    area = (EDGE, EDGE, width - EDGE, height - EDGE)
    mean_side = math.sqrt(width * height)
    if mode == "writing":
        _add_signs(things, area, rng, mean_side)
    wanted = len(things) + (rng.randint(0, 2) if mode == "writing" else rng.choice((2, 3, 3, 4, 4, 5, 5, 6, 6)))
    _add_shapes(things, area, rng, wanted, world.scale(mean_side) * mean_side)
    background = rng.choice(BACKGROUNDS)
    return Scene(mode, look, width, height, background, tuple(things), noise_seed=rng.getrandbits(32))


def _sample_panels(rng: random.Random, world: World) -> Scene:
    """Two or three panels side by side with one to four small shapes each, as in NLVR."""
    number = rng.choice((2, 3))
    width, height, space = world.side or 160, world.side or rng.choice((96, 112)), 6
    grown = max(1.0, width / 160)
    panel_width = (width - space * (number + 1)) // number
    lefts = [space + k * (panel_width + space) for k in range(number)]
    panels = tuple((left, space, left + panel_width, height - space) for left in lefts)
    things: list[Thing] = []
    colors, shapes = rng.sample(tuple(COLORS), 3), rng.sample(SHAPES, 3)
    for index, (x0, y0, x1, y1) in enumerate(panels):
        inner = (x0 + EDGE, y0 + EDGE, x1 - EDGE, y1 - EDGE)
        for _ in range(rng.randint(1, 4)):
            shape, color, side = rng.choice(shapes), rng.choice(colors), round(grown * rng.randint(18, 22))
            _place_shape(things, inner, rng, shape, color, "small", side, panel=index)
    return Scene(
        "panels", "clear", width, height, (95, 95, 100), tuple(things), panels=panels, panel_rgb=(175, 175, 175)
    )


def _add_shapes(things: list[Thing], area: PixelBox, rng: random.Random, wanted: int, unit: float) -> None:
    """Add shapes until there are ``wanted`` things, or until it becomes too crowded.

    ``unit`` is what :data:`SIDE` gives shares of, in pixels.

    A scene takes its colours and forms from a random palette; small palettes make scenes where
    several things share a colour or a form, large ones make varied scenes.
    """
    colors = rng.sample(tuple(COLORS), rng.choice((2, 3, 8)))
    shapes = rng.sample(SHAPES, rng.choice((2, 3, 8)))
    taken = set()
    for _ in range(8 * wanted):
        if len(things) >= wanted:
            return
        shape, color, size = rng.choice(shapes), rng.choice(colors), rng.choice(SIZES)
        side = round(rng.uniform(*SIDE[size]) * unit)
        if (shape, color, size) not in taken and _place_shape(things, area, rng, shape, color, size, side):
            taken.add((shape, color, size))


def _place_shape(
    things: list[Thing],
    area: PixelBox,
    rng: random.Random,
    shape: str,
    color: str,
    size: str,
    side: int,
    *,
    panel: int = -1,
) -> bool:
    box = _free_box(things, area, shape_mask(shape, side).size, rng)
    if box is None:
        return False
    things.append(Thing(shape, color, size, box, _vary(COLORS[color], rng), side=side, panel=panel))
    return True


def _add_signs(things: list[Thing], area: PixelBox, rng: random.Random, mean_side: float) -> None:
    """Add one to three signs of different colours and words; about two in five are not legible."""
    number = rng.choice((1, 2, 2, 3))
    for word, color in zip(rng.sample(WORDS, number), rng.sample(tuple(COLORS), number), strict=True):
        height = round(rng.uniform(0.2, 0.25) * mean_side)
        box = _free_box(things, area, sign_size(word, height), rng)
        if box is not None:
            legible = rng.random() > 0.4
            things.append(Thing("sign", color, "", box, _vary(COLORS[color], rng), word=word, legible=legible))


def _free_box(things: list[Thing], area: PixelBox, size: tuple[int, int], rng: random.Random) -> PixelBox | None:
    """A random place for a box of this size inside ``area``, away from all things; None if none was found."""
    width, height = size
    ax0, ay0, ax1, ay1 = area
    if width > ax1 - ax0 or height > ay1 - ay0:
        return None
    for _ in range(25):
        x, y = rng.randint(ax0, ax1 - width), rng.randint(ay0, ay1 - height)
        box = (x, y, x + width, y + height)
        if not any(_near(box, thing.box) for thing in things):
            return box
    return None


def _near(a: PixelBox, b: PixelBox) -> bool:
    return a[0] < b[2] + GAP and b[0] < a[2] + GAP and a[1] < b[3] + GAP and b[1] < a[3] + GAP


def _vary(rgb: Rgb, rng: random.Random) -> Rgb:
    red, green, blue = (min(255, max(0, value + rng.randint(-10, 10))) for value in rgb)
    return red, green, blue
