"""Boxes as annotators draw them: things of many sizes, drawn several times, with parts and surroundings."""

from __future__ import annotations

import itertools
import math
import random

SIZE = (500, 375)
Box = tuple[int, int, int, int]


def random_boxes(rng: random.Random, number: int = 45) -> list[tuple[Box, int]]:
    """Boxes in an image of :data:`SIZE`, each with the number of the thing that it is about."""
    boxes: list[tuple[Box, int]] = []
    things = itertools.count()
    while len(boxes) < number:
        thing = next(things)
        width, height = (min(side * math.exp(rng.gauss(-1.6, 0.7)), 0.9 * side) for side in SIZE)
        x, y = rng.uniform(0, SIZE[0] - width), rng.uniform(0, SIZE[1] - height)
        for _ in range(rng.randint(1, 5)):
            kind = rng.random()
            if kind < 0.5:  # the thing again
                edges = [rng.gauss(0, 0.1) for _ in range(4)]
            elif kind < 0.8:  # a part of it
                edges = [rng.uniform(0, 0.4), rng.uniform(0, 0.4), -rng.uniform(0, 0.4), -rng.uniform(0, 0.4)]
            else:  # what is around it
                edges = [-rng.random(), -rng.random(), rng.random(), rng.random()]
            box = (
                max(int(x + edges[0] * width), 0),
                max(int(y + edges[1] * height), 0),
                min(int(x + width + edges[2] * width), SIZE[0]),
                min(int(y + height + edges[3] * height), SIZE[1]),
            )
            if box[2] - box[0] >= 5 and box[3] - box[1] >= 5:
                boxes.append((box, thing))
    return boxes[:number]
