"""A body is exactly what was announced, or an error."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator

import httpcore
import pytest
from clients import run_virtually
from hypothesis import given, settings
from hypothesis import strategies as st

from mountfs.errors import BadAnswer, DeadlineExceeded, ServiceError, ServiceFailed
from mountfs.transport.body import DECODED_CHUNK, Body, BodyFacts, Decoder


class Chunks:
    """An asynchronous iterator of a list; an exception in it is raised."""

    def __init__(self, *chunks: bytes | Exception) -> None:
        self._chunks = iter(chunks)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        for chunk in self._chunks:
            if isinstance(chunk, Exception):
                raise chunk
            return chunk
        raise StopAsyncIteration


def drain(facts: BodyFacts, *chunks: bytes | Exception) -> tuple[bytes, int]:
    """What a reader gets, and what was counted."""
    counted: list[int] = []

    async def main() -> bytes:
        body = Body(facts, Chunks(*chunks), what="svc: session s", count=counted.append)
        return b"".join([chunk async for chunk in body])

    return run_virtually(main), sum(counted)


def test_every_announced_byte_is_given_out_and_counted() -> None:
    """Empty chunks are not."""
    assert drain(BodyFacts(stop=5, total=5), b"ab", b"", b"cde") == (b"abcde", 5)
    assert drain(BodyFacts(), b"ab", b"cde") == (b"abcde", 5)


@pytest.mark.parametrize(
    ("facts", "chunks", "error", "says"),
    [
        (BodyFacts(stop=5, total=5), (b"abc",), ServiceFailed, "ended early"),
        (BodyFacts(start=10, stop=15, total=90, partial=True), (b"abcdef",), BadAnswer, "more bytes"),
        (BodyFacts(), (b"a", httpcore.ReadError()), ServiceFailed, "reset"),
        (BodyFacts(), (b"a", httpcore.RemoteProtocolError()), ServiceFailed, "ended early"),
        (BodyFacts(), (b"a", httpcore.ReadTimeout()), DeadlineExceeded, "silence"),
    ],
)
def test_anything_else_is_an_error(
    facts: BodyFacts, chunks: tuple[bytes | Exception, ...], error: type[ServiceError], says: str
) -> None:
    """It names the session, and has no status: it may be asked for again."""
    with pytest.raises(error, match=says) as caught:
        drain(facts, *chunks)
    assert caught.value.message.startswith("svc: session s: ")
    assert caught.value.status is None


def test_read_stops_at_its_limit() -> None:
    """A small answer must not become a large one."""

    async def main() -> None:
        body = Body(BodyFacts(), Chunks(b"abc", b"def"), what="x", count=lambda _: None)
        with pytest.raises(BadAnswer, match="more than 4"):
            await body.read(4)

    run_virtually(main)


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=5000), cuts=st.lists(st.integers(1, 500), max_size=30), form=st.sampled_from("gdm"))
def test_an_encoded_body_is_decoded_however_it_is_cut(data: bytes, cuts: list[int], form: str) -> None:
    """gzip, deflate, and gzip in two members."""
    half = len(data) // 2
    encoded = {
        "g": gzip.compress(data, mtime=0),
        "d": zlib.compress(data),
        "m": gzip.compress(data[:half], mtime=0) + gzip.compress(data[half:]),
    }[form]
    pieces, rest = [], encoded
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    got, counted = drain(BodyFacts(encoded=True), *pieces, rest)
    assert got == data
    assert counted == len(encoded)


def test_a_bomb_comes_out_in_pieces() -> None:
    """No chunk is larger than the bound, whatever its ratio."""
    decoder = Decoder()
    decoder.feed(gzip.compress(bytes(20 << 20)))
    sizes = []
    while piece := decoder.pull():
        sizes.append(len(piece))
    assert max(sizes) <= DECODED_CHUNK
    assert sum(sizes) == 20 << 20
    assert decoder.complete


@pytest.mark.parametrize("chunk", [gzip.compress(b"hello", mtime=0)[:-1], b"no gzip at all"])
def test_a_damaged_encoding_is_an_error(chunk: bytes) -> None:
    """Cut short, or none."""
    with pytest.raises(ServiceFailed):
        drain(BodyFacts(encoded=True), chunk)
