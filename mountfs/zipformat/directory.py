"""A zip's central directory as an immutable list of members, about 130 bytes each, names included.

Theory: the directory's own bytes are the best table of its members: they are kept as they came, with the position
of each record, and fields are unpacked when they are asked for. See ``scan.py`` for what is found out up front.

Concurrency: immutable once built, so tasks and threads may share it.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from struct import Struct
from typing import NamedTuple

from mountfs.model import Brief, Kind, Member, MemberPath, Remarks, Span
from mountfs.zipformat.checks import (
    FAULT_OUTSIDE,
    FAULT_OVERLAP,
    FAULT_RATIO,
    FAULT_ZIP64,
    impossible_size,
)
from mountfs.zipformat.records import (
    CENTRAL_HEADER_SIZE,
    FLAG_ENCRYPTED,
    LOCAL_HEADER_SIZE,
    SENTINEL_32,
    CentralRecord,
    extents,
    name_length_at,
)
from mountfs.zipformat.scan import OUTSIDE, OVERLAP, SHORT_ZIP64, Scan, member_name
from mountfs.zipformat.times import member_time_ns
from mountfs.zipformat.types import DIRECTORY, HIDDEN, KINDS, LINK, ODD, executable

LOCAL_EXTRA_SLACK = 2048
"""Bytes by which a local header may be longer than the central one says: fetched along, so that header and data
come in one request (zip.md, "Remotely")."""

FAULTS: tuple[tuple[int, str], ...] = (
    (SHORT_ZIP64, FAULT_ZIP64),
    (OUTSIDE, FAULT_OUTSIDE),
    (OVERLAP, FAULT_OVERLAP),
)
"""Bit of a member's traits -> what it means."""

_TIME_FIELDS = Struct("<12xHH12xHH")
_BRIEF_FIELDS = Struct("<12xHHIIIHH6xI")
_SPAN_FIELDS = Struct("<20xIIHH10xI")
FAULTY = SHORT_ZIP64 | OUTSIDE | OVERLAP

_PLAIN_FIELDS = Struct("<8xHH4xIIIH12xI")
_STAMP_FIELDS = Struct("<16xI4xI")
_SIZE_FIELDS = Struct("<20xIIHH")
_KIND_OF = bytes(trait & 3 for trait in range(256))
_NAME_LENGTH_AT = 28
_SLASH = 0x2F


class Plain(NamedTuple):
    """An ordinary file as it lies in the archive: sizes in bytes; ``start`` and ``stop``: where its local header and
    data lie, as ``span`` gives it."""

    method: int
    crc: int
    compressed_size: int
    size: int
    start: int
    stop: int


class Directory:
    """The members of one archive, in directory order; index = position in the central directory.

    ``start``, ``stop``: the directory's own bytes in the archive. ``starts`` and ``order``: header offsets of the
    members that hold data, ascending, and the indices of those members. ``any_links``: whether any is a symbolic link.
    """

    def __init__(self, raw: bytes, found: Scan, *, start: int, base: int, archive_mtime_ns: int) -> None:
        self.start = start
        self.stop = start + len(raw)
        self.starts: Sequence[int] = found.starts
        self.order = found.order
        self.remarks = Remarks(dict(found.remarks))
        self._raw = raw
        self._base = base
        self._positions = found.positions
        self._traits = bytes(found.traits)
        self._archive_mtime_ns = archive_mtime_ns
        self.any_links = LINK in self._traits.translate(_KIND_OF)

    def __len__(self) -> int:
        """All members, hidden ones included."""
        return len(self._positions)

    def __getitem__(self, index: int) -> Member:
        """The member of that index. Raises IndexError past the end, KeyError for a hidden one."""
        path, trait, position = self.path(index), self._traits[index], self._positions[index]
        record = CentralRecord.at(self._raw, position)
        extra = self._extra(position, record.name_length, record.extra_length)
        size, compressed_size, header_offset = record.size, record.compressed_size, record.header_offset
        if SENTINEL_32 in (size, compressed_size, header_offset):
            size, compressed_size, header_offset, _ = extents(size, compressed_size, header_offset, extra)
        return Member(
            path=path,
            kind=self.kind(index),
            size=size,
            mtime_ns=member_time_ns(record.date, record.time, extra, self._archive_mtime_ns),
            executable=executable(record.attributes),
            compressed_size=compressed_size,
            crc=record.crc,
            method=record.method,
            header_offset=header_offset + self._base,
            encrypted=bool(record.flags & FLAG_ENCRYPTED),
            fault=_fault(trait, record.method, size, compressed_size),
        )

    def brief(self, index: int) -> Brief:
        """What a listing needs of a member, without unpacking the rest (about 1.5 us)."""
        position = self._positions[index]
        fields = _BRIEF_FIELDS.unpack_from(self._raw, position)
        time, date, crc, compressed_size, size, name_length, extra_length, attributes = fields
        extra = self._extra(position, name_length, extra_length)
        if size == SENTINEL_32:
            size = extents(size, compressed_size, 0, extra).size
        mtime_ns = member_time_ns(date, time, extra, self._archive_mtime_ns)
        return Brief(size, crc, mtime_ns, KINDS[self._traits[index] & 3], executable(attributes))

    def stamp(self, index: int) -> tuple[int, int]:
        """(size, CRC-32) of a member, without unpacking the rest (0.4 us)."""
        crc, size = _STAMP_FIELDS.unpack_from(self._raw, self._positions[index])
        return (size, crc) if size != SENTINEL_32 else (self.size(index), crc)

    def plain(self, index: int, kind: Kind = Kind.FILE) -> Plain | None:
        """What reading a member takes, of one that is an ordinary file (or link) in every way: no fault, not encrypted,
        no zip64 sentinels. None of any other. (1 us; the whole Member takes five times as long.)"""
        trait = self._traits[index]
        if trait & (HIDDEN | FAULTY) or KINDS[trait & 3] is not kind:
            return None
        position = self._positions[index]
        flags, method, crc, compressed_size, size, name_length, offset = _PLAIN_FIELDS.unpack_from(self._raw, position)
        if flags & FLAG_ENCRYPTED or SENTINEL_32 in (size, compressed_size, offset):
            return None
        start = self._base + offset
        stop = start + LOCAL_HEADER_SIZE + name_length + LOCAL_EXTRA_SLACK + compressed_size
        return Plain(method, crc, compressed_size, size, start, min(stop, self.next_after(start)))

    def size(self, index: int) -> int:
        """A member's size, without unpacking the rest."""
        position = self._positions[index]
        compressed_size, size, name_length, extra_length = _SIZE_FIELDS.unpack_from(self._raw, position)
        if size == SENTINEL_32:
            size = extents(size, compressed_size, 0, self._extra(position, name_length, extra_length)).size
        return int(size)

    def path(self, index: int) -> MemberPath:
        """A member's safe path. Raises KeyError for a hidden one."""
        trait, position = self._traits[index], self._positions[index]
        if trait & HIDDEN:
            raise KeyError(index)
        if trait & ODD:
            path = member_name(self._raw, position).path
            if path is None:
                raise KeyError(index)
            return path
        start = position + CENTRAL_HEADER_SIZE
        stop = start + name_length_at(self._raw, position + _NAME_LENGTH_AT)[0]
        if trait & DIRECTORY and self._raw[stop - 1] == _SLASH:
            stop -= 1
        return MemberPath(self._raw[start:stop])

    def kind(self, index: int) -> Kind:
        """File, directory or link. A link's target may still turn out to be unsafe (``safe_link``)."""
        return KINDS[self._traits[index] & 3]

    def mtime_ns(self, index: int) -> int:
        """A member's time of modification, without unpacking the rest."""
        position = self._positions[index]
        time, date, name_length, extra_length = _TIME_FIELDS.unpack_from(self._raw, position)
        return member_time_ns(date, time, self._extra(position, name_length, extra_length), self._archive_mtime_ns)

    def names(self) -> Iterator[tuple[int, MemberPath, bool]]:
        """(index, path, whether it is a directory) of every member that is shown, in directory order."""
        raw, length_at = self._raw, name_length_at
        for index, (position, trait) in enumerate(zip(self._positions, self._traits, strict=True)):
            if trait & (HIDDEN | ODD | DIRECTORY):
                if not trait & HIDDEN:
                    yield index, self.path(index), bool(trait & DIRECTORY)
                continue
            start = position + CENTRAL_HEADER_SIZE
            yield index, raw[start : start + length_at(raw, position + _NAME_LENGTH_AT)[0]], False  # type: ignore[misc]

    def span(self, index: int) -> Span:
        """The bytes that hold a member's local header and data, fetched as one range. The local header may turn out
        longer than allowed for: then data ends behind the span. Meaningless for a member with a fault."""
        position = self._positions[index]
        compressed_size, size, name_length, extra_length, offset = _SPAN_FIELDS.unpack_from(self._raw, position)
        if SENTINEL_32 in (size, compressed_size, offset):
            _, compressed_size, offset, _ = extents(
                size, compressed_size, offset, self._extra(position, name_length, extra_length)
            )
        start = self._base + offset
        stop = start + LOCAL_HEADER_SIZE + name_length + LOCAL_EXTRA_SLACK + compressed_size
        return Span(start, min(stop, self.next_after(start)))

    def next_after(self, offset: int) -> int:
        """Where the next member's local header starts behind ``offset``; the directory's start after the last."""
        rank = bisect_right(self.starts, offset)
        return self.starts[rank] if rank < len(self.starts) else self.start

    def members_between(self, start: int, stop: int) -> Sequence[int]:
        """The indices of members whose local header lies in [start, stop), in that order."""
        return self.order[bisect_left(self.starts, start) : bisect_left(self.starts, stop)]

    def checksum(self) -> bytes:
        """A hash over the directory's own bytes: whether what is kept of them is what came (1 GB/s)."""
        return hashlib.blake2b(self._raw, digest_size=32).digest()

    def digest(self) -> bytes:
        """32 bytes that are equal for two archives whose members have the same names, sizes, CRCs and kinds,
        whatever their order, times and compression. About 3 us a member: for a worker thread.

        A sum of hashes, so that order does not count and a million members need no sorting.
        """
        total = 0
        for index, path, _ in self.names():
            position = self._positions[index]
            record = CentralRecord.at(self._raw, position)
            size = record.size
            if size == SENTINEL_32:
                size = extents(
                    size,
                    record.compressed_size,
                    record.header_offset,
                    self._extra(position, record.name_length, record.extra_length),
                ).size
            facts = b"%d %d %d " % (size, record.crc, self._traits[index] & 3)
            total += int.from_bytes(hashlib.blake2b(facts + path, digest_size=32).digest(), "little")
        return (total % 2**256).to_bytes(32, "little")

    def _extra(self, position: int, name_length: int, length: int) -> bytes:
        start = position + CENTRAL_HEADER_SIZE + name_length
        return self._raw[start : start + length]


def _fault(trait: int, method: int, size: int, compressed_size: int) -> str:
    for bit, meaning in FAULTS:
        if trait & bit:
            return meaning
    return FAULT_RATIO if impossible_size(method, size, compressed_size) else ""
