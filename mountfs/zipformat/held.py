"""The end of an archive, as far as it is here.

Theory: bytes arrive from the archive's end towards its front, the last piece being by far the largest when the
directory is. Pieces are kept as they came and joined only for what is looked at, so that a directory of a gigabyte
is copied once.

Concurrency: belongs to its parser.
"""

from __future__ import annotations


class Missing(Exception):
    """The archive's bytes from ``start`` on are needed to go on: a request, not an error."""

    def __init__(self, start: int) -> None:
        super().__init__(start)
        self.start = start


class HeldBytes:
    """The archive's bytes from ``start`` to its end at ``stop``."""

    def __init__(self, total: int) -> None:
        self.start = self.stop = total
        self._pieces: list[memoryview] = []

    def put(self, start: int, data: bytes) -> None:
        """Takes more bytes, which must reach what is here; an overlap is cut off. Raises ValueError at a gap."""
        if not start <= self.start <= start + len(data) <= self.stop:
            raise ValueError(f"bytes {start}-{start + len(data)} do not join those from {self.start} on")
        self._pieces.insert(0, memoryview(data)[: self.start - start])
        self.start = start

    def get(self, start: int, stop: int) -> bytes:
        """The archive's bytes [start, stop), fewer at its end. Raises Missing where they begin before what is here."""
        if start < self.start:
            raise Missing(start)
        found, position = [], self.start
        for piece in self._pieces:
            if position < stop and start < position + len(piece):
                found.append(piece[max(start - position, 0) : stop - position])
            position += len(piece)
        return b"".join(found)

    def clear(self) -> None:
        """Lets go of all bytes."""
        self._pieces.clear()
        self.start = self.stop
