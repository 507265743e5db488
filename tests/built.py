"""Hypothesis strategies that build archives at random, and archives with damage.

    @given(damaged())
    def test_x(data: bytes) -> None: ...

Concurrency: strategies are values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from hypothesis import strategies as st
from zips import COMPRESSORS, DIRECTORY, EXECUTABLE, FILE, LINK, Part, archive, extended_time

names = st.one_of(
    st.sampled_from(["a", "b.txt", "d/", "d/e", "d/e/f.json", "ü/ß", "../x", "/abs", "a//b", "."]),
    st.text("ab/\\.é\u0301日\N{GRINNING FACE} ~-", max_size=12),
)
parts = st.builds(
    Part,
    name=names,
    data=st.binary(max_size=200).map(lambda data: data * 5),
    method=st.sampled_from([0, 8, 8, 8, *COMPRESSORS, 98]),
    mode=st.sampled_from([FILE, EXECUTABLE, DIRECTORY, LINK, 0, 0o020644]),
    host=st.sampled_from([0, 3, 10, 19]),
    extra=st.sampled_from([b"", extended_time(1), b"garbage", b"\1\0\xff\xff"]),
    comment=st.sampled_from([b"", b"comment"]),
    local_zeroed=st.booleans(),
    local_extra=st.sampled_from([b"", b"x" * 40]),
)


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    return archive(
        *draw(st.lists(parts, max_size=6)),
        comment=draw(st.sampled_from([b"", b"comment", b"PK\5\6" + bytes(18)])),
        prefix=draw(st.sampled_from([b"", b"#!/bin/sh\n"])),
        prefix_counts=draw(st.booleans()),
        end64=draw(st.booleans()),
        junk=draw(st.sampled_from([b"", b"\n"])),
    )


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """An archive with bytes changed, removed, doubled or put in; most often near its end, where the records are."""
    data = bytearray(draw(archives()))
    for _ in range(draw(st.integers(1, 4))):
        at = len(data) - draw(st.integers(0, min(len(data), draw(st.sampled_from([60, 200, 5000])))))
        match draw(st.integers(0, 4)):
            case 0 if at < len(data):
                data[at] = draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF, data[at] ^ 1, draw(st.integers(0, 255))]))
            case 1:
                del data[at : at + draw(st.integers(1, 40))]
            case 2:
                data[at:at] = draw(st.sampled_from([b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\3\4", b"\0" * 9]))
            case 3:
                data[at:at] = data[at : at + 50]
            case _:
                data[at : at + 4] = draw(st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f"]))
    return bytes(data)


class Described(bytes):
    """Bytes too many to print. ``how``: they were made."""

    how = ""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes: {self.how}>"


@st.composite
def large_damaged(draw: st.DrawFn, sources: Mapping[int, Callable[[], Part]]) -> Described:
    """A large member of some method, with bits flipped, bytes cut out or put in, or another size in the directory; or
    nothing done to it. ``sources``: method -> its part."""
    method = draw(st.sampled_from(sorted(sources)))
    whole = sources[method]()
    changed, how = bytearray(whole.packed), [f"method {method}"]
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(changed) - 1))
        kind, count = draw(st.sampled_from(["flip", "cut", "put"])), draw(st.integers(1, 8))
        how.append(f"{kind} {count} at {at}")
        match kind:
            case "flip":
                changed[at] ^= 1 << (count - 1)
            case "cut":
                del changed[at : at + count**4]
            case _:
                changed[at:at] = bytes(count)
    more = draw(st.sampled_from([0, 0, 0, -1, 1, 70_000]))
    size = len(whole.data) + more
    made = Described(archive(replace(whole, compressed=bytes(changed), size=size), Part("ok", b"ok")))
    made.how = ", ".join([*how, f"size {more:+}"])
    return made
