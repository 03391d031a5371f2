"""The report of strategies and ablations: one HTML file that needs nothing else, and its tables as Markdown and CSV.

A report shows what was measured and what it would take to see nothing in it: the chance level and
the majority answer stand beside every score, trained tasks stand apart from zero-shot tasks, the
deviation over seeds stands beside the deviation over instructions, and examples are chosen by rules.
"""

from __future__ import annotations

from pathlib import Path

from ofa_mi.document import html, markdown
from ofa_mi.document.blocks import Block, Heading, Items, Paragraph, figures
from ofa_mi.document.figures import standalone
from ofa_mi.evaluation.report.csv_file import comma_separated
from ofa_mi.evaluation.report.sections import all_sections
from ofa_mi.evaluation.report.study import ReportOptions, Study
from ofa_mi.utils.files import atomic_write

HTML, MARKDOWN, CSV = "index.html", "report.md", "report.csv"


def build_report(options: ReportOptions, out_dir: str | Path) -> Path:
    """Write ``index.html``, ``report.md``, ``report.csv`` and the figures of the Markdown to a directory.

    Returns:
        The page.

    Raises:
        ConfigError: There is nothing to show, a run has not been scored, or runs of a name contradict each other.
        DataError: A file of a run, a log or another file cannot be read.
    """
    out_dir, study = Path(out_dir), Study.read(options)
    blocks: list[Block] = [*map(Paragraph, options.notes), *_sections(study)]
    for figure in figures(blocks):
        atomic_write(out_dir / markdown.PLOTS / f"{figure.name}.svg", standalone(figure).encode())
    atomic_write(out_dir / MARKDOWN, markdown.document(options.title, blocks).encode())
    atomic_write(out_dir / CSV, comma_separated(study).encode())
    atomic_write(out_dir / HTML, html.document(options.title, blocks, browsable=True).encode())
    return out_dir / HTML


def _sections(study: Study) -> list[Block]:
    """All sections that there are data for, and how to get the data of the others."""
    blocks: list[Block] = []
    missing = []
    for section in all_sections():
        if found := section.blocks(study):
            blocks += [Heading(section.title, section.anchor), *found]
        elif section.missing and (study.strategies or not section.of_runs):
            missing.append(f"{section.title}: {section.missing}")
    return [*blocks, Heading("Not in this report", "missing"), Items(tuple(missing))] if missing else blocks
