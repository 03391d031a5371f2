"""Lengths in tokens of all instances of a file, counted once for each vocabulary."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ofa_mi.data.encoding import REGION_TOKENS
from ofa_mi.data.vocabulary import Vocabulary
from ofa_mi.geometry import Box
from ofa_mi.instances.instance import Instance, Text
from ofa_mi.instances.lines import LARGE_FILE
from ofa_mi.instances.store import LineStore
from ofa_mi.instructions.prompt import OPTION_SEPARATOR, OPTIONS_MARKER
from ofa_mi.utils.parallel import choose_workers, ordered_map
from ofa_mi.utils.progress import progress_bar

CHUNK_ROWS = 1 << 11  # instances whose tokens are counted by one worker at a time
MANY_ROWS = 1 << 14  # instances from which worker processes and a progress bar pay


def token_lengths(
    store: LineStore, vocabulary: Vocabulary, *, text_case: str = "lower"
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of each instance's source fields and of its target with ``</s>``, int32 ``(len(store),)`` each.

    All fields that an instruction can mention are counted, without the instruction itself.
    Computed once for each vocabulary and case.

    Args:
        store: The instances.
        vocabulary: Token ids.
        text_case: ``lower`` to count the text in lower case, or ``keep``.
    """
    suffix = f"lengths-{vocabulary.key[:16]}" + ("" if text_case == "lower" else f"-{text_case}")
    (source, target), _ = store.sidecar(suffix, dtype=np.int32, key=vocabulary.key).read_or_make(
        lambda: (count_all(store, vocabulary, text_case), {}), lambda counts, _: counts.shape == (2, len(store))
    )
    return source, target


def count_all(store: LineStore, vocabulary: Vocabulary, text_case: str = "lower") -> np.ndarray:
    """Source and target tokens of every instance, int32 ``(2, len(store))``."""

    def count(start: int) -> np.ndarray:
        instances = (store[i] for i in range(start, min(start + CHUNK_ROWS, len(store))))
        return np.array([count_tokens(instance, vocabulary, text_case) for instance in instances], dtype=np.int32)

    many = len(store) >= MANY_ROWS or store.path.stat().st_size >= LARGE_FILE
    starts = range(0, len(store), CHUNK_ROWS)
    counts = ordered_map(count, starts, choose_workers(store.workers, pays=many))
    parts = list(progress_bar(counts, desc=f"count tokens of {store.path}", total=len(starts), unit="parts", show=many))
    return np.concatenate([np.empty((0, 2), dtype=np.int32), *parts]).T.copy()  # len, 2 -> 2, len


def count_tokens(instance: Instance, vocabulary: Vocabulary, text_case: str = "lower") -> tuple[int, int]:
    """Tokens of an instance's source fields, and of its target with ``</s>``."""

    def tokens(texts: Iterable[Text]) -> int:
        return sum(piece_tokens(piece) for text in texts for piece in text)

    def piece_tokens(piece: str | Box) -> int:
        if not isinstance(piece, str):
            return REGION_TOKENS
        words = " ".join(piece.split())
        return len(vocabulary.encode(" " + (words.lower() if text_case == "lower" else words)))

    source = tokens([instance.question, instance.text, *instance.context, instance.regions])
    if instance.options is not None:
        separators = len(vocabulary.encode(OPTION_SEPARATOR)) * max(len(instance.options) - 1, 0)
        source += len(vocabulary.encode(f" {OPTIONS_MARKER}")) + separators + tokens(instance.options)
    if instance.target_set is None:
        return source, tokens([instance.target]) + 1
    separators = len(vocabulary.encode(OPTION_SEPARATOR)) * max(len(instance.target_set) - 1, 0)
    return source, tokens(instance.target_set) + separators + 1
