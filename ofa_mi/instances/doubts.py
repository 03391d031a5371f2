"""Right answers that cannot be what they say: one rule for ``data check`` and for scoring."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from ofa_mi.errors import shown
from ofa_mi.instances.answers import normalise

LEAST = 20  # instances of a task, below which chance may have made it


def repeats(texts: Sequence[str]) -> bool:
    """Whether two of the right answers of an instance are the same by accuracy."""
    return len(texts) > 1 and len(set(map(normalise, texts))) < len(texts)


def doubts(instances: int, answers: Mapping[str, int] | None, repeating: int) -> Iterator[str]:
    """Sentences on a task in an evaluation split, without its name.

    Args:
        instances: Number of its instances.
        answers: Number of instances by right answer, where answers are text; None or empty where they are not known.
        repeating: Number of instances whose references repeat the right answer or one another.
    """
    if instances < LEAST:
        return
    if answers and len(answers) == 1 and sum(answers.values()) == instances:
        (answer,) = answers
        yield (
            f"the right answer of all {instances} instances is {shown(answer)}: these look like dummies, as they stand "
            "in OFA's vqa_test.tsv for answers that are not public, and scores against them compare with nothing"
        )
    if 2 * repeating > instances:
        yield (
            f"the references of {repeating} of {instances} instances repeat the right answer or each other: these look "
            "like the answers of annotators, of which not all are right, so that scores do not compare with others. "
            "They belong into the field answers; data that an earlier version made must be made again"
        )


def count(answers: Sequence[Sequence[str]]) -> tuple[Counter[str], int]:
    """``answers`` and ``repeating`` of :func:`doubts`, from the right answers of every instance, the target's first."""
    return Counter(normalise(texts[0]) for texts in answers if texts), sum(map(repeats, answers))
