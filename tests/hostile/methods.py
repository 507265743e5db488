"""An archive with small and large members of every compression method, and the same with damage.

Concurrency: pure functions; what takes long is made once.
"""

from __future__ import annotations

import functools
import random
from dataclasses import replace

from zips import COMPRESSORS, Part, archive

METHODS = sorted(COMPRESSORS)
RNG = random.Random(11)
WORDS = [RNG.randbytes(4).hex().encode() for _ in range(500)]
SMALL = b" ".join(RNG.choices(WORDS, k=5000))
LARGE = b"".join(b"%07d %b\n" % (number, b" ".join(RNG.choices(WORDS, k=4))) for number in range(60_000))
"""2.6 MB in which every place is another."""


@functools.cache
def part(method: int, *, large: bool) -> Part:
    """One member, compressed once."""
    data = LARGE if large else SMALL
    return Part(name(method, large=large), data, method=method, compressed=COMPRESSORS[method](data))


def name(method: int, *, large: bool) -> str:
    return f"{'large' if large else 'small'}-{method:02}"


def parts() -> list[Part]:
    return [part(method, large=large) for method in METHODS for large in (False, True)]


@functools.cache
def sound() -> bytes:
    """Small and large of each."""
    return archive(*parts())


@functools.cache
def damaged(*methods: int) -> bytes:
    """One bit of each is flipped, at nine tenths of its compressed bytes. ``methods``: of these only."""
    found = [part(method, large=large) for method in methods or METHODS for large in (False, True)]
    return archive(*(replace(each, compressed=flipped(each.packed)) for each in found), Part("ok", b"ok"))


def flipped(packed: bytes) -> bytes:
    at = len(packed) * 9 // 10
    return packed[:at] + bytes((packed[at] ^ 0x10,)) + packed[at + 1 :]
