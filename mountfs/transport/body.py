"""Archive bytes as they come: exactly as many as announced, or an error.

A ``Body`` is read by ``async for chunk in body``, or by ``read_into`` if it may be long. It ends normally only when
every announced byte has been given out; a reset, a short answer or silence longer than ``read_timeout`` raises. The
deadline of the request that opened it does not bind it: a transfer may go on while it makes progress, and whoever waits
for it has a scope of their own.

Concurrency: one reader.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import trio

from mountfs.errors import BadAnswer, ServiceError, ServiceFailed
from mountfs.model import Validator
from mountfs.transport.failures import AGAIN, CAUGHT_IN_BODY, explain_body
from mountfs.transport.streams import Incoming, Rest

DECODED_CHUNK = 1 << 20
"""Bytes decoded at once: a small encoded chunk must not become a thousand times its size in memory."""
SETTLE_PATIENCE = 0.5
"""Seconds the end of a complete body is waited for; it has nearly always come with the last bytes."""
ENCODINGS = frozenset({"gzip", "x-gzip", "deflate"})


class Decoder:
    """Undoes gzip and deflate (RFC 9110 §8.4.1) in pieces of at most ``DECODED_CHUNK`` bytes."""

    def __init__(self) -> None:
        self._inner = self._fresh()
        self._waiting = b""
        self._fed = False

    @staticmethod
    def _fresh() -> zlib._Decompress:
        return zlib.decompressobj(zlib.MAX_WBITS | 32)  # either header, told apart by its first bytes

    def feed(self, data: bytes) -> None:
        """More encoded bytes; ``pull`` until it is empty before feeding again."""
        self._waiting += data
        self._fed = True

    def pull(self) -> bytes:
        """The next decoded piece, empty when more must be fed. Raises zlib.error on damage."""
        while self._waiting:
            piece = self._inner.decompress(self._waiting, DECODED_CHUNK)
            if self._inner.eof:  # gzip members may follow one another
                self._waiting = self._inner.unused_data
                if self._waiting:
                    self._inner = self._fresh()
            else:
                self._waiting = self._inner.unconsumed_tail
            if piece:
                return piece
        return b""

    @property
    def complete(self) -> bool:
        """Whether the encoded stream came to its own end."""
        return self._inner.eof or not self._fed


@dataclass(frozen=True, slots=True)
class BodyFacts:
    """What the head of an answer says of its body. Offsets are bytes of the whole archive. ``stop`` and ``total``:
    None where not announced. ``partial``: a 206. ``encoded``: it came with a Content-Encoding, which has been undone:
    there are no ranges of it. ``location``: the archive host's URL a redirect led to, None without one (a secret)."""

    start: int = 0
    stop: int | None = None
    total: int | None = None
    partial: bool = False
    validator: Validator = field(default_factory=Validator)
    encoded: bool = False
    content_type: str = ""
    status: int = 200
    location: str | None = field(default=None, repr=False)


class Body:
    """The bytes [start, stop) of one version of an archive, as an asynchronous iterator of chunks, none empty."""

    def __init__(
        self, facts: BodyFacts, chunks: AsyncIterator[bytes], *, what: str, count: Callable[[int], None]
    ) -> None:
        self.start = facts.start
        self.stop = facts.stop
        self.total = facts.total
        self.partial = facts.partial
        self.validator = facts.validator
        self.encoded = facts.encoded
        self.content_type = facts.content_type
        self.status = facts.status
        self.location = facts.location
        self._chunks = chunks
        self._what = what
        self._count = count
        self._decoder = Decoder() if facts.encoded else None
        self._left = None if facts.stop is None else facts.stop - facts.start
        self._ended = False
        self._rest = Rest()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._rest:
            return self._rest.all()
        while not self._ended:
            if self._decoder is not None:
                piece = self._decoded(self._decoder)
                if piece:
                    return piece
            chunk = await self._receive()
            if self._decoder is not None:
                self._decoder.feed(chunk)
            elif chunk:
                return chunk
        raise StopAsyncIteration

    def _decoded(self, decoder: Decoder) -> bytes:
        try:
            return decoder.pull()
        except zlib.error as error:
            raise ServiceFailed(f"{self._what}: the answer's content encoding is damaged", advice=AGAIN) from error

    async def read_into(self, buffer: memoryview) -> int:
        """The next bytes, at most a bufferful; 0 when every byte has been given out. Raises what iterating raises."""
        if not self._rest:
            if self._decoder is None and isinstance(self._chunks, Incoming):
                return 0 if self._ended else await self._receive_into(buffer, self._chunks)
            try:
                self._rest.keep(await anext(self))
            except StopAsyncIteration:
                return 0
        return self._rest.into(buffer)

    async def read(self, limit: int) -> bytes:
        """All of it. Raises BadAnswer when it is longer than ``limit`` bytes."""
        whole = bytearray()
        async for chunk in self:
            whole += chunk
            if len(whole) > limit:
                raise BadAnswer(f"{self._what}: more than {limit} bytes came")
        return bytes(whole)

    async def settle(self) -> None:
        """For whoever opened it: if every announced byte has come, takes the end of the message too, so that the
        connection can be used again. Readers stop at their last byte, and do not ask for the end."""
        if self._ended or self._left != 0:
            return
        with trio.move_on_after(SETTLE_PATIENCE, shield=True), contextlib.suppress(ServiceError):
            await self._receive()

    async def _receive(self) -> bytes:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            self._finish()
            return b""
        except CAUGHT_IN_BODY as error:
            raise self._explained(error) from error
        self._came(len(chunk))
        return chunk

    async def _receive_into(self, buffer: memoryview, incoming: Incoming) -> int:
        try:
            size = await incoming.read_into(buffer)
        except CAUGHT_IN_BODY as error:
            raise self._explained(error) from error
        if not size:
            self._finish()
        self._came(size)
        return size

    def _explained(self, error: Exception) -> ServiceError:
        row = explain_body(error)
        return row.error(f"{self._what}: {row.says}", advice=row.advice)

    def _came(self, size: int) -> None:
        self._count(size)
        if self._left is not None:
            self._left -= size
            if self._left < 0:
                raise BadAnswer(f"{self._what}: more bytes came than were announced", advice=AGAIN)

    def _finish(self) -> None:
        self._ended = True
        if self._left or (self._decoder is not None and not self._decoder.complete):
            raise ServiceFailed(f"{self._what}: the answer ended early", advice=AGAIN)
