"""A member's time of modification: extended timestamp, then NTFS, then DOS (zip.md, "Types, modes, times").

Theory: the first source that gives a time other than zero wins. DOS times have no zone and are taken as UTC, so
that one archive shows the same times everywhere. What no calendar has is clamped to what it has; a member without
any time gets the archive's.

Concurrency: pure functions.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable
from datetime import date as Date  # noqa: N812  a DOS date is a date, too
from functools import lru_cache
from struct import Struct

from mountfs.zipformat.records import EXTRA_NTFS, EXTRA_TIMES, extra_fields

NANOSECONDS = 1_000_000_000
LATEST_NS = 2**63 - 1
"""The last nanosecond that a signed 64-bit count holds (year 2262): programs keep times in those."""
DAY_1970 = Date(1970, 1, 1).toordinal()
NTFS_EPOCH = 116_444_736_000_000_000
"""1970-01-01 in units of 100 ns since 1601."""

_EXTENDED = Struct("<BI")
_EXTENDED_FIELD = Struct("<HHBI")
_NTFS_TAG = Struct("<HH")
_U64 = Struct("<Q")


@lru_cache(maxsize=4096)
def dos_time_ns(date: int, time: int) -> int:
    """MS-DOS date and time (APPNOTE 4.4.6) as nanoseconds since 1970, each part clamped to what a calendar has.
    Remembered: 2.8 us, asked for every dentry, and an archive has few distinct ones."""
    year, month, day = 1980 + (date >> 9), date >> 5 & 15, date & 31
    try:
        days = Date(year, month, day).toordinal()
    except ValueError:
        month = min(max(month, 1), 12)
        days = Date(year, month, min(max(day, 1), calendar.monthrange(year, month)[1])).toordinal()
    hour, minute, second = min(time >> 11, 23), min(time >> 5 & 63, 59), min((time & 31) * 2, 59)
    return ((((days - DAY_1970) * 24 + hour) * 60 + minute) * 60 + second) * NANOSECONDS


def extended_time_ns(body: bytes) -> int:
    """The modification time of extra field 0x5455, an *unsigned* 32-bit count of seconds; 0 where it gives none."""
    if len(body) < _EXTENDED.size:
        return 0
    present, seconds = _EXTENDED.unpack_from(body)
    return int(seconds) * NANOSECONDS if present & 1 else 0


def ntfs_time_ns(body: bytes) -> int:
    """The modification time of extra field 0x000a (APPNOTE 4.5.5), clamped; 0 where it gives none."""
    position = 4
    while position + 4 <= len(body):
        tag, length = _NTFS_TAG.unpack_from(body, position)
        position += 4
        if tag == 1 and length >= 8 and position + 8 <= len(body):
            (ticks,) = _U64.unpack_from(body, position)
            return min(max((int(ticks) - NTFS_EPOCH) * 100, 0), LATEST_NS)
        position += length
    return 0


SOURCES: tuple[tuple[int, Callable[[bytes], int]], ...] = (
    (EXTRA_TIMES, extended_time_ns),
    (EXTRA_NTFS, ntfs_time_ns),
)
"""Extra fields that hold a time, the one that is believed first before the next."""


def member_time_ns(date: int, time: int, extra: bytes, default: int) -> int:
    """A member's mtime in nanoseconds since 1970. ``default``: the archive's own, for a member without any."""
    if len(extra) >= _EXTENDED_FIELD.size:  # nearly always an extended timestamp comes first: the quick way to it
        kind, length, present, seconds = _EXTENDED_FIELD.unpack_from(extra)
        if kind == EXTRA_TIMES and _EXTENDED.size <= length <= len(extra) - 4 and present & 1 and seconds:
            return int(seconds) * NANOSECONDS
    if extra:
        fields = dict(reversed(list(extra_fields(extra))))
        for kind, parse in SOURCES:
            if kind in fields and (found := parse(fields[kind])):
                return found
    return dos_time_ns(date, time) if date or time else default
