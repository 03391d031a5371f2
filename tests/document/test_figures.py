"""Figures: the same bytes every time, colours of the style sheet, well-formed whatever they show."""

import itertools
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from ofa_mi.document.blocks import Bar, BarChart, DotChart, Dots, Figure, LineChart, Series
from ofa_mi.document.figures import draw, spread_out, standalone, ticks_around

HARMFUL = "<script>$x$ \x00\ud800 & “日本”"
BARS = BarChart((Bar(HARMFUL, 12.5, 1.25, 30.0, 1), Bar("none", None, None, 5.0, note="not run here"), Bar("b", 9.0)))
DOTS = DotChart(((HARMFUL, (Dots(HARMFUL, (10.0, 30.0), 20.0, 1), Dots("b", (40.0,), 40.0, 9)), 25.0), ("c", (), None)))
LINES = LineChart(
    (Series(HARMFUL, ((1, 20.0), (2, 30.0)), (1.5, None), 1), Series("", ((1, 25.0), (2, 26.0)), dashed=True)),
    *("x", HARMFUL, (HARMFUL, "two"), True, HARMFUL),
)
CHARTS = {"bars": BARS, "dots": DOTS, "lines": LINES}


@pytest.mark.parametrize("name", CHARTS)
def test_whatever_is_shown_is_well_formed_and_in_the_colours_of_the_page(name):
    figure = Figure(name, HARMFUL, CHARTS[name])
    svg, file = draw(figure), standalone(figure)
    title, said, *drawn = ElementTree.fromstring(svg.encode())
    assert title.text == "<script>$x$ \ufffd\ufffd & “日本”" and "<script>$x$" in said.text and drawn
    assert any("<script>$x$" in (element.text or "") for element in drawn[0].iter()) or "&lt;script&gt;$x$" in svg
    root = ElementTree.fromstring(file.encode())
    assert root.get("viewBox") == ElementTree.fromstring(svg.encode()).get("viewBox")
    assert "prefers-color-scheme: dark" in file and "url(" not in file and "font-family" not in svg
    colours = re.findall(r"(?:fill|stroke): (?!none)([^;\"]+)", svg)
    assert colours and all(re.fullmatch(r"var\(--(s\d|chart-\w+)\)", colour) for colour in colours)
    ids = re.findall(r' id="(\w+)"', svg)
    assert set(re.findall(r'href="#(\w+)"', svg)) == set(ids) and len(ids) == len(set(ids))


def test_a_figure_is_the_same_every_time_and_shares_no_id_with_another():
    one, other = Figure("one", "title", LINES), Figure("other", "title", LINES)
    first = draw(one)
    draw.cache_clear()
    assert draw(one) == first
    ids = [set(re.findall(r' id="(\w+)"', draw(figure))) for figure in (one, other)]
    assert ids[0] and not ids[0] & ids[1], "a page holds both"


def test_settings_of_the_user_change_nothing():
    matplotlib = pytest.importorskip("matplotlib")
    figure = Figure("bars", "title", BARS)
    first = draw(figure)
    draw.cache_clear()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "lines.linewidth": 9}):
        assert draw(figure) == first and matplotlib.rcParams["font.size"] == 30


def test_numbers_are_said_and_values_stand_in_a_column():
    svg = draw(
        Figure("bars", "scores", BarChart((Bar("long", 12.345, 1.0), Bar("short", 9.5), Bar("none", None, note="-"))))
    )
    texts = [element.text for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")]
    assert texts == ["long", "short", "none", "12.35 ± 1.00", "\u20079.50", "-"]
    assert ElementTree.fromstring(svg)[1].text == "long 12.35 ± 1.00; short 9.50; none -"


@pytest.mark.parametrize(
    "points",
    [
        ((1.0, 5e-324),),
        ((0, -1e15), (1, 1e15)),
        ((1, 0.0), (2, 0.0)),
        ((1, 1.0), (2, 1 + 1e-15)),
        ((1e15, 1), (1e15, 2)),
    ],
)
def test_extreme_values_are_drawn(points):
    line = Series("a", points, tuple(1e14 for _ in points))
    for lines in ((line,), (replace(line, spreads=()), line)):
        ElementTree.fromstring(draw(Figure("a", "b", LineChart(lines, "x", "y"))))


def test_no_bars_and_no_length():
    for bars in ((), (Bar("a", 0.0),), (Bar("a", None),)):
        ElementTree.fromstring(draw(Figure("a", "b", BarChart(bars))))


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 5e-324, None),
        (1, 1 + 1e-15, None),
        (-1e15, 1e15, None),
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (0, 0, None),
        (3.2, 3.9, None),
        (-1, 7e-3, None),
    ],
)
def test_ticks_are_round_and_cover_the_values(low, high, ticks):
    found = ticks_around(low, high)
    assert ticks is None or found == ticks
    assert found[0] <= low and found[-1] >= high and 2 <= len(found) <= 9
    steps = {round(b - a, 9) for a, b in itertools.pairwise(found)}
    assert len(steps) == 1


def test_labels_are_moved_apart_but_keep_their_order():
    moved = spread_out([50, 51, 10, 52], 14, 0, 100)
    assert moved[2] < moved[0] < moved[1] < moved[3]
    assert all(b - a >= 14 for a, b in itertools.pairwise(sorted(moved)))
    assert spread_out([99, 100], 14, 0, 100) == [86, 100] and spread_out([0, 1], 14, 0, 100) == [0, 14]


def test_labels_are_moved_as_little_as_possible():
    assert spread_out([5.0, 1.0], 1) == [5.0, 1.0]
    assert spread_out([1.0, 1.0, 1.0], 1) == [0.0, 1.0, 2.0]
    assert spread_out([3.0, 2.9, 1.95, 0.0], 1) == pytest.approx([3.61667, 2.61667, 1.61667, 0.0], abs=1e-4)
