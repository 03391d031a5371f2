"""The page of a report: style sheet and frame of one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable

# System fonts and inline styles only: the page must look the same without a network.
STYLE = """
:root {
  color-scheme: light dark;
  --ground: #f6f7f9; --panel: #ffffff; --ink: #1c2430; --soft: #5d6877; --line: #dfe3e9;
  --accent: 47, 127, 214; --right: #1d7f54; --wrong: #b3402a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #12161c; --panel: #1b212a; --ink: #e6eaf0; --soft: #9aa6b5; --line: #323b48;
    --accent: 86, 156, 230; --right: #56c796; --wrong: #f08a72;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 1120px; padding: 1.5rem 1.25rem 4rem; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
h1 { font-size: clamp(1.5rem, 5vw, 2.1rem); line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: 1.02rem; margin: 1.5rem 0 .5rem; }
p { margin: .5rem 0; max-width: 46rem; }
small, .remark { color: var(--soft); font-size: .82rem; }
.tiles {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 240px), 1fr)); gap: .75rem; margin: 1.25rem 0;
}
.tile, .panel, .card { background: var(--panel); border: 1px solid var(--line); border-radius: 10px; }
.tile { padding: .75rem 1rem; }
.tile b { display: block; font-size: 1.6rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile span { display: block; color: var(--soft); font-size: .85rem; }
.panel { padding: 1rem; margin: .75rem 0; }
.plots {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); gap: .75rem;
  align-items: start;
}
.plots .panel { margin: 0; }
.plots svg { display: block; width: 100%; max-width: 470px; height: auto; margin: 0 auto; color: var(--ink); }
.scroll {
  overflow-x: auto; background: var(--panel); border: 1px solid var(--line); border-radius: 10px;
  margin: .75rem 0;
}
table {
  border-collapse: separate; border-spacing: 0; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums;
}
th, td { padding: .45rem .75rem; text-align: right; border-top: 1px solid var(--line); vertical-align: top; }
thead th { border-top: 0; color: var(--soft); font-weight: 600; white-space: nowrap; vertical-align: bottom; }
tbody th, thead th:first-child {
  text-align: left; font-weight: 500; position: sticky; left: 0; background: var(--panel); min-width: 8.5rem;
  max-width: 15rem;
}
td small, th small { display: block; font-weight: 400; }
td small { white-space: nowrap; }
td b { font-weight: 500; }
td span { color: var(--soft); white-space: nowrap; }
td.level { color: var(--soft); }
td.best b, tr.total td.best { font-weight: 750; }
tr.total th, tr.total td { font-weight: 600; }
tr.secondary th, tr.secondary td { border-top: 0; padding-top: 0; }
.heat td {
  text-align: center; min-width: 3.1rem; background: rgba(var(--accent), var(--heat)); vertical-align: middle;
}
.heat thead th { text-align: center; }
.heat thead th:first-child { text-align: left; }
.cards {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 245px), 1fr)); gap: .75rem;
  align-items: start;
}
.card { overflow: hidden; font-size: .9rem; }
.card img {
  display: block; width: 100%; height: auto; max-height: 340px; object-fit: contain; background: var(--line);
}
.card dl { margin: 0; padding: .6rem .9rem .9rem; }
.card dt { color: var(--soft); font-size: .78rem; margin-top: .45rem; }
.card dd { margin: 0; overflow-wrap: anywhere; }
.card .prompt { max-height: 9rem; overflow-y: auto; }
.right, .wrong { font-weight: 600; }
.right { color: var(--right); }
.wrong { color: var(--wrong); }
.narrow { display: none; }
@media (max-width: 640px) {
  body { padding: 1rem .9rem 3rem; }
  .panel { padding: .6rem; }
  /* The baselines move under the task's name, so that the runs are seen without scrolling. */
  .level { display: none; }
  small.narrow { display: block; }
  th, td { padding: .4rem .5rem; }
  thead th { white-space: normal; }
  tbody th, thead th:first-child { min-width: 7rem; max-width: 8.5rem; }
  td span { display: block; font-size: .82rem; }
  .heat td { min-width: 2.55rem; padding: .4rem .15rem; font-size: .85rem; }
  .heat tbody th, .heat thead th:first-child { min-width: 6.2rem; max-width: 7.5rem; }
}
"""


def page(title: str, parts: Iterable[str], *, style: str = "", script: str = "") -> str:
    """A complete HTML document.

    Args:
        title: Its title.
        parts: Its content, HTML already.
        style: Added to the style sheet.
        script: Run at the end; the document must be complete without it.
    """
    # The page loads nothing and runs nothing but this script, and this keeps it so whatever text a data set brings.
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy += f"; script-src 'sha256-{digest}'"
    return (
        "<!DOCTYPE html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        f"<meta http-equiv='Content-Security-Policy' content=\"{policy}\">\n"
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + (f"\n<script>{script}</script>" if script else "")
        + "\n</body>\n</html>\n"
    )


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{html.escape(text)}</p>"


def panel(content: str) -> str:
    """A framed block."""
    return f"<div class='panel'>{content}</div>"
