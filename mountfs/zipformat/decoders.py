"""Compression methods: one table, ``DECODERS``; a new method is a new row (APPNOTE 4.4.5).

Theory: a decoder turns compressed bytes into at most ``max_length`` bytes at a time and keeps what it could not
use yet, so a bomb costs no more memory than was asked for. It judges nothing but its own format: sizes and CRC
are checked above (``inflate.py``), always, because isal accepts some streams that zlib refuses. Input should come
in pieces of about 64 KiB: some decoders copy what is left over at every call.

Measured (2 cores, Python 3.11, log text / base64, MiB/s): isal's IgzipDecompressor 1589 / 500, zlib-ng 949 / 249,
zlib 567 / 228; a new one for a 4 KB member costs 5 to 7 us with any. So isal decodes deflate, and zlib-ng where
checkpoints are wanted, since isal's state cannot be copied.

Concurrency: a decoder belongs to one thread at a time. All but deflate64 release the GIL.
"""

from __future__ import annotations

import bz2
import lzma
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import inflate64
from isal import igzip_lib
from zlib_ng import zlib_ng

from mountfs.errors import MemberDamaged

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAX_DICTIONARY = 64 << 20
"""Bytes of history an LZMA or xz member may ask for: what `xz -9` needs."""
XZ_MEMORY = MAX_DICTIONARY + (4 << 20)
"""liblzma's own state comes on top of the dictionary."""
ZSTD_WINDOW_LOG = 27
"""128 MiB, what `zstd --long` needs."""
DEFLATE64_PIECE = 128
"""Bytes of input at a time. A deflate64 match is up to 65,538 bytes from 2.25, and inflate64 knows no
``max_length``: so one piece makes 3.7 MB at most."""
LZMA_HEADER_SIZE = 9

_zlib: Any = zlib_ng  # its stubs know neither copy() nor that error is a class
_igzip: Any = igzip_lib


class Decoder(Protocol):
    """One member's decompression."""

    @property
    def needs_input(self) -> bool:
        """Whether all input was used up: the next ``feed`` should bring more."""

    @property
    def eof(self) -> bool:
        """Whether the stream's own end was reached."""

    @property
    def unused(self) -> int:
        """Bytes fed that stand behind the stream's end; those still held where it has not ended."""

    def feed(self, data: bytes | memoryview, max_length: int) -> bytes:
        """Decodes. ``max_length``: at least 1. Empty ``data`` continues with what is kept. Raises MemberDamaged."""

    def copy(self) -> Decoder | None:
        """A twin that goes on from here on its own, or None where the library cannot."""


class StoredDecoder:
    """Method 0: the bytes themselves."""

    eof = False

    def __init__(self) -> None:
        self._kept = b""

    @property
    def needs_input(self) -> bool:
        return not self._kept

    @property
    def unused(self) -> int:
        return len(self._kept)

    def feed(self, data: bytes | memoryview, max_length: int) -> bytes:
        whole = self._kept + data if self._kept else bytes(data)
        self._kept = whole[max_length:]
        return whole[:max_length] if self._kept else whole

    def copy(self) -> StoredDecoder:
        twin = StoredDecoder()
        twin._kept = self._kept
        return twin


class NativeDecoder:
    """A decompressor with the interface of the standard library's bz2, lzma and zstd (and isal's).

    ``joined``: several streams may stand one after the other, as pzstd and 7-Zip write them.
    """

    def __init__(self, make: Callable[[], Any], errors: tuple[type[Exception], ...], *, joined: bool = False) -> None:
        self._make = make
        self._errors = errors
        self._joined = joined
        self._native = make()

    @property
    def needs_input(self) -> bool:
        return bool(self._native.needs_input)

    @property
    def eof(self) -> bool:
        return bool(self._native.eof)

    @property
    def unused(self) -> int:
        return len(self._native.unused_data)

    def feed(self, data: bytes | memoryview, max_length: int) -> bytes:
        if self._native.eof:
            rest = self._native.unused_data + data
            if not (self._joined and rest):
                return b""
            self._native, data = self._make(), rest
        try:
            return bytes(self._native.decompress(data, max_length))
        except self._errors as error:
            raise MemberDamaged(f"its compressed data is broken ({error})") from error

    def copy(self) -> None:
        return None


class CopyableDeflate:
    """Deflate by zlib-ng, whose state can be copied (some microseconds and 40 KiB): for checkpoints."""

    def __init__(self, native: Any = None, kept: bytes = b"") -> None:
        self._native = native or _zlib.decompressobj(-15)
        self._kept = kept

    @property
    def needs_input(self) -> bool:
        return not self._kept

    @property
    def eof(self) -> bool:
        return bool(self._native.eof)

    @property
    def unused(self) -> int:
        return len(self._native.unused_data) if self._native.eof else len(self._kept)

    def feed(self, data: bytes | memoryview, max_length: int) -> bytes:
        if self._native.eof:
            return b""
        try:
            output = self._native.decompress(self._kept + data if self._kept else data, max_length)
        except _zlib.error as error:
            raise MemberDamaged(f"its compressed data is broken ({error})") from error
        self._kept = self._native.unconsumed_tail
        return bytes(output)

    def copy(self) -> CopyableDeflate:
        return CopyableDeflate(self._native.copy(), self._kept)


class Deflate64Decoder:
    """Method 9. inflate64 takes no bound on its output, so input goes in by small pieces and output is kept here."""

    def __init__(self) -> None:
        self._native = inflate64.Inflater()
        self._input = b""
        self._output = b""
        self._given = 0

    @property
    def needs_input(self) -> bool:
        return self._given >= len(self._output) and (not self._input or self.eof)

    @property
    def eof(self) -> bool:
        return bool(self._native.eof)

    @property
    def unused(self) -> int:
        return len(self._input)

    def feed(self, data: bytes | memoryview, max_length: int) -> bytes:
        self._input += data
        if self._given >= len(self._output):
            self._output, self._given = self._inflate(max_length), 0
        output = self._output[self._given : self._given + max_length]
        self._given += len(output)
        return output

    def copy(self) -> None:
        return None

    def _inflate(self, wanted: int) -> bytes:
        """At least ``wanted`` bytes, as far as there is input; the last piece may give many more."""
        pieces, size, position = [], 0, 0
        while size < wanted and position < len(self._input) and not self._native.eof:
            try:
                piece = self._native.inflate(self._input[position : position + DEFLATE64_PIECE])
            except ValueError as error:
                raise MemberDamaged(f"its compressed data is broken ({error})") from error
            pieces.append(piece)
            size += len(piece)
            position += DEFLATE64_PIECE
        self._input = self._input[position:]
        return b"".join(pieces)


class LzmaDecoder:
    """Method 14: a raw LZMA1 stream behind a header of its own (APPNOTE 5.8.8)."""

    def __init__(self) -> None:
        self._header = b""
        self._native: NativeDecoder | None = None

    @property
    def needs_input(self) -> bool:
        return self._native is None or self._native.needs_input

    @property
    def eof(self) -> bool:
        return self._native is not None and self._native.eof

    @property
    def unused(self) -> int:
        return self._native.unused if self._native else 0

    def feed(self, data: bytes | memoryview, max_length: int) -> bytes:
        if self._native is None:
            self._header += data
            if len(self._header) < LZMA_HEADER_SIZE:
                return b""
            data, self._header = self._header[LZMA_HEADER_SIZE:], self._header[:LZMA_HEADER_SIZE]
            filters = [lzma_filter(self._header)]
            self._native = NativeDecoder(
                lambda: lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters), (lzma.LZMAError,)
            )
        return self._native.feed(data, max_length)

    def copy(self) -> None:
        return None


def lzma_filter(header: bytes) -> dict[str, int]:
    """The LZMA properties of a member's first 9 bytes: version (2), length of properties (2), properties (5).

    Raises MemberDamaged where they are not LZMA's, or ask for more than MAX_DICTIONARY of memory.
    """
    coded = header[4]
    dictionary = int.from_bytes(header[5:9], "little")
    if header[2:4] != b"\x05\x00" or coded >= 9 * 5 * 5:
        raise MemberDamaged("its compressed data is broken (not an LZMA header)")
    if dictionary > MAX_DICTIONARY:
        raise MemberDamaged(f"its LZMA dictionary of {dictionary} bytes is larger than {MAX_DICTIONARY}")
    lc, lp, pb = coded % 9, coded // 9 % 5, coded // 45
    if lc + lp > 4:
        raise MemberDamaged("its compressed data is broken (lc + lp of LZMA over 4)")
    return {"id": lzma.FILTER_LZMA1, "lc": lc, "lp": lp, "pb": pb, "dict_size": max(dictionary, 4096)}


def inflate_at_once(compressed: bytes | memoryview, size: int) -> bytes | None:
    """What one deflate stream gives, up to ``size`` bytes; None if it is broken, ends later, or anything follows it.
    Without the calls in between that a decoder takes (2 of 15 us)."""
    native = _igzip.IgzipDecompressor(flag=_igzip.DECOMP_DEFLATE)
    try:
        data: bytes = native.decompress(compressed, size)
    except (_igzip.error, EOFError):
        return None
    return data if native.eof and not native.unused_data else None


def _deflate() -> NativeDecoder:
    return NativeDecoder(lambda: _igzip.IgzipDecompressor(flag=_igzip.DECOMP_DEFLATE), (_igzip.error, EOFError))


def _bzip2() -> NativeDecoder:
    return NativeDecoder(bz2.BZ2Decompressor, (OSError, EOFError, ValueError), joined=True)


def _xz() -> NativeDecoder:
    return NativeDecoder(
        lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY), (lzma.LZMAError, EOFError), joined=True
    )


def _zstd() -> NativeDecoder:
    options = {int(zstd.DecompressionParameter.window_log_max): ZSTD_WINDOW_LOG}
    return NativeDecoder(lambda: zstd.ZstdDecompressor(options=options), (zstd.ZstdError, EOFError), joined=True)


@dataclass(frozen=True, slots=True)
class DecoderRow:
    """One compression method. ``ratio``: the most bytes one byte can become, by the format itself; None where the
    format knows no useful bound (then only the configured one holds). ``make_copyable``: a slower decoder that has
    ``copy()``, or None where there is none."""

    name: str
    make: Callable[[], Decoder]
    ratio: int | None = None
    make_copyable: Callable[[], Decoder] | None = None

    @property
    def copyable(self) -> bool:
        return self.make_copyable is not None


STORED = 0
DEFLATED = 8

DECODERS: dict[int, DecoderRow] = {
    STORED: DecoderRow("stored", StoredDecoder, ratio=1, make_copyable=StoredDecoder),
    DEFLATED: DecoderRow("deflate", _deflate, ratio=1032, make_copyable=CopyableDeflate),
    9: DecoderRow("deflate64", Deflate64Decoder),
    12: DecoderRow("bzip2", _bzip2),
    14: DecoderRow("LZMA", LzmaDecoder),
    93: DecoderRow("zstd", _zstd),
    95: DecoderRow("xz", _xz),
}

OTHER_METHODS: dict[int, str] = {
    1: "shrink",
    2: "reduce",
    3: "reduce",
    4: "reduce",
    5: "reduce",
    6: "implode",
    10: "PKWARE DCL implode",
    18: "IBM TERSE",
    19: "IBM LZ77",
    20: "zstd (deprecated number)",
    94: "MP3",
    96: "JPEG",
    97: "WavPack",
    98: "PPMd",
    99: "AES encryption",
}
"""Methods we know by name only: their members are listed, opening one is EOPNOTSUPP."""


def method_name(method: int) -> str:
    """A compression method in words."""
    row = DECODERS.get(method)
    return row.name if row else OTHER_METHODS.get(method, "unknown")
