"""Damaged and hostile files, made from good ones: whatever a reader gets, only the package's own errors may leave it.

`fuzz` hands a reader mutations of good examples. Each is the same in every run: it depends on the reader's name and
the mutation's number alone, so that a finding can be made again (`mutation`) and kept as a regression test.

    OFA_MI_FUZZ=10000 OFA_MI_FUZZ_TABLE=table.csv pytest tests -k fuzz -n 0

makes as many mutations for each reader, and adds a row for each reader to the table.
"""

import csv
import json
import os
import resource
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

from ofa_mi.errors import OfaMiError

MUTATIONS = int(os.environ.get("OFA_MI_FUZZ", "300"))
TABLE = os.environ.get("OFA_MI_FUZZ_TABLE")
MEMORY = 1 << 30  # bytes that a reader may take beyond what the process holds when the fuzzing begins
LONGEST_MESSAGE = 1000  # characters of an error
MOST_STEPS = 4  # changes that make one mutation
SHOWN = 20  # different findings in a failure

Mutator = Callable[[bytes, Random], bytes]


# -- running


@dataclass
class Outcome:
    """What a reader did with its mutations: a row of the table.

    Attributes:
        reader: Its name.
        mutations: How many it was given.
        accepted, refused: How many it read, and how many ended in an error of the package.
        findings: How many ended in anything else.
        seconds: Of all reads together.
        slowest: Seconds of the slowest one.
        largest: Bytes of the largest one.
    """

    reader: str
    mutations: int = 0
    accepted: int = 0
    refused: int = 0
    findings: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    largest: int = 0
    causes: dict[str, str] = field(default_factory=dict)

    def found(self, cause: str, number: int, data: bytes) -> None:
        self.findings += 1
        shown = repr(data[:300]) + ("" if len(data) <= 300 else f" … {len(data):,} bytes")
        self.causes.setdefault(cause, f"mutation {number}: {cause}\n    {shown}")

    def write(self, path: str) -> None:
        """Add the row to a table."""
        names = [item.name for item in fields(self) if item.name != "causes"]
        row = [f"{value:.3f}" if isinstance(value := getattr(self, name), float) else value for name in names]
        with open(path, "a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            if not file.tell():
                writer.writerow(names)
            writer.writerow(row)


def mutation(reader: str, number: int, examples: Sequence[bytes], mutators: Sequence[Mutator]) -> bytes:
    """The mutation of this number for this reader; arguments as those of `fuzz`."""
    random = Random(f"{reader}/{number}")
    data = random.choice(examples)
    for _ in range(random.randint(1, MOST_STEPS)):
        data = random.choice(mutators)(data, random)
    return data


def fuzz(
    reader: str,
    examples: Sequence[bytes],
    mutators: Sequence[Mutator],
    read: Callable[[bytes], object],
    *,
    count: int = MUTATIONS,
    check: Callable[[OfaMiError], None] = lambda error: None,
) -> Outcome:
    """Let `read` read `count` mutations of `examples`; fail if one ends in anything but a good error of the package.

    A good error is one line of printable characters, and not a long one.

    Args:
        reader: Name of the reader, which also chooses the mutations.
        examples: Good files; the unmutated ones must be accepted.
        mutators: What may change them: `mutate_bytes`, `mutate_json`, `mutate_json_lines`, or others like these.
        read: Reads one file's content; it may write it to a file first.
        count: How many mutations.
        check: What else must hold of an error, by assertion: that it names the file, for instance.
    """
    for example in examples:
        read(example)
    outcome = Outcome(reader)
    for number in range(count):
        data = mutation(reader, number, examples, mutators)
        began = time.perf_counter()
        try:
            with bounded_memory():
                read(data)
            outcome.accepted += 1
        except OfaMiError as error:
            try:
                _check_message(str(error))
                check(error)
                outcome.refused += 1
            except AssertionError as wrong:
                outcome.found(f"error that {wrong}", number, data)
        except Exception as error:
            outcome.found(_cause(error), number, data)
        took = time.perf_counter() - began
        outcome.seconds += took
        outcome.slowest = max(outcome.slowest, took)
        outcome.largest = max(outcome.largest, len(data))
        outcome.mutations += 1
    if TABLE:
        outcome.write(TABLE)
    causes = "\n".join(list(outcome.causes.values())[:SHOWN])
    assert not outcome.findings, f"{reader}: {outcome.findings} of {count}, {len(outcome.causes)} kinds\n{causes}"
    return outcome


def _check_message(message: str) -> None:
    assert message, "says nothing"
    assert "\n" not in message, f"has several lines: {message[:300]!r}"
    assert message.isprintable(), f"has characters that cannot be printed: {message[:300]!a}"
    assert len(message) <= LONGEST_MESSAGE, f"has {len(message):,} characters: {message[:200]} … {message[-100:]}"


def _cause(error: Exception) -> str:
    """What tells two findings apart: the error's type, its place, and the place in this repository that led there."""
    root = str(Path(__file__).resolve().parents[1])
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(root) and frame.filename != __file__] or frames
    places = dict.fromkeys(f"{Path(frame.filename).name}:{frame.lineno}" for frame in (own[-1], frames[-1]))
    return f"{type(error).__name__} at {' in '.join(reversed(places))} ({str(error)[:100]})"


@contextmanager
def bounded_memory(size: int = MEMORY) -> Iterator[None]:
    """Let the process take `size` more bytes of addresses and no more: beyond that comes a MemoryError."""
    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


# -- bytes

TEXTS = (
    *("\0", "\n", "\r\n", "\t", "\v", "\x1b[2J", "\x85", "\u2028", "\ufeff", "\u202e", "\ud800", "é", "日本", "🙂"),
    *("null", "true", "NaN", "-Infinity", "1e999", "0x10", "1_000", "٣", "²", "-1", "0.5", str(2**64), "9" * 5000),
    *('"', "'", "\\", "\\u0000", '"\\ud800"', "{", "}", "[", "]", ":", ",", "[" * 3000, '{"a":' * 3000),
    *("- ", ": ", "&a ", "*a", "<<: ", "!!python/object:os.system ", "!x ", "| ", "> ", "# ", "---\n", "...\n"),
    *("2001-99-99", "12:30:45", "%", "@", "`", "~", "../", "/etc/passwd", "C:\\", "&&", "|!+", "x" * 5000),
)
WORDS = (*(text.encode("utf-8", "surrogatepass") for text in TEXTS), b"\xff", b"\xc3", b"\xed\xa0\x80", b"\x80" * 9)
INTEGERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)


def mutate_bytes(data: bytes, random: Random) -> bytes:
    """One change to the bytes: flipped, overwritten, cut out, repeated, moved, inserted or cut off."""
    change = random.choice((_flip, _overwrite, _write_integer, _cut_out, _repeat, _move, _insert, _insert, _cut_off))
    return change(data, random)


def _span(data: bytes, random: Random) -> tuple[int, int]:
    """A part of the data, short ones and long ones alike."""
    start = random.randint(0, len(data))
    return start, min(len(data), start + int(2 ** random.uniform(0, max(1, len(data)).bit_length())))


def _flip(data: bytes, random: Random) -> bytes:
    if not data:
        return data
    place = random.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << random.randrange(8)]) + data[place + 1 :]


def _overwrite(data: bytes, random: Random) -> bytes:
    start, end = _span(data, random)
    end = min(end, start + 64)
    return data[:start] + random.randbytes(end - start) + data[end:]


def _write_integer(data: bytes, random: Random) -> bytes:
    """An extreme number over what a header may hold."""
    size = random.choice((1, 2, 4, 8))
    number = random.choice(INTEGERS) % (1 << 8 * size)
    start = random.randint(0, len(data))
    return data[:start] + number.to_bytes(size, random.choice(("little", "big"))) + data[start + size :]


def _cut_out(data: bytes, random: Random) -> bytes:
    start, end = _span(data, random)
    return data[:start] + data[end:]


def _repeat(data: bytes, random: Random) -> bytes:
    start, end = _span(data, random)
    return data[:end] + data[start:end] * random.choice((1, 1, 2, 50 if end - start < 1000 else 1)) + data[end:]


def _move(data: bytes, random: Random) -> bytes:
    start, end = _span(data, random)
    rest = data[:start] + data[end:]
    place = random.randint(0, len(rest))
    return rest[:place] + data[start:end] + rest[place:]


def _insert(data: bytes, random: Random) -> bytes:
    start = random.randint(0, len(data))
    return data[:start] + random.choice(WORDS) + data[start:]


def _cut_off(data: bytes, random: Random) -> bytes:
    return data[: random.randint(0, len(data))]


# -- JSON

DEEPEST = 50  # levels up to which a document is changed as JSON; Python's own limit depends on who calls


class Raw(str):
    """JSON that no Python value is written as."""


def _deep(opening: str, closing: str, depth: int) -> Raw:
    return Raw(opening * depth + "1" + closing * depth)


VALUES = (
    *(None, True, False, 0, 1, -1, 0.5, -0.0, 2**31, 2**32, 2**53 + 1, 2**63, 2**64, 10**12, 1e308, 5e-324),
    *(
        Raw(text)
        for text in ("NaN", "Infinity", "-Infinity", "1e999", "9" * 400, "9" * 5000, "-" + "9" * 400, "1e-999")
    ),
    *(
        "",
        " ",
        "\0",
        "a\nb",
        "\x1b[2J",
        "\u2028",
        "\u202e",
        "é",
        "🙂",
        "0",
        "1.5",
        "nan",
        "null",
        "x" * 300,
        "x" * 5000,
    ),
    *(Raw(f'"{text}"') for text in ("\\ud800", "a\\udfffb", "\\ud83d\\ude00", "\\u0000")),
    *("../../secret", "/etc/passwd", "a/" * 3000, "<script>", "${oc.env:HOME}", "{0}", "%s%n", "٣", "²"),
    *([], {}, [[]], [[[1]]], [None], [1, "a", None], [0, 0, 1, 1], [1e308] * 4, {"": 0}, {"a": {"b": []}}, ["x"] * 300),
    *(_deep("[", "]", depth) for depth in (50, 900, 100_000)),
    *(_deep('{"a":', "}", depth) for depth in (50, 900, 100_000)),
    Raw('{"a": 1, "a": 2}'),
)


def mutate_json(data: bytes, random: Random) -> bytes:
    """One change to a value somewhere in a JSON document; to the bytes if it is not JSON, or is deeply nested."""
    if _depth(data) > DEEPEST:
        return mutate_bytes(data, random)
    try:
        value = json.loads(data)
    except ValueError:
        return mutate_bytes(data, random)
    return write_json(mutate_value(value, random)).encode("utf-8", "surrogatepass")


def _depth(data: bytes) -> int:
    """How deep brackets are nested, those in texts included."""
    return max(accumulate((1 if byte in b"[{" else -1 for byte in data if byte in b"[]{}"), initial=0))


def mutate_json_lines(data: bytes, random: Random) -> bytes:
    """One change to a line of JSON, or to the lines: one repeated, left out, emptied, or two exchanged."""
    lines = data.split(b"\n")
    place, other = random.randrange(len(lines)), random.randrange(len(lines))
    change = random.randrange(12)
    if change == 0:
        lines.insert(other, lines[place])
    elif change == 1:
        del lines[place]
    elif change == 2:
        lines[place] = b""
    elif change == 3:
        lines[place], lines[other] = lines[other], lines[place]
    else:
        lines[place] = mutate_json(lines[place], random)
    return b"\n".join(lines)


def mutate_value(value: Any, random: Random) -> Any:
    """`value` with one change to it or to something that it holds; `value` itself stays as it is."""
    if isinstance(value, dict | list) and value and random.random() < 0.85:  # further down
        places = list(value) if isinstance(value, dict) else range(len(value))
        place = random.choice(places)
        copy = value.copy()
        copy[place] = mutate_value(value[place], random)
        return copy
    changes = [_replaced, _wrapped]
    if isinstance(value, dict):
        changes += [_key_changed] * 3
    elif isinstance(value, list):
        changes += [_list_changed] * 3
    elif isinstance(value, str) and not isinstance(value, Raw):
        changes += [_text_changed] * 3
    elif isinstance(value, int | float):
        changes += [_number_changed] * 2
    return random.choice(changes)(value, random)


def _replaced(value: Any, random: Random) -> Any:
    return random.choice(VALUES)


def _wrapped(value: Any, random: Random) -> Any:
    return random.choice(([value], [value, value], {"a": value}, [[value]]))


def _key_changed(value: dict, random: Random) -> dict:
    """A key left out, added, renamed, or given the value of another."""
    keys = list(value)
    key = random.choice(keys) if keys else ""
    change = random.randrange(4)
    if change == 0 and keys:
        return {name: item for name, item in value.items() if name != key}
    if change == 1:
        return {**value, random.choice(("", "extra", "x" * 300, "é\n", "__class__")): random.choice(VALUES)}
    if change == 2:
        return {f"{name}s" if name == key else name: item for name, item in value.items()}
    return {**value, key: value[random.choice(keys)]} if keys else {key: None}


def _list_changed(value: list, random: Random) -> list:
    """An entry left out, repeated, added or moved; or all of them repeated."""
    place, other = random.randint(0, len(value)), random.randint(0, len(value))
    entry = value[place : place + 1]
    rest = value[:place] + value[place + 1 :]
    return random.choice(
        (
            rest,
            value[:other] + entry + value[other:],
            [*value[:place], random.choice(VALUES), *value[place:]],
            rest[:other] + entry + rest[other:],
            value * random.choice((2, 100)),
        )
    )


def _text_changed(value: str, random: Random) -> Any:
    place, other = sorted(random.randint(0, len(value)) for _ in range(2))
    odd = random.choice([text for text in VALUES if isinstance(text, str) and not isinstance(text, Raw)])
    return random.choice(
        (value[:place] + value[other:], value[:place] + odd + value[place:], value[:place] + value, value.upper())
    )


def _number_changed(value: float, random: Random) -> Any:
    change = random.choice((lambda n: -n, lambda n: n + 1, lambda n: n * 1000, lambda n: n / 2, str, lambda n: [n]))
    try:
        return change(value)
    except OverflowError:
        return -value


def write_json(value: Any) -> str:
    """JSON of a value that may hold `Raw`."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {write_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(write_json, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    try:
        return json.dumps(value)
    except ValueError:  # more digits than Python writes
        return "1" + "0" * 5000
