"""A large member whose bytes can only be made in order (inflated, or downloaded as one file), read while it is made.

*The pump* appends to a sink; readers at any position take what is there, and the last block is withheld until size and
checksum are right. So no reader ever sees the end of a member that failed its check. It runs only towards a target: the
furthest byte somebody waits for, and a read-ahead that grows while reading goes on. When nobody reads on it stops and
keeps its state; the next reader starts it again from there, not from zero.

*Through a ring* (``sinks.py``) a jump takes the pump to its nearest checkpoint (deflate's state, copied every few MiB)
or to the start. Readers far apart take turns; each turn goes on until its reader has its bytes.

Concurrency: state changes on the trio task thread; a pump is the only writer of its sink, one thread hop at a time.
"""

from __future__ import annotations

import abc
import logging
from collections.abc import Awaitable, Callable

import trio

from mountfs.content.readers import SMALL, Reader
from mountfs.content.sinks import Ring, Sink
from mountfs.errors import CacheError, CacheFull, MemberDamaged, MountfsError
from mountfs.model import Member

log = logging.getLogger(__name__)

PAGE = 4096
MOST_AHEAD = 8 << 20
RING_AHEAD = 2 << 20  # what is made ahead into a ring must not push out what is being read
FIRST_AHEAD = 128 << 10


class Pump(abc.ABC):
    """Makes a member's bytes in order."""

    @abc.abstractmethod
    async def step(self, emit: Callable[[bytes], None], news: Callable[[], None], target: Callable[[], int]) -> bool:
        """Makes some more bytes, calling ``emit`` (maybe in a thread) for each piece; True when the member is complete
        and its checksum is right. A long step calls ``news`` (on the trio thread) when readers should look, and
        watches ``target``, the offset up to which bytes are wanted now (-1: it is to stop). Raises MemberDamaged, or
        what the way to the bytes raises (then it may be called again)."""

    @abc.abstractmethod
    def rewind(self, offset: int) -> int:
        """Goes to ``nearest(offset)``; answers which offset that is (0: the start). Called between two steps."""

    def nearest(self, offset: int) -> int:  # noqa: ARG002 - most pumps can only start over
        """The furthest offset up to ``offset`` that ``rewind`` can go to."""
        return 0

    def close(self) -> None:  # noqa: B027 - most pumps hold nothing open
        """Lets go of what the pump holds."""


class Progressive(Reader):
    """A large member made in order, shared by all its readers. ``start``: runs the pump in a nursery that outlives
    it. ``believed``: seconds for which a failure to get its bytes is answered without another attempt."""

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
        believed: float = 0.0,
    ) -> None:
        self.size = member.size
        self._pump = pump
        self._sink = sink
        self._start = start
        self._disk = disk
        self._failed = failed
        self._finished = finished
        self._label = label
        self._believed = believed
        self._error_until = 0.0
        self._produced = 0
        self._target = 0
        self._ahead = FIRST_AHEAD
        self._edge = 0
        self._running = False
        self._complete = False
        self._error: MountfsError | None = None
        self._changed = trio.Event()
        self._turning = 0
        self._closed = False
        self.readers = 0

    @property
    def complete(self) -> bool:
        return self._complete

    @property
    def available(self) -> int:
        """How far readers may read: the last block waits for the check."""
        return self.size if self._complete else min(self._produced, (self.size - 1) // PAGE * PAGE)

    def peek(self, offset: int, size: int, into: memoryview | None = None) -> bytes | memoryview | None:
        if offset + size > self.available or self._error_is_final():
            return None
        self._note(offset, offset + size)
        if offset < self._sink.low():
            return None
        return self._sink.peek(offset, size, into)

    async def read(self, offset: int, size: int) -> bytes | memoryview:
        self._note(offset, offset + size)
        while True:
            if not self._on_the_way(offset):
                await self._turn(offset, offset + size)
            await self.reach(offset + size, start=offset)
            sink = self._sink
            if (data := sink.peek(offset, size)) is not None:
                return data
            if isinstance(sink, Ring):  # it left the ring before we came to look
                continue
            try:
                return await self._disk(sink.read, offset, size)
            except CacheError as exc:
                await self._give_up(sink, exc)

    async def reach(self, stop: int, *, start: int | None = None) -> None:
        """Returns when everything before ``stop`` may be read; or when the pump has gone to where it does not come to
        ``start`` any more."""
        waited = False
        while self.available < stop:
            if self._error is not None:
                # A failure belongs to those who waited for it, and is believed for a while; then it is tried again.
                if waited or self._error_is_final() or trio.current_time() < self._error_until:
                    raise self._error.again()
                self._error = None
            if self._closed:
                raise CacheError(f"{self._label}: given up while it was read", advice="open it again")
            if start is not None and not self._on_the_way(start):
                return
            self._target = max(self._target, stop)
            self._run()
            await self._changed.wait()
            waited = True
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
        if self.in_memory:
            self._ahead = min(self._ahead, RING_AHEAD)
            if not self._on_the_way(offset) or offset > self._produced:
                return
        if stop + self._ahead // 2 > self._produced and self._error is None and offset > 0:
            self._target = max(self._target, stop + self._ahead)
            self._run()

    # -- a ring --------------------------------------------------------------------------------------------------

    def _on_the_way(self, offset: int) -> bool:
        """Whether the byte is here, or the pump comes to it sooner than from a checkpoint."""
        return not self.in_memory or (self._sink.low() <= offset and self._pump.nearest(offset) <= self._produced)

    async def _turn(self, offset: int, stop: int) -> None:
        """Takes the pump elsewhere, once nobody else needs it where it is."""
        await self._stopped()
        if self._on_the_way(offset) or self._error_is_final():
            return
        self._produced = self._pump.rewind(offset)
        self._sink = Ring(self._produced)
        self._complete, self._error = False, None
        self._target = stop
        self._begin()

    async def _stopped(self) -> None:
        """Returns when the pump has stopped, which it does as soon as nobody needs it where it is."""
        self._turning += 1
        try:
            while self._running:
                await self._changed.wait()
        finally:
            self._turning -= 1
            if not self._turning:
                self._news()

    async def _give_up(self, sink: Sink, error: CacheError) -> None:
        """What was made cannot be read back (its file was deleted, or the disk fails): it is made again, in memory."""
        await self._stopped()
        if sink is self._sink:
            self._to_memory(error)

    def _to_memory(self, error: CacheError) -> None:
        log.warning("%s: read through memory: %s", self._label, error)
        self._sink.discard()
        self._sink = Ring(self._produced)

    def _goal(self) -> int:
        """Up to which byte is wanted now; -1: nobody needs more, and somebody waits for the pump to stop."""
        return -1 if self._turning and self._produced >= self._target else self._target

    def _run(self) -> None:
        if not self._running and not self._complete and not self._turning:
            self._begin()

    def _begin(self) -> None:
        self._running = True
        self._start(self._work)

    async def _work(self) -> None:
        try:
            while self._wanting() or self._ends():
                done = await self._pump.step(self._emit, self._news, self._goal)
                if done:
                    self._finish()
                    self._complete = True
                    self._finished()
                self._news()
        except MountfsError as exc:
            self._fail(exc)
        except Exception:  # background work has no handler's guard above it: a bug here must not end the mount
            log.exception("%s: making a member's bytes failed inside mountfs", self._label)
            error = MountfsError(f"{self._label}: failed inside mountfs", advice="see the log, report it")
            error.tell()
            self._fail(error)
        finally:
            self._running = False
            self._news()

    def _wanting(self) -> bool:
        return not self._complete and not self._closed and self._produced < min(self._target, self.size)

    def _ends(self) -> bool:
        """All bytes are made, only the end check is left."""
        checked = self._complete or self._closed
        return not checked and self._target >= self.available and self._produced >= self.size

    def ask_again(self) -> None:
        """A failure is not believed any more; damage is."""
        self._error_until = 0.0

    def _fail(self, error: MountfsError) -> None:
        self._error = error
        self._error_until = trio.current_time() + self._believed
        if self._error_is_final():
            self._sink.discard()
            self._pump.close()
        self._failed(error)

    def _emit(self, data: bytes) -> None:
        """Called by the pump, one piece after the other, maybe in a thread."""
        try:
            self._sink.append(data)
        except CacheFull as exc:
            self._to_memory(exc)
            self._sink.append(data)
        self._produced += len(data)

    def _finish(self) -> None:
        try:
            self._sink.finish()
        except CacheError as exc:
            self._to_memory(exc)

    def _news(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    @property
    def in_memory(self) -> bool:
        """Whether it goes through a ring."""
        return isinstance(self._sink, Ring)

    @property
    def idle(self) -> bool:
        """Whether nobody reads from it, and nothing is being made of it."""
        return self.readers == 0 and not self._running

    def close(self) -> None:
        """The member is evicted from the list of those kept ready: what is not finished is dropped."""
        self._closed = True
        self._pump.close()
        self._sink.discard()


class Shared(Reader):
    """One handle on a Progressive: it counts as read from while it is open. ``closed``: told when it is released."""

    def __init__(self, shared: Progressive, closed: Callable[[], None]) -> None:
        self.size = shared.size
        self._shared = shared
        self._closed = closed
        shared.readers += 1

    def peek(self, offset: int, size: int, into: memoryview | None = None) -> bytes | memoryview | None:
        return self._shared.peek(offset, size, into)

    async def read(self, offset: int, size: int) -> bytes | memoryview:
        return await self._shared.read(offset, size)

    def release(self) -> None:
        self._shared.readers -= 1
        self._closed()
