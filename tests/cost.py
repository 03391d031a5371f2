"""What four computations cost as they were and as they are, in processor time of the same run.

    python -m tests.cost                        # all: three minutes of processor time, most of it for what was before
    python -m tests.cost rouge majority         # some: lint, rouge, majority, lengths

Both ways must give the same values, or it stops. The lines that it prints are those of the table in
docs/reliability.md.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from rouge_score.rouge_scorer import RougeScorer

from ofa_mi.data.encoding import Answer
from ofa_mi.data.lengths import count_all
from ofa_mi.data.vocabulary import Vocabulary
from ofa_mi.evaluation import metrics
from ofa_mi.evaluation.metrics import Truth, score_answer
from ofa_mi.evaluation.metrics.rouge import rouge_l_f, tokenize
from ofa_mi.evaluation.scoring.scores import majority_level
from ofa_mi.instances.store import InstanceStore
from ofa_mi.instructions import lint as linter
from ofa_mi.instructions.likeness import words
from ofa_mi.instructions.lint import lint
from ofa_mi.instructions.registry import default_registry
from tests.instructions import plain_lint

SEED = 1
LINE = "| {name} | {before} | {after} |"
Row = tuple[str, float | None, float]  # what it is, seconds before (None if that takes too long), seconds now
# Tasks, instructions of each, and whether all pairs are measured, too.
LAYOUTS = ((2000, 5, True), (62, 161, True), (1, 10_000, False))


def processor_seconds(function: Callable[[], Any], workers: int = 1) -> tuple[float, Any]:
    """Processor time of this process and of one of its workers, and the result."""

    def used() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + (children.ru_utime + children.ru_stime) / workers

    start = used()
    result = function()
    return used() - start, result


def compared(name: str, before: Callable[[], Any] | None, after: Callable[[], Any], workers: int = 1) -> Row:
    """Both ways, whose results must be equal."""
    now, result = processor_seconds(after, workers)
    if before is None:
        return name, None, now
    then, expected = processor_seconds(before)
    assert result == expected, name
    return name, then, now


def measure_lint(folder: Path) -> Iterator[Row]:
    """Instructions of the packaged ones' words, as frequent and as many as there."""
    rng = random.Random(SEED)
    shipped = [words(text) for task in default_registry().values() for text in task.instructions]
    pool, lengths = [word for text in shipped for word in text], list(map(len, shipped))
    fields = {"description": "A task.", "split": "train", "sources": ["None"], "inputs": [], "output": "text"}
    fields |= {"metrics": ["accuracy"], "version": 1, "example": {"target_txt": "so"}, "text_only": True}
    for tasks, each, affordable in LAYOUTS:
        made = {
            f"task_{number}": fields
            | {"instructions": [" ".join(rng.choices(pool, k=rng.choice(lengths))).capitalize() for _ in range(each)]}
            for number in range(tasks)
        }
        directory = folder / f"{tasks}x{each}"
        directory.mkdir()
        (directory / "tasks.yaml").write_text(json.dumps({"group": "made", "tasks": made}), encoding="utf-8")
        name = f"`ofa-mi lint`, instructions: {tasks:,} x {each:,}"
        yield compared(
            name, (lambda of=directory: lint_plainly(of)) if affordable else None, lambda of=directory: lint(of)
        )


def lint_plainly(directory: Path) -> list[linter.Finding]:
    """The findings by all pairs."""
    plain = {"_alike_within": plain_lint.alike_within, "alike_across_tasks": plain_lint.alike_across_tasks}
    with mock.patch.multiple(linter, **plain):
        return lint(directory)


def measure_rouge(folder: Path) -> Iterator[Row]:
    """Two long texts."""
    first, second = long_texts(2, 4000)
    rouge_l_f("a", "b")  # imports the stemmer
    yield compared(
        "ROUGE-L of two texts of 4,000 words", lambda: plain_rouge(first, second), lambda: rouge_l_f(first, second)
    )


def measure_majority(folder: Path) -> Iterator[Row]:
    """Level of the majority answer of instances with long references, all of them different."""
    truths = [Truth((text,)) for text in long_texts(200, 400)]
    score_answer("rouge_l", Answer("a"), Truth(("b",)))  # imports the stemmer
    with mock.patch.object(metrics, "rouge_l_f", plain_rouge):
        then, expected = processor_seconds(lambda: majority_level("rouge_l", truths))
    now, value = processor_seconds(lambda: majority_level("rouge_l", truths))
    assert value == expected
    yield "majority level of ROUGE-L, 200 references of 400 words", then, now


def plain_rouge(prediction: str, reference: str) -> float:
    """By the table of rouge-score."""
    if prediction == reference:
        return 1.0
    scorer = RougeScorer(["rougeL"], tokenizer=SimpleNamespace(tokenize=tokenize))
    return scorer.score(reference, prediction)["rougeL"].fmeasure


def long_texts(count: int, length: int) -> list[str]:
    """Texts of a number of words, drawn from 3,000 by Zipf's law."""
    rng = random.Random(SEED)
    lexicon = ["".join(rng.choices("abcdefghijklmnoprstuvw", k=rng.randint(2, 9))) for _ in range(3000)]
    weights = [1 / rank for rank in range(1, len(lexicon) + 1)]
    return [" ".join(rng.choices(lexicon, weights, k=length)) for _ in range(count)]


def measure_lengths(folder: Path) -> Iterator[Row]:
    """Tokens of 100,000 instances with a question, a text and four options: 65 words or so."""
    vocabulary, path = Vocabulary.load(), folder / "train.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number, text in enumerate(long_texts(100_000, 65)):
            said = text.split(" ")
            record = {"question": said[:12], "text": said[12:52], "target_txt": said[60:]}
            record = {name: " ".join(value) for name, value in record.items()} | {"options": said[52:60]}
            file.write(json.dumps({"unique_id": str(number), "task_name": "made", **record}) + "\n")

    def lengths(workers: int) -> list[list[int]]:
        store = InstanceStore(path, workers=workers)
        return count_all(store, vocabulary).tolist()

    InstanceStore(path)  # makes the index, once
    name = "token lengths of 100,000 instances, 1 worker and 2, processor time of one"
    yield compared(name, lambda: lengths(1), lambda: lengths(2), workers=2)


MEASUREMENTS = {"lint": measure_lint, "rouge": measure_rouge, "majority": measure_majority, "lengths": measure_lengths}


def main() -> None:
    """Print the table of the measurements that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*MEASUREMENTS, []], help="what to measure; by default all")
    print(LINE.format(name="what", before="before, s", after="now, s"))
    print("|---|---:|---:|")
    for name in parser.parse_args().names or MEASUREMENTS:
        with tempfile.TemporaryDirectory() as folder:
            for row, before, after in MEASUREMENTS[name](Path(folder)):
                then = "not measured" if before is None else f"{before:.2f}"
                print(LINE.format(name=row, before=then, after=f"{after:.2f}"), flush=True)


if __name__ == "__main__":
    main()
