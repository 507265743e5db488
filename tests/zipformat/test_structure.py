"""zip.md, "Structure": the rows that the parser decides from the directory. (Bytes of members: test_inflate.)"""

from __future__ import annotations

import dataclasses
import gzip
import io
import struct
import tarfile
import zipfile

import pytest
from zips import DIRECTORY, EMPTY, FILE, LINK, Part, archive, end, extended_time, extra, many, parse, paths, read, zip64

from mountfs.errors import BadArchive, LimitExceeded, MemberDamaged
from mountfs.model import Brief, Kind, Span
from mountfs.zipformat import Directory, DirectoryParser, NeedBytes, ZipLimits, data_start
from mountfs.zipformat.checks import FAULT_OUTSIDE, FAULT_OVERLAP, FAULT_RATIO, FAULT_ZIP64

A = Part("a.txt", bytes(range(200)) * 3, method=8)
B = Part("d/b.txt", b"beta")
SENTINEL = 2**32 - 1


def contents(data: bytes, directory: Directory) -> list[bytes]:
    return [read(data, directory, index) for index in range(len(directory))]


def refused(data: bytes, match: str, limits: ZipLimits | None = None, tail: int = 262_144) -> None:
    with pytest.raises(BadArchive, match=match):
        parse(data, limits, tail=tail)


def faults(*parts: Part) -> list[str]:
    directory = parse(archive(*parts))
    return [directory[index].fault for index in range(len(directory))]


# -- where the directory is --------------------------------------------------------------------------------------


@pytest.mark.parametrize("tail", [22, 23, 50, 100, 300, 262_144])
def test_any_tail_leads_to_the_same_directory(tail: int) -> None:
    """However little the first request brought, the parser asks for what it lacks."""
    data = archive(A, B, prefix=b"#!/bin/sh\n" * 9, comment=b"hello", end64=True)
    directory = parse(data, tail=tail)
    assert paths(directory) == [b"a.txt", b"d/b.txt"]
    assert contents(data, directory) == [A.data, B.data]


def test_a_directory_before_the_tail_costs_one_more_request() -> None:
    """The tail has the end record; the directory is asked for in one range, and is used as it came, uncopied."""
    data = archive(*many(6000))
    parser = DirectoryParser(len(data), ZipLimits())
    start = len(data) - 262_144
    need = parser.feed(start, data[start:])
    assert isinstance(need, NeedBytes)
    piece = data[need.start : need.stop]
    directory = parser.feed(need.start, piece)
    assert isinstance(directory, Directory)
    assert need == (directory.start, directory.stop)
    assert directory._raw is piece
    assert len(directory) == 6000


@pytest.mark.parametrize("end64", [False, True])
@pytest.mark.parametrize("counts", [False, True])
@pytest.mark.parametrize("prefix", [b"", b"x", b"MZ" * 40_000])
def test_prepended_data(prefix: bytes, counts: bool, end64: bool) -> None:
    """What stands before the archive does not matter, whether its offsets count it or not."""
    data = archive(A, B, prefix=prefix, prefix_counts=counts, end64=end64)
    directory = parse(data)
    assert contents(data, directory) == [A.data, B.data]
    assert directory[0].header_offset == len(prefix)


def test_a_comment_with_an_empty_end_record() -> None:
    """A comment that ends in "PK\\5\\6" and zeros fools others into seeing no members."""
    data = archive(A, B, comment=b"x" + EMPTY)
    assert paths(parse(data)) == [b"a.txt", b"d/b.txt"]


@pytest.mark.parametrize("comment", [b"PK\5\6", b"PK\5\6" * 30, b"PK\5\6" + b"\xff" * 18, b"PK\5\6" + b"\0" * 10])
def test_a_comment_with_a_signature(comment: bytes) -> None:
    """A signature alone is no end record."""
    assert paths(parse(archive(A, B, comment=comment))) == [b"a.txt", b"d/b.txt"]


def test_a_comment_as_long_as_can_be() -> None:
    """65,535 bytes of comment: the end record is at the very start of the last 65,557 bytes."""
    assert paths(parse(archive(A, comment=b"c" * 65_535))) == [b"a.txt"]
    assert paths(parse(archive(A, comment=b"c" * 65_535), tail=65_556)) == [b"a.txt"]


def test_a_zip_as_a_comment_is_ambiguous() -> None:
    """Two directories that both hold up: programs would differ on what the archive is."""
    refused(archive(A, comment=archive(B)), "ambiguous")


def test_an_empty_archive_with_a_zip_as_its_comment_is_ambiguous() -> None:
    """Both hold up: no members at all, or those of the comment."""
    refused(archive(comment=archive(A)), "ambiguous")


@pytest.mark.parametrize("tail", [1, 30, 262_144])
def test_a_refused_zip_behind_a_zip_is_ambiguous(tail: int) -> None:
    """Found by fuzzing: zipfile and unzip read the last end record whatever it counts, so they see another archive."""
    behind = archive(dataclasses.replace(A, data=b"other"), disk=1)
    data = archive(A, junk=behind)
    with zipfile.ZipFile(io.BytesIO(data)) as other:
        assert other.read("a.txt") == b"other"
    refused(data, "ambiguous", tail=tail)
    refused(behind, "split", tail=tail)


def test_two_end_records_of_one_directory_agree() -> None:
    """The same directory claimed twice is no contradiction."""
    inner = archive(A)
    position = inner.index(b"PK\1\2")
    size = inner.index(b"PK\5\6") - position
    doubled = inner[: position + size] + end(1, size, position, comment=end(1, size, position))
    assert paths(parse(doubled)) == [b"a.txt"]


def test_thousands_of_end_records_are_refused() -> None:
    """A comment made of end records costs no more than sixteen looks."""
    comment = b"".join(end(1, 46, 0, comment=b"")[:20] + struct.pack("<H", 22 * left) for left in range(2900, -1, -1))
    refused(archive(A, comment=comment), "ambiguous")


@pytest.mark.parametrize("junk", [b"\n", b"\0" * 100, b"x" * 65_536])
@pytest.mark.parametrize("comment", [b"", b"a comment"])
def test_trailing_junk(junk: bytes, comment: bytes) -> None:
    """Up to 64 KiB behind the archive are put up with."""
    data = archive(A, B, junk=junk, comment=comment)
    assert contents(data, parse(data)) == [A.data, B.data]


def test_too_much_trailing_junk() -> None:
    """More than that is not a zip."""
    refused(archive(A, junk=b"x" * 70_000), "truncated zip")
    refused(archive(A, junk=b"x" * 200_000), "truncated zip")


def test_a_zip_in_a_zip_with_junk_behind() -> None:
    """A stored zip shows its own end record inside the outer one's data: the outer one counts."""
    inner = Part("inner.zip", archive(B))
    data = archive(A, inner, junk=b"\r\n")
    assert contents(data, parse(data)) == [A.data, inner.data]


def test_a_zip_in_a_zip() -> None:
    """Without junk there is nothing to choose."""
    data = archive(Part("inner.zip", archive(A)))
    assert paths(parse(data)) == [b"inner.zip"]


@pytest.mark.parametrize("counts", [False, True])
@pytest.mark.parametrize("end64", [False, True])
def test_a_digital_signature_after_the_directory(counts: bool, end64: bool) -> None:
    """Accepted, whether the directory's size includes it or not."""
    data = archive(A, B, signature=b"s" * 300, signature_counts=counts, end64=end64)
    assert contents(data, parse(data)) == [A.data, B.data]


def test_garbage_after_the_directory() -> None:
    """What is claimed to be directory and is neither a record nor a signature is refused."""
    data = archive(A)
    at = data.index(b"PK\5\6")
    size = at - data.index(b"PK\1\2")
    for junk in (b"garbage", b"PK\5\5\xff\xff", b"PK\1\2", b"P"):
        refused(data[:at] + junk + end(1, size + len(junk), data.index(b"PK\1\2")), "broken")


# -- zip64 -------------------------------------------------------------------------------------------------------


def test_zip64_everywhere() -> None:
    """All three numbers in the extra field, all of the end record's in the zip64 one."""
    part = Part("a", b"alpha", size=SENTINEL, compressed_size=SENTINEL, offset=SENTINEL, extra=zip64(5, 5, 0))
    data = archive(part, end64=True)
    assert contents(data, parse(data)) == [b"alpha"]


def test_zip64_replaces_only_sentinels() -> None:
    """A field that holds a value keeps it; those that do not take theirs in order."""
    data = archive(A, Part("b", b"beta", offset=SENTINEL, extra=extra(0x9999, b"x") + zip64(len(A.local()))))
    assert contents(data, parse(data)) == [A.data, b"beta"]
    data = archive(Part("b", b"beta", compressed_size=SENTINEL, extra=zip64(4, 99)))
    assert contents(data, parse(data)) == [b"beta"]
    data = archive(Part("b", b"beta", extra=zip64(99, 99, 99)))
    assert contents(data, parse(data)) == [b"beta"]


def test_a_partial_zip64_end_record() -> None:
    """Only the end record's sentinels are replaced, each by its own."""
    whole = archive(A, B, end64=True)
    at = whole.rindex(b"PK\5\6")
    offset, size = whole.index(b"PK\1\2"), whole.index(b"PK\6\6") - whole.index(b"PK\1\2")
    for claim in (end(2, size, SENTINEL), end(0xFFFF, size, offset), end(2, SENTINEL, offset), end(2, size, offset)):
        assert paths(parse(whole[:at] + claim)) == [b"a.txt", b"d/b.txt"]


def test_zip64_with_an_extensible_data_sector() -> None:
    """The zip64 end record may be longer than its fixed part."""
    for extension in (b"", b"x" * 10, b"x" * 70_000, b"PK\6\6" * 20):
        assert paths(parse(archive(A, end64=True, end64_data=extension, prefix=b"sfx"), tail=100)) == [b"a.txt"]


def test_sentinels_without_zip64_are_numbers() -> None:
    """65,535 members need no zip64."""
    data = archive(*(Part(f"{index:x}", local_omitted=True, mode=FILE) for index in range(65_535)))
    assert len(parse(data)) == 65_535


def test_a_missing_zip64_end_record() -> None:
    """A locator that leads nowhere leaves the archive unreadable."""
    data = archive(A, end64=True)
    refused(data.replace(b"PK\6\6", b"PK\6\5"), "zip64 end record is missing")


@pytest.mark.parametrize("field", [zip64(5, 5), zip64(), extra(1, b"1234567")])
def test_a_short_zip64_field_fails_its_member_alone(field: bytes) -> None:
    """The member is listed and dead, the others live."""
    bad = Part("bad", b"alpha", size=SENTINEL, compressed_size=SENTINEL, offset=SENTINEL, extra=field)
    directory = parse(archive(A, bad, B))
    assert paths(directory) == [b"a.txt", b"bad", b"d/b.txt"]
    assert [directory[index].fault for index in range(3)] == ["", FAULT_ZIP64, ""]
    assert directory.remarks.counts == {"damaged: short zip64 field": 1}


def test_the_sentinel_itself_can_be_a_size() -> None:
    """Without a zip64 field 4 GiB - 1 is a size like any other: here one that does not fit the archive."""
    assert faults(Part("a", b"x", size=SENTINEL, compressed_size=SENTINEL)) == [FAULT_OUTSIDE]


def test_more_members_than_16_bits_count() -> None:
    """65,536 and more without zip64: counted modulo 65,536."""
    parts = [Part(f"{index:x}", local_omitted=True, mode=FILE) for index in range(65_540)]
    assert len(parse(archive(*parts))) == 65_540
    refused(archive(*parts, count=5), "counts 5 members, its directory has 65540")


@pytest.mark.parametrize("count", [0, 1, 3, 65_535])
def test_a_wrong_count_is_refused(count: int) -> None:
    """The count and the chain of records must agree."""
    refused(archive(A, B, count=count), "counts")


def test_a_count_is_never_trusted_with_memory() -> None:
    """2^62 members claimed, none there."""
    refused(archive(A, count=2**62, end64=True), "counts 4611686018427387904 members")
    refused(archive(A, size=2**62, end64=True), "does not fit")
    refused(archive(A, offset=2**62, end64=True), "does not fit")


# -- members against the archive ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "descriptor",
    [
        struct.pack("<4s3L", b"PK\x07\x08", 1, 2, 3),
        struct.pack("<3L", 1, 2, 3),
        struct.pack("<4sLQQ", b"PK\x07\x08", 1, 2, 3),
        b"",
    ],
)
def test_data_descriptors_are_ignored(descriptor: bytes) -> None:
    """With, without signature, zip64, missing: the directory has it all."""
    part = dataclasses.replace(A, local_zeroed=True, descriptor=descriptor)
    data = archive(part, B)
    assert contents(data, parse(data)) == [A.data, B.data]


def test_the_directory_wins_over_local_headers() -> None:
    """Another local name, size, method or flag changes nothing."""
    part = dataclasses.replace(B, local_name=b"../../other-name", local_extra=extra(0x9999, b"e" * 500))
    data = archive(part, A)
    directory = parse(data)
    assert paths(directory) == [b"d/b.txt", b"a.txt"]
    assert contents(data, directory) == [B.data, A.data]


def test_a_bad_local_signature_is_found_at_open() -> None:
    """Only the member whose header is not there fails."""
    data = archive(A, dataclasses.replace(B, local_signature=b"PK\3\5"))
    directory = parse(data)
    assert read(data, directory, 0) == A.data
    with pytest.raises(MemberDamaged, match="no local header"):
        read(data, directory, 1)


@pytest.mark.parametrize("local", [b"", b"PK\3\4", b"PK\3\4" + b"\0" * 25, b"\0" * 30])
def test_a_short_local_header(local: bytes) -> None:
    """Fewer than 30 bytes are no local header."""
    with pytest.raises(MemberDamaged):
        data_start(local, parse(archive(A))[0])


@pytest.mark.parametrize("offset", [10**6, 2**32 - 2])
def test_an_offset_past_the_end(offset: int) -> None:
    """That member is dead; the others are not."""
    assert faults(A, dataclasses.replace(B, offset=offset), B) == ["", FAULT_OUTSIDE, ""]


def test_data_that_runs_into_the_directory() -> None:
    """A compressed size too long for the archive."""
    assert faults(A, dataclasses.replace(B, compressed_size=5000, size=5000)) == ["", FAULT_OUTSIDE]


def test_overlapping_members() -> None:
    """Each member whose bytes are another's too is dead, however they lie in one another."""
    wide = dataclasses.replace(A, compressed_size=len(A.packed) + 40)
    assert faults(wide, B, A) == [FAULT_OVERLAP, FAULT_OVERLAP, ""]
    inside = dataclasses.replace(B, local_omitted=True, offset=10)
    assert faults(A, inside, B) == [FAULT_OVERLAP, FAULT_OVERLAP, ""]
    assert parse(archive(A, inside, B)).remarks.counts == {"damaged: data overlaps another member's": 2}


def test_one_member_over_many() -> None:
    """The far-reaching one and all it covers, also where members between do not touch each other."""
    cover = Part("cover", b"", compressed_size=400, size=400, local_omitted=True, offset=0)
    parts = [Part(f"m{index}", b"x" * 50) for index in range(6)]
    found = faults(cover, *parts)
    covered = [index for index in range(6) if index * (30 + 2 + 50) < 400 + 30 + 5]
    assert [bool(fault) for fault in found] == [True] + [index in covered for index in range(6)]


def test_exact_duplicates_share_their_bytes() -> None:
    """Two names for one local header are no overlap; two lengths of one are."""
    twin = dataclasses.replace(A, name="b.txt", local_omitted=True, offset=0)
    data = archive(A, twin, B)
    assert contents(data, parse(data)) == [A.data, A.data, B.data]
    longer = dataclasses.replace(twin, compressed_size=len(A.packed) - 1)
    assert faults(A, longer, B) == [FAULT_OVERLAP, FAULT_OVERLAP, ""]


def test_duplicates_of_an_overlapping_member_are_dead_too() -> None:
    """Duplicates stand and fall together."""
    twin = dataclasses.replace(A, name="b.txt", local_omitted=True, offset=0)
    inside = Part("in", b"", local_omitted=True, offset=20)
    assert faults(A, twin, inside) == [FAULT_OVERLAP] * 3


def test_ten_thousand_overlapping_members() -> None:
    """The zip bomb of overlapping files: every one dead, in one sweep."""
    kernel = Part("k", b"x" * 5000, method=8)
    parts = [dataclasses.replace(kernel, name=f"{n}", local_omitted=True, offset=n % 20) for n in range(10_000)]
    directory = parse(archive(kernel, *parts, Part("pad", b"p" * 100)))
    assert [directory[index].fault for index in range(10_002)] == [FAULT_OVERLAP] * 10_002


def test_directories_and_hidden_members_overlap_nobody() -> None:
    """They have no bytes to be read, and some writers give them no header."""
    parts = (Part("d/", local_omitted=True, offset=0), Part("../x", local_omitted=True, offset=5), A)
    directory = parse(archive(*parts))
    assert directory[2].fault == ""


@pytest.mark.parametrize(
    ("method", "size", "compressed_size", "fault"),
    [
        (8, 1032 * 100 + 64, 100, ""),
        (8, 1032 * 100 + 65, 100, FAULT_RATIO),
        (8, 64, 0, ""),
        (0, 100, 100, ""),
        (0, 101, 100, FAULT_RATIO),
        (0, 99, 100, ""),
        (12, 10**9, 100, ""),
        (98, 10**9, 100, ""),
    ],
)
def test_impossible_ratios(method: int, size: int, compressed_size: int, fault: str) -> None:
    """Deflate makes at most 1032 bytes of one, stored exactly one."""
    compressed = b"x" * compressed_size
    assert faults(Part("a", method=method, size=size, compressed=compressed)) == [fault]


@pytest.mark.parametrize("extra_field", [b"\x01", b"\x99\x99\xff\xff", b"\x99\x99\x02\x00a", b"\xff" * 40, b"\0" * 3])
def test_garbage_in_an_extra_field(extra_field: bytes) -> None:
    """The rest of that field is ignored."""
    data = archive(dataclasses.replace(A, extra=extra_field), B)
    assert contents(data, parse(data)) == [A.data, B.data]


def test_member_comments_are_skipped() -> None:
    """A member's comment lies between two records."""
    data = archive(dataclasses.replace(A, comment=b"PK\1\2" * 30), B)
    assert contents(data, parse(data)) == [A.data, B.data]


# -- what is refused ---------------------------------------------------------------------------------------------


def test_zero_members() -> None:
    """An empty zip is an empty directory, also behind something and with zip64."""
    for data in (EMPTY, archive(comment=b"c"), archive(end64=True), archive(prefix=b"#!/bin/sh"), archive(junk=b"\n")):
        directory = parse(data)
        assert len(directory) == 0
        assert list(directory.names()) == []
        assert directory.digest() == parse(EMPTY).digest()


def test_zero_bytes() -> None:
    """Nothing at all is not an empty zip."""
    refused(b"", "empty file")


@pytest.mark.parametrize("cut", [1, 5, 22, 23, 100])
def test_a_truncated_zip(cut: int) -> None:
    """It starts like a zip and has no end record."""
    refused(archive(A, B)[:-cut], "truncated zip")


def test_a_zip_without_its_front() -> None:
    """The end record claims more than is there."""
    refused(archive(A, B)[100:], "does not fit")


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "HTML or XML"),
        (b"\xef\xbb\xbf \n<Error><Code>AccessDenied</Code></Error>", "HTML or XML"),
        (b'{"error": "no such session"}', "JSON"),
        (b"[]", "JSON"),
        (gzip.compress(b"x", mtime=0), "gzip"),
        (b"%PDF-1.7 ...", "PDF"),
        (b"7z\xbc\xaf\x27\x1c" + b"x" * 100, "7-Zip"),
        (b"hello", "unknown data"),
        (b"\0" * 400_000, "unknown data"),
        (b"<html>" + b"x" * 400_000, "HTML or XML"),
    ],
)
def test_what_is_not_a_zip_is_named(body: bytes, what: str) -> None:
    """The message says which."""
    refused(body, what)


def test_a_tar_is_named() -> None:
    """ "ustar" at 257."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("x"))
    refused(buffer.getvalue(), "tar")


def test_split_archives() -> None:
    """Several disks, in either end record or the locator."""
    refused(archive(A, disk=1), "split")
    refused(archive(A, disk=1, end64=True), "split")
    located = archive(A, end64=True)
    at = located.index(b"PK\6\7") + 16
    refused(located[:at] + b"\2" + located[at + 1 :], "split")


def test_masked_and_encrypted_directories() -> None:
    """Flag 13, an archive decryption header, or a version 6.2 zip64 end record."""
    refused(archive(dataclasses.replace(A, flags=1 << 13), B), "masked or encrypted")
    refused(archive(A, end64=True, end64_version=62, end64_data=b"x" * 28), "masked or encrypted")
    data = archive(A)
    at = data.index(b"PK\1\2")
    refused(data[:at] + b"PK\6\x08" + data[at + 4 :], "masked or encrypted")


def test_records_that_overrun_the_directory() -> None:
    """A name, extra field or comment longer than what is left."""
    data = archive(A)
    at = data.index(b"PK\1\2")
    for field in (28, 30, 32):
        broken = bytearray(data)
        broken[at + field : at + field + 2] = b"\xff\xff"
        refused(bytes(broken), "broken at its byte 0")


def test_limits() -> None:
    """Members are counted while they are walked; a directory's size is judged before it is fetched."""
    data = archive(*many(100))
    assert len(parse(data, ZipLimits(max_members=100))) == 100
    with pytest.raises(LimitExceeded, match="more than 99 members"):
        parse(data, ZipLimits(max_members=99))
    with pytest.raises(LimitExceeded, match="larger than 1000"):
        parse(data, ZipLimits(max_directory_size=1000), tail=22)


def test_feeding_the_wrong_bytes_is_a_bug() -> None:
    """Bytes that leave a gap are not taken."""
    data = archive(A, B)
    parser = DirectoryParser(len(data), ZipLimits())
    with pytest.raises(ValueError, match="do not join"):
        parser.feed(0, data[:-1])


# -- where members are -------------------------------------------------------------------------------------------


def test_a_span_holds_header_and_data() -> None:
    """From the local header to the next one at most, with room for a longer local extra field."""
    big = Part("big", b"x" * 9000, local_extra=b"e" * 100)
    data = archive(A, big, B)
    directory = parse(data)
    spans = [directory.span(index) for index in range(3)]
    assert spans[0].start == 0
    assert spans[0].stop == spans[1].start
    assert spans[2] == Span(data.index(B.local()), directory.start)
    for index in range(3):
        member, span = directory[index], directory.span(index)
        piece = data[span.start : span.stop]
        assert len(piece) >= data_start(piece, member) + member.compressed_size


def test_a_span_is_no_longer_than_it_must_be() -> None:
    """A gap behind a member is not fetched with it, but for 2 KiB."""
    padded = dataclasses.replace(A, descriptor=b"g" * 100_000)
    span = parse(archive(padded, B)).span(0)
    assert span.size == 30 + len(A.raw_name) + len(A.packed) + 2048


def test_read_ahead_finds_neighbours() -> None:
    """next_after and members_between go by the place in the archive, not by the directory's order."""
    data = archive(A, B)
    second = len(A.local())
    swapped = archive(dataclasses.replace(B, offset=second), dataclasses.replace(A, offset=0))
    for body, order in ((data, [0, 1]), (swapped, [1, 0])):
        directory = parse(body) if body is data else parse(_relocated(A, B))
        assert list(directory.order) == order
        assert list(directory.members_between(0, 10**9)) == order
        assert list(directory.members_between(0, 1)) == order[:1]
        assert list(directory.members_between(1, second)) == []
        assert directory.next_after(0) == second
        assert directory.next_after(second) == directory.start


def _relocated(first: Part, second: Part) -> bytes:
    """Locals in one order, directory in the other."""
    locals_ = first.local() + second.local()
    directory = second.central(len(first.local())) + first.central(0)
    return locals_ + directory + end(2, len(directory), len(locals_))


# -- digests -----------------------------------------------------------------------------------------------------


def test_equal_contents_have_equal_digests() -> None:
    """Order, times, compression and position do not count; names, sizes, CRCs and kinds do."""
    same = parse(archive(A, B)).digest()
    assert parse(archive(B, A, prefix=b"x", comment=b"y")).digest() == same
    assert parse(archive(dataclasses.replace(A, method=0, date=0), B)).digest() == same
    for other in (
        (A,),
        (A, B, B),
        (A, dataclasses.replace(B, name="d/c.txt")),
        (A, dataclasses.replace(B, data=b"beTa")),
        (A, dataclasses.replace(B, size=3)),
        (A, dataclasses.replace(B, mode=LINK)),
    ):
        assert parse(archive(*other)).digest() != same


def test_zip64_sizes_count_in_digests() -> None:
    """The size that counts is the real one."""
    part = Part("a", b"alpha", size=SENTINEL, compressed_size=SENTINEL, offset=SENTINEL, extra=zip64(5, 5, 0))
    assert parse(archive(part)).digest() == parse(archive(Part("a", b"alpha"))).digest()


# -- the Directory as a list -------------------------------------------------------------------------------------


def test_indices() -> None:
    """Hidden members have an index but no Member; past the end there is nothing."""
    directory = parse(archive(A, Part("../x"), B))
    assert len(directory) == 3
    assert [index for index, _, _ in directory.names()] == [0, 2]
    with pytest.raises(KeyError):
        directory[1]
    with pytest.raises(IndexError):
        directory[3]


def test_brief_is_a_part_of_the_member() -> None:
    """What listings ask for is what the whole member says, zip64 and all."""
    parts = (
        A,
        dataclasses.replace(B, mode=LINK, extra=extended_time(5)),
        Part("d/", mode=DIRECTORY),
        Part("w", b"alpha", size=SENTINEL, compressed_size=SENTINEL, offset=SENTINEL, extra=zip64(5, 5, 0)),
        Part("x", b"alpha", size=SENTINEL, offset=SENTINEL, extra=zip64(5)),
        Part("y", b"alpha", size=SENTINEL, compressed_size=SENTINEL, extra=extra(1, b"")),
        Part("z", date=0, time=0, mode=0o100755),
    )
    directory = parse(archive(*parts), mtime_ns=9)
    for index in range(len(parts)):
        member = directory[index]
        assert directory.brief(index) == Brief(member.size, member.crc, member.mtime_ns, member.kind, member.executable)


def test_zipfile_sees_the_same() -> None:
    """What the standard library writes is read as it reads it itself."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as writer:
        writer.comment = b"made by zipfile"
        writer.mkdir("empty")
        for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
            writer.writestr(f"dir/ü{method}", b"content" * 1000, method)
        with writer.open("streamed", "w", force_zip64=True) as member:
            member.write(b"streamed")
    data = buffer.getvalue()
    directory = parse(data)
    with zipfile.ZipFile(buffer) as reader:
        for index, info in enumerate(reader.infolist()):
            member = directory[index]
            assert member.path == info.filename.rstrip("/").encode()
            assert (member.kind is Kind.DIRECTORY) == info.is_dir()
            assert (member.size, member.crc) == (info.file_size, info.CRC)
            if not info.is_dir():
                assert read(data, directory, index) == reader.read(info)
