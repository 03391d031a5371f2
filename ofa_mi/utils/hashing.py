"""Hashes that are the same on every machine and in every run, which Python's own ``hash`` is not."""

from __future__ import annotations

import hashlib


def hash64(*parts: object) -> int:
    """64 bits that depend on the parts only, the same on every machine.

    Data sets hang on these bits: they decide, say, which photos are held out.
    """
    text = "\0".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
