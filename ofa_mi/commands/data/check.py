"""``ofa-mi data check``: validate data directories and write their data card.

ofa-mi data check DIR                      findings on the screen, the card in DIR/card
ofa-mi data check DIR DIR --out CARD_DIR   several directories as one data set
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ofa_mi.commands.options import add_instruction_dir, positive_number
from ofa_mi.errors import ConfigError

HELP = "validate data directories and write their data card"
FINDINGS = 1  # exit status


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the sub-command."""
    parser.add_argument("data", nargs="+", metavar="DIR", help="data directories; several are one data set")
    parser.add_argument("--out", metavar="CARD_DIR", help="folder of the card (with one DIR: DIR/card)")
    parser.add_argument(
        "--workers",
        type=positive_number,
        default=len(os.sched_getaffinity(0)),
        metavar="W",
        help="processes; the output does not depend on it",
    )
    add_instruction_dir(parser)
    parser.add_argument(
        "--findings", type=positive_number, default=10, metavar="N", help="print so many findings of a kind"
    )
    parser.add_argument(
        "--examples", type=positive_number, default=2, metavar="N", help="examples of a task in the card"
    )
    parser.add_argument(
        "--guess",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure how far answers can be guessed from options and text",
    )
    parser.add_argument(
        "--guess-instances",
        type=positive_number,
        default=4000,
        metavar="N",
        help="instances of a task that it looks at",
    )


def run(args: argparse.Namespace) -> int:
    """Check; 0 if there is nothing to find, otherwise 1."""
    from ofa_mi.data_prep.check.checking import check
    from ofa_mi.instructions.registry import load_registry

    if args.out is None and len(args.data) > 1:
        raise ConfigError("--out: give the folder of the card, because there are several data directories")
    card_dir = Path(args.out) if args.out else Path(args.data[0]) / "card"
    result = check(
        args.data,
        card_dir,
        load_registry(*args.instruction_dir),
        workers=args.workers,
        keep=args.findings,
        with_guess=args.guess,
        guess_instances=args.guess_instances,
        examples=args.examples,
    )
    for line in summary(result, card_dir):
        print(line)
    return FINDINGS if len(result.findings) else 0


def summary(result: Any, card_dir: Path) -> Iterator[str]:
    """What is printed: findings, counts, shared images, and the table of guesses."""
    from ofa_mi.data_prep.building.output import MANIFEST
    from ofa_mi.data_prep.check.findings import KINDS

    for kind in result.findings.kinds():
        shown = result.findings.of(kind)
        for finding in shown:
            file = result.scan.files[finding.file]
            path = file.directory / MANIFEST if kind == "manifest" else file.path
            yield f"{path}{f':{finding.line}' * bool(finding.line)}: {finding.message}"
        if more := result.findings.counts[kind] - len(shown):
            yield f"… and {more:,} more of this kind: {KINDS[kind]}"
    record = result.record
    if record["guess"]:
        yield from guess_table(record["guess"])
        yield ""
    for split, numbers in record["splits"].items():
        yield f"{split}: {numbers['instances']:,} instances of {numbers['tasks']} task{'s' * (numbers['tasks'] != 1)}"
    images = record["images"]
    shared = images["training_and_evaluation"]
    yield f"images: {images['different']:,} different ones"
    if shared["images"]:
        yield f"images of evaluation tasks: {shared['images']:,}, of which {shared['shared']:,} are also in train"
    if turned := images["turned"]["images"]:
        first = images["turned"]["examples"][0]
        yield (
            f"images with an EXIF orientation, which is not applied: {turned:,}, the first {first['image']} "
            f"({first['line']}); boxes must refer to the stored pixels"
        )
    number = len(result.findings)
    yield f"findings: {number:,}" if number else "findings: none"
    yield f"card: {card_dir / 'card.html'}"


def guess_table(guesses: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """One line per task with options: how far its answers can be guessed without the image, in percent."""
    from ofa_mi.data_prep.check.page import best_text, percent, verdict_text
    from ofa_mi.document.text import aligned

    rows = [
        ("guess without the image", "choices", "chance", "options", "with inputs", "95% of best", "verdict", "best")
    ]
    for guess in guesses:
        by = guess["by"]
        values = [percent(by[way]["value"]) if by else "-" for way in ("options", "options and inputs")]
        interval = "-"
        if by:
            interval = f"{percent(by[guess['best']]['low'])}-{percent(by[guess['best']]['high'])}"
        choices = f"{guess['questions']:,}"
        rows.append(
            (guess["task"], choices, percent(guess["chance"]), *values, interval, verdict_text(guess), best_text(guess))
        )
    yield from (line.rstrip() for line in aligned(rows, range(1, 6)))
