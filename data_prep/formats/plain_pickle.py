"""Reading a pickle that holds only plain data.

A pickle is a program for a machine that can import and call anything. The machine here is that of the standard library
with nothing left but the instructions that build lists, tuples, dictionaries, strings, numbers, booleans and None; any
other one, above all those that name a class or call something, makes the file invalid. It is the machine in Python: its
memo is a dictionary, where the one in C would reserve as many places as the largest index that a file names.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
from pathlib import Path
from typing import Any

from ofa_mi.errors import DataError, shown

_PLAIN = {
    "PROTO", "FRAME", "STOP", "MARK", "PUT", "BINPUT", "LONG_BINPUT", "GET", "BINGET", "LONG_BINGET", "MEMOIZE",
    "NONE", "NEWTRUE", "NEWFALSE", "INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT",
    "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "EMPTY_LIST",
    "LIST", "APPEND", "APPENDS", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS", "EMPTY_TUPLE", "TUPLE", "TUPLE1",
    "TUPLE2", "TUPLE3",
}  # fmt: skip


class _NotPlainError(Exception):
    pass


class _Dispatch(dict):
    def __missing__(self, code: int) -> Any:
        if opcode := pickletools.code2op.get(chr(code)):
            raise _NotPlainError(f"instruction {opcode.name}")
        raise ValueError(f"unknown instruction {code:#04x}")


class _PlainUnpickler(pickle._Unpickler):
    dispatch = _Dispatch(
        (ord(opcode.code), pickle._Unpickler.dispatch[ord(opcode.code)])
        for opcode in pickletools.opcodes
        if opcode.name in _PLAIN
    )


def read_plain_pickle(path: Path) -> Any:
    """The plain data in a pickle file; strings of Python 2 must be ASCII.

    Raises:
        DataError: The file cannot be read, is malformed, or holds anything but plain data.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        return _PlainUnpickler(io.BytesIO(content)).load()
    except _NotPlainError as error:
        raise DataError(f"{path}: holds more than plain data ({error}); it is not read, get the original") from None
    except (EOFError, struct.error):
        raise DataError(f"{path}: ends too early; download it again") from None
    except (pickle.UnpicklingError, ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise DataError(f"{path}: not a pickle of plain data, or damaged ({shown(error)}); download it again") from None
