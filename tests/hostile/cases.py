"""Every row of zip.md's tables as an archive and what is to be shown of it; read twice, through the file system and
through a mount.

    Case("names: '..' hidden", archive(Part("../x"), Part("b")), {"b": File(b"")}, remarks={"hidden: …": 1})

A case is data; ``test_rows.py`` and ``test_mount.py`` do the reading. ``shows`` is the whole tree, directories too.

Concurrency: constants, made on import in well under a second; nothing changes them.
"""

from __future__ import annotations

import calendar
import errno
import gzip
import io
import random
import struct
import tarfile
from dataclasses import dataclass, field, replace

from zips import (
    DEFAULT_SECONDS,
    EMPTY,
    ENCRYPTED,
    FAT,
    LINK,
    NTFS,
    UNIX,
    UTF8,
    Part,
    archive,
    deflate,
    extended_time,
    extra,
    ntfs_time,
    unicode_path,
    zip64,
)

from mountfs.zipformat import names, types
from mountfs.zipformat.names import cut
from mountfs.zipformat.times import NTFS_EPOCH

SECOND = 10**9
ARCHIVES = -1
"""In place of a time: the session's own."""
SENTINEL = 2**32 - 1
NOISE = random.Random(5).randbytes(40_000)
TEXT = b"".join(b"%06d a line of a log\n" % number for number in range(3000))
BIG = b"".join(b"%07d another line of a log, longer\n" % number for number in range(60_000))
"""2.4 MB: inflated progressively."""
A = Part("a.txt", TEXT, method=8)
B = Part("d/b.txt", b"beta")
SHADOWED = "shadowed: a later member has that name"
DISPLACED = "renamed: a directory has that name"
OVERLAPS = "damaged: data overlaps another member's"
OUTSIDE = "damaged: outside the archive's data"


@dataclass(frozen=True)
class File:
    """A regular file. ``errno``: of opening it, or, where ``late``, of reading it to its end; then its size is still
    ``size``. ``says``: stands in the log line about it."""

    data: bytes = b""
    executable: bool = False
    mtime_ns: int | None = None
    errno: int = 0
    size: int | None = None
    late: bool = False
    says: str = ""

    @property
    def shown_size(self) -> int:
        return len(self.data) if self.size is None else self.size


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: bytes


@dataclass(frozen=True)
class Folder:
    """A directory, shown or implied. ``mtime_ns``: None where it does not matter."""

    mtime_ns: int | None = None


Node = File | Link | Folder


@dataclass(frozen=True)
class Case:
    """``shows``: path -> node, all of them. ``remarks``: what is counted. ``refused``: what the log says of an archive
    that is EIO as a whole. ``says``: what it says of every file of it."""

    name: str
    data: bytes
    shows: dict[bytes, Node] = field(default_factory=dict)
    remarks: dict[str, int] = field(default_factory=dict)
    refused: str = ""
    says: str = ""

    @property
    def bad(self) -> dict[bytes, File]:
        """The files that cannot be read."""
        return {path: node for path, node in self.shows.items() if isinstance(node, File) and node.errno}


def shown(shows: dict[str | bytes, Node]) -> dict[bytes, Node]:
    """With the directories that are implied."""
    found: dict[bytes, Node] = {}
    for path, node in shows.items():
        raw = path.encode() if isinstance(path, str) else path
        for at, byte in enumerate(raw):
            if byte == 0x2F:
                found.setdefault(raw[:at], Folder())
        found[raw] = node
    return found


def names_case(name: str, parts: list[Part], paths: list[str | bytes], remark: str = "", count: int = 1) -> Case:
    """Parts with their own name as contents; ``paths``: how they are shown, in the same order."""
    data = archive(*(replace(part, data=b"#%d" % number) for number, part in enumerate(parts)))
    shows: dict[str | bytes, Node] = {path: File(b"#%d" % number) for number, path in enumerate(paths)}
    return Case(name, data, shown(shows), {remark: count} if remark else {})


def eio(size: int, says: str, *, late: bool = False, data: bytes = b"") -> File:
    return File(data, errno=errno.EIO, size=size, says=says, late=late)


def unsupported(size: int, says: str) -> File:
    return File(errno=errno.EOPNOTSUPP, size=size, says=says)


LONG = b"n" * 300 + b".txt"
DEEP = b"/".join([b"d"] * 256)

NAMES = [
    Case(
        "duplicate names",
        archive(Part("a", b"old"), Part("a", b"new"), Part("d/x", b"1"), Part("d/x", b"2"), Part("a", b"newest")),
        shown({"a": File(b"newest"), "d/x": File(b"2")}),
        {SHADOWED: 3},
    ),
    Case(
        "a file and a directory of one name",
        archive(Part("a", b"file"), Part("a/b", b"below"), Part("a (1)", b"taken"), Part("e/"), Part("e", b"e")),
        shown(
            {"a/b": File(b"below"), "a (1)": File(b"taken"), "a (2)": File(b"file"), "e": Folder(), "e (1)": File(b"e")}
        ),
        {DISPLACED: 2},
    ),
    Case(
        "no directory members",
        archive(Part("x/y/z", b"z", extra=extended_time(1000)), Part("x/w", b"w", extra=extended_time(2000))),
        shown({"x/y/z": File(b"z"), "x/w": File(b"w")}) | {b"x": Folder(2000 * SECOND), b"x/y": Folder(1000 * SECOND)},
    ),
    names_case("absolute", [Part("/etc/x"), Part("///usr//y")], ["etc/x", "usr/y"], names.RENAMED_ABSOLUTE, 2),
    Case(
        "parent components",
        archive(*(Part(each, b"evil") for each in ("../x", "a/../b", "..", "/../etc/passwd", "d/..", "../")), B),
        shown({"d/b.txt": File(b"beta")}),
        {names.HIDDEN_PARENT: 6},
    ),
    names_case("dots and empties collapse", [Part("./a"), Part("b/./c//d"), Part("...")], ["a", "b/c/d", "..."]),
    Case(
        "nothing left of a name",
        archive(*(Part(each, b"evil") for each in ("", "/", ".", "./", "//")), B),
        shown({"d/b.txt": File(b"beta")}),
        {names.HIDDEN_NAMELESS: 5},
    ),
    names_case(
        "backslashes of FAT hosts",
        [Part("a\\b\\c", host=FAT), Part("e\\f", host=NTFS), Part("g\\h", host=11), Part("i\\j", host=14)],
        ["a/b/c", "e/f", "g/h", "i/j"],
        names.RENAMED_BACKSLASH,
        4,
    ),
    names_case(
        "backslashes kept",
        [Part("a\\b", host=UNIX), Part("c/d\\e", host=FAT), Part("x\\y", host=19)],
        ["a\\b", "c/d\\e", "x\\y"],
    ),
    Case(
        "backslashes that lead out",
        archive(Part("..\\..\\evil", b"evil", host=FAT), Part("ok\\..\\x", b"evil", host=NTFS), B),
        shown({"d/b.txt": File(b"beta")}),
        {names.HIDDEN_PARENT: 2},
    ),
    names_case("NUL", [Part(b"safe.txt\0.exe"), Part("safe.txt")], ["safe.txt_.exe", "safe.txt"], names.RENAMED_NUL),
    names_case(
        "control characters",
        [Part(b"a\x1b[31m\n.txt"), Part(b"\x7f\x01"), Part(b"tab\there")],
        [b"a\x1b[31m\n.txt", b"\x7f\x01", b"tab\there"],
    ),
    Case(
        "control characters in the name of what cannot be read",
        archive(Part(b"a\x1b[31m\n.txt", b"#", crc=1), Part(b"cr\r\xff", b"#", method=98)),
        shown({b"a\x1b[31m\n.txt": eio(1, "CRC-32"), b"cr\r\xff": unsupported(1, "PPMd")}),
    ),
    names_case(
        "component over 255 bytes",
        [Part(LONG), Part("d/" + "€" * 100), Part(b"e" * 65_535), Part(b"f" * 255)],
        [cut(LONG), b"d/" + cut("€".encode() * 100), cut(b"e" * 65_535), b"f" * 255],
        names.RENAMED_LONG,
        3,
    ),
    Case(
        "depth and length",
        archive(
            Part(DEEP, b"bottom"),
            Part(DEEP + b"/d", b"too deep"),
            Part(b"/".join([b"d"] * 2000), b"too deep"),
            Part(b"/".join([b"L" * 200] * 21), b"too long"),
        ),
        shown({DEEP: File(b"bottom")}),
        {names.HIDDEN_DEEP: 3},
    ),
    names_case(
        "not UTF-8, flag 11 unset",
        [Part(b"caf\x82", flags=0, host=FAT), Part(b"caf\x82", flags=0, host=UNIX), Part("grün".encode(), flags=0)],
        ["café", b"caf\x82", "grün"],
        names.RENAMED_CP437,
    ),
    names_case("flag 11 set, not UTF-8", [Part(b"caf\x82", flags=UTF8, host=FAT)], [b"caf\x82"]),
    names_case(
        "Unicode path",
        [
            Part(b"caf?", flags=0, extra=unicode_path(b"caf?", "café".encode())),
            Part(b"stale", flags=0, extra=unicode_path(b"stale", b"other", crc=1)),
            Part(b"v2", flags=0, extra=unicode_path(b"v2", b"other", version=2)),
            Part(b"flag", flags=UTF8, extra=unicode_path(b"flag", b"other")),
        ],
        ["café", "stale", "v2", "flag"],
    ),
    Case(
        "Unicode path that leads out",
        archive(Part(b"raw", b"evil", flags=0, extra=unicode_path(b"raw", b"../x")), B),
        shown({"d/b.txt": File(b"beta")}),
        {names.HIDDEN_PARENT: 1},
    ),
    names_case(
        "bytes are identity",
        [Part("e\u0301"), Part("\u00e9"), Part("README"), Part("readme")],
        ["e\u0301", "\u00e9", "README", "readme"],
    ),
]

TYPES = [
    Case(
        "links inside their session",
        archive(
            A,
            Part("d/up", b"../a.txt", mode=LINK),
            Part("here", b"a.txt", mode=LINK, method=8),
            Part("d/e/f/top", b"../../../a.txt", mode=LINK),
            Part("dangling", b"no/such/file", mode=LINK),
            Part("longest", b"t" * 4095, mode=LINK),
        ),
        shown(
            {
                "a.txt": File(TEXT),
                "d/up": Link(b"../a.txt"),
                "here": Link(b"a.txt"),
                "d/e/f/top": Link(b"../../../a.txt"),
                "dangling": Link(b"no/such/file"),
                "longest": Link(b"t" * 4095),
            }
        ),
    ),
    Case(
        "links that lead out are files",
        archive(
            Part("absolute", b"/etc/passwd", mode=LINK),
            Part("up", b"..", mode=LINK),
            Part("d/up", b"../../x", mode=LINK),
            Part("x/r", b"../../..", mode=LINK),
            Part("esc", b"x/r/../../S", mode=LINK),
            Part("nul", b"a\0b", mode=LINK),
            Part("long", b"t" * 4096, mode=LINK),
            Part("empty", b"", mode=LINK),
        ),
        shown(
            {
                "absolute": File(b"/etc/passwd"),
                "up": File(b".."),
                "d/up": File(b"../../x"),
                "x/r": File(b"../../.."),
                "esc": File(b"x/r/../../S"),
                "nul": File(b"a\0b"),
                "long": File(b"t" * 4096),
                "empty": File(b""),
            }
        ),
    ),
    Case(
        "a damaged link",
        archive(Part("l", b"target", mode=LINK, crc=1), A),
        shown({"l": eio(6, "CRC-32"), "a.txt": File(TEXT)}),
    ),
    Case(
        "links with faults",
        archive(
            A,
            Part("over", b"target", mode=LINK, local_omitted=True, offset=10),
            Part("out", b"target", mode=LINK, offset=10**8),
            Part("far", b"target", mode=LINK, offset=SENTINEL, extra=zip64(2**63)),
            Part("short", b"target", mode=LINK, offset=SENTINEL, extra=zip64()),
            Part("unsigned", b"target", mode=LINK, local_signature=b"PK\3\5"),
        ),
        shown(
            {
                "a.txt": eio(len(TEXT), "overlaps"),
                "over": eio(6, "overlaps"),
                "out": eio(6, "outside"),
                "far": eio(6, "outside"),
                "short": eio(6, "zip64 field is too short"),
                "unsigned": eio(6, "no local header"),
            }
        ),
        {OVERLAPS: 2, OUTSIDE: 2, "damaged: short zip64 field": 1},
    ),
    Case(
        "fifo, device, socket",
        archive(*(Part(f"s{mode:o}", b"x", mode=mode) for mode in (0o010644, 0o020644, 0o060644, 0o140644)), B),
        shown({"d/b.txt": File(b"beta")}),
        {types.HIDDEN_SPECIAL: 4},
    ),
    Case(
        "set-id, sticky, x bits",
        archive(
            Part("suid", b"s", mode=0o104755),
            Part("sgid", b"s", mode=0o102644),
            Part("sticky", b"s", mode=0o101777),
            Part("group", b"s", mode=0o100010),
            Part("plain", b"s", mode=0o100666),
            Part("d/", mode=0o041777),
        ),
        shown(
            {
                "suid": File(b"s", executable=True),
                "sgid": File(b"s"),
                "sticky": File(b"s", executable=True),
                "group": File(b"s", executable=True),
                "plain": File(b"s"),
                "d": Folder(DEFAULT_SECONDS * SECOND),
            }
        ),
    ),
    Case(
        "mode 0 and no type bits",
        archive(
            Part("zero", b"z", mode=0),
            Part("bits", b"b", mode=0o755),
            Part("zero.d/", mode=0),
            Part("d", attributes=0x10, host=FAT),
            Part("odd", b"o", mode=0o170644),
        ),
        shown(
            {
                "zero": File(b"z"),
                "bits": File(b"b", executable=True),
                "zero.d": Folder(DEFAULT_SECONDS * SECOND),
                "d": Folder(DEFAULT_SECONDS * SECOND),
                "odd": File(b"o"),
            }
        ),
    ),
    Case(
        "volume label",
        archive(Part("LABEL", attributes=0x08, host=FAT), B),
        shown({"d/b.txt": File(b"beta")}),
        {types.HIDDEN_LABEL: 1},
    ),
    Case(
        "times",
        archive(
            Part("dos"),
            Part("none", date=0, time=0),
            Part("unix", extra=ntfs_time(NTFS_EPOCH) + extended_time(1_500_000_000)),
            Part("unsigned", extra=extended_time(2**32 - 1)),
            Part("ntfs", extra=ntfs_time(NTFS_EPOCH + 1_600_000_000 * 10**7 + 1)),
            Part("feb31", date=(2023 - 1980) << 9 | 2 << 5 | 31, time=0),
            Part("month15", date=(2024 - 1980) << 9 | 15 << 5 | 5, time=31 << 11 | 63 << 5 | 31),
        ),
        shown(
            {
                "dos": File(mtime_ns=DEFAULT_SECONDS * SECOND),
                "none": File(mtime_ns=ARCHIVES),
                "unix": File(mtime_ns=1_500_000_000 * SECOND),
                "unsigned": File(mtime_ns=(2**32 - 1) * SECOND),
                "ntfs": File(mtime_ns=1_600_000_000 * SECOND + 100),
                "feb31": File(mtime_ns=calendar.timegm((2023, 2, 28, 0, 0, 0)) * SECOND),
                "month15": File(mtime_ns=calendar.timegm((2024, 12, 5, 23, 59, 59)) * SECOND),
            }
        ),
    ),
]

STREAMED = replace(A, local_zeroed=True)
LATE = bytearray(deflate(BIG, 1))
LATE[-2000] ^= 0x10
TWIN = replace(A, name="b.txt", local_omitted=True, offset=0)
LYING = bytearray(archive(A, B))
struct.pack_into("<HH", LYING, 6, ENCRYPTED | 1 << 13, 99)
"""The first local header says: masked, encrypted, AES."""
W = Part("w", b"alpha", size=SENTINEL, compressed_size=SENTINEL, offset=SENTINEL, extra=zip64(5, 5, 0))
AB: dict[str | bytes, Node] = {"a.txt": File(TEXT), "d/b.txt": File(b"beta")}

STRUCTURE = [
    Case("zip64 everywhere", archive(W, end64=True), shown({"w": File(b"alpha")})),
    Case("zip64 end record", archive(A, B, end64=True, end64_data=b"x" * 100), shown(AB)),
    Case(
        "zip64: sentinels only, in order",
        archive(A, replace(B, offset=SENTINEL, extra=zip64(len(A.local()), 9, 9))),
        shown(AB),
    ),
    Case(
        "short zip64 field",
        archive(A, Part("bad", b"alpha", size=SENTINEL, compressed_size=SENTINEL, extra=zip64(5)), B),
        shown({**AB, "bad": eio(5, "zip64 field is too short")}),
        {"damaged: short zip64 field": 1},
    ),
    *(
        Case(f"data descriptor {kind}", archive(replace(STREAMED, descriptor=descriptor), B), shown(AB))
        for kind, descriptor in {
            "with signature": struct.pack("<4s3L", b"PK\x07\x08", 1, 2, 3),
            "without": struct.pack("<3L", 1, 2, 3),
            "zip64": struct.pack("<4sLQQ", b"PK\x07\x08", 1, 2, 3),
            "missing": b"",
        }.items()
    ),
    Case("prepended, relative", archive(A, B, prefix=b"#!/bin/sh\n" * 100), shown(AB)),
    Case("prepended, absolute", archive(A, B, prefix=b"MZ" * 3000, prefix_counts=True), shown(AB)),
    Case("comment with a signature", archive(A, B, comment=b"x" + EMPTY + b"PK\5\6" * 20), shown(AB)),
    Case("longest comment", archive(A, B, comment=b"c" * 65_535), shown(AB)),
    Case("ambiguous", archive(A, comment=archive(B)), refused="ambiguous"),
    Case("trailing junk", archive(A, B, junk=b"x" * 65_536), shown(AB)),
    Case("too much trailing junk", archive(A, B, junk=b"x" * 70_000), refused="truncated zip"),
    Case("split", archive(A, disk=1), refused="split"),
    Case("masked directory", archive(replace(A, flags=1 << 13), B), refused="masked or encrypted"),
    Case(
        "encrypted directory",
        archive(A, end64=True, end64_version=62, end64_data=b"x" * 28),
        refused="masked or encrypted",
    ),
    Case(
        "local header differs",
        archive(
            replace(B, local_name=b"../../other", local_extra=extra(0x9999, b"e" * 3000)),
            replace(STREAMED, local_name=b"x" * 3000),
        ),
        shown(AB),
    ),
    Case("local flags and method differ", bytes(LYING), shown(AB)),
    Case(
        "bad local signature",
        archive(A, replace(B, local_signature=b"PK\3\5")),
        shown({**AB, "d/b.txt": eio(4, "no local header")}),
    ),
    Case(
        "offset past the end",
        archive(
            A,
            replace(B, offset=10**6),
            Part("far", b"x", offset=2**32 - 2),
            Part("farther", b"x", offset=SENTINEL, extra=zip64(2**64 - 1)),
            Part("huge", b"x", size=SENTINEL, compressed_size=SENTINEL, extra=zip64(2**64 - 1, 2**64 - 1)),
        ),
        shown(
            {
                **AB,
                "d/b.txt": eio(4, "outside"),
                "far": eio(1, "outside"),
                "farther": eio(1, "outside"),
                "huge": eio(2**63 - 1, "outside"),
            }
        ),
        {OUTSIDE: 4},
    ),
    Case(
        "a local extra field that pushes the data out",
        archive(A, Part("last", b"x" * 500, local_extra=b"", local_name=b"n" * 60, compressed=b"")),
        shown({"a.txt": File(TEXT), "last": eio(500, "more bytes than")}),
    ),
    Case(
        "a local header whose lengths lead behind the end",
        archive(A, B).replace(B.local()[:30], B.local()[:26] + struct.pack("<HH", 60_000, 60_000)),
        shown({**AB, "d/b.txt": eio(4, "runs into the archive's directory")}),
    ),
    Case(
        "overlapping members",
        archive(A, replace(B, local_omitted=True, offset=10), Part("ok", b"ok")),
        shown({"a.txt": eio(len(TEXT), "overlaps"), "d/b.txt": eio(4, "overlaps"), "ok": File(b"ok")}),
        {OVERLAPS: 2},
    ),
    Case("exact duplicates", archive(A, TWIN, B), shown({**AB, "b.txt": File(TEXT)})),
    Case(
        "inflates to more than declared",
        archive(replace(A, size=1000), Part("big", BIG, method=8, size=len(BIG) // 2)),
        shown(
            {"a.txt": eio(1000, "CRC-32"), "big": eio(len(BIG) // 2, "CRC-32", late=True, data=BIG[: len(BIG) // 2])}
        ),
    ),
    Case(
        "inflates to less than declared",
        archive(replace(A, size=len(TEXT) + 1), Part("big", BIG, method=8, size=len(BIG) + 5000)),
        shown(
            {
                "a.txt": eio(len(TEXT) + 1, "inflates to"),
                "big": eio(len(BIG) + 5000, "inflates to", late=True, data=BIG + bytes(5000)),
            }
        ),
    ),
    Case(
        "declared more than deflate can hold",
        archive(Part("bomb", b"x", method=8, size=1032 * 1000 + 65, compressed=b"x" * 1000), A),
        shown({"bomb": eio(1032 * 1000 + 65, "claims more bytes"), "a.txt": File(TEXT)}),
    ),
    Case(
        "compressed size too long",
        archive(
            replace(A, compressed=deflate(TEXT) + b"junk" * 50),
            Part("big", BIG, method=8, compressed=deflate(BIG) + b"junk" * 50),
            Part("stored", NOISE, compressed=NOISE + b"j" * 7),
            Part("stored big", BIG, compressed=BIG + b"j" * 9),
        ),
        shown({"a.txt": File(TEXT), "big": File(BIG), "stored": File(NOISE), "stored big": File(BIG)}),
        says="bytes of junk",
    ),
    Case(
        "compressed size too short",
        archive(
            replace(A, compressed_size=len(A.packed) - 40),
            Part("big", BIG, method=8, compressed=deflate(BIG)[:-5000]),
            Part("stored", NOISE, compressed=NOISE[:-1]),
        ),
        shown(
            {
                "a.txt": eio(len(TEXT), "inflates to"),
                "big": eio(len(BIG), "inflates to", late=True, data=BIG),
                "stored": eio(len(NOISE), "claims more bytes"),
            }
        ),
    ),
    Case(
        "CRC mismatch",
        archive(
            replace(A, crc=1),
            Part("stored", NOISE, crc=2),
            Part("big", BIG, method=8, crc=3),
            Part("late", BIG, method=8, compressed=bytes(LATE)),
            Part("empty", b"", crc=4),
            Part("ok", b"ok"),
        ),
        shown(
            {
                "a.txt": eio(len(TEXT), "CRC-32"),
                "stored": eio(len(NOISE), "CRC-32"),
                "big": eio(len(BIG), "CRC-32", late=True, data=BIG),
                "late": eio(len(BIG), "late", late=True, data=BIG),
                "empty": eio(0, "CRC-32"),
                "ok": File(b"ok"),
            }
        ),
    ),
    Case("no end record", archive(A, B)[:-30], refused="truncated zip"),
    Case("zero members", EMPTY, {}),
    Case("zero bytes", b"", refused="empty file"),
    Case("a count too small", archive(A, B, count=1), refused="counts 1 members"),
    Case("2^62 members", archive(A, count=2**62, end64=True), refused="counts 4611686018427387904"),
    Case("a directory of 2^62 bytes", archive(A, size=2**62, end64=True), refused="does not fit"),
    Case("digital signature", archive(A, B, signature=b"s" * 300, signature_counts=True), shown(AB)),
    Case("extra-field garbage", archive(replace(A, extra=b"\xff" * 40), replace(B, extra=b"\x01")), shown(AB)),
    Case("HTML", b"<!DOCTYPE html><html><body>Sign in</body></html>", refused="HTML"),
    Case("JSON", b'{"error": "no such session"}', refused="JSON"),
    Case("gzip", gzip.compress(b"x", mtime=0), refused="gzip"),
    Case("unknown data", bytes(300), refused="unknown data"),
    Case(
        "methods we do not read",
        archive(
            Part("zipcrypto", b"x" * 20, flags=ENCRYPTED),
            Part("aes", b"x" * 20, method=99, flags=ENCRYPTED),
            Part("ppmd", b"x" * 20, method=98),
            Part("implode", b"x" * 20, method=6),
            Part("shrink", b"x" * 20, method=1),
            Part("link", b"target", mode=LINK, flags=ENCRYPTED),
            A,
        ),
        shown(
            {
                "zipcrypto": unsupported(20, "is encrypted"),
                "aes": unsupported(20, "is encrypted"),
                "ppmd": unsupported(20, "PPMd"),
                "implode": unsupported(20, "implode"),
                "shrink": unsupported(20, "shrink"),
                "link": unsupported(6, "is encrypted"),
                "a.txt": File(TEXT),
            }
        ),
    ),
]


def _tar() -> Case:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("x"))
    return Case("tar", buffer.getvalue(), refused="tar")


CASES = [*NAMES, *TYPES, *STRUCTURE, _tar()]
