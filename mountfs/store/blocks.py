"""Which bytes of a partial archive are here: one byte a 4 KiB block, and the edges of blocks not yet whole.

A block is *present* when all its bytes are in the data file; only that is written to the map file, so a crash
forgets at most the edges. The last block counts as whole once the length is known and its bytes are here. Edges
are kept as intervals, in memory alone: their bytes already lie in the data file, so a reader in this process may
have them before the block is whole.

Pure: no I/O. Concurrency: changes happen under the lock of ``Snapshot``; ``missing`` and ``covers`` may be asked
without it: beside a change they may name a gap that has just closed, never hide one.
"""

from __future__ import annotations

from mountfs.model import Span

BLOCK = 4096
"""Bytes a block: the page size, so that a whole block is also what the kernel's page cache holds."""

_CLEAN = bytes([0, 1]) + bytes(254)
"""Anything but 1 reads as absent: a map page that a power cut left torn must not invent blocks."""


def _merge(intervals: list[Span], new: Span) -> list[Span]:
    """The union of ``new`` and disjoint sorted ``intervals``, disjoint and sorted, touching ones joined."""
    merged: list[Span] = []
    for interval in sorted([*intervals, new]):
        if merged and interval.start <= merged[-1].stop:
            merged[-1] = Span(merged[-1].start, max(merged[-1].stop, interval.stop))
        else:
            merged.append(interval)
    return merged


class BlockMap:
    """Presence of blocks. Offsets are bytes in the archive; block numbers are offset // BLOCK. ``whole``: how many
    blocks are present."""

    def __init__(self, length: int | None = None, present: bytes = b"") -> None:
        self.length = length
        self.whole = 0
        self._present = bytearray()
        self._edges: dict[int, list[Span]] = {}
        self.adopt(0, present)

    def adopt(self, first: int, present: bytes) -> None:
        """Take over a piece of the map file, from block ``first``: other processes may have changed it."""
        stop = first + len(present)
        self.whole -= self._present.count(1, first, stop)
        if stop > len(self._present):
            self._present.extend(bytes(stop - len(self._present)))
        self._present[first:stop] = present.translate(_CLEAN)
        self.whole += self._present.count(1, first, stop)

    @property
    def complete(self) -> bool:
        """Whether every byte is here."""
        return self.length is not None and self.whole >= -(-self.length // BLOCK)

    @property
    def allocated(self) -> int:
        """Bytes on disk that data and map take, as far as they can be told from here."""
        return (self.whole + len(self._edges) + -(-len(self._present) // BLOCK)) * BLOCK

    @property
    def present_bytes(self) -> int:
        """Bytes in whole blocks."""
        total = self.whole * BLOCK
        if self.length is not None and self.length % BLOCK and self._has(self.length // BLOCK):
            total -= BLOCK - self.length % BLOCK
        return total

    def set_length(self, length: int) -> Span:
        """Fix the length; answers the run of blocks that this made whole (empty or the last one)."""
        self.length = length
        last = max(length - 1, 0) // BLOCK
        return Span(last, last + 1) if self._complete(last) else Span(last, last)

    def add(self, span: Span) -> Span:
        """Note that the bytes of ``span`` are in the data file; answers the run of blocks that are whole by it.

        The run may hold blocks that were whole before: writing their map bytes again changes nothing.
        """
        if span.start >= span.stop:
            return Span(0, 0)
        first, stop = -(-span.start // BLOCK), span.stop // BLOCK
        if span.stop == self.length:
            stop = -(-span.stop // BLOCK)
        if first < stop:
            self._mark(first, stop)
        else:
            stop = first
        whole = [first, stop - 1] if first < stop else []
        ends = {span.start // BLOCK, (span.stop - 1) // BLOCK}
        whole.extend(block for block in ends if not first <= block < stop and self._edge(block, span))
        # The blocks at either end touch the run between them, so what is whole is one run.
        return Span(min(whole), max(whole) + 1) if whole else Span(first, first)

    def forget(self, span: Span) -> Span:
        """Treat every block touching ``span`` as absent; answers the run of blocks concerned."""
        first, stop = span.start // BLOCK, -(-span.stop // BLOCK)
        for block in [number for number in self._edges if first <= number < stop]:
            del self._edges[block]
        stop = min(stop, len(self._present))
        if first >= stop:
            return Span(first, first)
        self.whole -= self._present.count(1, first, stop)
        self._present[first:stop] = bytes(stop - first)
        return Span(first, stop)

    def covers(self, span: Span) -> bool:
        """Whether every byte of ``span`` is here (an empty span always is)."""
        return not self.missing(span)

    def missing(self, span: Span) -> list[Span]:
        """The gaps in ``span``, widened to whole blocks, clipped to the length; sorted, disjoint."""
        start, stop = span
        if self.length is not None:
            stop = min(stop, self.length)
        if start >= stop:
            return []
        gaps = []
        end = -(-stop // BLOCK)
        block = start // BLOCK
        present = self._present
        while block < end:
            gap = present.find(0, block, end)
            if gap < 0:
                gap = max(block, len(present))
            if gap >= end:
                break
            block = present.find(1, gap, end)
            if block < 0:
                block = end
            first, after = gap, block
            if self._edge_covers(first, start, stop):
                first += 1
            if after > first and self._edge_covers(after - 1, start, stop):
                after -= 1
            if first < after:
                gaps.append(Span(first * BLOCK, self._clip(after * BLOCK)))
        return gaps

    def _clip(self, offset: int) -> int:
        return offset if self.length is None else min(offset, self.length)

    def _has(self, block: int) -> bool:
        return block < len(self._present) and self._present[block] == 1

    def _mark(self, first: int, stop: int) -> None:
        if stop > len(self._present):
            self._present.extend(bytes(stop - len(self._present)))
        self.whole += self._present.count(0, first, stop)
        self._present[first:stop] = b"\1" * (stop - first)
        if self._edges:
            for block in [number for number in self._edges if first <= number < stop]:
                del self._edges[block]

    def _edge(self, block: int, span: Span) -> bool:
        """Add the part of ``span`` inside ``block``; answers whether the block is now whole."""
        if self._has(block):
            return True
        base = block * BLOCK
        part = Span(max(span.start, base), min(span.stop, base + BLOCK))
        self._edges[block] = _merge(self._edges.get(block, []), part)
        return self._complete(block)

    def _complete(self, block: int) -> bool:
        base = block * BLOCK
        intervals = self._edges.get(block)
        if not intervals or intervals[0].start > base or intervals[0].stop < self._clip(base + BLOCK):
            return False
        self._mark(block, block + 1)
        return True

    def _edge_covers(self, block: int, start: int, stop: int) -> bool:
        intervals = self._edges.get(block)
        if not intervals:
            return False
        base = block * BLOCK
        low, high = max(start, base), min(stop, base + BLOCK)
        return any(part.start <= low and high <= part.stop for part in intervals)
