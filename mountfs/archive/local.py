"""What of an archive is on this machine: in the store's sparse file, or, while the disk refuses, in memory.

Bytes the store refuses (a full disk) are held in memory, HELD bytes an archive, the oldest dropped first: reading
goes on with less caching.

Concurrency: state changes on the trio task thread; disk work through ``Workers``.
"""

from __future__ import annotations

import logging
from collections import OrderedDict

from mountfs.archive import window
from mountfs.errors import CacheFull
from mountfs.model import Span
from mountfs.store import Snapshot as Kept
from mountfs.workers import Workers

log = logging.getLogger(__name__)

HELD = 16 << 20


class Local:
    """The bytes that are here. ``label``: provider/session, for the log."""

    def __init__(self, kept: Kept, workers: Workers, label: str) -> None:
        self.kept = kept
        self.workers = workers
        self.label = label
        self._held: OrderedDict[int, bytes] = OrderedDict()
        self._held_size = 0

    def missing(self, need: Span) -> list[Span]:
        """The parts of ``need`` that are neither in the local file nor held in memory."""
        holes: list[Span] = self.kept.missing(need)
        if holes and self._held:
            holes = window.subtract(holes, [Span(start, start + len(data)) for start, data in self._held.items()])
        return holes

    def peek(self, span: Span) -> bytes | None:
        """The bytes if they can be had without waiting for a disk, else None."""
        return self.kept.try_read(span.start, span.size)

    async def read(self, span: Span) -> bytes:
        """Exactly the bytes of ``span``, which must be here. Raises CacheDamaged if the local file lost them."""
        data = self.kept.try_read(span.start, span.size)
        if data is not None:
            return data
        if self._held and (whole := self._read_held(span)) is not None:
            return whole
        return await self.workers.disk(self.kept.read, span.start, span.size)

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

    async def put(self, start: int, data: bytes) -> None:
        """Keeps bytes that came with the opening request."""
        try:
            await self.workers.disk(self.kept.write, start, data)
        except CacheFull as exc:
            self._hold(start, data)
            log.warning("%s: the cache cannot keep what is read: %s", self.label, exc)

    def _hold(self, start: int, data: bytes) -> None:
        self._held[start] = data
        self._held_size += len(data)
        while self._held_size > HELD and len(self._held) > 1:
            _, dropped = self._held.popitem(last=False)
            self._held_size -= len(dropped)

    def close_local(self) -> None:
        """Lets the local file go."""
        self._held.clear()
        self.kept.close()
