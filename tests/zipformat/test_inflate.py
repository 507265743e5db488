"""Members' bytes: every compression method, bounded, counted and checked (zip.md, "Structure", its last rows)."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import lzma
import random
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zips import COMPRESSORS, ENCRYPTED, Part, archive, deflate, parse, read, zstd

from mountfs.errors import LimitExceeded, MemberDamaged, MemberUnsupported
from mountfs.model import Kind, Member, MemberPath
from mountfs.zipformat import DECODERS, Decoder, Inflater, ZipLimits, crc32, ensure_readable, inflate_whole, method_name
from mountfs.zipformat.inflate import PIECE_OUT

METHODS = sorted(COMPRESSORS)
TEXT = b"".join(b"2026-11-23 12:%02d line %d of a log\n" % (n % 60, n) for n in range(20_000))
NOISE = random.Random(1).randbytes(300_000)
SAMPLES = {"empty": b"", "byte": b"x", "text": TEXT, "noise": NOISE, "zeros": bytes(3 << 20)}


@functools.cache
def pack(method: int, content: bytes) -> bytes:
    return COMPRESSORS[method](content)


def member_of(data: bytes, method: int, *, size: int | None = None, crc: int | None = None) -> Member:
    return Member(
        path=MemberPath(b"m"),
        kind=Kind.FILE,
        size=len(data) if size is None else size,
        mtime_ns=0,
        crc=zlib.crc32(data) if crc is None else crc,
        method=method,
        compressed_size=10,
    )


def test_the_rows_are_the_methods_we_can_make() -> None:
    """Every row of DECODERS is tested here."""
    assert sorted(DECODERS) == METHODS
    assert [row.name for row in DECODERS.values()] == ["stored", "deflate", "deflate64", "bzip2", "LZMA", "zstd", "xz"]


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("method", METHODS)
def test_members_come_back_whole(method: int, sample: str) -> None:
    """Through a real archive, in one go."""
    data = archive(Part("m", SAMPLES[sample], method=method), Part("next", b"n"))
    assert read(data, parse(data), 0) == SAMPLES[sample]


@pytest.mark.parametrize("copyable", [False, True])
@pytest.mark.parametrize("piece", [1, 7, 1000, 65_536, 1 << 30])
@pytest.mark.parametrize("method", METHODS)
def test_any_pieces_give_the_same_bytes(method: int, piece: int, copyable: bool) -> None:
    """Fed byte by byte, in pieces or whole: the same output, no piece of it over 1 MiB."""
    content = TEXT[:5000] if piece < 100 else TEXT + bytes(2 << 20)
    packed = pack(method, content)
    inflater = Inflater(member_of(content, method), copyable=copyable)
    output = bytearray()
    for position in range(0, len(packed), piece):
        for part in inflater.feed(packed[position : position + piece]):
            assert 0 < len(part) <= PIECE_OUT
            output += part
    inflater.finish()
    assert output == content
    assert inflater.done
    assert inflater.produced == len(content)


@pytest.mark.parametrize("method", METHODS)
def test_trailing_junk_is_accepted(method: int) -> None:
    """A compressed size too long: what follows the stream is ignored."""
    packed = pack(method, TEXT) + b"junk" * 1000
    assert inflate_whole(method, packed, member_of(TEXT, method)) == TEXT


@pytest.mark.parametrize("copyable", [False, True])
@pytest.mark.parametrize("junk", [0, 1, 100, 200_000])
@pytest.mark.parametrize("method", [0, 8, 12])
def test_trailing_junk_is_counted(method: int, junk: int, copyable: bool) -> None:
    """So that somebody can log it."""
    inflater = Inflater(member_of(TEXT, method), copyable=copyable)
    for _ in inflater.feed(pack(method, TEXT) + b"j" * junk):
        pass
    inflater.finish()
    assert inflater.trailing == junk


@pytest.mark.parametrize("method", METHODS)
def test_a_stream_that_ends_early_is_damage(method: int) -> None:
    """Compressed size too short: never a short read."""
    packed = pack(method, NOISE)
    for cut in (0, 1, len(packed) // 2):
        with pytest.raises(MemberDamaged, match=r"inflates to .* bytes instead of 300000"):
            inflate_whole(method, packed[:cut], member_of(NOISE, method))


@pytest.mark.parametrize("method", METHODS)
def test_more_than_declared_stops_there(method: int) -> None:
    """Exactly the declared bytes are made, then the CRC tells."""
    inflater = Inflater(member_of(TEXT, method, size=1000))
    assert b"".join(inflater.feed(pack(method, TEXT))) == TEXT[:1000]
    with pytest.raises(MemberDamaged, match="CRC-32"):
        inflater.finish()


@pytest.mark.parametrize("method", METHODS)
def test_less_than_declared_is_damage(method: int) -> None:
    """A stream that is whole but shorter than declared."""
    with pytest.raises(MemberDamaged, match="instead of 300001"):
        inflate_whole(method, pack(method, NOISE), member_of(NOISE, method, size=300_001))


@pytest.mark.parametrize("method", METHODS)
def test_a_wrong_crc_is_damage(method: int) -> None:
    """Right size, wrong bytes."""
    with pytest.raises(MemberDamaged, match=r"m: has CRC-32 .* instead of 00000001"):
        inflate_whole(method, pack(method, TEXT), member_of(TEXT, method, crc=1))


@pytest.mark.parametrize("method", METHODS)
def test_a_declared_size_of_zero_needs_no_stream(method: int) -> None:
    """Nothing is inflated; its CRC is zero."""
    assert inflate_whole(method, b"\xff" * 100, member_of(b"", method)) == b""
    with pytest.raises(MemberDamaged):
        inflate_whole(method, b"", member_of(b"", method, crc=1))


@pytest.mark.parametrize("method", [method for method in METHODS if method != 0])
@pytest.mark.parametrize("junk", [b"\xff" * 300, b"\x07" * 300, bytes(range(256)), b"PK\3\4" * 100])
def test_garbage_is_damage(method: int, junk: bytes) -> None:
    """Whatever the library raises, ours comes out."""
    with pytest.raises(MemberDamaged):
        inflate_whole(method, junk, member_of(TEXT, method))


@pytest.mark.parametrize("method", METHODS)
def test_flipped_bytes_never_pass(method: int) -> None:
    """A flipped byte anywhere gives damage or, where it did not matter, the same bytes."""
    packed = bytearray(pack(method, TEXT[:3000]))
    for position in range(0, len(packed), max(1, len(packed) // 200)):
        packed[position] ^= 0x55
        with contextlib.suppress(MemberDamaged):
            assert inflate_whole(method, packed, member_of(TEXT[:3000], method)) == TEXT[:3000]
        packed[position] ^= 0x55


@given(st.sampled_from(METHODS), st.binary(max_size=2000), st.integers(0, 3000), st.integers(1, 500))
def test_no_bytes_raise_anything_else(method: int, packed: bytes, size: int, piece: int) -> None:
    """Arbitrary input: exactly the declared bytes, or MemberDamaged."""
    inflater = Inflater(member_of(b"", method, size=size))
    try:
        output = b"".join(
            part
            for position in range(0, len(packed), piece)
            for part in inflater.feed(packed[position : position + piece])
        )
        assert len(output) <= size
        inflater.finish()
        assert len(output) == size
    except MemberDamaged:
        pass


# -- bombs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "bound"), [(8, 4), (9, 16), (12, 12), (14, 6), (93, 16), (95, 16)], ids=str)
def test_a_bomb_costs_no_memory(method: int, bound: int) -> None:
    """64 MiB of zeros, dropped as they come: a few MiB are held at once."""
    whole = 64 << 20
    packed = pack(method, bytes(whole))
    inflater = Inflater(member_of(b"", method, size=whole))
    tracemalloc.start()
    produced = sum(len(part) for part in inflater.feed(packed))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert produced == whole
    assert peak <= bound << 20


def test_huge_dictionaries_are_refused() -> None:
    """LZMA over 64 MiB, xz and zstd beyond theirs: refused before memory is taken."""
    header = b"\x09\x14\x05\x00" + struct.pack("<BI", 93, (64 << 20) + 1)
    with pytest.raises(MemberDamaged, match="dictionary"):
        inflate_whole(14, header + b"x" * 100, member_of(TEXT, 14))
    big = lzma.compress(TEXT, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 128 << 20}])
    with pytest.raises(MemberDamaged, match=r"[Mm]emory"):
        inflate_whole(95, big, member_of(TEXT, 95))
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 28})
    window = packer.compress(TEXT) + packer.flush()
    with pytest.raises(MemberDamaged):
        inflate_whole(93, window, member_of(TEXT, 93))


@pytest.mark.parametrize(
    "header", [b"\x09\x14\x06\x00" + bytes(5), b"\x09\x14\x05\x00\xff" + bytes(4), b"\x09\x14\x05\x00\x2c" + bytes(4)]
)
def test_what_is_no_lzma_header(header: bytes) -> None:
    """Length of properties, their byte out of range, lc + lp over 4."""
    with pytest.raises(MemberDamaged, match="LZMA"):
        inflate_whole(14, header + b"x" * 100, member_of(TEXT, 14))


@pytest.mark.parametrize("method", [12, 93, 95])
def test_joined_streams(method: int) -> None:
    """Writers that compress in parallel put several streams one after the other."""
    packed = b"".join(pack(method, TEXT[at : at + 100_000]) for at in range(0, len(TEXT), 100_000))
    assert inflate_whole(method, packed, member_of(TEXT, method)) == TEXT


# -- checkpoints -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [method for method, row in DECODERS.items() if row.copyable])
def test_a_checkpoint_goes_on_from_where_it_was_taken(method: int) -> None:
    """A copy and its original go on independently, CRC and all."""
    packed = pack(method, TEXT)
    inflater = Inflater(member_of(TEXT, method), copyable=True)
    half = len(packed) // 2
    first = b"".join(inflater.feed(packed[:half]))
    checkpoint = inflater.copy()
    assert checkpoint is not None
    assert checkpoint.consumed == half
    for runner in (inflater, checkpoint):
        assert first + b"".join(runner.feed(packed[half:])) == TEXT
        runner.finish()


@pytest.mark.parametrize("method", METHODS)
def test_what_cannot_be_copied_says_so(method: int) -> None:
    """copy() is None exactly where the row has no copyable decoder."""
    row = DECODERS[method]
    decoder: Decoder = row.make_copyable() if row.make_copyable else row.make()
    assert (decoder.copy() is not None) == row.copyable


# -- what is not read --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "why"),
    [
        (Part("a", b"x", flags=ENCRYPTED), "is encrypted"),
        (Part("a", b"x", method=99, flags=ENCRYPTED), "is encrypted"),
        (Part("a", b"x", method=98), r"method 98 \(PPMd\)"),
        (Part("a", b"x", method=6), r"method 6 \(implode\)"),
        (Part("a", b"x", method=1), r"method 1 \(shrink\)"),
        (Part("a", b"x", method=12345), r"method 12345 \(unknown\)"),
    ],
)
def test_what_we_do_not_read_is_listed_and_unsupported(part: Part, why: str) -> None:
    """AES, ZipCrypto, PPMd, implode, shrink: stat works, open does not."""
    data = archive(part)
    directory = parse(data)
    assert directory[0].size == 1
    assert directory[0].fault == ""
    with pytest.raises(MemberUnsupported, match=why):
        ensure_readable(directory[0], ZipLimits())
    with pytest.raises(MemberUnsupported, match=why):
        read(data, directory, 0)


def test_method_names() -> None:
    """Known by name, whether read or not."""
    assert [method_name(number) for number in (0, 8, 99, 7)] == ["stored", "deflate", "AES encryption", "unknown"]


@pytest.mark.parametrize(
    ("change", "limits", "error"),
    [
        ({}, ZipLimits(), None),
        ({"fault": "its data overlaps another member's"}, ZipLimits(), MemberDamaged),
        ({"size": 101}, ZipLimits(max_member_size=100), LimitExceeded),
        ({"size": 100}, ZipLimits(max_member_size=100), None),
        ({"size": 1 << 20, "compressed_size": 1}, ZipLimits(max_ratio=10), None),
        ({"size": 2 << 20, "compressed_size": (2 << 20) // 10 - 1}, ZipLimits(max_ratio=10), LimitExceeded),
        ({"size": 2 << 20, "compressed_size": (2 << 20) // 10 + 1}, ZipLimits(max_ratio=10), None),
    ],
)
def test_limits_of_one_member(change: dict[str, object], limits: ZipLimits, error: type[Exception] | None) -> None:
    """Faults and limits, judged at open."""
    member = dataclasses.replace(member_of(b"x" * 100, 12), **change)
    if error is None:
        ensure_readable(member, limits)
    else:
        with pytest.raises(error):
            ensure_readable(member, limits)


def test_crc32_is_zlibs() -> None:
    """The fast CRC-32 and the standard library's agree, also when continued."""
    assert crc32(NOISE) == zlib.crc32(NOISE)
    assert crc32(NOISE[1000:], crc32(memoryview(NOISE)[:1000])) == zlib.crc32(NOISE)


def test_a_foreign_method_is_a_bug() -> None:
    """The method argument is the member's own."""
    with pytest.raises(ValueError, match="own method"):
        inflate_whole(8, deflate(b"x"), member_of(b"x", 0))
