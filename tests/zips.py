"""Odd archives, built record by record: what ``zipfile`` would refuse to write.

    data = archive(Part("a.txt", b"hello"), Part("bin/run", b"#!", mode=0o100755, method=8), comment=b"...")
    directory = parse(data)                    # the real parser, fed as over the network
    content = read(data, directory, 0)         # one member, by its span

Every field of a record has a sound default and can be overridden: a test names only what is odd about its archive.
Deterministic: the same call gives the same bytes.

Concurrency: pure functions.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import sys
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import inflate64

from mountfs.zipformat import Directory, DirectoryParser, NeedBytes, ZipLimits, data_start, inflate_whole

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

UNIX, FAT, NTFS, OSX = 3, 0, 10, 19
FILE, EXECUTABLE, DIRECTORY, LINK = 0o100644, 0o100755, 0o040755, 0o120777
UTF8 = 1 << 11
ENCRYPTED = 1
DEFAULT_DATE, DEFAULT_TIME = (2024 - 1980) << 9 | 2 << 5 | 29, 12 << 11 | 30 << 5 | 10 // 2
DEFAULT_SECONDS = 1709209810
"""The same, in seconds since 1970 (2024-02-29 12:30:10 UTC)."""


def deflate(data: bytes, level: int = 6) -> bytes:
    compressor = zlib.compressobj(level, zlib.DEFLATED, -15)
    return compressor.compress(data) + compressor.flush()


def deflate64(data: bytes) -> bytes:
    compressor = inflate64.Deflater()
    return bytes(compressor.deflate(data) + compressor.flush())


def lzma1(data: bytes, *, dictionary: int = 1 << 20) -> bytes:
    """Method 14: version 9.20, 5 bytes of properties (lc=3, lp=0, pb=2), then the raw stream."""
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": dictionary, "lc": 3, "lp": 0, "pb": 2}]
    alone = lzma.compress(data, lzma.FORMAT_RAW, filters=filters)
    return b"\x09\x14\x05\x00" + struct.pack("<BI", 93, dictionary) + alone


COMPRESSORS: dict[int, Callable[[bytes], bytes]] = {
    0: bytes,
    8: deflate,
    9: deflate64,
    12: bz2.compress,
    14: lzma1,
    93: zstd.compress,
    95: lzma.compress,
}


def extra(kind: int, body: bytes) -> bytes:
    """One extra field."""
    return struct.pack("<HH", kind, len(body)) + body


def extended_time(seconds: int) -> bytes:
    """Extra field 0x5455 with a modification time."""
    return extra(0x5455, struct.pack("<BI", 1, seconds))


def ntfs_time(ticks: int) -> bytes:
    """Extra field 0x000a; ``ticks``: units of 100 ns since 1601."""
    return extra(0x000A, struct.pack("<IHHQQQ", 0, 1, 24, ticks, 0, 0))


def unicode_path(raw: bytes, name: bytes, *, version: int = 1, crc: int | None = None) -> bytes:
    """Extra field 0x7075 for a member whose header says ``raw``."""
    return extra(0x7075, struct.pack("<BI", version, zlib.crc32(raw) if crc is None else crc) + name)


def zip64(*values: int) -> bytes:
    """Extra field 0x0001."""
    return extra(1, struct.pack(f"<{len(values)}Q", *values))


@dataclass(frozen=True)
class Part:
    """One member. None means: what is right. ``compressed`` replaces the compressed bytes; ``local_*`` are the local
    header's, where they are to differ; ``descriptor`` follows the data; ``attributes`` replaces ``mode``."""

    name: str | bytes
    data: bytes = b""
    method: int = 0
    mode: int = FILE
    host: int = UNIX
    flags: int | None = None
    date: int = DEFAULT_DATE
    time: int = DEFAULT_TIME
    extra: bytes = b""
    comment: bytes = b""
    attributes: int | None = None
    crc: int | None = None
    size: int | None = None
    compressed: bytes | None = None
    compressed_size: int | None = None
    offset: int | None = None
    disk: int = 0
    descriptor: bytes = b""
    local_name: bytes | None = None
    local_extra: bytes = b""
    local_signature: bytes = b"PK\x03\x04"
    local_zeroed: bool = False
    """The local header has no sizes and no CRC, as streaming writers leave it."""
    local_omitted: bool = False
    """No local header and no data are written at all."""

    @property
    def raw_name(self) -> bytes:
        return self.name.encode() if isinstance(self.name, str) else self.name

    @property
    def bits(self) -> int:
        if self.flags is not None:
            return self.flags
        return 0 if self.raw_name.isascii() or isinstance(self.name, bytes) else UTF8

    @property
    def packed(self) -> bytes:
        if self.compressed is not None:
            return self.compressed
        return COMPRESSORS.get(self.method, bytes)(self.data)

    def _facts(self, packed: bytes) -> tuple[int, int, int]:
        return (
            zlib.crc32(self.data) if self.crc is None else self.crc,
            len(packed) if self.compressed_size is None else self.compressed_size,
            len(self.data) if self.size is None else self.size,
        )

    def local(self) -> bytes:
        """Local header, data, descriptor."""
        if self.local_omitted:
            return b""
        packed = self.packed
        name = self.raw_name if self.local_name is None else self.local_name
        crc, compressed_size, size = (0, 0, 0) if self.local_zeroed else self._facts(packed)
        flags = self.bits | (8 if self.local_zeroed or self.descriptor else 0)
        header = struct.pack(
            "<4s5H3L2H", self.local_signature, 20, flags, self.method, self.time, self.date,
            crc, min(compressed_size, 2**32 - 1), min(size, 2**32 - 1), len(name), len(self.local_extra),
        )  # fmt: skip
        return header + name + self.local_extra + packed + self.descriptor

    def central(self, offset: int) -> bytes:
        """Central directory header, for a local header at ``offset``."""
        crc, compressed_size, size = self._facts(self.packed)
        name = self.raw_name
        attributes = self.mode << 16 if self.attributes is None else self.attributes
        return struct.pack(
            "<4sBB5H3L5H2L", b"PK\x01\x02", 30, self.host, 20, self.bits, self.method, self.time, self.date,
            crc, compressed_size, size, len(name), len(self.extra), len(self.comment), self.disk, 0,
            attributes, offset if self.offset is None else self.offset,
        ) + name + self.extra + self.comment  # fmt: skip


def archive(
    *parts: Part,
    comment: bytes = b"",
    prefix: bytes = b"",
    prefix_counts: bool = False,
    junk: bytes = b"",
    signature: bytes | None = None,
    signature_counts: bool = False,
    end64: bool = False,
    end64_data: bytes = b"",
    end64_version: int = 45,
    disk: int = 0,
    count: int | None = None,
    size: int | None = None,
    offset: int | None = None,
) -> bytes:
    """A whole archive.

    ``prefix``: bytes in front, ``prefix_counts``: offsets include them. ``junk``: bytes behind. ``signature``: the
    body of a digital signature after the directory, ``signature_counts``: the directory's size includes it.
    ``end64``: write zip64 end records and only sentinels in the plain one; ``end64_data``: extensible data sector.
    ``count``, ``size``, ``offset``: what the end record claims instead of the truth.
    """
    shift = len(prefix) if prefix_counts else 0
    locals_, centrals, position = [], [], shift
    for part in parts:
        local = part.local()
        locals_.append(local)
        centrals.append(part.central(position))
        position += len(local)
    directory = b"".join(centrals)
    signed = b"" if signature is None else b"PK\x05\x05" + struct.pack("<H", len(signature)) + signature
    real_size = len(directory) + (len(signed) if signature_counts else 0)
    claims = (
        len(parts) if count is None else count,
        real_size if size is None else size,
        position if offset is None else offset,
    )
    body = prefix + b"".join(locals_) + directory + signed
    return body + end(*claims, comment=comment, disk=disk) + junk if not end64 else (
        body
        + end64_records(*claims, at=shift - len(prefix) + len(body), data=end64_data, version=end64_version, disk=disk)
        + end(0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, comment=comment, disk=0xFFFF if disk else 0)
        + junk
    )  # fmt: skip


def end(count: int, size: int, offset: int, *, comment: bytes = b"", disk: int = 0) -> bytes:
    """The end of central directory record; ``count`` is cut to 16 bits as writers without zip64 do."""
    return struct.pack("<4s4H2LH", b"PK\x05\x06", disk, disk, count & 0xFFFF, count & 0xFFFF, size, offset, len(comment)) + comment  # fmt: skip  # noqa: E501


def end64_records(
    count: int, size: int, offset: int, *, at: int, data: bytes = b"", version: int = 45, disk: int = 0
) -> bytes:
    """The zip64 end record, at the offset ``at`` as the writer counts, and its locator."""
    record = struct.pack(
        "<4sQHHIIQQQQ", b"PK\x06\x06", 44 + len(data), version, version, disk, disk, count, count, size, offset
    )
    return record + data + struct.pack("<4sIQI", b"PK\x06\x07", disk, at, 1)


EMPTY = archive()
"""The 22-byte zip without members."""


def parse(
    data: bytes, limits: ZipLimits | None = None, *, tail: int = 262_144, mtime_ns: int = 0, most: int = 100
) -> Directory:
    """The Directory of an archive, the parser being fed ``tail`` bytes first and then what it asks for.

    Fails when it asks more than ``most`` times.
    """
    parser = DirectoryParser(len(data), limits or ZipLimits(), archive_mtime_ns=mtime_ns)
    start = max(len(data) - tail, 0)
    answer = parser.feed(start, data[start:])
    for _ in range(most):
        if isinstance(answer, Directory):
            return answer
        assert isinstance(answer, NeedBytes)
        assert 0 <= answer.start < answer.stop <= len(data)
        answer = parser.feed(answer.start, data[answer.start : answer.stop])
    raise AssertionError("the parser never had enough")


def read(data: bytes, directory: Directory, index: int) -> bytes:
    """One member's bytes, from its local header on; checked."""
    member = directory[index]
    header = data[member.header_offset : member.header_offset + 30]
    start = member.header_offset + data_start(header, member)
    return inflate_whole(member.method, data[start : start + member.compressed_size], member)


def paths(directory: Directory) -> list[bytes]:
    """The paths that are shown, in directory order."""
    return [path for _, path, _ in directory.names()]


def many(count: int, directories: int = 0) -> Iterable[Part]:
    """``count`` small members, interleaved over ``directories``."""
    for index in range(count):
        folder = f"dir{index % directories:04d}/" if directories else ""
        yield Part(f"{folder}file-{index:07d}.txt", b"%d\n" % index)
