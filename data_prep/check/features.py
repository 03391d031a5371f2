"""What a guess can go by: features of each option, made from options, texts and boxes, never from the image.

Two blocks are made. ``options`` looks at nothing but the options of an instance; ``inputs`` relates them to the
question, the text, the context and the regions. Words are hashed (feature hashing, Weinberger et al., 2009). A feature
that is equal for all options of an instance cannot change a choice, so texts only count together with an option.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import sparse

from ofa_mi.geometry import Box, iou
from ofa_mi.instances.instance import Text

BUCKETS = 1 << 20  # of the hashed features
TEXT_WORDS = 40  # of the texts of an instance, the first ones and the last ones
OPTION_WORDS = 8  # of an option, in pairs with words of the texts
_WORD = re.compile(r"\w+|[^\w\s]")
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Question:
    """One choice among options.

    Attributes:
        options: What can be chosen.
        answer: Place of the right option.
        texts: Question, text and context.
        regions: Input regions.
        size: Width and height of the image; (1, 1) without one.
        group: Hash of the image's content, or of the id without one: questions of one group are never on both sides.
    """

    options: tuple[Text, ...]
    answer: int
    texts: tuple[Text, ...]
    regions: tuple[Box, ...]
    size: tuple[int, int]
    group: int


@dataclass(frozen=True, slots=True)
class Features:
    """Features of all options of some questions, one row an option.

    Attributes:
        options: Features of the options alone, CSR ``(options, columns)``.
        inputs: Features that relate them to the inputs, CSR ``(options, columns)``.
        quantities: Measures by name, float64 ``(options,)`` each; what simple rules go by.
        starts: First row of each question.
        answers: Row of each right option.
    """

    options: sparse.csr_matrix
    inputs: sparse.csr_matrix
    quantities: dict[str, np.ndarray]
    starts: np.ndarray
    answers: np.ndarray


def make_features(questions: Sequence[Question]) -> Features:
    """Features of the options of at least one question."""
    sizes = np.array([len(question.options) for question in questions])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    builders = {"options": _Rows(), "inputs": _Rows()}
    measures: list[dict[str, list[float]]] = []
    for question in questions:
        described = _Described(question)
        measures.append(described.quantities)
        described.add_rows(builders["options"], builders["inputs"])
    names = sorted({name for measured in measures for name in measured})
    quantities = {
        name: np.concatenate(
            [np.array(m.get(name, [0.0] * n), dtype=np.float64) for m, n in zip(measures, sizes, strict=True)]
        )
        for name in names
    }
    of_options = [name for name in names if name not in _RELATIONS]
    return Features(
        options=_joined(builders["options"], [quantities[name] for name in of_options], starts),
        inputs=_joined(builders["inputs"], [quantities[name] for name in names if name in _RELATIONS], starts),
        quantities=quantities,
        starts=starts,
        answers=starts + np.array([question.answer for question in questions]),
    )


# Quantities that relate an option to the inputs; all others are of the options alone.
_RELATIONS = frozenset(
    {"words in the text", "share of words in the text", "overlap with a region", "distance to a region"}
)


class _Described:
    """The words, boxes and measures of one question."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.keys = [_key(option) for option in question.options]
        self.words = [_words(option) for option in question.options]
        self.boxes = [_scaled(option, question.size) for option in question.options]
        self.regions = [_relative(box, question.size) for box in question.regions]
        self.text = [word for text in question.texts for word in _words(text)]
        self.quantities = {}
        if any(self.words):
            self._measure_words()
        if any(box is not None for box in self.boxes):
            self._measure_boxes()

    def _measure_words(self) -> None:
        text = set(self.text)
        sets = [set(words) for words in self.words]
        shared = [len(words & text) for words in sets]
        self.quantities |= {
            "characters": [float(sum(map(len, words))) for words in self.words],
            "words": [float(len(words)) for words in self.words],
            "similarity to the other options": _mean_of_others(sets, _jaccard),
        }
        if self.question.texts:
            self.quantities |= {
                "words in the text": list(map(float, shared)),
                "share of words in the text": [n / max(len(words), 1) for n, words in zip(shared, sets, strict=True)],
            }

    def _measure_boxes(self) -> None:
        boxes = [box or (0.0, 0.0, 0.0, 0.0) for box in self.boxes]
        centres = [((x0 + x1) / 2, (y0 + y1) / 2) for x0, y0, x1, y1 in boxes]
        self.quantities |= {
            "area": [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes],
            "width": [x1 - x0 for x0, _, x1, _ in boxes],
            "height": [y1 - y0 for _, y0, _, y1 in boxes],
            "proportion": [math.log(max(x1 - x0, 1e-6) / max(y1 - y0, 1e-6)) for x0, y0, x1, y1 in boxes],
            "x": [x for x, _ in centres],
            "y": [y for _, y in centres],
            "distance to the middle": [math.dist(centre, (0.5, 0.5)) for centre in centres],
            "distance to the edge": [min(x0, y0, 1 - x1, 1 - y1) for x0, y0, x1, y1 in boxes],
            "overlap with other options": _mean_of_others(boxes, iou),
        }
        if self.regions:
            middles = [((x0 + x1) / 2, (y0 + y1) / 2) for x0, y0, x1, y1 in self.regions]
            self.quantities |= {
                "overlap with a region": [max(iou(box, region) for region in self.regions) for box in boxes],
                "distance to a region": [min(math.dist(centre, middle) for middle in middles) for centre in centres],
            }

    def add_rows(self, options: _Rows, inputs: _Rows) -> None:
        """Add the hashed features of each option to the two blocks."""
        number = len(self.keys)
        words = (
            self.text if len(self.text) <= TEXT_WORDS else self.text[: TEXT_WORDS // 2] + self.text[-TEXT_WORDS // 2 :]
        )
        unigrams = [_hash(word) for word in dict.fromkeys(words)]
        bigrams = [_pair(_hash(a), _hash(b)) for a, b in zip(["^", *words], [*words, "$"], strict=True)]
        geometry = [_hash(text) for text in _region_bins(self.regions)]
        ranks = {name: _centred_ranks(values) for name, values in self.quantities.items() if name in _WITH_WORDS}
        for place, (key, own) in enumerate(zip(self.keys, self.words, strict=True)):
            label = _hash(f"={key}")
            mine = [_hash(word) for word in dict.fromkeys(own)][:OPTION_WORDS]
            options.begin()
            options.add([_hash(f"place {place} of {number}")], 1.0)
            if own:
                options.add([label], 1.0)
                options.add([_pair(7, word) for word in mine], 1 / math.sqrt(len(mine)))
            inputs.begin()
            if own:
                pairs = [_pair(label, word) for word in (*unigrams, *bigrams)]
                inputs.add(pairs, 1 / math.sqrt(len(pairs)))
                crossed = [_pair(_pair(11, word), other) for word in mine for other in unigrams]
                inputs.add(crossed, 1 / math.sqrt(max(len(crossed), 1)))
                inputs.add([_pair(label, bin_) for bin_ in geometry], 1.0)
                inputs.add([_pair(13 * bin_, word) for bin_ in geometry for word in mine], 1 / math.sqrt(len(mine)))
            for name, rank in ranks.items():
                inputs.add(
                    [_pair(_hash(name), word) for word in unigrams], rank[place] / math.sqrt(max(len(unigrams), 1))
                )


# Measures of boxes that words speak of: "the left one", "the big one", "sky".
_WITH_WORDS = frozenset({"area", "x", "y", "proportion", "distance to the middle"})


class _Rows:
    """Builds a sparse matrix row by row."""

    def __init__(self) -> None:
        self.columns: list[int] = []
        self.values: list[float] = []
        self.starts: list[int] = []

    def begin(self) -> None:
        self.starts.append(len(self.columns))

    def add(self, hashes: Sequence[int], value: float) -> None:
        if value:
            self.columns += [number % BUCKETS for number in hashes]
            self.values += [value] * len(hashes)

    def matrix(self) -> sparse.csr_matrix:
        """``(rows, columns)``; a column that only one option has is left out, since nothing can be learnt from it."""
        numbers, values = np.array(self.columns, np.int64), np.array(self.values, np.float64)
        _, places, uses = np.unique(numbers, return_inverse=True, return_counts=True)
        kept = np.flatnonzero(uses[places] > 1)
        numbered = np.cumsum(uses > 1) - 1
        bounds = np.searchsorted(kept, [*self.starts, len(numbers)])
        shape = (len(self.starts), max(int((uses > 1).sum()), 1))
        return sparse.csr_matrix((values[kept], numbered[places[kept]], bounds), shape=shape)


def _joined(rows: _Rows, quantities: Sequence[np.ndarray], starts: np.ndarray) -> sparse.csr_matrix:
    """Hashed features, and for every measure its value and its rank among the options."""
    columns = [column for values in quantities for column in _standing(values, starts)]
    dense = [sparse.csr_matrix(np.stack(columns, axis=1))] if columns else []
    return sparse.hstack([rows.matrix(), *dense], format="csr")


def _standing(values: np.ndarray, starts: np.ndarray) -> list[np.ndarray]:
    """Standardised value, and whether it is the largest or the smallest of its question (shared among equals)."""
    sizes = np.diff([*starts, len(values)])
    spread = values.std()
    columns = [(values - values.mean()) / spread if spread > 0 else np.zeros_like(values)]
    for sign in (1, -1):
        best = np.maximum.reduceat(sign * values, starts)
        is_best = (sign * values == np.repeat(best, sizes)).astype(np.float64)
        columns.append(is_best / np.repeat(np.add.reduceat(is_best, starts), sizes))
    return columns


def _centred_ranks(values: Sequence[float]) -> list[float]:
    """Rank of each value from -1 (smallest) to 1; equal ones share the middle of theirs."""
    if len(values) < 2:
        return [0.0] * len(values)
    return [sum((v > w) - (v < w) for w in values) / (len(values) - 1) for v in values]


def _mean_of_others(items: Sequence, similarity) -> list[float]:
    """Mean similarity of each item to the others."""
    pairs = {(i, j): similarity(items[i], items[j]) for i in range(len(items)) for j in range(i)}
    others = max(len(items) - 1, 1)
    return [sum(pairs[max(i, j), min(i, j)] for j in range(len(items)) if j != i) / others for i in range(len(items))]


def _jaccard(first: set, second: set) -> float:
    return len(first & second) / max(len(first | second), 1)


def _region_bins(regions: Sequence[Box]) -> list[str]:
    """Coarse descriptions of the input regions and of how two of them lie."""
    bins = [f"regions {len(regions)}"] if regions else []
    for number, (x0, y0, x1, y1) in enumerate(regions[:2]):
        area = math.log2(max((x1 - x0) * (y1 - y0), 1e-6))
        shape = math.log2(max(x1 - x0, 1e-6) / max(y1 - y0, 1e-6))
        bins += [
            f"{number} area {area // 1}",
            f"{number} shape {shape // 0.5}",
            f"{number} x {(x0 + x1) * 2.5 // 1}",
            f"{number} y {(y0 + y1) * 2.5 // 1}",
        ]
    if len(regions) == 2:
        first, second = regions
        areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in regions]
        ratio = abs(math.log2(max(areas[0], 1e-6) / max(areas[1], 1e-6)))
        shapes = [math.log2(max(x1 - x0, 1e-6) / max(y1 - y0, 1e-6)) for x0, y0, x1, y1 in regions]
        apart = math.dist(*(((x0 + x1) / 2, (y0 + y1) / 2) for x0, y0, x1, y1 in regions))
        bins += [
            f"iou {math.ceil(iou(first, second) * 10)}",
            f"ratio {ratio // 0.5}",
            f"shapes {abs(shapes[0] - shapes[1]) // 0.25}",
            f"apart {apart * 10 // 1}",
        ]
    return bins


def _key(option: Text) -> str:
    """The words of an option as one string; boxes are left out."""
    return " ".join(_words(option))


def _words(text: Text) -> list[str]:
    """Words, numbers and punctuation marks of a rich text, in lower case."""
    return [word for piece in text if isinstance(piece, str) for word in _WORD.findall(piece.lower())]


def _scaled(option: Text, size: tuple[int, int]) -> Box | None:
    """The first box of an option, in shares of the image; None if it has none."""
    return next((_relative(piece, size) for piece in option if not isinstance(piece, str)), None)


def _relative(box: Box, size: tuple[int, int]) -> Box:
    x0, y0, x1, y1 = box
    width, height = size
    return x0 / width, y0 / height, x1 / width, y1 / height


@lru_cache(1 << 16)
def _hash(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


def _pair(first: int, second: int) -> int:
    """A hash of two hashes, in order; the multiplier is that of Fibonacci hashing, the shift mixes the high bits in."""
    mixed = ((first * 0x9E3779B97F4A7C15) ^ (second * 0xC2B2AE3D27D4EB4F)) & _MASK
    return mixed >> 24
