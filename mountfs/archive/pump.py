"""Inflating one large member, in order, as far as somebody wants it.

A step fetches some compressed bytes and inflates them only up to what is wanted now: 64 KiB may be 64 MiB inflated, so
a step can end in the middle of what was fetched, and the next one goes on there. So ``head`` of a bomb costs a window.

*Checkpoints.* Where the bytes go into a ring in memory instead of a file, going back means making them again. Then the
inflater's state is copied now and then (deflate alone can: 26 us and some 100 KB each), at most CHECKPOINTS of them
a member, and going back starts from the nearest. Other methods start over.

Concurrency: a pump belongs to one ``Progressive``, which runs one step at a time; inflating happens in a thread.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Callable, Iterator

from mountfs.archive import window
from mountfs.archive.transfers import BLOCK, Archive
from mountfs.content import Pump
from mountfs.errors import CacheDamaged
from mountfs.model import Member, Span
from mountfs.zipformat import Inflater, printable

log = logging.getLogger(__name__)

STEP = 128 << 10
MOST_STEP = 1 << 20
MOST_MADE = 2 << 20
"""Inflated bytes after which readers are told, at the latest."""
CHECKPOINT = 4 << 20
CHECKPOINTS = 256


class InflatePump(Pump):
    """Inflates one member from the archive's local file, fetching what is missing as it goes. ``data``: where its
    compressed bytes lie. ``checkpoints``: keep them from the start."""

    def __init__(self, archive: Archive, member: Member, data: Span, *, checkpoints: bool) -> None:
        self._archive = archive
        self._member = member
        self._data = data
        self._stream = window.Stream()
        self._step = STEP
        self._spacing = max(CHECKPOINT, -(-member.size // CHECKPOINTS))
        self._checkpoints: list[Inflater] = []
        self._keeps = checkpoints
        self.made = 0
        """Bytes inflated so far, those made again too."""
        self._pieces: Iterator[bytes] | None = None
        self._start_over()

    def _start_over(self) -> None:
        self._inflater = Inflater(self._member, copyable=self._keeps)
        self._at = self._data.start
        self._pieces = None

    async def step(self, emit: Callable[[bytes], None], news: Callable[[], None], target: Callable[[], int]) -> bool:  # noqa: ARG002
        rest = self._data.stop - self._at
        if self._pieces is None and (not rest or (self._inflater.done and rest > MOST_STEP)):
            await self._archive.workers.cpu(self._inflater.finish)
            tell_trailing(self._archive.label, self._member, self._inflater.trailing + rest)
            return True
        need = await self._fetch() if self._pieces is None else None
        try:
            done = await self._archive.on_cpu(self._inflate, need, emit, target)
        except CacheDamaged:
            if need is None or self._pieces is not None:
                raise
            self._take(await self._archive.read(need), need)  # held in memory, or to be fetched again
            done = await self._archive.on_cpu(self._inflate, None, emit, target)
        if done:
            self._pieces = None
        return False

    async def _fetch(self) -> Span:
        """Where the next compressed bytes are, which are here."""
        # On a block's edge, else the last block of a window is a request of its own.
        stop = (self._at + self._step) // BLOCK * BLOCK
        need = Span(self._at, min(max(stop, self._at + 1), self._data.stop))
        ahead = min(self._stream.step(need, self._archive.latency), self._data.stop - need.stop)
        await self._archive.ensure(need, ahead=ahead, parallel=self._archive.parallel_for(self._stream))
        return need

    def _take(self, packed: bytes, need: Span) -> None:
        """The inflater has these: not before is the place behind them where to go on. A step that failed is made again
        from where it was."""
        self._pieces = self._inflater.feed(packed)
        self._at = need.stop
        self._step = min(self._step * 2, MOST_STEP)

    def _inflate(self, need: Span | None, emit: Callable[[bytes], None], target: Callable[[], int]) -> bool:
        """Inflates ``need``, or goes on with what was not finished, until enough is made; answers whether it is used
        up. Reading it is this thread's too: 1 MiB would hold up the loop for 0.3 ms."""
        if need is not None:
            self._take(self._archive.kept.read(need.start, need.size), need)
        pieces = self._pieces
        assert pieces is not None
        enough = self._inflater.produced + MOST_MADE
        for piece in pieces:
            emit(piece)
            self.made += len(piece)
            if self._keeps:
                self._mark()
            if self._inflater.produced >= min(enough, target()) and not self._inflater.done:
                return False
        return True

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def _mark(self) -> None:
        """Keeps the inflater's state, if the last one kept is far enough behind."""
        last = self._checkpoints[-1].produced if self._checkpoints else 0
        if self._inflater.produced >= last + self._spacing and (kept := self._inflater.copy()) is not None:
            self._checkpoints.append(kept)

    def nearest(self, offset: int) -> int:
        found = self._before(offset)
        return found.produced if found is not None else 0

    def _before(self, offset: int) -> Inflater | None:
        place = bisect_right(self._checkpoints, offset, key=lambda each: each.produced)
        return self._checkpoints[place - 1] if place else None

    def rewind(self, offset: int) -> int:
        self._keeps = True
        found = self._before(offset)
        twin = found.copy() if found is not None else None
        if twin is None:
            self._start_over()
        else:
            self._inflater = twin
            self._at = self._data.start + twin.consumed
            self._pieces = twin.drain()
        return self._inflater.produced

    def close(self) -> None:
        self._checkpoints.clear()


def tell_trailing(label: str, member: Member, count: int) -> None:
    """Logs bytes that follow a member's compressed data inside its compressed size: accepted, but odd."""
    if count:
        log.warning("%s/%s: %d bytes of junk after its data are ignored", label, printable(member.path), count)
