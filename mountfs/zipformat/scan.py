"""One pass over a central directory: where each record lies and what is odd about it, in a few bytes a member.

Theory: a record is unpacked once here for its structure and again whenever a member is asked for; what is kept of
a million members is their position, one byte of traits and the order of their headers in the archive. A fault of
one member is a bit of its traits; only a chain of records that does not add up fails the archive.

This is the hot loop of entering a session (about 1 us a member), hence its length and its inlined test for names
that need no rule.

Concurrency: a pure function; it runs for seconds on millions of members, so it belongs in a worker thread.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from operator import le
from struct import Struct
from typing import NoReturn

from mountfs.errors import BadArchive, LimitExceeded
from mountfs.zipformat.endrecord import DAMAGED, encrypted_directory
from mountfs.zipformat.names import MAX_COMPONENT, SafeName, decode_name, safe_path
from mountfs.zipformat.order import ranks
from mountfs.zipformat.records import (
    CENTRAL_HEADER_SIZE,
    CENTRAL_SIGNATURE,
    DIGITAL_SIGNATURE,
    FLAG_MASKED,
    FLAG_UTF8,
    LOCAL_HEADER_SIZE,
    SENTINEL_32,
    extents,
)
from mountfs.zipformat.types import DIRECTORY, HIDDEN, LINK, ODD, S_IFREG_NIBBLE, traits

OVERLAP = 16
OUTSIDE = 32
SHORT_ZIP64 = 64
"""Further bits of a member's traits: its faults."""

DAMAGES: tuple[tuple[int, str], ...] = (
    (OVERLAP, "damaged: data overlaps another member's"),
    (OUTSIDE, "damaged: outside the archive's data"),
    (SHORT_ZIP64, "damaged: short zip64 field"),
)
"""Fault bit -> remark."""

_RECORD = Struct("<IxBxxHH8xIIHHH4xII")
_NAME_FIELDS = Struct("<5xBxxH18xHH")
_NUL, _DOT, _SLASH, _BACKSLASH = b"\0./\\"


@dataclass(frozen=True, slots=True)
class Scan:
    """What one pass found. ``positions``: of each record in the directory. ``starts``: header offsets of the members
    that have readable data, ascending, and ``order``: their indices in the same order."""

    positions: array[int]
    traits: bytearray
    starts: array[int]
    order: Sequence[int]
    remarks: Counter[str]


def scan(raw: bytes, *, base: int, data_end: int, max_members: int) -> Scan:
    """Walks the directory ``raw``.

    ``base``: what is added to every header offset. ``data_end``: where members' data must end (bytes).
    Raises BadArchive where the records do not fill the directory exactly, LimitExceeded above ``max_members``.
    """
    scanner = _Scanner(raw, base, data_end)
    scanner.walk(max_members)
    return scanner.result()


class _Scanner:
    """The state of one pass. ``walk`` is the hot loop; whatever is rare is a method of its own."""

    def __init__(self, raw: bytes, base: int, data_end: int) -> None:
        self._raw = raw
        self._base = base
        self._data_end = data_end
        self._positions = array("Q")
        self._traits = bytearray()
        self._remarks = Counter[str]()
        self._indices, self._starts, self._stops = array("I"), array("Q"), array("Q")

    def walk(self, max_members: int) -> None:
        raw, unpack, position, last = self._raw, _RECORD.unpack_from, 0, len(self._raw) - CENTRAL_HEADER_SIZE
        count, stop = 0, 0
        while position <= last:
            (signature, host, flags, method, compressed, size, name_length, extra_length, comment_length, attributes,
             offset) = unpack(raw, position)  # fmt: skip
            if signature != CENTRAL_SIGNATURE:
                break
            name_start = position + CENTRAL_HEADER_SIZE
            extra_start = name_start + name_length
            stop = extra_start + extra_length + comment_length
            count += 1
            if stop > len(raw) or count > max_members or flags & FLAG_MASKED:
                self._refuse(position, count, max_members, flags)
            name = raw[name_start:extra_start]
            trait = 0
            if attributes >> 28 != S_IFREG_NIBBLE or name[-1:] == b"/":
                trait, remark = traits(name, host=host, attributes=attributes, flags=flags, method=method, size=size)
                if remark:
                    self._remarks[remark] += 1
            if not (
                (flags & FLAG_UTF8 or name.isascii())
                and 0 < name_length <= MAX_COMPONENT
                and name[0] != _SLASH
                and name[-1] != _DOT
                and _NUL not in name
                and _BACKSLASH not in name
                and name.find(b"//") < 0  # "in" takes twice as long for two bytes, and ten times as long for one
                and name.find(b"./") < 0
                and (not extra_length or flags & FLAG_UTF8 or raw.find(b"up", extra_start, stop) < 0)
            ):
                trait = self._odd_name(position, name, trait)
            if not trait & (DIRECTORY | HIDDEN):
                if SENTINEL_32 in (compressed, offset, size):
                    compressed, offset, trait = self._zip64(
                        size, compressed, offset, raw[extra_start : extra_start + extra_length], trait
                    )
                begin = self._base + offset
                end = begin + LOCAL_HEADER_SIZE + name_length + compressed
                if end > self._data_end:
                    trait |= OUTSIDE
                elif not trait & SHORT_ZIP64:
                    self._indices.append(count - 1)
                    self._starts.append(begin)
                    self._stops.append(end)
            self._positions.append(position)
            self._traits.append(trait)
            position = stop
        self._ensure_end(position)

    def result(self) -> Scan:
        """Brings members into the order of their headers and marks those that overlap."""
        starts, stops = self._starts, self._stops
        order: Sequence[int] = self._indices
        if not all(map(le, starts, starts[1:])):
            places = array("I", ranks(starts))
            order = array("I", (self._indices[place] for place in places))  # generators let other threads in
            starts = array("Q", (self._starts[place] for place in places))
            stops = array("Q", (self._stops[place] for place in places))
        elif len(order) == len(self._traits):
            order = range(len(order))
        if not all(map(le, stops, starts[1:])):
            guilty = overlapping(starts, stops)
            for index, start in zip(order, starts, strict=True):
                if start in guilty:
                    self._traits[index] |= OVERLAP
        for bit, remark in DAMAGES:
            if number := sum(1 for trait in self._traits if trait & bit) if max(self._traits, default=0) >= bit else 0:
                self._remarks[remark] = number
        return Scan(self._positions, self._traits, starts, order, self._remarks)

    def _odd_name(self, position: int, name: bytes, trait: int) -> int:
        """The trait of a member whose name needs the rules."""
        found = member_name(self._raw, position)
        if not trait & HIDDEN:
            self._remarks.update(found.remarks)
        if found.path is None:
            return trait | HIDDEN
        if found.directory:
            trait = trait & ~LINK | DIRECTORY
        as_it_is = name[:-1] if trait & DIRECTORY and name.endswith(b"/") else name
        return trait if found.path == as_it_is else trait | ODD

    def _zip64(self, size: int, compressed: int, offset: int, extra: bytes, trait: int) -> tuple[int, int, int]:
        whole = extents(size, compressed, offset, extra)
        if whole.short:
            return 0, 0, trait | SHORT_ZIP64
        return whole.compressed_size, whole.header_offset, trait

    def _refuse(self, position: int, count: int, max_members: int, flags: int) -> NoReturn:
        if flags & FLAG_MASKED:
            raise encrypted_directory()
        if count > max_members:
            raise LimitExceeded(
                f"the archive has more than {max_members} members", advice="raise [limits] max_members to see it"
            )
        raise _broken(position)

    def _ensure_end(self, position: int) -> None:
        """What follows the last record is nothing, or one digital signature (APPNOTE 4.3.13)."""
        rest = self._raw[position : position + 6]
        length = int.from_bytes(rest[4:6], "little")
        if rest and not (rest.startswith(DIGITAL_SIGNATURE) and position + 6 + length == len(self._raw)):
            raise _broken(position)


def member_name(raw: bytes, position: int) -> SafeName:
    """The safe name of the member whose record lies there, by all rules."""
    host, flags, name_length, extra_length = _NAME_FIELDS.unpack_from(raw, position)
    start = position + CENTRAL_HEADER_SIZE
    stop = start + name_length
    decoded, remarks = decode_name(raw[start:stop], flags=flags, host=host, extra=raw[stop : stop + extra_length])
    found = safe_path(decoded, host=host)
    return SafeName(found.path, found.directory, remarks + found.remarks) if remarks else found


def overlapping(starts: Sequence[int], stops: Sequence[int]) -> frozenset[int]:
    """The header offsets of members whose bytes overlap another's. ``starts`` ascends; exact duplicates are allowed.

    A sweep that remembers who reaches furthest: whoever starts before that end overlaps it.
    """
    guilty: set[int] = set()
    reach = owner = -1
    for start, stop in zip(starts, stops, strict=True):
        if start < reach and not (start == owner and stop == reach):
            guilty.update((start, owner))
        if stop > reach:
            reach, owner = stop, start
    return frozenset(guilty)


def _broken(position: int) -> BadArchive:
    return BadArchive(
        f"the archive's directory is broken at its byte {position}",
        advice=DAMAGED,
    )
