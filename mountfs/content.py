"""A member's bytes, however they come: what an open file reads from.

*Three readers.* ``InMemory`` holds a small member whole, checked before its first byte. ``Stored`` reads a large
uncompressed member straight from the archive's local file. ``Progressive`` is a large member whose bytes can only be
made in order (inflated, or downloaded as one file): a pump appends to a spool, readers at any position take what is
there, and the last block is withheld until size and checksum are right. So no reader ever sees the end of a member
that failed its check.

*The pump* runs only towards a target: the furthest byte somebody waits for, and a read-ahead that grows while reading
goes on. When nobody reads on it stops and keeps its state; the next reader starts it again from there, not from zero.

*The spool* is a file of the store. When the disk refuses it, a ``Ring`` keeps the last 8 MiB in memory: reading
forward goes on, a jump back starts the pump over from a checkpoint (deflate's state copied every few MiB) or from the
start.

Concurrency: state changes on the trio task thread; a pump is the only writer of its spool, one thread hop at a time.
"""

from __future__ import annotations

import abc
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from mountfs.errors import CacheFull, MemberDamaged, MountfsError
from mountfs.model import Member
from mountfs.store import MemberFile, Spool
from mountfs.store import Snapshot as Kept

log = logging.getLogger(__name__)

PAGE = 4096
SMALL = 1 << 20  # members up to this are inflated whole into memory (design.md §5)
RING = 8 << 20
MOST_AHEAD = 8 << 20
FIRST_AHEAD = 128 << 10


class Reader(abc.ABC):
    """One open file's view of a member of ``size`` bytes. Many handles may share one."""

    size: int

    @abc.abstractmethod
    def peek(self, offset: int, size: int) -> bytes | memoryview | None:
        """The bytes, if they can be had without waiting; else None. ``offset + size`` is within the member."""

    @abc.abstractmethod
    async def read(self, offset: int, size: int) -> bytes | memoryview:
        """Exactly ``size`` bytes from ``offset``; raises a MountfsError otherwise."""

    def release(self) -> None:  # noqa: B027 - most readers have nothing to let go
        """The handle is closed."""


class InMemory(Reader):
    """A small member, whole."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._data = data

    def peek(self, offset: int, size: int) -> bytes | memoryview | None:
        if offset == 0 and size == self.size:
            return self._data
        return memoryview(self._data)[offset : offset + size]

    async def read(self, offset: int, size: int) -> bytes | memoryview:
        return memoryview(self._data)[offset : offset + size]


class Sink(Protocol):
    """Where a pump appends, and readers read back."""

    def append(self, data: bytes) -> None: ...
    def low(self) -> int: ...
    def peek(self, offset: int, size: int) -> bytes | None: ...
    def read(self, offset: int, size: int) -> bytes: ...
    def finish(self) -> None: ...
    def discard(self) -> None: ...


class Ring:
    """The last RING bytes in memory, when no disk will have them."""

    def __init__(self, start: int = 0) -> None:
        self._start = start
        self._data = bytearray()

    def append(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > RING + SMALL:
            excess = len(self._data) - RING
            del self._data[:excess]
            self._start += excess

    def low(self) -> int:
        return self._start

    def peek(self, offset: int, size: int) -> bytes | None:
        at = offset - self._start
        if at < 0 or at + size > len(self._data):
            return None
        return bytes(memoryview(self._data)[at : at + size])

    def read(self, offset: int, size: int) -> bytes:
        data = self.peek(offset, size)
        if data is None:
            raise MountfsError("a byte left the window before it was read", advice="read again")
        return data

    def finish(self) -> None:
        pass

    def discard(self) -> None:
        self._data.clear()


class SpoolSink:
    """A file of the store that grows, and becomes the member's own file once it is complete."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._file: Spool | MemberFile = spool

    def append(self, data: bytes) -> None:
        self._spool.write(data)

    def low(self) -> int:
        return 0

    def peek(self, offset: int, size: int) -> bytes | None:
        return self._file.try_read(offset, size)

    def read(self, offset: int, size: int) -> bytes:
        return self._file.read(offset, size)

    def finish(self) -> None:
        self._file = self._spool.finish()

    def discard(self) -> None:
        self._spool.discard()
        if isinstance(self._file, MemberFile):
            self._file.close()


def open_sink(kept: Kept, index: int, size: int, *, largest: int) -> Sink:
    """A spool in the store; a ring in memory for a member larger than ``largest``, or when the disk refuses."""
    if size > largest:
        return Ring()
    try:
        return SpoolSink(kept.new_spool(index))
    except CacheFull as exc:
        log.warning("read through memory: %s", exc)
        return Ring()


class FileReader(Reader):
    """A large member made before: a finished file of the store. ``closed``: told when the handle is released."""

    def __init__(
        self,
        file: MemberFile,
        *,
        disk: Callable[[Callable[[int, int], bytes], int, int], Awaitable[bytes]],
        closed: Callable[[], None],
    ) -> None:
        self.size = file.size
        self._file = file
        self._disk = disk
        self._closed = closed

    def peek(self, offset: int, size: int) -> bytes | memoryview | None:
        return self._file.try_read(offset, size)

    async def read(self, offset: int, size: int) -> bytes | memoryview:
        return await self._disk(self._file.read, offset, size)

    def release(self) -> None:
        self._file.close()
        self._closed()


class Pump(abc.ABC):
    """Makes a member's bytes in order."""

    @abc.abstractmethod
    async def step(self, emit: Callable[[bytes], None], news: Callable[[], None], target: Callable[[], int]) -> bool:
        """Makes some more bytes, calling ``emit`` (maybe in a thread) for each piece; True when the member is complete
        and its checksum is right. A long step calls ``news`` (on the trio thread) when readers should look, and
        watches ``target``, the offset up to which bytes are wanted now. Raises MemberDamaged, or what the way to the
        bytes raises (then it may be called again)."""

    @abc.abstractmethod
    def rewind(self, offset: int) -> int:
        """Goes back to the nearest state at or before ``offset``; answers which offset that is (0: the start)."""

    def close(self) -> None:  # noqa: B027 - most pumps hold nothing open
        """Lets go of what the pump holds."""


class Progressive(Reader):
    """A large member made in order, shared by all its readers. ``start``: runs the pump in a nursery that outlives
    it."""

    def __init__(
        self,
        member: Member,
        pump: Pump,
        sink: Sink,
        *,
        start: Callable[[Callable[[], Awaitable[None]]], None],
        disk: Callable[[Callable[[int, int], bytes], int, int], Awaitable[bytes]],
        failed: Callable[[MountfsError], None],
        finished: Callable[[], None],
        label: str,
    ) -> None:
        self.size = member.size
        self._pump = pump
        self._sink = sink
        self._start = start
        self._disk = disk
        self._failed = failed
        self._finished = finished
        self._label = label
        self._produced = 0
        self._target = 0
        self._ahead = FIRST_AHEAD
        self._edge = 0
        self._running = False
        self._complete = False
        self._error: MountfsError | None = None
        self._changed = trio.Event()
        self.readers = 0

    @property
    def complete(self) -> bool:
        return self._complete

    @property
    def available(self) -> int:
        """How far readers may read: the last block waits for the check."""
        return self.size if self._complete else min(self._produced, (self.size - 1) // PAGE * PAGE)

    def peek(self, offset: int, size: int) -> bytes | memoryview | None:
        if offset + size > self.available or self._error_is_final():
            return None
        self._note(offset, offset + size)
        if offset < self._sink.low():
            return None
        return self._sink.peek(offset, size)

    async def read(self, offset: int, size: int) -> bytes | memoryview:
        self._note(offset, offset + size)
        while True:
            await self.reach(offset + size)
            if offset < self._sink.low():
                self._restart(offset)
                continue
            data = self._sink.peek(offset, size)
            if data is not None:
                return data
            if isinstance(self._sink, Ring):
                continue
            return await self._disk(self._sink.read, offset, size)

    async def reach(self, stop: int) -> None:
        """Returns when everything before ``stop`` may be read."""
        while self.available < stop:
            if self._error is not None:
                error = self._error
                if not self._error_is_final():
                    self._error = None
                raise error.again()
            self._target = max(self._target, stop)
            self._run()
            await self._changed.wait()
        if self._error_is_final():
            assert self._error is not None
            raise self._error.again()

    def _error_is_final(self) -> bool:
        return isinstance(self._error, MemberDamaged)

    def _note(self, offset: int, stop: int) -> None:
        """Going forward earns read-ahead; the pump is started again before a reader has to wait for it."""
        if self._complete:
            return
        if abs(offset - self._edge) <= SMALL:  # the kernel's read-ahead asks a little out of order
            self._ahead = min(self._ahead * 2, MOST_AHEAD)
            self._edge = max(self._edge, stop)
        else:
            self._ahead = FIRST_AHEAD
            self._edge = stop
        if stop + self._ahead // 2 > self._produced and self._error is None and offset > 0:
            self._target = max(self._target, stop + self._ahead)
            self._run()

    def _restart(self, offset: int) -> None:
        """A byte left the ring: makes it again."""
        if self._running:
            return
        self._produced = self._pump.rewind(offset)
        self._sink = Ring(self._produced)
        self._complete = False
        self._target = offset

    def _run(self) -> None:
        if not self._running and not self._complete:
            self._running = True
            self._start(self._work)

    async def _work(self) -> None:
        try:
            while self._wanting() or self._ends():
                done = await self._pump.step(self._emit, self._news, lambda: self._target)
                if done:
                    self._sink.finish()
                    self._complete = True
                    self._finished()
                self._news()
        except MountfsError as exc:
            self._fail(exc)
        except Exception:  # background work has no handler's guard above it: a bug here must not end the mount
            log.exception("%s: making a member's bytes failed inside mountfs", self._label)
            self._fail(MountfsError(f"{self._label}: failed inside mountfs", advice="see the log, report it"))
        finally:
            self._running = False
            self._news()

    def _wanting(self) -> bool:
        return not self._complete and self._produced < min(self._target, self.size)

    def _ends(self) -> bool:
        """All bytes are made, only the end check is left."""
        return not self._complete and self._target >= self.available and self._produced >= self.size

    def _fail(self, error: MountfsError) -> None:
        self._error = error
        if self._error_is_final():
            self._sink.discard()
            self._pump.close()
        self._failed(error)

    def _emit(self, data: bytes) -> None:
        """Called by the pump, one piece after the other, maybe in a thread."""
        try:
            self._sink.append(data)
        except CacheFull as exc:
            log.warning("%s: read through memory: %s", self._label, exc)
            self._sink.discard()
            ring = Ring(self._produced)
            ring.append(data)
            self._sink = ring
        self._produced += len(data)

    def _news(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    @property
    def idle(self) -> bool:
        """Whether nobody reads from it."""
        return self.readers == 0

    def close(self) -> None:
        """The member is evicted from the list of those kept ready: what is not finished is dropped."""
        self._pump.close()
        self._sink.discard()


class Shared(Reader):
    """One handle on a Progressive: it counts as read from while it is open. ``closed``: told when it is released."""

    def __init__(self, shared: Progressive, closed: Callable[[], None]) -> None:
        self.size = shared.size
        self._shared = shared
        self._closed = closed
        shared.readers += 1

    def peek(self, offset: int, size: int) -> bytes | memoryview | None:
        return self._shared.peek(offset, size)

    async def read(self, offset: int, size: int) -> bytes | memoryview:
        return await self._shared.read(offset, size)

    def release(self) -> None:
        self._shared.readers -= 1
        self._closed()
