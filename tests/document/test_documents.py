"""A document as HTML and as Markdown: the same text in both, and nothing of it is markup."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ofa_mi import document
from ofa_mi.document import html, markdown
from ofa_mi.document.blocks import (
    Bar,
    BarChart,
    Cell,
    Figure,
    Heading,
    Items,
    Paragraph,
    Picture,
    Pictures,
    Row,
    Side,
    Table,
    Tiles,
    figures,
    shares,
    words,
)
from ofa_mi.document.pictures import small_jpeg
from ofa_mi.document.text import shortened

HARMFUL = "<img src=x onerror=alert(1)>' \" & |*_`x`"
FIGURE = Figure("a", HARMFUL, BarChart((Bar(HARMFUL, 1.0),)))
TABLE = Table(HARMFUL, (f"{HARMFUL}\n{HARMFUL}", HARMFUL), (Row((Cell(HARMFUL), Cell(HARMFUL, HARMFUL, (HARMFUL,)))),))
BLOCKS = (
    *(Heading(HARMFUL), Heading(HARMFUL, "anchor"), Paragraph(HARMFUL), Paragraph(HARMFUL, remark=True)),
    *(Items((HARMFUL,)), Items((HARMFUL,), verbatim=True), Tiles(((HARMFUL, HARMFUL, HARMFUL),)), TABLE, FIGURE),
    Table(HARMFUL, ("a", "b"), (Row((Cell("c"), shares(((HARMFUL, 0.5),), HARMFUL))),), folded=HARMFUL),
    *(Pictures((Picture(HARMFUL, "p/a.jpg", b"jpeg", ((HARMFUL, HARMFUL),)),)), Side((FIGURE,))),
)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: type(block).__name__)
def test_text_is_never_markup(block):
    page, text = html.to_html(block), markdown.to_markdown(block)
    assert "&lt;img src=x onerror=alert(1)&gt;" in page and "onerror=alert(1)>" not in page
    assert "<img" not in re.sub(r"<img src='data:image/jpeg;base64,\w+=*' alt='p/a.jpg'>", "", page)
    for value in re.findall(r"='([^']*)'", page):
        assert not re.search(r"[<>]", value)
    assert "<img" not in text and r"\|\*\_" in text


def test_a_page_is_complete_and_runs_only_its_own_script():
    plain, browsable = (html.document("T & T", BLOCKS, browsable=browsable) for browsable in (False, True))
    for page in (plain, browsable):
        assert "<title>T &amp; T</title>" in page and "<h1>T &amp; T</h1>" in page and "default-src 'none'" in page
        assert not re.search(r"https?://(?!www\.w3\.org/)", page) and "@import" not in page and "url(" not in page
    assert "<script" not in plain and "script-src" not in plain and "<nav" not in plain
    assert browsable.count("<script>") == 1 and "script-src 'sha256-" in browsable
    assert browsable.count("<a href='#anchor'>") == 1 and browsable.count("<a ") == 1


def test_a_table_as_markdown_and_html():
    row = Row((Cell("a|b", below=("small",)), Cell("3", kind="warn"), shares((("yes", 0.25),), "1 more")))
    table = Table("n", ("Task", "n", "x"), (row,))
    text = markdown.document("T_1", [Paragraph("x < `y_1`"), table])
    assert text.startswith("# T\\_1\n\nx &lt; `y_1`\n\n| Task | n | x |\n| --- | ---: | --- |\n")
    assert "| a\\|b (small) | **3** | yes 25.0% · 1 more |" in text
    page = html.to_html(table)
    assert "<th scope='row'>a|b<small>small</small></th><td class='warn'><b>3</b></td>" in page
    assert "width:25.0%" in page and "<th scope='col'>n</th><th scope='col' class='words'>x</th>" in page
    assert "tabindex='0' aria-label='n'" in page, "it scrolls, so the keyboard must reach it"
    assert markdown.escape("[a](b) `c`\n#") == r"\[a\](b) \`c\` \#"


def test_cells_say_on_which_side_they_stand_and_what_is_to_be_seen():
    assert words("a", "b").is_left and not Cell("1").is_left
    assert Cell("1", kind="words fine").is_bold and not Cell("1", kind="soft").is_bold
    assert Cell("1.0", "± 2", ("max 3",)).line == "1.0 ± 2 (max 3)"
    rows = Table("t", ("a", "b"), ())
    assert rows.left == (True, False) and markdown.to_markdown(rows) == "| a | b |\n| --- | ---: |"


def test_the_package_knows_nothing_of_what_it_shows():
    for path in Path(document.__file__).parent.glob("*.py"):
        found = re.findall(r"^\s*(?:from|import) (ofa_mi\S*)", path.read_text(), re.MULTILINE)
        assert all(re.match(r"ofa_mi\.(document|errors|geometry|utils)\b", name) for name in found), path.name


def test_figures_are_found_wherever_they_stand():
    assert figures(BLOCKS) == [FIGURE, FIGURE]
    assert "](plots/a.svg)" in markdown.to_markdown(FIGURE)


def test_verbatim_lines_are_no_prose():
    for verbatim, code in ((False, "<code>x</code>"), (True, "`x`")):
        assert code in html.to_html(Items(("`x`",), verbatim))
    assert markdown.to_markdown(Items(("`x_y`",), verbatim=True)) == r"- \`x\_y\`"


def test_long_text_is_shortened():
    assert (
        shortened("a  b\nc", 9) == "a b c"
        and shortened("abc defg", 5) == "abc…"
        and shortened("a\x07b", 3) == "a\ufffdb"
    )


def test_pictures_become_smaller_until_they_fit():
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (300, 400, 3), dtype=np.uint8))
    jpeg = small_jpeg(noise, (200, 200), 5000)
    assert len(jpeg) <= 5000 and Image.open(io.BytesIO(jpeg)).width < 200 and noise.size == (400, 300)
    assert Image.open(io.BytesIO(small_jpeg(noise, (200, 200), 10**6))).size == (200, 150)
