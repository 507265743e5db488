"""zip.md, "Types, modes, times"."""

from __future__ import annotations

import calendar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zips import (
    DEFAULT_SECONDS,
    DIRECTORY,
    ENCRYPTED,
    EXECUTABLE,
    FAT,
    FILE,
    LINK,
    NTFS,
    Part,
    archive,
    extended_time,
    extra,
    ntfs_time,
    parse,
    paths,
)

from mountfs.model import Kind, Member
from mountfs.zipformat import safe_link, types
from mountfs.zipformat.times import LATEST_NS, NTFS_EPOCH, dos_time_ns

SECOND = 1_000_000_000


def member(part: Part, mtime_ns: int = 0) -> Member:
    return parse(archive(part), mtime_ns=mtime_ns)[0]


# -- links -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "depth", "safe"),
    [
        (b"a", 0, True),
        (b"a/b/c", 0, True),
        (b"./a", 0, True),
        (b"a//b/.", 0, True),
        (b"..", 0, False),
        (b"..", 1, True),
        (b"../a", 1, True),
        (b"../../a", 1, False),
        (b"../../a", 2, True),
        (b"./../a", 0, False),
        (b"./../a", 1, True),
        (b"../../..", 3, True),
        (b"../../../../S", 3, False),
        (b"a/..", 5, False),
        (b"x/r/../../S", 2, False),
        (b"../a/../b", 2, False),
        (b"/etc/passwd", 9, False),
        (b"//a", 9, False),
        (b"", 0, False),
        (b"a\0b", 0, False),
        (b"...", 0, True),
        (b"..a/b..", 0, True),
        (b"a" * 4095, 0, True),
        (b"a" * 4096, 0, False),
    ],
)
def test_which_links_are_safe(target: bytes, depth: int, safe: bool) -> None:
    """ ".." only at the front, and no more of them than directories above the link."""
    assert safe_link(target, depth) is safe


@given(st.lists(st.sampled_from([b"..", b".", b"a", b"b", b""]), max_size=8), st.integers(0, 4))
def test_a_safe_link_never_leaves_its_session(components: list[bytes], depth: int) -> None:
    """Walking a safe target from its directory never goes above the session's root at any step."""
    target = b"/".join(components)
    if not safe_link(target, depth):
        return
    level = depth
    for component in components:
        level += {b"..": -1, b".": 0, b"": 0}.get(component, 1)
        assert level >= 0


def test_links_are_links() -> None:
    """S_IFLNK with a target of 1 to 4095 bytes."""
    assert member(Part("l", b"target", mode=LINK)).kind is Kind.SYMLINK
    assert member(Part("l", b"t" * 4095, mode=LINK, method=8)).kind is Kind.SYMLINK


@pytest.mark.parametrize(
    "part",
    [
        Part("l", b"", mode=LINK),
        Part("l", b"t" * 4096, mode=LINK),
        Part("l", b"target", mode=LINK, flags=ENCRYPTED),
        Part("l", b"target", mode=LINK, method=98),
    ],
)
def test_links_whose_target_cannot_be_one_are_files(part: Part) -> None:
    """Too short, too long, or unreadable: then it is a file, and opening it tells why."""
    assert member(part).kind is Kind.FILE


# -- types -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o010644, 0o020644, 0o060644, 0o140644])
def test_special_files_are_hidden(mode: int) -> None:
    """Fifos, devices and sockets are counted, not shown; nor when the name says directory."""
    directory = parse(archive(Part("special", mode=mode), Part("special/", mode=mode), Part("b")))
    assert paths(directory) == [b"b"]
    assert directory.remarks.counts == {types.HIDDEN_SPECIAL: 2}


@pytest.mark.parametrize("bits", [0o4000, 0o2000, 0o1000, 0o7000])
def test_set_id_and_sticky_bits_are_ignored(bits: int) -> None:
    """A member is executable or not; nothing else of its mode is kept."""
    assert member(Part("a", mode=FILE | bits)).executable is False
    assert member(Part("a", mode=EXECUTABLE | bits)) == member(Part("a", mode=EXECUTABLE))


@pytest.mark.parametrize("mode", [0, 0o644, 0o755])
def test_streaming_writers_give_no_type(mode: int) -> None:
    """No type bits: a file, or a directory if the name ends in a slash."""
    assert member(Part("a", mode=mode)).kind is Kind.FILE
    assert member(Part("a/", mode=mode)).kind is Kind.DIRECTORY
    assert member(Part("a", mode=mode)).executable is (mode == 0o755)


@pytest.mark.parametrize("mode", [0o100100, 0o100010, 0o100001, 0o100777])
def test_any_x_bit_makes_executable(mode: int) -> None:
    """One of the three x bits is enough."""
    assert member(Part("a", mode=mode)).executable is True


def test_directories_by_mode_slash_and_dos_bit() -> None:
    """S_IFDIR, a trailing slash whatever the mode, or the DOS directory bit of a FAT-like host."""
    for part in (
        Part("d", mode=DIRECTORY),
        Part("d/", mode=DIRECTORY),
        Part("d/", mode=FILE),
        Part("d/", mode=LINK),
        Part("d", attributes=0x10, host=FAT),
        Part("d", attributes=0x10, host=NTFS),
        Part("d/", attributes=0x20, host=FAT),
    ):
        found = member(part)
        assert (found.kind, found.path) == (Kind.DIRECTORY, b"d")
    assert member(Part("d", attributes=0x10)).kind is Kind.FILE


def test_volume_labels_are_hidden() -> None:
    """The DOS volume label bit, on hosts that have it."""
    directory = parse(archive(Part("LABEL", attributes=0x08, host=FAT), Part("a", attributes=0x08)))
    assert paths(directory) == [b"a"]
    assert directory.remarks.counts == {types.HIDDEN_LABEL: 1}


def test_a_mode_is_believed_from_any_host() -> None:
    """Some writers claim FAT and give a Unix mode all the same."""
    assert member(Part("a", mode=EXECUTABLE, host=FAT)).executable is True
    assert member(Part("l", b"t", mode=LINK, host=FAT)).kind is Kind.SYMLINK


def test_a_type_no_unix_has_is_a_file() -> None:
    """Garbage in the type bits is no reason to hide anything."""
    assert member(Part("a", mode=0o170644)).kind is Kind.FILE


# -- times -------------------------------------------------------------------------------------------------------


def test_dos_time_is_utc() -> None:
    """DOS times have no zone: UTC is the same everywhere."""
    assert member(Part("a")).mtime_ns == DEFAULT_SECONDS * SECOND


def test_the_extended_timestamp_wins() -> None:
    """0x5455, then NTFS, then DOS."""
    ticks = NTFS_EPOCH + 1_600_000_000 * 10_000_000 + 1
    both = ntfs_time(ticks) + extended_time(1_500_000_000)
    assert member(Part("a", extra=both)).mtime_ns == 1_500_000_000 * SECOND
    assert member(Part("a", extra=ntfs_time(ticks))).mtime_ns == 1_600_000_000 * SECOND + 100
    assert member(Part("a", extra=ntfs_time(ticks) + extended_time(0))).mtime_ns == 1_600_000_000 * SECOND + 100


def test_the_extended_timestamp_is_unsigned() -> None:
    """Seconds above 2^31 are after 2038, not before 1970."""
    assert member(Part("a", extra=extended_time(2**32 - 1))).mtime_ns == (2**32 - 1) * SECOND


@pytest.mark.parametrize(
    "field",
    [
        extra(0x5455, b"\x02" + bytes(4)),
        extra(0x5455, b"\x01\x02"),
        extra(0x5455, b""),
        extra(0x000A, bytes(4)),
        extra(0x000A, b""),
        extra(0x000A, bytes(4) + b"\x02\x00\x08\x00" + b"x" * 8),
        extra(0x000A, bytes(4) + b"\x01\x00\x18\x00" + b"x"),
        ntfs_time(0),
        b"\x55\x54\xff\xff",
        b"garbage",
    ],
)
def test_times_that_do_not_parse_are_passed_over(field: bytes) -> None:
    """A short, absent or zero time leaves the word to the next source."""
    assert member(Part("a", extra=field)).mtime_ns == DEFAULT_SECONDS * SECOND


def test_ntfs_times_are_clamped() -> None:
    """Before 1970 there is nothing, and after 2262 no 64-bit count of nanoseconds."""
    assert member(Part("a", extra=ntfs_time(2**64 - 1))).mtime_ns == LATEST_NS
    assert member(Part("a", extra=ntfs_time(NTFS_EPOCH + 10))).mtime_ns == 1000


@pytest.mark.parametrize(
    ("date", "time", "expected"),
    [
        ((2023 - 1980) << 9 | 2 << 5 | 31, 0, (2023, 2, 28, 0, 0, 0)),
        ((2024 - 1980) << 9 | 2 << 5 | 31, 0, (2024, 2, 29, 0, 0, 0)),
        ((2024 - 1980) << 9 | 15 << 5 | 5, 0, (2024, 12, 5, 0, 0, 0)),
        ((2024 - 1980) << 9 | 0 << 5 | 0, 0, (2024, 1, 1, 0, 0, 0)),
        (0, 1, (1980, 1, 1, 0, 0, 2)),
        (33, 31 << 11 | 63 << 5 | 31, (1980, 1, 1, 23, 59, 59)),
        (0xFFFF, 0xFFFF, (2107, 12, 31, 23, 59, 59)),
    ],
)
def test_impossible_dates_are_clamped(date: int, time: int, expected: tuple[int, ...]) -> None:
    """Each part of a date goes to the nearest one a calendar has."""
    assert dos_time_ns(date, time) == calendar.timegm(expected) * SECOND


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_every_dos_time_is_a_time(date: int, time: int) -> None:
    """No pair of 16-bit numbers fails."""
    assert 0 <= dos_time_ns(date, time) < 2**63


def test_no_time_at_all_is_the_archives() -> None:
    """Zero everywhere: the archive's own time."""
    assert member(Part("a", date=0, time=0), mtime_ns=77).mtime_ns == 77
    assert member(Part("a", date=0, time=0, extra=extended_time(0)), mtime_ns=77).mtime_ns == 77


def test_a_time_alone_is_the_members() -> None:
    """Directory.mtime_ns and the whole member agree."""
    directory = parse(archive(Part("a", extra=extended_time(5)), Part("b"), Part("c", date=0, time=0)), mtime_ns=9)
    assert [directory.mtime_ns(index) for index in range(3)] == [directory[index].mtime_ns for index in range(3)]
