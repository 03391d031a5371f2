"""Boxes on images."""

import pytest
from PIL import Image, ImageColor

from ofa_mi.document.drawing import STYLES, draw_boxes


def colors(image):
    return {color for _, color in image.getcolors(1 << 20)}


def test_small_images_are_enlarged_and_the_original_is_left_alone():
    image = Image.new("L", (40, 20), 128)
    drawn = draw_boxes(image, {"predicted": [(5, 5, 15, 15)], "true": [(6, 4, 16, 14)], "region": [(20, 2, 38, 18)]})
    assert drawn.mode == "RGB" and drawn.size == (480, 240)
    assert colors(image) == {128}
    assert {ImageColor.getrgb(style.color) for style in STYLES.values()} <= colors(drawn)


def test_large_images_keep_their_size():
    assert draw_boxes(Image.new("RGB", (900, 700)), {}).size == (900, 700)


def test_a_box_is_where_it_should_be():
    drawn = draw_boxes(Image.new("RGB", (50, 50), "white"), {"predicted": [(10, 30, 20, 40)]}, min_side=500)
    vermilion = ImageColor.getrgb(STYLES["predicted"].color)
    assert drawn.getpixel((150, 300)) == vermilion and drawn.getpixel((100, 350)) == vermilion
    assert drawn.getpixel((150, 350)) == (255, 255, 255)


@pytest.mark.parametrize("box", [(30, 30, 10, 10), (-50, -50, 500, 500), (10, 10, 10, 10), (63.9, 63.9, 64, 64)])
def test_generated_boxes_of_any_shape_can_be_drawn(box):
    drawn = draw_boxes(Image.new("RGB", (64, 64)), {"predicted": [box], "anything else": [box], "true": [box]})
    assert len(colors(drawn)) > 3
