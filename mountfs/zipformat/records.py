"""ZIP's records as they lie in the file: signatures, sizes, and one parser for each (APPNOTE 6.3.10, section 4.3).

Theory: the central directory is authoritative for names, sizes, methods and CRCs. Of a local header only the
signature and its two lengths are believed, because writers that stream leave the rest zero; data descriptors are
never read. A field that a record cannot hold carries a *sentinel* (all ones) and its value stands in the zip64
extra field; only sentinel fields are replaced, in the order of APPNOTE 4.5.3.

Concurrency: pure functions over bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

CENTRAL_SIGNATURE = 0x02014B50
END_SIGNATURE = b"PK\x05\x06"
ZIP64_END_SIGNATURE = b"PK\x06\x06"
ZIP64_LOCATOR_SIGNATURE = b"PK\x06\x07"
DIGITAL_SIGNATURE = b"PK\x05\x05"
ARCHIVE_EXTRA_SIGNATURE = b"PK\x06\x08"

SENTINEL_16 = 0xFFFF
MOST_SIZE = 2**63 - 1
"""The largest size a file can have (off_t); a member that claims more is shown as if it had this."""
SENTINEL_32 = 0xFFFF_FFFF

FLAG_ENCRYPTED = 1 << 0
FLAG_UTF8 = 1 << 11
FLAG_MASKED = 1 << 13

EXTRA_ZIP64 = 0x0001
EXTRA_NTFS = 0x000A
EXTRA_TIMES = 0x5455
EXTRA_UNICODE_PATH = 0x7075

FAT_LIKE_HOSTS = frozenset((0, 10, 11, 14))
"""Made by FAT, NTFS, MVS-as-PKZIP-numbers-it, VFAT: hosts whose names are CP437 with backslashes (zip.md)."""

MAX_EXTRA_FIELDS = 64
"""Fields looked at in one extra field: writers make less than ten, 64 KiB could hold 16,383."""

LOCAL_HEADER_SIZE = 30
CENTRAL_HEADER_SIZE = 46
END_RECORD_SIZE = 22
ZIP64_LOCATOR_SIZE = 20
ZIP64_END_SIZE = 56

_CENTRAL = Struct("<5xB2xHHHHIIIHHHHxxII")
_END = Struct("<4xHHHHIIH")
_ZIP64_LOCATOR = Struct("<4xIQI")
_ZIP64_END = Struct("<4xQ2xHIIQQQQ")
_U16 = Struct("<H")
_U32 = Struct("<I")
_U64 = Struct("<Q")
_FIELD = Struct("<HH")

central_signature_at = _U32.unpack_from
name_length_at = _U16.unpack_from


class CentralRecord(NamedTuple):
    """The fixed part of one central directory header (APPNOTE 4.3.12), sentinels still in place."""

    host: int
    flags: int
    method: int
    time: int
    date: int
    crc: int
    compressed_size: int
    size: int
    name_length: int
    extra_length: int
    comment_length: int
    disk: int
    attributes: int
    header_offset: int

    @classmethod
    def at(cls, raw: bytes, position: int) -> CentralRecord:
        return cls._make(_CENTRAL.unpack_from(raw, position))


class EndRecord(NamedTuple):
    """The end of central directory record (APPNOTE 4.3.16)."""

    disk: int
    directory_disk: int
    count_here: int
    members: int
    size: int
    offset: int
    comment_length: int

    @classmethod
    def at(cls, data: bytes, position: int) -> EndRecord:
        return cls._make(_END.unpack_from(data, position))


class Zip64Locator(NamedTuple):
    """Where the zip64 end record lies (APPNOTE 4.3.15)."""

    disk: int
    offset: int
    disks: int

    @classmethod
    def at(cls, data: bytes, position: int) -> Zip64Locator:
        return cls._make(_ZIP64_LOCATOR.unpack_from(data, position))


class Zip64End(NamedTuple):
    """The zip64 end of central directory record (APPNOTE 4.3.14). ``record_size`` leaves out its first 12 bytes."""

    record_size: int
    version_needed: int
    disk: int
    directory_disk: int
    count_here: int
    members: int
    size: int
    offset: int

    @classmethod
    def at(cls, data: bytes, position: int) -> Zip64End:
        return cls._make(_ZIP64_END.unpack_from(data, position))


class Extents(NamedTuple):
    """A member's sizes and header offset with zip64 applied. ``short``: the zip64 field lacks a value it owes."""

    size: int
    compressed_size: int
    header_offset: int
    short: bool


def extra_fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """The (id, body) pairs of an extra field. What does not parse ends it: the rest is garbage and is ignored, as is
    what follows MAX_EXTRA_FIELDS of them."""
    position, end = 0, len(extra)
    for _ in range(MAX_EXTRA_FIELDS):
        if position + 4 > end:
            return
        kind, length = _FIELD.unpack_from(extra, position)
        position += 4
        if position + length > end:
            return
        yield kind, extra[position : position + length]
        position += length


def extra_field(extra: bytes, wanted: int) -> bytes | None:
    """The body of the first extra field of that id."""
    return next((body for kind, body in extra_fields(extra) if kind == wanted), None)


def zip64_body(extra: bytes) -> bytes | None:
    """The body of the zip64 extra field, also where its stated length overruns the field: what is there counts."""
    position = 0
    for _ in range(MAX_EXTRA_FIELDS):
        if position + 4 > len(extra):
            break
        kind, length = _FIELD.unpack_from(extra, position)
        if kind == EXTRA_ZIP64:
            return extra[position + 4 : position + 4 + length]
        position += 4 + length
    return None


def extents(size: int, compressed_size: int, header_offset: int, extra: bytes) -> Extents:
    """Replaces sentinels by the zip64 extra field's values, in order (APPNOTE 4.5.3). Without such a field the
    sentinels are taken as plain numbers: 2^32 - 1 is a size that a member can have."""
    body = zip64_body(extra)
    if body is None:
        return Extents(size, compressed_size, header_offset, short=False)
    values = [size, compressed_size, header_offset]
    owed = [index for index, value in enumerate(values) if value == SENTINEL_32]
    for index, place in zip(owed, range(0, len(body) - 7, 8), strict=False):
        (values[index],) = _U64.unpack_from(body, place)
    size, compressed_size, header_offset = values
    return Extents(min(size, MOST_SIZE), compressed_size, header_offset, short=len(body) < 8 * len(owed))
