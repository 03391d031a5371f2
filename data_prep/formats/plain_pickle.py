"""Reading a pickle that holds only plain data, without unpickling it.

A pickle is a program for a machine that can import and call anything, so a file from elsewhere is never given to that
machine. This module looks at the instructions (``pickletools.genops``, which executes nothing) and carries out only
those that build lists, tuples, dictionaries, strings, numbers, booleans and None; any other one, above all those
that name a class or call something, makes the file invalid. Every instruction adds at most one object, and the memo is
a dictionary, so that memory is bounded by the size of the file.
"""

from __future__ import annotations

import pickletools
from pathlib import Path
from typing import Any

from ofa_mi.errors import DataError

_NUMBERS = frozenset({"INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT"})
_STRINGS = frozenset({"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"})
_VALUES = _NUMBERS | _STRINGS  # their argument is the value
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}
_NOTHING_TO_DO = frozenset({"PROTO", "FRAME"})
_MARK = object()


def read_plain_pickle(path: Path) -> Any:
    """The plain data in a pickle file; strings of Python 2 must be ASCII.

    Raises:
        DataError: The file cannot be read, is malformed, or holds anything but plain data.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name == "STOP":
                return machine.pop()
            machine.execute(opcode.name, argument)
    except _NotPlainError as error:
        raise DataError(f"{path}: holds more than plain data ({error}); it is not read, get the original") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: not a pickle of plain data, or damaged ({error}); download it again") from None
    raise DataError(f"{path}: ends too early; download it again")


class _NotPlainError(Exception):
    pass


class _Machine:
    """The part of the pickle machine that builds plain data; malformed programs raise what Python's types raise."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("misplaced mark")
        return value

    def pop_to_mark(self) -> list[Any]:
        """What lies above the last mark, which is removed too."""
        start = len(self.stack) - 1
        while self.stack[start] is not _MARK:
            if start == 0:
                raise ValueError("no mark")
            start -= 1
        values = self.stack[start + 1 :]
        del self.stack[start:]
        return values

    def execute(self, name: str, argument: Any) -> None:
        """Carry out one instruction.

        Args:
            name: Its name in ``pickletools``.
            argument: Its argument, decoded.
        """
        if name in _VALUES:
            self.stack.append(argument)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name == "MARK":
            self.stack.append(_MARK)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name not in _NOTHING_TO_DO:
            self._build(name)

    def _build(self, name: str) -> None:
        if name == "APPEND":
            value = self.pop()
            _expect(list, self.stack[-1]).append(value)
        elif name == "APPENDS":
            values = self.pop_to_mark()
            _expect(list, self.stack[-1]).extend(values)
        elif name == "SETITEM":
            value, key = self.pop(), self.pop()
            _expect(dict, self.stack[-1])[key] = value
        elif name == "SETITEMS":
            values = self.pop_to_mark()
            _expect(dict, self.stack[-1]).update(zip(values[::2], values[1::2], strict=True))
        elif name == "LIST":
            self.stack.append(self.pop_to_mark())
        elif name == "DICT":
            values = self.pop_to_mark()
            self.stack.append(dict(zip(values[::2], values[1::2], strict=True)))
        elif name == "TUPLE":
            self.stack.append(tuple(self.pop_to_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            values = [self.pop() for _ in range(int(name[-1]))]
            self.stack.append(tuple(reversed(values)))
        else:
            raise _NotPlainError(f"instruction {name}")


def _expect(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"expected a {kind.__name__}, found a {type(value).__name__}")
    return value
