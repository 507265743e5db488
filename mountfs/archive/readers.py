"""What an open member of a zip reads from, where that is neither memory nor a spool.

``Deferred``: a small member whose bytes are here, inflated if it is read at all. ``Stored``: a large uncompressed one,
straight from the archive's local file.

Concurrency: trio task thread.
"""

from __future__ import annotations

from typing import Protocol

from mountfs.archive import window
from mountfs.archive.checks import Checks
from mountfs.archive.transfers import Archive
from mountfs.content import Reader
from mountfs.model import Member, Span


class Members(Protocol):
    """What a reader needs of the members it belongs to."""

    archive: Archive
    checks: Checks

    salts: dict[int, int]

    def raise_dead(self, index: int, salt: int | None = None) -> None: ...
    def peek_small(self, index: int) -> bytes | None: ...
    async def small(self, index: int) -> bytes: ...


class Deferred(Reader):
    """A small member that passed its check before and whose bytes are here: inflated when it is read, if it ever is.
    Most opens of a file the kernel has in its page cache are not followed by a read."""

    def __init__(self, content: Members, index: int, size: int) -> None:
        self.size = size
        self._content = content
        self._index = index
        self._salt = content.salts.get(index, 0)
        self._data: bytes | None = None

    def peek(self, offset: int, size: int, into: memoryview | None = None) -> bytes | memoryview | None:  # noqa: ARG002
        self._content.raise_dead(self._index, self._salt)
        if self._data is None:
            self._data = self._content.peek_small(self._index)
        return memoryview(self._data)[offset : offset + size] if self._data is not None else None

    async def read(self, offset: int, size: int) -> bytes | memoryview:
        if self._data is None:
            self._data = await self._content.small(self._index)
        return memoryview(self._data)[offset : offset + size]


class Stored(Reader):
    """A large stored member, straight from the archive's local file.

    Its last block is given when the whole member was checked, if all of it was read (is here, or on its way): so a
    program that reads from the first byte to the last learns of damage. Who jumps to the end of a member that was never
    fetched gets it on the word of range, length and ETag."""

    def __init__(self, content: Members, index: int, member: Member, data: Span) -> None:
        self.size = member.size
        self._content = content
        self._archive = content.archive
        self._checks = content.checks
        self._index = index
        self._salt = content.salts.get(index, 0)
        self._member = member
        self._data = data
        self._stream = window.Stream()
        self._archive.retain()
        self._whole = self._checks.when_whole(index, member, data)

    def _span(self, offset: int, size: int) -> Span:
        return Span(self._data.start + offset, self._data.start + offset + size)

    def peek(self, offset: int, size: int, into: memoryview | None = None) -> bytes | memoryview | None:
        self._content.raise_dead(self._index, self._salt)
        if offset + size >= self.size and not self._checks.settled(self._index):
            return None
        need = self._span(offset, size)
        data = self._archive.peek(need, into)
        if data is not None and not self._whole:
            self._forward(need)
        return data

    async def read(self, offset: int, size: int) -> bytes | memoryview:
        self._content.raise_dead(self._index, self._salt)
        need = self._span(offset, size)
        ahead, parallel = self._ahead(need)
        await self._archive.ensure(need, ahead=ahead, parallel=parallel)
        self._whole = self._checks.when_whole(self._index, self._member, self._data)
        if offset + size >= self.size and not self._checks.settled(self._index):
            await self._checks.settle(self._index, self._member, self._data)
            self._content.raise_dead(self._index, self._salt)
        return await self._archive.read(need)

    def _ahead(self, need: Span) -> tuple[int, int]:
        ahead = min(self._stream.step(need, self._archive.latency), self._data.stop - need.stop)
        return ahead, self._archive.parallel_for(self._stream)

    def _forward(self, need: Span) -> None:
        """What was read is here; what comes next should be on its way."""
        ahead, parallel = self._ahead(need)
        if ahead:
            self._archive.run_ahead(need, ahead, parallel)
        self._whole = self._checks.when_whole(self._index, self._member, self._data)

    def release(self) -> None:
        self._archive.let_go()
