"""Readers: one open file's view of a member.

``InMemory`` holds a small member whole, checked before its first byte; ``FileReader`` a large one that was made before.
(``archive.members.Stored`` reads a large uncompressed member straight from the archive's local file,
``progressive.Shared`` one that is being made.)

Concurrency: trio task thread; disk reads through ``Workers``.
"""

from __future__ import annotations

import abc
from collections.abc import Awaitable, Callable

from mountfs.errors import CacheDamaged
from mountfs.store import MemberFile

SMALL = 1 << 20  # members up to this are inflated whole into memory (design.md §5)


class Reader(abc.ABC):
    """One open file's view of a member of ``size`` bytes. Many handles may share one."""

    size: int

    @abc.abstractmethod
    def peek(self, offset: int, size: int, into: memoryview | None = None) -> bytes | memoryview | None:
        """The bytes, if they can be had without waiting; else None. ``offset + size`` is within the member. ``into``: a
        buffer that may be filled, and then be what is answered."""

    @abc.abstractmethod
    async def read(self, offset: int, size: int) -> bytes | memoryview:
        """Exactly ``size`` bytes from ``offset``; raises a MountfsError otherwise."""

    def release(self) -> None:  # noqa: B027 - most readers have nothing to let go
        """The handle is closed."""


class InMemory(Reader):
    """A small member, whole. ``fresh``: it was made for this open, so hardly anybody has read it before."""

    def __init__(self, data: bytes, *, fresh: bool = False) -> None:
        self.size = len(data)
        self.fresh = fresh
        self._data = data

    @property
    def whole(self) -> bytes:
        """All of it."""
        return self._data

    def peek(self, offset: int, size: int, into: memoryview | None = None) -> bytes | memoryview | None:  # noqa: ARG002
        if offset == 0 and size == self.size:
            return self._data
        return memoryview(self._data)[offset : offset + size]

    async def read(self, offset: int, size: int) -> bytes | memoryview:
        return memoryview(self._data)[offset : offset + size]


class FileReader(Reader):
    """A large member made before: a finished file of the store. ``closed``: told when the handle is released.
    ``again``: drops a file that cannot be read (it was deleted while it was closed, or the disk fails), and makes the
    member once more."""

    def __init__(
        self,
        file: MemberFile,
        *,
        disk: Callable[[Callable[[int, int], bytes], int, int], Awaitable[bytes]],
        closed: Callable[[], None],
        again: Callable[[], Awaitable[Reader]],
    ) -> None:
        self.size = file.size
        self._file = file
        self._disk = disk
        self._closed = closed
        self._again = again
        self._instead: Reader | None = None

    def peek(self, offset: int, size: int, into: memoryview | None = None) -> bytes | memoryview | None:
        instead = self._instead
        return self._file.try_read(offset, size, into) if instead is None else instead.peek(offset, size, into)

    async def read(self, offset: int, size: int) -> bytes | memoryview:
        if self._instead is None:
            try:
                return await self._disk(self._file.read, offset, size)
            except CacheDamaged as exc:
                await self._replace(exc)
        assert self._instead is not None
        return await self._instead.read(offset, size)

    async def _replace(self, error: CacheDamaged) -> None:
        made = await self._again()
        if self._instead is not None or isinstance(made, FileReader):  # another read was first; the disk is read-only
            made.release()
        else:
            self._instead = made
        if self._instead is None:
            raise error

    def release(self) -> None:
        self._file.close()
        if self._instead is not None:
            self._instead.release()
        self._closed()
