"""The page in a real browser, by mouse, finger and keyboard."""

import base64
import io
import threading
import time

import numpy as np
import pytest
from PIL import Image

from ofa_mi.instructions.registry import default_registry
from ofa_mi.serving.answering import Answerer
from ofa_mi.serving.app import application
from tests.browser import Browser, find_browser
from tests.serving.conftest import picture

uvicorn = pytest.importorskip("uvicorn", reason="needs the extra demo")
pytestmark = pytest.mark.skipif(find_browser() is None, reason="needs Chromium")
PHONE, DESKTOP = 390, 1280
READY = "document.documentElement?.dataset.ready === 'true'"
ANSWERED = "document.getElementById('answers').children.length > 0 && !document.getElementById('results').hidden"


@pytest.fixture(scope="module")
def address(predictor, examples):
    app = application(Answerer(predictor), default_registry(), examples, model="small", hosts=["127.0.0.1"])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()
    yield f"http://{host}:{port}/"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def page(browser, address):
    """Opens the page at a width; nothing may fail, or be loaded from elsewhere."""

    def opened(width=DESKTOP, dark=False, task=None):
        browser.open(address, width=width, dark=dark)
        browser.wait(READY)
        if task:
            browser.evaluate(f"$('task').value = '{task}'; $('task').dispatchEvent(new Event('change'))")
            browser.wait("state.example !== null && state.example.task === $('task').value")
        return browser

    yield opened
    failures = [e for e in browser.events if e["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")]
    assert not failures, failures
    urls = [e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    assert all(url.startswith((address, "blob:", "data:")) for url in urls)


def place_on_image(browser, x, y):
    """Where in the window a point of the image is, given as shares of its sides."""
    left, top, width, height = browser.evaluate(
        "(() => { $('image').scrollIntoView({ block: 'center' }); const r = $('image').getBoundingClientRect();"
        " return [r.left, r.top, r.width, r.height]; })()"
    )
    return left + x * width, top + y * height


@pytest.mark.parametrize(("width", "dark"), [(PHONE, False), (PHONE, True), (DESKTOP, False), (DESKTOP, True)])
def test_a_task_is_answered_under_five_instructions_side_by_side(page, width, dark):
    browser = page(width, dark, task="grounded_vqa")
    browser.evaluate("$('ask').click()")
    browser.wait(ANSWERED)
    assert browser.evaluate("$('answers').children.length") == 5
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    tops = browser.evaluate("new Set([...$('answers').children].map((c) => c.getBoundingClientRect().top)).size")
    assert tops == (5 if width == PHONE else 1)
    assert browser.evaluate("document.querySelectorAll('.answer dt').length") == 5 * browser.evaluate(
        "state.answers[0].options.length"
    )
    assert browser.evaluate("$('truth').textContent") == "Right answer: the dashed box"
    assert len(browser.screenshot()) > 10_000


def test_a_region_is_drawn_with_the_mouse(page):
    browser = page(task="grounded_object_identification")
    browser.drag(place_on_image(browser, 0.25, 0.25), place_on_image(browser, 0.75, 0.5))
    browser.wait("regions().length === 1 && state.example === null")
    width, height = browser.evaluate("[state.image.width, state.image.height]")
    box = browser.evaluate("regions()[0]")
    assert box == pytest.approx([width / 4, height / 4, 3 * width / 4, height / 2], abs=1)
    frame = "(() => {{ const r = {}.getBoundingClientRect(); return [r.left, r.top, r.width, r.height]; }})()"
    left, top, width, height = browser.evaluate(frame.format("$('image')"))
    mark = browser.evaluate(frame.format("$('marks').querySelector('rect')"))
    assert mark == pytest.approx([left + width / 4, top + height / 4, width / 2, height / 4], abs=4)


def test_a_region_is_drawn_with_a_finger_where_that_is_asked_for(page):
    browser = page(PHONE, task="grounded_object_identification")
    before = browser.evaluate("regions()")
    browser.call("Emulation.setTouchEmulationEnabled", enabled=True)
    browser.drag(place_on_image(browser, 0.2, 0.2), place_on_image(browser, 0.8, 0.8), finger=True)
    assert browser.evaluate("regions()") == before  # the finger scrolls
    browser.evaluate("$('draw').click()")
    browser.drag(place_on_image(browser, 0.2, 0.2), place_on_image(browser, 0.8, 0.8), finger=True)
    browser.wait("state.example === null")
    browser.call("Emulation.setTouchEmulationEnabled", enabled=False)
    width = browser.evaluate("state.image.width")
    assert browser.evaluate("regions()[0][0]") == pytest.approx(0.2 * width, abs=1)
    assert browser.evaluate("$('draw').getAttribute('aria-pressed')") == "false"


def test_everything_is_reached_by_keyboard(page):
    browser = page(task="grounded_object_identification")
    browser.evaluate("$('add').focus()")
    browser.key(" ")
    assert browser.evaluate("document.activeElement.getAttribute('aria-label')") == "left"
    browser.key("Enter", control=True)
    browser.wait(ANSWERED)
    browser.evaluate("$('answers').children[2].focus()")
    browser.key("Enter")
    assert browser.evaluate("state.selected") == 2
    for _ in range(3):
        browser.key("Tab")
        assert browser.evaluate("document.activeElement !== document.body")


def test_an_own_instruction_with_options_that_are_regions(page):
    browser = page()
    browser.evaluate("document.querySelector('input[value=own]').click()")
    browser.evaluate("$('instruction').value = 'which one is red? {options}'; $('as-option').checked = true")
    browser.evaluate("$('options').value = ''; $('regions').replaceChildren()")
    assert browser.evaluate("[...document.querySelectorAll('[data-input]')].filter((p) => !p.hidden).length") == 2
    for x in (0.1, 0.6):
        browser.drag(place_on_image(browser, x, 0.1), place_on_image(browser, x + 0.3, 0.5))
    assert browser.evaluate("lines($('options').value).map(richText).every(isBox)")
    browser.evaluate("$('form').requestSubmit()")
    browser.wait(ANSWERED)
    assert browser.evaluate("$('answers').children.length") == 1
    assert browser.evaluate("state.answers[0].option_probabilities.length") == 2


def test_where_the_text_looks_is_laid_over_the_image(page):
    browser = page(task="object_recognition")
    browser.evaluate("$('ask').click()")
    browser.wait(ANSWERED)
    browser.evaluate("$('look').click()")
    frame = "['left', 'top', 'width', 'height'].map((side) => Math.round($('{}').getBoundingClientRect()[side]))"
    places = [browser.evaluate(frame.format(name)) for name in ("heat", "image")]
    assert places[0] == pytest.approx(places[1], abs=1)
    assert browser.evaluate("!$('heat').hidden")
    first = browser.evaluate("$('heat').toDataURL()")
    browser.evaluate("$('layer').value = '0'; $('layer').dispatchEvent(new Event('change'))")
    assert browser.evaluate("$('heat').toDataURL()") != first


def test_a_chosen_file_is_sent_as_it_is_and_a_bad_one_is_said(page, tmp_path):
    browser = page(task="object_recognition")
    (tmp_path / "red.png").write_bytes(base64.b64decode(picture((300, 200))))
    (tmp_path / "bad.png").write_bytes(b"no image")
    root = browser.call("DOM.getDocument")["root"]["nodeId"]
    field = browser.call("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
    browser.call("DOM.setFileInputFiles", nodeId=field, files=[str(tmp_path / "red.png")])
    browser.wait("state.image.width === 300 && state.image.height === 200")
    browser.evaluate("$('ask').click()")
    browser.wait(ANSWERED)
    browser.call("DOM.setFileInputFiles", nodeId=field, files=[str(tmp_path / "bad.png")])
    browser.wait("$('status').classList.contains('trouble')")
    assert browser.evaluate("state.image.width") == 300


def test_what_the_server_refuses_is_said(page):
    browser = page(task="object_recognition")
    browser.evaluate("$('question').value = ''; $('ask').click()")
    browser.wait("$('status').classList.contains('trouble')")
    assert "question is missing" in browser.evaluate("$('status').textContent")
    browser.events[:] = [e for e in browser.events if e["method"] != "Log.entryAdded"]  # Chromium logs the status 400


def test_a_text_from_the_server_is_never_markup(page):
    browser = page()
    said = 'instruction: "<b>x</b>", text: "<img src=x onerror=alert(1)>", options: ["<i>"]'
    browser.evaluate(f"showAnswers([{{{said}, boxes: [], option_probabilities: [1]}}], null)")
    assert browser.evaluate("$('answers').querySelector('b, img, i')") is None
    assert "<img" in browser.evaluate("$('answers').textContent")


def test_light_and_dark_differ(page):
    def brightness(dark):
        with Image.open(io.BytesIO(page(dark=dark).screenshot())) as image:
            return np.asarray(image.convert("L"))[:40].mean()

    assert brightness(False) > 200 > 100 > brightness(True)
