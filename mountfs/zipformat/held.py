"""The end of an archive, as far as it is here.

Theory: bytes arrive from the archive's end towards its front, the last piece being by far the largest when the
directory is. Pieces are kept as they came and joined only for what is looked at. A directory that is not all here is
asked for as a whole, and is then used as it came: a directory of a gigabyte is never copied, which would hold the
interpreter's lock for half a second.

Concurrency: belongs to its parser.
"""

from __future__ import annotations


class Missing(Exception):
    """The archive's bytes [start, stop) are needed to go on: a request, not an error."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__(start, stop)
        self.start = start
        self.stop = stop


class HeldBytes:
    """The archive's bytes from ``start`` to its end at ``stop``."""

    def __init__(self, total: int) -> None:
        self.start = self.stop = total
        self._pieces: list[bytes | memoryview] = []

    def put(self, start: int, data: bytes) -> None:
        """Takes more bytes, which must reach what is here; of what is here already the newer piece stays.
        Raises ValueError at a gap."""
        stop = start + len(data)
        if not start <= self.start <= stop <= self.stop:
            raise ValueError(f"bytes {start}-{stop} do not join those from {self.start} on")
        position, rest = self.start, list[bytes | memoryview]()
        for piece in self._pieces:
            if position + len(piece) > stop:
                rest.append(piece if position >= stop else memoryview(piece)[stop - position :])
            position += len(piece)
        self._pieces = [data, *rest]
        self.start = start

    def get(self, start: int, stop: int, *, whole: int = 0) -> bytes:
        """The archive's bytes [start, stop), fewer at its end. Raises Missing where they begin before what is here;
        ``whole``: it asks for them up to there at least."""
        if start < self.start:
            raise Missing(start, max(whole, self.start))
        found, position = list[bytes | memoryview](), self.start
        for piece in self._pieces:
            after = position + len(piece)
            if position < stop and start < after:
                within = start <= position and after <= stop
                found.append(piece if within else memoryview(piece)[max(start - position, 0) : stop - position])
            position = after
        return b"".join(found)  # of one piece that is bytes: itself

    def clear(self) -> None:
        """Lets go of all bytes."""
        self._pieces.clear()
        self.start = self.stop
