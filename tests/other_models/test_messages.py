"""Questions as messages, and answers read back: one pattern a form, and nothing that is not read goes uncounted."""

import pytest
from PIL import Image

from ofa_mi.decoding.predictor import Query
from ofa_mi.errors import ConfigError
from ofa_mi.instructions.prompt import OptionsSegment, RegionSegment, TextSegment
from ofa_mi.other_models import REGION_FORMS
from ofa_mi.other_models.messages import MessageWriter
from ofa_mi.other_models.regions import COORDINATES, NUMBERED
from tests.conftest import REPOSITORY

SIZE = (200, 100)
FIRST, SECOND = (20, 10, 60, 50), (100, 20, 180, 90)
OPTIONS = ((FIRST,), (SECOND,))
CHOICE = (TextSegment("Which region shows a  Cat?"), OptionsSegment(OPTIONS))


def image(size=SIZE):
    return Image.new("RGB", size, "white")


def message(regions, prompt=CHOICE, *, picture=None, options=OPTIONS, output="option"):
    return MessageWriter(regions).message(Query(prompt, picture or image(), SIZE, options, output, "it"))


@pytest.mark.parametrize(
    ("regions", "written", "note"),
    [
        ("pixels", "[20, 10, 60, 50]||||[100, 20, 180, 90]", "in pixels of the image, which is 200 wide and 100 high."),
        ("thousandths", "[100, 100, 300, 500]||||[500, 200, 900, 900]", "thousandths of the image's width and height."),
        ("drawn", "[1]||||[2]", "written as their number in brackets, from [1] to [2]."),
    ],
)
def test_options_and_regions_are_written(regions, written, note):
    text = message(regions).text
    assert text.startswith(f"Which region shows a Cat? [Options]: {written}\n\nRegions are boxes, ")
    assert text.endswith(note)


@pytest.mark.parametrize("regions", REGION_FORMS)
def test_without_regions_there_is_no_note_and_numbers_stay_text(regions):
    asked = message(regions, (TextSegment("Read the text."),), options=None, output="text")
    assert asked.text == "Read the text."
    found = asked.answer("see [1] and\n[1, 2, 3, 4]", cut=False)
    assert (found.text, found.boxes, found.trouble) == ("see [1] and [1, 2, 3, 4]", (), None)


@pytest.mark.parametrize("regions", REGION_FORMS)
def test_a_number_that_answers_a_question_about_a_region_is_no_region(regions):
    prompt = (TextSegment("How many cats are in the region "), RegionSegment(FIRST), TextSegment("?"))
    asked = message(regions, prompt, options=None, output="text")
    assert "Regions are boxes" in asked.text
    assert asked.answer("1", cut=False).text == "1" and asked.answer("1", cut=False).boxes == ()


@pytest.mark.parametrize(
    ("regions", "reply", "boxes"),
    [
        ("pixels", "[20, 10, 60, 50]", [FIRST]),
        ("pixels", 'It is {"bbox_2d": [20,10,60.5,50]}.', [(20, 10, 60.5, 50)]),
        ("pixels", "(20, 10, 60, 50)", [FIRST]),
        ("pixels", "[[20, 10, 60, 50], [100, 20, 180, 90]]", [FIRST, SECOND]),
        ("pixels", "[-5, 10, 900, 50]", [(0, 10, 200, 50)]),
        ("pixels", "[60, 50, 20, 10]", [(60, 50, 20, 10)]),
        ("pixels", "[20, 10, 60]", []),
        ("pixels", "[20, 10, 60, 50", []),
        ("pixels", "[20, 10, 60, 99999999]", []),
        ("pixels", "[nan, 10, 60, 1e9]", []),
        ("pixels", "the left one", []),
        ("thousandths", "[100, 100, 300, 500]", [FIRST]),
        ("thousandths", "[105, 100, 1300, 500]", [(21, 10, 200, 50)]),
        ("drawn", "[2]", [SECOND]),
        ("drawn", "2", [SECOND]),
        ("drawn", " 2.\n", [SECOND]),
        ("drawn", "It is box 1.", [FIRST]),
        ("drawn", "Region 2, not [1]", [SECOND, FIRST]),
        ("drawn", "There are 2 of them", []),
        ("drawn", "[3]", []),
        ("drawn", "[0]", []),
    ],
)
def test_regions_are_read_and_what_cannot_be_is_named(regions, reply, boxes):
    found = message(regions).answer(reply, cut=False)
    assert found.boxes == tuple(boxes) and found.reply == reply
    assert found.trouble == (None if boxes else "no region")


def test_words_around_regions_stay():
    options = (("because ", FIRST, " is happy"), ("because ", SECOND, " is tired"))
    for regions, reply in (("pixels", "Because [20, 10, 60, 50] is happy"), ("drawn", "because [1] is happy")):
        found = message(regions, (TextSegment("Why?"), OptionsSegment(options)), options=options).answer(
            reply, cut=False
        )
        assert found.text.lower() == "because is happy" and found.boxes == (FIRST,)


@pytest.mark.parametrize(
    ("reply", "cut", "trouble"),
    [
        ("", False, "empty"),
        (" \u200b\n", False, "empty"),
        ("", True, "cut off"),
        ("a long", True, "cut off"),
        ("a", False, None),
    ],
)
def test_trouble_of_text(reply, cut, trouble):
    asked = message("pixels", (TextSegment("Describe the image."),), options=None, output="text")
    assert asked.answer(reply, cut=cut).trouble == trouble


def test_a_region_that_was_read_is_no_trouble_where_words_after_it_are_cut_off():
    assert message("pixels").answer("[20, 10, 60, 50], since the", cut=True).trouble is None
    assert message("pixels").answer("[20, 10, 6", cut=True).trouble == "cut off"


@pytest.mark.parametrize(
    ("regions", "written", "reply"), [("pixels", "[40, 20, 120, 100]", "[40, 20, 120, 100]"), ("drawn", "[1]", "1")]
)
def test_regions_keep_their_place_in_an_image_of_another_size(regions, written, reply):
    """As with --image shuffled."""
    asked = message(regions, picture=image((400, 200)))
    assert f"[Options]: {written}||||" in asked.text
    assert asked.answer(reply, cut=False).boxes == (FIRST,)


def test_boxes_are_drawn_where_they_are():
    drawn = message("drawn", picture=image((400, 200))).image
    scale = drawn.width / SIZE[0]
    edges = [
        drawn.getpixel((round(box[0] * scale) + 1, round((box[1] + box[3]) / 2 * scale))) for box in (FIRST, SECOND)
    ]
    assert all(pixel != (255, 255, 255) for pixel in edges)
    assert drawn.getpixel((round(40 * scale), round(40 * scale))) == (255, 255, 255), "nothing covers what is inside"
    untouched = image()
    assert message("pixels", picture=untouched).image is untouched


def test_a_box_that_comes_twice_has_one_number():
    prompt = (RegionSegment(SECOND), TextSegment(" or"), OptionsSegment(OPTIONS))
    assert message("drawn", prompt).text.startswith("[1] or [Options]: [2]||||[1]\n")


def test_drawn_boxes_cannot_stand_for_new_ones():
    with pytest.raises(ConfigError, match=r"it: --regions drawn cannot write .* asks for a box of its own"):
        message("drawn", (TextSegment("Where is the cat?"),), options=None, output="region")
    with pytest.raises(ConfigError, match="no image to draw them on"):
        MessageWriter("drawn").message(Query(CHOICE, None, SIZE, OPTIONS, "option", "it"))
    with pytest.raises(ConfigError, match="--regions must be one of pixels, thousandths, drawn, found 'x'"):
        MessageWriter("x")


def test_the_patterns_are_those_of_the_documentation():
    text = (REPOSITORY / "docs" / "evaluation.md").read_text()
    assert COORDINATES.pattern in text and NUMBERED.pattern in text
