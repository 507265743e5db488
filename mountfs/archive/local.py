"""What of an archive is on this machine: in the store's sparse file, or, while the disk refuses, in memory.

Bytes the store refuses (a full disk) are held in memory, HELD bytes an archive, the oldest dropped first: reading
goes on with less caching.

Concurrency: state changes on the trio task thread; disk work through ``Workers``.
"""

from __future__ import annotations

import abc
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

from mountfs.archive import window
from mountfs.errors import CacheDamaged, CacheFull
from mountfs.model import Span
from mountfs.store import Snapshot as Kept
from mountfs.workers import Workers

log = logging.getLogger(__name__)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

HELD = 16 << 20
IN_PLACE = 2 << 20  # copying this much takes 0.5 ms; the directory of a huge archive would hold everybody up


class Local(abc.ABC):
    """The bytes that are here. ``label``: provider/session, for the log. ``make_room``: lets go of what
    nobody uses, so that the cache can evict it."""

    def __init__(self, kept: Kept, workers: Workers, label: str, make_room: Callable[[], bool]) -> None:
        self.kept = kept
        self._make_room = make_room
        self.workers = workers
        self.label = label
        self._held: OrderedDict[int, bytes] = OrderedDict()
        self._held_size = 0
        self._disk_work = 0
        self._closing = False
        self._refused = False

    async def on_disk(self, call: Callable[[*Ts], T], *args: *Ts) -> T:
        """``call`` in a thread; the local file stays open until it is done, whoever lets it go meanwhile: the number of
        a closed descriptor may be another file's by then."""
        return await self._in_thread(self.workers.disk, call, *args)

    async def on_cpu(self, call: Callable[[*Ts], T], *args: *Ts) -> T:
        """The same for what computes as well."""
        return await self._in_thread(self.workers.cpu, call, *args)

    async def _in_thread(self, workers: Callable[..., Awaitable[T]], call: Callable[[*Ts], T], *args: *Ts) -> T:
        self._disk_work += 1
        try:
            return await workers(call, *args)
        finally:
            self._disk_work -= 1
            if self._closing and not self._disk_work:
                self.kept.close()

    def missing(self, need: Span) -> list[Span]:
        """The parts of ``need`` that are neither in the local file nor held in memory."""
        holes: list[Span] = self.kept.missing(need)
        if not holes or not self._held:
            return holes
        rest = window.subtract(holes, [Span(start, start + len(data)) for start, data in self._held.items()])
        # The store widens to whole blocks; beside a held piece a part of a block is left, which it may well have.
        return [hole for hole in rest if self.kept.missing(hole)]

    @property
    def complete(self) -> bool:
        """Whether all of the archive is in the local file."""
        return self.kept.complete

    def peek(self, span: Span, into: memoryview | None = None) -> memoryview | None:
        """The bytes if they can be had without waiting for a disk, else None. ``into``: a buffer they may be in."""
        return self.kept.try_read(span.start, span.size, into)

    @abc.abstractmethod
    async def ensure(self, need: Span, *, ahead: int = 0, parallel: int = 1) -> None:
        """Returns when all of ``need`` is here."""

    async def read(self, span: Span) -> bytes:
        """Exactly the bytes of ``span``, which are here; fetched again if the local file was deleted meanwhile. Raises
        CacheDamaged if it cannot be read, and what ``ensure`` raises."""
        while True:
            try:
                return await self._read(span)
            except CacheDamaged:
                if not self.missing(span):
                    raise
            await self.ensure(span)

    async def _read(self, span: Span) -> bytes:
        data = self.kept.try_read(span.start, span.size) if span.size <= IN_PLACE else None
        if data is not None:
            return bytes(data)
        if self._held and (whole := self._read_held(span)) is not None:
            return whole
        return await self.on_disk(self.kept.read, span.start, span.size)

    def _read_held(self, span: Span) -> bytes | None:
        """``span`` from held pieces, falling back on the local file between them; None if no piece touches it."""
        parts: list[bytes] = []
        at, touched = span.start, False
        for start in sorted(self._held):
            data = self._held[start]
            stop = start + len(data)
            if stop <= at or start >= span.stop:
                continue
            if start > at:
                parts.append(self.kept.read(at, start - at))
                at = start
            parts.append(data[at - start : span.stop - start])
            at, touched = min(stop, span.stop), True
        if not touched:
            return None
        if at < span.stop:
            parts.append(self.kept.read(at, span.stop - at))
        return b"".join(parts)

    async def put(self, start: int, data: bytes | memoryview) -> None:
        """Keeps bytes that came, in the local file, or in memory where that takes them not even once what nobody uses
        was let go. A buffer may be used again afterwards."""
        try:
            await self.on_disk(self.kept.write, start, data)
        except CacheFull as exc:
            if not self._make_room() or not await self._written(start, data):
                self._hold(start, bytes(data))
                if not self._refused:  # one line, however many writes it is
                    self._refused = True
                    log.warning("%s: the cache cannot keep what is read: %s", self.label, exc)
                return
        self._refused = False

    async def _written(self, start: int, data: bytes | memoryview) -> bool:
        try:
            await self.on_disk(self.kept.write, start, data)
        except CacheFull:
            return False
        return True

    def _hold(self, start: int, data: bytes) -> None:
        self._held[start] = data
        self._held_size += len(data)
        while self._held_size > HELD and len(self._held) > 1:
            _, dropped = self._held.popitem(last=False)
            self._held_size -= len(dropped)

    def close_local(self) -> None:
        """Lets the local file go, once nothing is being done to it."""
        self._held.clear()
        if not self._closing:
            self._closing = True
            if not self._disk_work:
                self.kept.close()
