"""The report of strategies and ablations: one HTML file that needs nothing else, and its tables as Markdown and CSV.

A report shows what was measured and what it would take to see nothing in it: the chance level and
the majority answer stand beside every score, trained tasks stand apart from zero-shot tasks, the
deviation over seeds stands beside the deviation over instructions, and examples are chosen by rules.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ofa_mi.document.page import page
from ofa_mi.errors import ConfigError
from ofa_mi.evaluation.formats import read_comparison
from ofa_mi.evaluation.report import analysis, sections
from ofa_mi.evaluation.report.attention import attention, read_attention
from ofa_mi.evaluation.report.blocks import PLOTS, Block, Heading, Items, Paragraph, Raw, figures, to_html, to_markdown
from ofa_mi.evaluation.report.charts import standalone
from ofa_mi.evaluation.report.csv_file import comma_separated
from ofa_mi.evaluation.report.examples import RULE, choose_examples, examples_html, examples_markdown
from ofa_mi.evaluation.report.study import Strategy, read_curves, read_strategies
from ofa_mi.evaluation.report.style import SCRIPT, STYLE
from ofa_mi.utils.files import atomic_write

HTML, MARKDOWN, CSV = "index.html", "report.md", "report.csv"


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What a report is made of; everything but the runs or an ablation may be missing.

    Attributes:
        runs: Name of the strategy and directory of every run, as :func:`study.read_strategies` takes them.
        ablations: Name of the curve, place on it, and directory of a run.
        published: Whether the paper's rows stand beside.
        attention: Files of ``ofa-mi attention``.
        comparisons: Files of ``ofa-mi compare``.
        logs: Name and log of ``fairseq-train --log-format json``; several of a name are its seeds.
        title: Heading.
        notes: Paragraphs of plain text under the heading.
        examples: So many of each kind per task.
    """

    runs: Sequence[tuple[str, str | Path]] = ()
    ablations: Sequence[tuple[str, str, str | Path]] = ()
    published: bool = False
    attention: Sequence[str | Path] = ()
    comparisons: Sequence[str | Path] = ()
    logs: Sequence[tuple[str, str | Path]] = ()
    title: str = "Evaluation report"
    notes: Sequence[str] = field(default=())
    examples: int = 2


def build_report(options: ReportOptions, out_dir: str | Path) -> Path:
    """Write ``index.html``, ``report.md``, ``report.csv`` and the figures of the Markdown to a directory.

    Returns:
        The page.

    Raises:
        ConfigError: There is nothing to show, a run has not been scored, or runs of a name contradict each other.
        DataError: A file of a run, a log or another file cannot be read.
    """
    if not (options.runs or options.ablations or options.attention):
        raise ConfigError("a report needs at least one run, --ablation or --attention")
    out_dir = Path(out_dir)
    strategies, curves = read_strategies(options.runs), read_curves(options.ablations)
    paper = sections.paper_rows(options.published)
    blocks: list[Block] = [Paragraph(note) for note in options.notes]
    for title, anchor, found, how in _parts(options, strategies, curves, paper):
        if found:
            blocks += found if isinstance(found[0], Heading) and found[0].anchor else [Heading(title, anchor), *found]
        elif how:
            blocks.append(_Missing(title, how))
    missing = tuple(f"{block.title}: {block.how}" for block in blocks if isinstance(block, _Missing))
    blocks = [block for block in blocks if not isinstance(block, _Missing)]
    if missing:
        blocks += [Heading("Not in this report", "missing"), Items(missing)]
    for figure in figures(blocks):
        atomic_write(out_dir / PLOTS / f"{figure.name}.svg", standalone(figure.svg).encode())
    markdown = "\n\n".join([f"# {options.title}", *map(to_markdown, blocks)])
    atomic_write(out_dir / MARKDOWN, f"{markdown}\n".encode())
    atomic_write(out_dir / CSV, comma_separated(strategies, curves, paper).encode())
    parts = [f"<h1>{html.escape(options.title)}</h1>", _contents(blocks), *map(to_html, blocks)]
    atomic_write(out_dir / HTML, page(options.title, parts, style=STYLE, script=SCRIPT).encode())
    return out_dir / HTML


@dataclass(frozen=True, slots=True)
class _Missing:
    """A section that there are no data for, and how to get them."""

    title: str
    how: str


def _parts(options: ReportOptions, strategies, curves, paper):
    """Heading, anchor, blocks and how to get the data of every section, in order."""
    names = {str(run.directory.resolve()): strategy.name for strategy in strategies for run in strategy.runs}
    compared = [read_comparison(Path(path)) for path in options.comparisons]
    logs = [(name, Path(path)) for name, path in options.logs]
    certain = [
        *sections.seeds(strategies),
        *analysis.confidence(strategies),
        *analysis.comparisons(compared, names),
    ]
    yield "Results", "results", [*_results(strategies, paper)], "" if strategies else "give runs as NAME=DIR"
    yield (
        "Seeds and significance",
        "seeds",
        certain,
        "give several seeds of a strategy (the same NAME for each run), or --compare FILE of `ofa-mi compare`",
    )
    yield "Sensitivity to the wording", "sensitivity", sections.sensitivity(strategies, paper), ""
    yield "Ablations", "ablations", sections.ablations(curves, options.published), "give --ablation CURVE=X:DIR"
    how = "evaluate every task under several instructions"
    yield "By instruction", "instructions", sections.instructions(strategies), how if strategies else ""
    yield (
        "What the image contributes, and robustness",
        "robustness",
        analysis.robustness(strategies),
        "run `ofa-mi evaluate` with --image none or --perturb, and give the run under the same NAME",
    )
    analyses = [read_attention(Path(path)) for path in options.attention]
    found = attention(analyses, [strategy.name for strategy in strategies])
    yield "Attention", "attention", found, "run `ofa-mi attention`, and give its file by --attention"
    yield "Training", "training", sections.training(logs), "give --log NAME=FILE of fairseq-train --log-format json"
    yield "Examples", "examples", _examples(strategies, options.examples), "--examples 0" if strategies else ""
    yield "Settings and versions", "settings", sections.settings(strategies, curves), ""
    yield "What does not compare", "caveats", sections.caveats(strategies, curves, options.published), ""


def _results(strategies, paper) -> list[Block]:
    if not strategies and not paper:
        return []
    return [*sections.results(strategies, paper), *analysis.subsets(strategies)]


def _examples(strategies: Sequence[Strategy], count: int) -> list[Block]:
    """Cards on the page, and the same as text."""
    examples = choose_examples(strategies, count=count)
    if not examples:
        return []
    names = [strategy.name for strategy in strategies]
    cards = examples_html(examples, names).replace(
        "<div id='examples-list'>", f"<div id='examples-list' data-strategies='{html.escape(json.dumps(names))}'>", 1
    )
    return [
        Paragraph(RULE.format(count=count)),
        Paragraph(
            "On the images: what a strategy answered in its colour, the truth dashed in white, regions of the prompt "
            "in yellow, other options in grey with their number. Point at an answer to see its box alone."
        ),
        Raw(cards, examples_markdown(examples)),
    ]


def _contents(blocks: Sequence[Block]) -> str:
    links = "".join(
        f"<a href='#{block.anchor}'>{html.escape(block.text)}</a>"
        for block in blocks
        if isinstance(block, Heading) and block.anchor
    )
    return f"<nav aria-label='Contents'>{links}</nav>"
