"""The report in a real browser, at the widths of a phone and of a desktop: nothing overflows, fails or is loaded."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from ofa_mi.document import html
from ofa_mi.document.blocks import Bar, BarChart, Figure
from ofa_mi.evaluation.report import ReportOptions, build_report
from ofa_mi.evaluation.report.sections.results import paper_table
from tests.browser import Browser, find_browser
from tests.evaluation.fake_study import Fake, many_tasks, write_log, write_run, write_study

pytestmark = pytest.mark.skipif(find_browser() is None, reason="needs Chromium")
PHONE, DESKTOP = 390, 1280


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    runs = write_study(root, seeds=2, per_task=4)
    blind = write_run(root / "blind", root / "data", "OFA", 1, per_task=4, condition=(("image", "none"),))
    points = [write_run(root / f"n{n}", root / "data", f"n{n}", per_task=4, fake=Fake(0.1 * n)) for n in (1, 5)]
    options = ReportOptions(
        runs=[*runs, ("OFA", blind)],
        ablations=[("num_instructions", n, run) for n, run in zip("15", points, strict=True)],
        published=True,
        logs=[("a rather long name of a training run", write_log(root / "log"))],
        title="A_title_that_is_one_very_long_word_and_has_no_place_to_break_it_anywhere",
        examples=1,
    )
    return build_report(options, root / "report")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.mark.parametrize("width", [PHONE, 768, DESKTOP])
def test_nothing_is_wider_than_the_window(browser, page, width):
    browser.open(page, width=width)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    browser.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    # Tables that are too wide scroll in a box of their own, which the keyboard reaches.
    boxes = "[...document.querySelectorAll('.scroll')]"
    assert browser.evaluate(f"{boxes}.every((box) => box.getBoundingClientRect().right <= {width})")
    assert browser.evaluate(f"{boxes}.every((box) => box.tabIndex === 0 && box.ariaLabel)")
    if width == PHONE:
        assert browser.evaluate(f"{boxes}.some((box) => box.scrollWidth > box.clientWidth)")


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_many_tasks_are_seen_without_scrolling_sideways(browser, tmp_path, width):
    (tmp_path / "page.html").write_text(html.document("many tasks", [paper_table(many_tasks(16), {})]))
    browser.open(tmp_path / "page.html", width=width)
    assert browser.evaluate("[...document.querySelectorAll('.scroll')].every((b) => b.scrollWidth <= b.clientWidth)")


OUTSIDE = """[...document.querySelectorAll('svg.chart text')].filter((text) => {
  const box = text.getBBox(), whole = text.ownerSVGElement.viewBox.baseVal;
  return box.width > 0 && (box.x < 0 || box.x + box.width > whole.width);
}).map((text) => text.textContent)"""


def test_no_text_of_a_chart_is_cut_off(browser, page, tmp_path):
    browser.open(page, width=DESKTOP)
    browser.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert browser.evaluate(OUTSIDE) == []
    labels = ("untuned", "tuned", "GROWN MAMMOTH", "a name that is too long for it")
    alone = tmp_path / "chart.html"
    chart = BarChart(tuple(Bar(label, 12.34, 0.0) for label in labels))
    alone.write_text(html.document("bars", [Figure("bars", "scores", chart)]))
    browser.open(alone, width=DESKTOP)
    assert browser.evaluate("document.querySelectorAll('svg.chart text').length") == 8
    assert browser.evaluate(OUTSIDE) == []


def test_nothing_is_loaded_and_nothing_fails(browser, page):
    browser.open(page, width=DESKTOP)
    urls = [e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    assert urls[0] == page.resolve().as_uri()
    assert all(url.startswith("data:image/jpeg;base64,") for url in urls[1:])
    assert [e for e in browser.events if e["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")] == []
    assert browser.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")


def test_examples_can_be_browsed(browser, page):
    browser.open(page, width=PHONE)
    shown = "[...document.querySelectorAll('.card')].filter((card) => !card.hidden && !card.closest('.task').hidden)"
    everything = browser.evaluate(f"{shown}.length")
    assert everything == browser.evaluate("document.querySelectorAll('.card').length") > 20

    def choose(name, value):
        select = f"document.querySelector('select[name={name}]')"
        browser.evaluate(f"{select}.value = {value!r}; {select}.dispatchEvent(new Event('change'))")
        return browser.evaluate(f"{shown}.map((card) => [card.dataset.kind, card.dataset.right])")

    assert {kind for kind, _ in choose("chosen", "worst")} == {"worst"}
    wrong = choose("answers", "wrong 0")
    assert 0 < len(wrong) < everything and all("0" not in right.split() for _, right in wrong)
    choose("answers", "")
    (only,) = choose("task", "grounded vqa")
    assert only[0] == "worst"
    assert browser.evaluate("document.querySelector('.task[data-task=\"grounded vqa\"]').open")
    assert browser.evaluate("document.querySelector('#examples-toolbar output').textContent").startswith("1 of ")
    assert browser.evaluate("document.querySelectorAll('.task[data-task=\"grounded vqa\"] .boxes rect').length") > 8
    choose("chosen", "")
    assert len(choose("task", "")) == everything


def test_boxes_lie_on_what_they_show(browser, page):
    """The overlay has the image's place and size, so that boxes in its units are where they should be."""
    browser.open(page, width=PHONE)
    browser.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    place = "((e) => { const r = e.getBoundingClientRect(); return [r.x, r.y, r.width, r.height]; })"
    pairs = f"(svg) => [{place}(svg), {place}(svg.parentElement.querySelector('img'))]"
    places = browser.evaluate(f"[...document.querySelectorAll('.boxes')].map({pairs})")
    assert places
    for overlay, image in places:
        assert overlay == pytest.approx(image, abs=1) and image[3] <= 345


def test_tables_are_sorted_by_a_column(browser, page):
    browser.open(page, width=DESKTOP)
    table = "document.querySelector('table[aria-label=\"Zero-shot results by strategy\"]')"
    column = f"[...{table}.tBodies[0].rows].map((row) => row.cells[1].dataset.key).filter(Boolean).map(Number)"
    before = browser.evaluate(column)
    button = f"{table}.tHead.rows[0].cells[1].querySelector('button')"
    browser.evaluate(f"{button}.click()")
    assert browser.evaluate(column) == sorted(before, reverse=True)
    assert browser.evaluate(f"{table}.tHead.rows[0].cells[1].getAttribute('aria-sort')") == "descending"
    browser.evaluate(f"{button}.click()")
    assert browser.evaluate(column) == sorted(before)
    browser.evaluate(f"{button}.click()")
    assert browser.evaluate(column) == before


def test_it_can_be_read_without_scripts(browser, page):
    browser.open(page, width=PHONE, scripts=False)
    picture = _brightness(browser.call("Page.captureScreenshot", format="png")["data"])
    assert picture.std() > 5
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    assert browser.evaluate("document.querySelector('#examples-toolbar') === null")
    assert browser.evaluate("document.querySelectorAll('th button').length") == 0
    assert browser.evaluate("[...document.querySelectorAll('.card')].every((card) => !card.hidden)")


def test_light_and_dark_have_enough_contrast(browser, page):
    grounds = []
    for dark in (False, True):
        browser.open(page, width=DESKTOP, dark=dark)
        ink, ground = (
            browser.evaluate(f"getComputedStyle(document.querySelector('{where}')).{what}")
            for where, what in (("body", "color"), ("body", "backgroundColor"))
        )
        panel = browser.evaluate("getComputedStyle(document.querySelector('figure')).backgroundColor")
        assert _contrast(ink, ground) > 10
        soft = browser.evaluate("getComputedStyle(document.querySelector('small')).color")
        assert _contrast(soft, panel) > 4.5
        for number in range(6):
            bar = browser.evaluate(
                f"getComputedStyle(document.querySelector('.chart [style*=\"fill: var(--s{number})\"]')).fill"
            )
            assert _contrast(bar, panel) > 3, number
        text = browser.evaluate("getComputedStyle(document.querySelector('.chart text')).fill")
        assert _contrast(text, panel) > 10
        grounds.append(_luminance(ground))
    assert grounds[0] > 0.8 and grounds[1] < 0.05


def _brightness(png):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("L"), dtype=float)


def _luminance(colour):
    """Relative luminance of ``rgb(r, g, b)`` (WCAG 2)."""
    channels = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one, other):
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)
