"""A member's bytes from its compressed ones, counted and checked.

Theory: the central directory says how many bytes a member has and what their CRC-32 is. An ``Inflater`` makes
exactly that many, stops there whatever the stream would still give, and ``finish`` tells whether they are the
right ones. Bytes come out before the CRC is known: who serves them early must keep the last ones back.

Concurrency: an Inflater belongs to one thread at a time; no I/O, so it may run in any.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Self

from mountfs.errors import MemberDamaged, MemberUnsupported
from mountfs.model import Member
from mountfs.zipformat.crc import crc32
from mountfs.zipformat.decoders import DECODERS, Decoder, inflate_at_once, method_name
from mountfs.zipformat.names import printable

STORED, DEFLATED = 0, 8
"""APPNOTE 4.4.5."""
PIECE_IN = 64 << 10
"""Compressed bytes handed to a decoder at once: more would only be copied about."""
PIECE_COPYABLE = 8 << 10
"""The same where checkpoints are taken, since each keeps what is left of it."""
PIECE_OUT = 1 << 20
"""Inflated bytes made at once: what a bomb can cost in memory."""


class Inflater:
    """Decompresses one member, front to end. ``produced`` and ``consumed`` count bytes out and in; ``trailing``, after
    ``finish``, those that followed the stream: accepted, and worth a line in the log."""

    def __init__(self, member: Member, *, copyable: bool = False) -> None:
        """``copyable``: prefer a decoder that has ``copy()``. Raises MemberUnsupported."""
        self.member = member
        self.produced = 0
        self.consumed = 0
        self.trailing = 0
        self._crc = 0
        self._piece = PIECE_COPYABLE if copyable else PIECE_IN
        self._decoder = _decoder(member, copyable=copyable)

    @property
    def done(self) -> bool:
        """Whether all declared bytes were made: no more input is needed."""
        return self.produced >= self.member.size

    def feed(self, compressed: bytes | memoryview) -> Iterator[bytes]:
        """Yields what ``compressed`` inflates to, at most PIECE_OUT at a time. To be exhausted before the next call.

        Raises MemberDamaged where the data is broken. Input after the declared size is ignored.
        """
        view = memoryview(compressed)
        for position in range(0, len(view), self._piece):
            if self.done:
                self.trailing += len(view) - position
                return
            piece = view[position : position + self._piece]
            self.consumed += len(piece)
            yield from self._inflate(piece)

    def drain(self) -> Iterator[bytes]:
        """Yields what the bytes fed so far still inflate to: to be called on a copy taken in the middle of ``feed``."""
        if not self.done:
            yield from self._inflate(b"")

    def finish(self) -> None:
        """To be called when all input was fed. Raises MemberDamaged on a wrong size or CRC-32."""
        if not self.done:
            raise self._damaged(f"inflates to {self.produced} bytes instead of {self.member.size}")
        if self._crc != self.member.crc:
            raise self._damaged(f"has CRC-32 {self._crc:08x} instead of {self.member.crc:08x}")
        if not self._decoder.eof and self.member.size:
            with contextlib.suppress(MemberDamaged):  # reads the stream's end mark; what else comes is junk, too
                self.trailing += len(self._decoder.feed(b"", 1))
        self.trailing += self._decoder.unused

    def copy(self) -> Self | None:
        """A checkpoint: an Inflater that goes on from here on its own, once it is drained, with the input behind
        ``consumed``. None where its decoder cannot be copied."""
        decoder = self._decoder.copy()
        if decoder is None:
            return None
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._decoder = decoder
        return twin

    def _inflate(self, piece: bytes | memoryview) -> Iterator[bytes]:
        decoder, idle = self._decoder, False
        while not self.done:
            try:
                output = decoder.feed(piece, min(PIECE_OUT, self.member.size - self.produced))
            except MemberDamaged as error:
                raise self._damaged(error.message) from error
            piece = b""
            if output:
                idle = False
                self.produced += len(output)
                self._crc = crc32(output, self._crc)
                yield output
            elif decoder.needs_input or decoder.eof or idle:
                return  # idle: neither gave nor took anything twice in a row, so it never will
            else:
                idle = True

    def _damaged(self, what: str) -> MemberDamaged:
        return MemberDamaged(
            f"{printable(self.member.path)}: {what}",
            advice="the archive is damaged; `mountfs refresh` fetches it again",
        )


def inflate_whole(method: int, compressed: bytes | memoryview, member: Member) -> bytes:
    """All bytes of a small member, checked. ``compressed`` may be longer than the member's compressed data.

    Raises MemberDamaged on broken data, a wrong size or CRC-32; MemberUnsupported for a method we do not read.
    """
    if method != member.method:
        raise ValueError("a member is inflated by its own method")
    return inflate_counted(compressed, member)[0]


def inflate_quick(compressed: memoryview, method: int, size: int, crc: int) -> bytes | None:
    """All bytes of a small member that is sound in every way: stored or deflated, no byte too many, size and CRC-32
    right. None of any other: ``inflate_counted`` finds the words. A third of its time for a member of some KiB.

    At most ``size`` bytes are made, whatever the stream would give.
    """
    if method == STORED:
        data = bytes(compressed) if len(compressed) == size else None
    elif method == DEFLATED:
        data = inflate_at_once(compressed, size)
    else:
        return None
    return data if data is not None and len(data) == size and crc32(data) == crc else None


def inflate_counted(compressed: bytes | memoryview, member: Member) -> tuple[bytes, int]:
    """The same, and how many bytes followed its compressed data."""
    inflater = Inflater(member)
    pieces = list(inflater.feed(compressed))
    inflater.finish()
    return pieces[0] if len(pieces) == 1 else b"".join(pieces), inflater.trailing


def _decoder(member: Member, *, copyable: bool) -> Decoder:
    row = DECODERS.get(member.method)
    if member.encrypted or row is None:
        raise unsupported(member)
    return row.make_copyable() if copyable and row.make_copyable else row.make()


def unsupported(member: Member) -> MemberUnsupported:
    """The error for a member whose bytes we cannot make."""
    method = f"uses compression method {member.method} ({method_name(member.method)})"
    return MemberUnsupported(
        f"{printable(member.path)}: {'is encrypted' if member.encrypted else method}",
        advice="mountfs cannot read it; download the archive and use another program",
    )
